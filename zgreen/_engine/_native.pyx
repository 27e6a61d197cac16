# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=False
"""The native engine: the data path of `core.hpp`, which never takes the GIL.

The hub side copies frames into `zmq_msg_t`s and appends them to a pipe; the owning thread moves them to libzmq in
parallel, and takes the GIL only for commands. Frames of 64 KiB and more are not copied: libzmq reads them in place,
and the hub releases their owner when libzmq has let go of it.

Fork: a mutex may be held by a thread that the child does not have. So the child touches nothing of core.hpp that has
one, and leaks the parent's pipes and cores instead of destroying them.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy
from libcpp cimport bool
from libcpp.memory cimport shared_ptr
from libcpp.utility cimport move
from libcpp.vector cimport vector
from posix.unistd cimport getpid

from . cimport _core
from ._core cimport Core, EventKind, Msg, NoticeKind, Overflow, Releases

import os
import weakref
from functools import partial

import zmq

from . import _api, _libzmq
from ._api import PipeCounts
from ._closing import Farewell
from ._commands import Commands
from ._mailbox import Mailbox

cdef uint64_t NO_TARGET = <uint64_t> -1
cdef size_t ZERO_COPY = 65536  # bytes, from here up
cdef int STREAK = _api.STREAK

cdef _core.Api api


def _load_api():
    cdef uintptr_t[12] a
    for i, address in enumerate(_libzmq.addresses()):
        a[i] = address
    api.msg_init = <int (*)(Msg *) noexcept nogil> a[0]
    api.msg_init_size = <int (*)(Msg *, size_t) noexcept nogil> a[1]
    api.msg_init_data = <int (*)(Msg *, void *, size_t, void (*)(void *, void *) noexcept nogil, void *) noexcept nogil> a[2]
    api.msg_data = <void *(*)(Msg *) noexcept nogil> a[3]
    api.msg_size = <size_t (*)(const Msg *) noexcept nogil> a[4]
    api.msg_more = <int (*)(const Msg *) noexcept nogil> a[5]
    api.msg_copy = <int (*)(Msg *, Msg *) noexcept nogil> a[6]
    api.msg_close = <int (*)(Msg *) noexcept nogil> a[7]
    api.msg_send = <int (*)(Msg *, void *, int) noexcept nogil> a[8]
    api.msg_recv = <int (*)(Msg *, void *, int) noexcept nogil> a[9]
    api.getsockopt = <int (*)(void *, int, void *, size_t *) noexcept nogil> a[10]
    api.error = <int (*)() noexcept nogil> a[11]


_load_api()

OVERFLOWS = {"block": 0, "drop_oldest": 1, "drop_newest": 2}


unbalanced = []  # `_Core.counts` of those that ended and did not balance; for tests


cdef class _Core:
    """Owns a Core; in the child of a fork it is leaked."""

    cdef Core *core
    cdef shared_ptr[Releases] releases
    cdef int pid
    cdef object signaler, __weakref__
    cdef readonly dict replies  # token -> Reply; whoever has the GIL
    cdef readonly object pipes  # number -> NativePipe, while it lives; whoever has the GIL
    cdef uint64_t last_token
    cdef int streak  # see `_api.Pipe`; whoever has the GIL

    def __cinit__(self, signaler, hub_signaler):
        self.pid = getpid()
        self.signaler = signaler
        self.replies = {}
        self.pipes = weakref.WeakValueDictionary()
        self.releases = Releases.make(hub_signaler.ring_fileno())  # first: __dealloc__ of a Core needs them
        self.core = new Core(api, signaler.fileno(), signaler.ring_fileno(), hub_signaler.ring_fileno())

    def __dealloc__(self):
        if self.core is not NULL and getpid() == self.pid:
            self.release()
            if self.made() != self.freed() + <int64_t> self.core.hub.held():  # no pipe lives
                unbalanced.append((self.made(), self.freed(), 0))
            del self.core

    # ---- any thread that has the GIL

    def post_mail(self):
        self.core.post_mail()

    cdef uint64_t token(self, reply):
        self.last_token += 1
        self.replies[self.last_token] = reply
        return self.last_token

    def counts(self):
        """Frames: (made, freed or given to libzmq, held by pipes that live); for tests, when the thread has ended."""
        cdef size_t held = self.core.hub.held()
        for pipe in self.pipes.values():
            held += (<NativePipe> pipe).p.held()
        return self.made(), self.freed(), held

    cdef int64_t made(self) noexcept:
        return self.core.out_hub.made.load() + self.core.in_thread.made.load()

    cdef int64_t freed(self) noexcept:
        return (self.core.out_hub.freed.load() + self.core.out_thread.freed.load()
                + self.core.in_thread.freed.load() + self.core.in_hub.freed.load())

    cdef void release(self):
        """Let go of what libzmq has read in place."""
        cdef void *owner
        while self.releases.get().any():
            owner = self.releases.get().take()
            if owner is not NULL:
                Py_DECREF(<object> owner)

    def wakeups(self):
        return self.core.wakeups.load()

    # ---- the owning thread

    def step(self, timeout):
        """Run until there is an event, or for one pass if there is a timeout; [(kind, number, errno)]."""
        cdef double seconds = -1 if timeout is None else timeout
        with nogil:
            self.core.step(seconds)
            while seconds < 0 and self.core.events.empty():
                self.core.step(seconds)
        events = []
        for event in self.core.events:
            events.append((<int> event.kind, event.number, event.error))
        self.core.events.clear()
        return events

    def attach(self, NativePipe pipe):
        cdef uintptr_t handle = pipe.socket.underlying
        error = self.core.attach(pipe.pipe[0], <void *> handle, pipe.fd)
        if error:
            raise OSError(error, os.strerror(error))

    def detach(self, NativePipe pipe):
        self.core.detach(pipe.p[0])

    def watch(self, int fd):
        return self.core.watch(fd)

    def unwatch(self, int fd):
        self.core.unwatch(fd)

    def make_ready(self, NativePipe pipe):
        self.core.make_ready(pipe.p[0])

    def expect(self, NativePipe pipe, uint64_t settled):
        pipe.p.flush_target = settled

    def begin_close(self, NativePipe pipe, double linger):
        self.core.begin_close(pipe.p[0], linger)


@cython.no_gc_clear  # its destructor needs the core
cdef class NativePipe:
    """See `_api.Pipe`."""

    cdef shared_ptr[_core.Pipe] *pipe  # on the heap, to be leaked in the child of a fork
    cdef _core.Pipe *p
    cdef _Core core
    cdef int pid
    cdef bint multipart, forgotten
    cdef object hub  # the hub's mailbox
    cdef object room, message  # bells
    cdef size_t places_reserved, messages_reserved  # see `_api.Pipe`
    cdef public bint direct_puts, direct_gets
    cdef readonly object owner
    cdef public object socket  # the owning thread
    cdef public int fd  # likewise
    cdef public list replies  # likewise: who waits for the end
    cdef public list flushes  # likewise: [(how many sent or refused, Reply)]
    cdef public bint asked  # likewise: to send what is pending before it is closed
    cdef public bint far  # likewise: has, or had, an endpoint that is not inproc
    cdef public set names  # likewise: its endpoints that are
    cdef object __weakref__

    def __cinit__(self, _Core core, hub, owner, int kind, out_maxsize, in_maxsize, overflow, bint multipart):
        cdef size_t out_max = _core.kNoLimit if out_maxsize is None else out_maxsize
        cdef size_t in_max = _core.kNoLimit if in_maxsize is None else in_maxsize
        cdef int policy = OVERFLOWS[overflow]
        self.pid = getpid()
        self.core = core
        self.hub = hub
        self.owner = owner
        self.multipart = multipart
        self.fd = -1
        self.replies = []
        self.flushes = []
        self.names = set()
        self.direct_puts = self.direct_gets = True
        self.pipe = new shared_ptr[_core.Pipe](core.core.make_pipe(kind, out_max, in_max, <Overflow> policy))
        self.p = self.pipe.get()

    def __dealloc__(self):
        if self.pipe is not NULL and getpid() == self.pid:
            del self.pipe

    # ---- hub side

    def offer(self, message):
        self.core.streak += 1
        return self.core.streak <= STREAK and self.push_plain(message)

    def offer_now(self, message):
        return self.push_plain(message)

    cdef bint push_plain(self, message) except -1:
        if not self.direct_puts or not self.p.has_room(self.places_reserved) or not is_plain(message):
            return False
        return self.push(message, None)

    def take(self):
        self.core.streak += 1
        return self.pop_unreserved() if self.core.streak <= STREAK else None

    def take_now(self):
        return self.pop_unreserved()

    cdef object pop_unreserved(self):
        if not self.direct_gets or self.messages_reserved and self.p.waiting() <= self.messages_reserved:
            return None
        return self.pop()

    def count_one(self):
        self.core.streak += 1

    def due(self):
        if self.core.streak <= STREAK:
            return False
        self.core.streak = 1  # the one that asks
        return True

    def try_push(self, frames, reply, size_t reserved):
        return self.p.has_room(reserved) and self.push(frames, reply)

    def push_over(self, frames):
        return self.p.open.load() and self.push(frames, None)

    def try_pop(self, size_t reserved):
        return self.pop() if self.p.waiting() > reserved else None

    cdef bint push(self, frames, reply) except -1:
        cdef _core.Message message
        cdef bint pushed = False
        self.fill(message, frames)
        if reply is not None:
            message.token = self.core.token(reply)
        cdef uint64_t token = message.token
        try:
            pushed = self.p.push(move(message))
        finally:
            if not pushed:  # too late, or no memory
                message.close(api, self.core.core.out_hub)
                if token:
                    self.core.replies.pop(token, None)
        self.core.release()
        return pushed

    cdef int fill(self, _core.Message &message, frames) except -1:
        """Make *frames*, bytes or a list or tuple of bytes, a message."""
        cdef Py_ssize_t n, i
        if type(frames) is bytes:
            self.fill_frame(message.frames(), frames)
            message.count = 1
        else:
            n = len(frames)
            message.reserve(n)
            for i in range(n):
                try:
                    self.fill_frame(&message.frames()[i], frames[i])
                except BaseException:
                    self.core.core.out_hub.add_made(message.count)
                    message.close(api, self.core.core.out_hub)
                    raise
                message.count += 1
        self.core.core.out_hub.add_made(message.count)
        return 0

    cdef int fill_frame(self, Msg *msg, frame) except -1:
        cdef size_t size = PyBytes_GET_SIZE(frame)
        cdef char *data = PyBytes_AS_STRING(frame)
        if size >= ZERO_COPY:
            return self.lend_frame(msg, data, size, frame)
        if api.msg_init_size(msg, size) < 0:
            raise MemoryError(f"no memory for a frame of {size} bytes")
        memcpy(api.msg_data(msg), data, size)
        return 0

    cdef int lend_frame(self, Msg *msg, char *data, size_t size, frame) except -1:
        """libzmq reads the content in place; `_Core.release` lets go of its owner."""
        cdef void *hint = self.core.releases.get().hint(<void *> <PyObject *> frame)
        if api.msg_init_data(msg, data, size, Releases.free_content, hint) < 0:
            self.core.releases.get().forget(hint)
            raise MemoryError(f"no memory for a frame of {size} bytes")
        Py_INCREF(frame)
        return 0

    cdef object pop(self):
        cdef _core.Message message
        if self.forgotten or not self.p.pop(message):
            return None
        try:
            return self.received_message(message)
        finally:
            message.close(api, self.core.core.in_hub)

    cdef object received_message(self, _core.Message &message):
        if message.count == 1 and not self.multipart:
            return frame_bytes(message.frames())
        cdef uint32_t i
        return [frame_bytes(&message.frames()[i]) for i in range(message.count)]

    def wakes(self):
        return self.p.wakes(self.places_reserved)

    def pending(self):
        return self.p.pending()

    def waiting(self):
        return 0 if self.forgotten else self.p.waiting()

    def withdraw(self):
        """[(frames, reply)] of all that was not sent."""
        cdef _core.Message message
        items = []
        if self.forgotten:
            return items
        while self.p.withdraw(message):
            frames = self.sent_frames(message)
            reply = self.core.replies.pop(message.token, None) if message.token else None
            message.close(api, self.core.core.out_hub)
            items.append((frames, reply))
        return items

    cdef object sent_frames(self, _core.Message &message):
        """As they were pushed."""
        cdef uint32_t i
        if message.count == 1:
            return frame_bytes(message.frames())
        return tuple([frame_bytes(&message.frames()[i]) for i in range(message.count)])

    def forget(self):
        self.forgotten = True
        self.p.open.store(False)

    # ---- bells

    @property
    def room_bell(self):
        return self.room

    @property
    def message_bell(self):
        return self.message

    def listen_for_room(self, bell, size_t reserved):
        self.places_reserved = reserved
        if bell is not self.room:
            self.room = bell
            self.set_bell(self.p.room, bell)

    def listen_for_message(self, bell, size_t reserved):
        self.messages_reserved = reserved
        if bell is not self.message:
            self.message = bell
            self.set_bell(self.p.message, bell)

    cdef int set_bell(self, _core.Bell &bell, asked) except -1:
        if self.forgotten:
            return 0
        if asked is None:
            bell.nobody()
        elif asked.mailbox is self.hub:
            bell.hub()
        else:
            try:
                bell.foreign(asked.mailbox.signaler.ring_fileno())
            except (OSError, MemoryError):  # no descriptor is left: by way of the hub, see `answer`
                bell.hub()
        return 0

    def look_for_room(self):
        self.p.room.answered()
        self.answer(self.room)

    def look_for_message(self):
        self.p.message.answered()
        self.answer(self.message)

    cdef int answer(self, bell) except -1:
        """The hub was rung for *bell*."""
        if bell is None:
            return 0
        if bell.mailbox is self.hub:
            bell()
        else:  # a foreign thread's
            bell.ring()
        return 0

    # ---- facts

    @property
    def open(self):
        return self.p.open.load()

    @open.setter
    def open(self, bint value):
        self.p.open.store(value)

    @property
    def finished(self):
        return self.p.finished.load()

    @finished.setter
    def finished(self, bint value):
        self.p.finished.store(value)

    def counts(self):
        cdef _core.Pipe *p = self.p
        return PipeCounts(
            p.sent.load(), p.received.load(), p.refused.load(), p.dropped.load(), p.sent_bytes.load(),
            p.received_bytes.load(), p.peak_pending.load(), p.peak_waiting.load(), p.send_turns.load(),
            p.receive_turns.load(), p.largest_send.load(), p.largest_receive.load(), p.rings.load(), p.touches.load(),
        )

    @property
    def sent(self):
        return self.p.sent.load()

    @property
    def refused(self):
        return self.p.refused.load()

    @property
    def number(self):
        return self.p.id

    @property
    def linger_left(self):
        """Seconds until the deadline of closing; the owning thread."""
        return max(0.0, self.p.deadline - Core.now())

    # ---- the owning thread

    def attach(self, socket):
        self.socket = socket
        self.fd = socket.get(zmq.FD)


cdef bint is_plain(message) noexcept:
    """Whether it is bytes, or a list or tuple of some: what needs no `encode`."""
    if type(message) is bytes:
        return True
    if type(message) is list or type(message) is tuple:
        return len(message) > 0 and all_bytes(message)
    return False


cdef bint all_bytes(frames) noexcept:
    for frame in frames:
        if type(frame) is not bytes:
            return False
    return True


cdef object frame_bytes(Msg *msg):
    return PyBytes_FromStringAndSize(<char *> api.msg_data(msg), api.msg_size(msg))


class NativeMailbox(Mailbox):
    """The owning thread sleeps in core.hpp, so that is what must know that there is mail."""

    def __init__(self, hub):
        super().__init__()
        self.core = _Core(self.signaler, hub.signaler)

    def send(self, item):
        self._items.append(item)
        self.core.post_mail()


class NativeEngine(Commands):
    """See `_api.Engine`."""

    name = "native"

    def __init__(self, context, hub, on_end, epoll=None, owns_context=True):
        super().__init__(context, hub, on_end, owns_context)
        self._core = self.mailbox.core
        self._numbers = {}  # the owning thread alone: Farewell -> what the core calls its descriptor

    def _make_mailbox(self):
        return NativeMailbox(self._hub)

    @property
    def wakeups(self):
        return self._core.wakeups()

    # ---- hub side

    def make_pipe(self, owner, kind, out_maxsize, in_maxsize, overflow, multipart):
        pipe = NativePipe(self._core, self._hub, owner, kind, out_maxsize, in_maxsize, overflow, multipart)
        self._core.pipes[pipe.number] = pipe
        return pipe

    def look(self, into):
        """Append what the owning thread has for the hub, as callables; the hub.

        No Python code runs in here: a signal handler could raise in it, and what is taken would be lost.
        """
        cdef _Core core = self._core
        cdef vector[_core.Notice] notices
        cdef size_t i
        cdef _core.Notice *notice
        core.core.hub.take(notices)
        core.release()
        for i in range(notices.size()):
            notice = &notices[i]
            if notice.kind == NoticeKind.Outcome:
                reply = core.replies.pop(notice.token, None)
                if reply is not None:
                    into.append(partial(_complete, reply, notice.error))
                continue
            known = core.pipes.data.get(notice.pipe)  # the mapping's own get() is Python code
            pipe = None if known is None else known()
            if notice.kind == NoticeKind.Refused:
                if pipe is not None:
                    frames = (<NativePipe> pipe).sent_frames(notice.message)
                    into.append(partial(_refuse, pipe.owner, frames, notice.error))
                notice.message.close(api, core.core.out_hub)
            elif pipe is not None:
                into.append(pipe.look_for_room if notice.kind == NoticeKind.Room else pipe.look_for_message)

    # ---- the owning thread

    def _take_mail(self):
        for _ in range(len(self.mailbox)):
            item = self.mailbox.take()
            if item is not None:
                self._run_command(*item)

    def step(self, timeout):
        self._take_mail()
        timeout = self._look_at_farewells(timeout)
        if self._stops and self._all_closed():
            return False
        for kind, number, error in self._core.step(timeout):
            self._take_event(kind, number, error)
        return True

    def _take_event(self, int kind, number, error):
        if kind == <int> EventKind.Flushed:
            pipe = self._core.pipes.get(number)
            if pipe is not None:
                self._flushed(pipe)
        elif kind == <int> EventKind.Readable:
            for farewell in [farewell for farewell, n in self._numbers.items() if n == number]:
                self._look_at_farewell(farewell)
        elif kind != <int> EventKind.Mail:
            pipe = self._core.pipes.get(number)
            if pipe is not None and pipe.fd >= 0:
                failed = kind == <int> EventKind.Failed
                self._finish(pipe, 0.0 if failed else pipe.linger_left, _error(error))

    def _listen(self, target):
        if type(target) is Farewell:
            self._numbers[target] = self._core.watch(target.fd)
        else:
            self._core.attach(target)

    def _ignore(self, target):
        if type(target) is Farewell:
            self._core.unwatch(target.fd)
            del self._numbers[target]
        else:
            self._core.detach(target)

    def _touch(self, pipe):
        self._core.make_ready(pipe)

    def _send_rest(self, pipe, linger):
        self._core.begin_close(pipe, linger)

    def _expect(self, pipe):
        self._core.expect(pipe, pipe.flushes[0][0] if pipe.flushes else NO_TARGET)


def _complete(reply, number):
    reply.complete(None, _error(number))


def _refuse(owner, frames, number):
    owner.refused(frames, _error(number))


def _error(number):
    return zmq.ZMQError(number) if number else None

# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=False
"""The native engine: the data path of `core.hpp`, which never takes the GIL.

The hub side copies frames into `zmq_msg_t`s and appends them to a pipe; the owning thread moves them to libzmq in
parallel, and takes the GIL only for commands. Frames of 64 KiB and more are not copied: libzmq reads them in place,
and the hub releases their owner when libzmq has let go of it.

Fork: a mutex may be held by a thread that the child does not have. So the child touches nothing of core.hpp that has
one, and leaks the parent's pipes and cores instead of destroying them.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_Clear, PyErr_Occurred
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EAGAIN
from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy
from libcpp cimport bool
from libcpp.memory cimport shared_ptr
from libcpp.utility cimport move
from libcpp.vector cimport vector
from posix.unistd cimport getpid

from . cimport _core
from ._core cimport Core, EventKind, Lot, Msg, Notice, NoticeKind, Overflow, Releases

import os
import weakref
from functools import partial

import zmq

from . import _api, _libzmq
from ._api import PipeCounts
from ._closing import End, Farewell
from ._commands import Commands
from ._mailbox import Mailbox

include "_native_message.pxi"
include "_native_core.pxi"
include "_native_state.pxi"
include "_native_pipe.pxi"

cdef uint64_t NO_TARGET = <uint64_t> -1
BUSY_WAIT = 200e-6  # seconds; the default of `Pump`


class NativeMailbox(Mailbox):
    """The owning thread sleeps in core.hpp, so that is what must know that there is mail."""

    def __init__(self, hub, busy_wait):
        super().__init__()
        self.core = _Core(self.signaler, hub, busy_wait)

    def send(self, item):
        self._items.append(item)
        self.core.post_mail()


class NativeEngine(Commands):
    """See `_api.Engine`."""

    name = "native"

    def __init__(
        self, context, hub, on_end, epoll=None, owns_context=True, start_thread=None, busy_wait=None
    ):
        self._busy_wait = BUSY_WAIT if busy_wait is None else busy_wait
        if _cores() == 1:  # whatever it looks for could not come meanwhile
            self._busy_wait = 0.0
        super().__init__(context, hub, on_end, owns_context, start_thread)
        self._core = self.mailbox.core
        self._watched = {}  # the owning thread alone: what the core calls a descriptor -> its Farewell

    def _make_mailbox(self):
        return NativeMailbox(self._hub, self._busy_wait)

    @property
    def wakeups(self):
        return self._core.wakeups()

    @property
    def busy_waits(self):
        return self._core.busy_waits()

    # ---- hub side

    def make_pipe(
        self, owner, kind, out_maxsize, in_maxsize, overflow, multipart, out_maxbytes=None, in_maxbytes=None
    ):
        pipe = NativePipe(
            self._core, self._hub, owner, kind, out_maxsize, in_maxsize, overflow, multipart, out_maxbytes, in_maxbytes
        )
        self._core.pipes[pipe.number] = pipe
        return pipe

    def look(self, into):
        self._core.look(into)

    # ---- the owning thread

    def _take_mail(self):
        for _ in range(len(self.mailbox)):
            item = self.mailbox.take()
            if item is not None:
                self._run_command(*item)

    def step(self, timeout):
        self._take_mail()
        timeout = self._farewells.look_at_clock(timeout)
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
            farewell = self._watched.get(number)
            if farewell is not None:
                self._farewells.look(farewell)
        elif kind != <int> EventKind.Mail:
            pipe = self._core.pipes.get(number)
            if pipe is not None and pipe.fd >= 0:
                failed = kind == <int> EventKind.Failed
                self._finish(pipe, 0.0 if failed else pipe.linger_left, _error(error))

    def _listen(self, target):
        if type(target) is Farewell:
            target.number = self._core.watch(target.fd)
            self._watched[target.number] = target
        else:
            self._core.attach(target)

    def _ignore(self, target):
        if type(target) is Farewell:
            self._core.unwatch(target.fd)
            del self._watched[target.number]
        else:
            self._core.detach(target)

    def _touch(self, pipe):
        self._core.make_ready(pipe)

    def _serve_now(self, pipe):
        self._core.serve_now(pipe)

    def _send_rest(self, pipe, linger):
        self._core.begin_close(pipe, linger)

    def _expect(self, pipe):
        self._core.expect(pipe, pipe.flushes[0][0] if pipe.flushes else NO_TARGET)


def _complete(hub, reply, number):
    """The hub; at once if the reply is for it, so that it comes before whatever the owning thread has sent since."""
    reply.error = _error(number)
    if reply.mailbox is hub:
        reply()
    else:
        reply.mailbox.send(reply)


def _cores():
    """How many cores the process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _refuse(owner, frames, number):
    owner.refused(frames, _error(number))


def _error(number):
    if number == EAGAIN:
        return zmq.Again()
    return zmq.ZMQError(number) if number else None

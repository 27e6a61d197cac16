# The hub side of a pipe, and what the owning thread keeps of it. Part of _native.pyx.

cdef int STREAK = _api.STREAK
cdef size_t MANY = _api.MANY


cdef extern from "poll.h":
    cdef struct pollfd:
        int fd
        short events
    int poll(pollfd *, unsigned long, int)
    short POLLIN


cdef size_t limit_of(size) except? 0:
    return _core.kNoLimit if size is None else size


OVERFLOWS = {"block": 0, "drop_oldest": 1, "drop_newest": 2}


@cython.no_gc_clear  # its destructor needs the core
cdef class NativePipe:
    """See `_api.Pipe`."""

    cdef shared_ptr[_core.Pipe] *pipe  # on the heap, to be leaked in the child of a fork
    cdef _core.Pipe *p
    cdef _Core core
    cdef int pid
    cdef bint multipart, forgotten
    cdef object hub  # the hub's mailbox
    cdef object room, message, can_send  # bells
    cdef size_t places_reserved, messages_reserved  # see `_api.Pipe`
    cdef public bint direct_puts, direct_gets
    cdef readonly object owner
    cdef public object socket  # the owning thread
    cdef public int fd  # likewise
    cdef public list flushes  # likewise: [(how many sent or refused, Reply)]
    cdef readonly object end  # likewise: what is known for when the socket is closed
    cdef object __weakref__

    def __cinit__(self, _Core core, hub, owner, int kind, out_maxsize, in_maxsize, overflow, bint multipart,
                  out_maxbytes, in_maxbytes):
        cdef size_t out_max = limit_of(out_maxsize), in_max = limit_of(in_maxsize)
        cdef size_t out_bytes = limit_of(out_maxbytes), in_bytes = limit_of(in_maxbytes)
        cdef int policy = OVERFLOWS[overflow]
        self.pid = getpid()
        self.core = core
        self.hub = hub
        self.owner = owner
        self.multipart = multipart
        self.fd = -1
        self.flushes = []
        self.end = End()
        self.direct_puts = self.direct_gets = True
        self.pipe = new shared_ptr[_core.Pipe](
            core.core.make_pipe(kind, out_max, in_max, <Overflow> policy, out_bytes, in_bytes)
        )
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

    def offer_writable(self, message):
        self.core.streak += 1
        if self.core.streak > STREAK or not self.p.writable():
            return False
        return self.push_plain(message)

    cdef bint push_plain(self, message) except -1:
        if not self.direct_puts or not self.p.has_room(self.places_reserved) or not is_plain(message):
            return False
        return self.push(message, None, False)

    def take(self):
        self.core.streak += 1
        return self.pop_unreserved() if self.core.streak <= STREAK else None

    def take_now(self):
        return self.pop_unreserved()

    cdef object pop_unreserved(self):
        if not self.direct_gets or self.messages_reserved and self.p.waiting() <= self.messages_reserved:
            return None
        return self.pop()

    def offer_many(self, messages, Py_ssize_t start):
        cdef vector[_core.Message] batch
        cdef Py_ssize_t end = len(messages)
        cdef size_t places
        self.core.streak += 1
        if self.core.streak > STREAK or not self.direct_puts:
            return 0
        places = self.p.places(self.places_reserved)
        if places > MANY:
            places = MANY
        if end > start and <size_t> (end - start) > places:
            end = start + places
        if end <= start:
            return 0
        batch.reserve(end - start)
        try:
            while start < end and is_plain(messages[start]):
                append(batch, messages[start], self.core)
                start += 1
        except MemoryError:  # what there was memory for goes; the next call will say it
            if batch.empty():
                raise
        return self.push_all(batch)

    cdef size_t push_all(self, vector[_core.Message] &batch) except? 0:
        cdef size_t n = batch.size(), i
        cdef bint pushed = False
        if n == 0:
            return 0
        try:
            pushed = self.p.push_all(batch)
        finally:
            if not pushed:
                for i in range(n):
                    batch[i].close(api, self.core.core.out_hub)
        self.core.streak += n - 1
        self.core.release()
        return n if pushed else 0

    def take_many(self, size_t limit):
        cdef size_t waiting = self.waiting()
        self.core.streak += 1
        if self.core.streak > STREAK or not self.direct_gets or waiting <= self.messages_reserved:
            return []
        waiting -= self.messages_reserved
        if limit > waiting:
            limit = waiting
        return self.pop_many(limit if limit < MANY else MANY)

    cdef object pop_many(self, size_t number):
        """Up to so many, at once; MemoryError only if there was none for the first, and then all stay where they are.

        As in `received_message` no code of Python's runs once the list is made.
        """
        cdef PyObject *messages = PyList_New(number)
        cdef PyObject *message
        cdef size_t n = 0
        if messages is NULL:
            return checked(messages)
        while n < number:
            message = self.pop_one()
            if message is NULL:
                break
            PyList_SET_ITEM(messages, n, message)
            n += 1
        Py_SET_SIZE(messages, n)
        if n < number and PyErr_Occurred() is not NULL:
            if n == 0:
                drop(messages)
                return checked(NULL)
            PyErr_Clear()
        self.core.streak += n - 1 if n else 0
        return checked(messages)

    def count_one(self):
        self.core.streak += 1

    def due(self):
        if self.core.streak <= STREAK:
            return False
        self.core.streak = 1  # the one that asks
        return True

    def try_push(self, frames, reply, size_t reserved):
        return self.p.has_room(reserved) and self.push(frames, reply, False)

    def push_over(self, frames):
        return self.push(frames, None, False)

    def try_send(self, frames, reply):
        return self.p.open.load() and self.push(frames, reply, True)

    def try_pop(self, size_t reserved):
        return self.pop() if self.p.waiting() > reserved else None

    def keep_frames(self):
        pass  # it has them

    def try_pop_frames(self, size_t reserved):
        cdef _core.Message message
        if self.forgotten or self.p.waiting() <= reserved:
            return None
        self.core.release()
        if not self.p.pop(message):
            return None
        try:
            frames = received_frames(message)
        except MemoryError:
            if not self.p.put_back(message):
                message.close(api, self.core.core.in_hub)
            raise
        self.core.core.in_hub.add_freed(message.count)
        message.count = 0
        return frames

    def try_peek(self, size_t reserved):
        """The message is taken and put back. No code of Python's runs in between, so no other thread gets a later one first."""
        cdef _core.Message message
        cdef PyObject *content
        if self.forgotten or self.p.waiting() <= reserved or not self.p.pop(message):
            return None
        content = received_message(message, self.multipart)
        if not self.p.put_back(message):  # drop_oldest: it was the oldest, and more has come
            message.close(api, self.core.core.in_hub)
        return checked(content)

    cdef bint push(self, frames, reply, bint once) except -1:
        cdef _core.Message message
        cdef uint64_t token = 0
        cdef bint pushed = False
        fill(message, frames, self.core.releases.get(), self.core.core.out_hub)
        try:
            if reply is not None:
                message.token = token = self.core.token(reply)
            pushed = self.p.push_once(move(message)) if once else self.p.push(move(message))
        finally:
            if not pushed:  # too late, or no memory
                message.close(api, self.core.core.out_hub)
                if token:
                    self.core.replies.pop(token, None)
        self.core.release()
        return pushed

    cdef object pop(self):
        cdef PyObject *message
        self.core.release()  # before: it may run code of Python's
        message = self.pop_one()
        return checked(message) if message is not NULL or PyErr_Occurred() is not NULL else None

    cdef PyObject *pop_one(self) noexcept:
        """The oldest message, or NULL: there is none, or there is no memory for it, and a MemoryError is set."""
        cdef _core.Message message
        cdef PyObject *content
        if self.forgotten or not self.p.pop(message):
            return NULL
        content = received_message(message, self.multipart)
        if content is not NULL or not self.p.put_back(message):
            message.close(api, self.core.core.in_hub)
        return content

    def wakes(self):
        return self.p.wakes(self.places_reserved)

    def pending(self):
        return self.p.pending()

    def waiting(self):
        return 0 if self.forgotten else self.p.waiting()

    def limit_waiting(self, size_t limit):
        self.p.limit_waiting(limit)

    def pending_bytes(self):
        return self.p.out_bytes.held()

    def waiting_bytes(self):
        return 0 if self.forgotten else self.p.in_bytes.held()

    def withdraw(self):
        """[(frames, reply)] of all that was not sent. Or, if there is no memory for them, they stay where they are."""
        cdef _core.Message message
        cdef size_t i
        items = []
        if self.forgotten:
            return items
        self.p.finish()
        for i in range(self.p.out.size()):
            if self.p.out.at(i).lot == Lot.Gone:
                continue
            frames = sent_frames(self.p.out.at(i))
            items.append((frames, self.core.replies.get(self.p.out.at(i).token)))
        while self.p.withdraw(message):
            self.core.replies.pop(message.token, None)
            message.close(api, self.core.core.out_hub)
        return items

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

    @property
    def writable_bell(self):
        return self.can_send

    @property
    def writable(self):
        return self.p.writable()

    @property
    def takes_more(self):
        return self.p.takes_more.load()

    def quiet(self):
        """In this order: the owning thread is awake while it uses up what the descriptor says."""
        cdef pollfd one
        one.fd = self.fd
        one.events = POLLIN
        return self.fd >= 0 and poll(&one, 1, 0) == 0 and self.core.core.inbox.idle()

    def watch_writable(self, bell, size_t ahead=1):
        self.p.ahead.store(ahead)
        if bell is not self.can_send:
            self.can_send = bell
            self.set_bell(self.p.can_send, bell)
        if not self.forgotten and not self.p.watched.load():
            self.p.watched.store(True)
            self.p.touch()

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
            bell.none()
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

    def look_for_writable(self):
        self.p.can_send.answered()
        self.answer(self.can_send)

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
    def settled(self):
        """How many have left the queue; the owning thread."""
        return self.p.settled.load()

    @property
    def number(self):
        return self.p.id

    @property
    def linger_left(self):
        """Seconds until the deadline of closing; the owning thread."""
        return max(0.0, self.p.deadline - Core.now())

    # ---- the owning thread

    def take_back(self, reply):
        """Whether the message of that reply was pending, and is gone now."""
        cdef _core.Message message
        for token, waiting in self.core.replies.items():
            if waiting is reply:
                break
        else:
            return False
        if not self.p.take_back(token, message):
            return False
        message.close(api, self.core.core.out_thread)
        del self.core.replies[token]
        return True

    def attach(self, socket):
        self.socket = socket
        self.fd = socket.get(zmq.FD)

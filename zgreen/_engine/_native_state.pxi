# What a pipe is made of, what can be read from it, and its bells. Part of _native.pyx; see _native_pipe.pxi.

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
cdef class _PipeState:
    """What a NativePipe is made of, what can be read from it, and which bells it has."""

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

    # ---- how much there is

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

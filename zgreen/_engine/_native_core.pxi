# The Core of core.hpp, as Python sees it. Part of _native.pyx.

unbalanced = []  # `_Core.counts` of those that ended and did not balance; for tests


cdef class _Core:
    """Owns a Core; in the child of a fork it is leaked."""

    cdef Core *core
    cdef shared_ptr[Releases] releases
    cdef int pid
    cdef object signaler, __weakref__
    cdef object hub  # the hub's mailbox
    cdef readonly dict replies  # token -> Reply; any thread that has the GIL
    cdef readonly object pipes  # number -> NativePipe, while it lives; any thread that has the GIL
    cdef uint64_t last_token
    cdef int streak  # see `_api.Pipe`; any thread that has the GIL
    cdef vector[Notice] notices  # taken from the owning thread; the hub
    cdef size_t told  # so many of them, from the first, were passed on; the hub

    def __cinit__(self, signaler, hub, double busy_wait):
        hub_signaler = hub.signaler
        self.pid = getpid()
        self.signaler = signaler
        self.hub = hub
        self.replies = {}
        self.pipes = weakref.WeakValueDictionary()
        self.releases = Releases.make(hub_signaler.ring_fileno())  # first: __dealloc__ of a Core needs them
        self.core = new Core(
            api, signaler.fileno(), signaler.ring_fileno(), hub_signaler.ring_fileno(), busy_wait
        )

    def __dealloc__(self):
        if self.core is not NULL and getpid() == self.pid:
            self.release()
            while self.told < self.notices.size():
                self.notices[self.told].message.close(api, self.core.out_hub)
                self.told += 1
            self.core.forget_pipes()
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
        cdef size_t held = self.core.hub.held(), i
        for i in range(self.told, self.notices.size()):
            held += self.notices[i].message.count
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
        return self.core.waiting.wakeups.load()

    def busy_waits(self):
        return self.core.waiting.looking.hits.load(), self.core.waiting.looking.misses.load()

    # ---- the hub

    def look(self, into):
        """Append what the owning thread has for the hub, as callables.

        No Python code runs in here: a signal handler could raise in it, and what is taken would be lost. There may be
        no memory, though: then this raises, and goes on at the same notice when it is called again.
        """
        self.release()
        self.pass_on(into)
        self.notices.clear()
        self.told = 0
        self.core.hub.take(self.notices)
        self.pass_on(into)

    cdef int pass_on(self, into) except -1:
        while self.told < self.notices.size():
            self.pass_on_one(&self.notices[self.told], into)
            self.told += 1
        return 0

    cdef int pass_on_one(self, Notice *notice, into) except -1:
        if notice.kind == NoticeKind.Outcome:
            reply = self.replies.get(notice.token)
            if reply is not None:
                into.append(partial(_complete, self.hub, reply, notice.error))
                del self.replies[notice.token]
            return 0
        known = self.pipes.data.get(notice.pipe)  # the mapping's own get() is Python code
        pipe = None if known is None else known()
        if notice.kind == NoticeKind.Refused:
            if pipe is not None:
                into.append(partial(_refuse, pipe.owner, sent_frames(notice.message), notice.error))
            notice.message.close(api, self.core.out_hub)
        elif pipe is not None:
            into.append(
                pipe.look_for_room if notice.kind == NoticeKind.Room
                else pipe.look_for_message if notice.kind == NoticeKind.Message
                else pipe.look_for_writable
            )
        return 0

    # ---- the owning thread

    def step(self, timeout):
        """Run until there is an event or the timeout is over; [(kind, number, errno)]."""
        cdef double seconds = -1 if timeout is None else timeout
        with nogil:
            self.core.run(seconds)
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

    def serve_now(self, NativePipe pipe):
        with nogil:
            self.core.serve_now(pipe.p[0])

    def expect(self, NativePipe pipe, uint64_t settled):
        pipe.p.flush_target = settled

    def begin_close(self, NativePipe pipe, double linger):
        self.core.begin_close(pipe.p[0], linger)

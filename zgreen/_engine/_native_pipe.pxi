# The puts and gets of a pipe, and what the owning thread does to it. Part of _native.pyx.

cdef int STREAK = _api.STREAK
cdef size_t MANY = _api.MANY


@cython.final
@cython.no_gc_clear  # its destructor needs the core
cdef class NativePipe(_PipeState):
    """See `_api.Pipe`."""

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
        """See `_api.Pipe`. It has them; what may be missing is a way to hand them out."""
        if MESSAGE_IN_FRAME < 0:
            raise RuntimeError(
                f"the native engine does not know the zmq.Frame of pyzmq {zmq.__version__}; use the Python engine: "
                "ZGREEN_ENGINE=python"
            )

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

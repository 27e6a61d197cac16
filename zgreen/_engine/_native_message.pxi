# Messages between Python and `zmq_msg_t`; whatever thread has the GIL. Part of _native.pyx.

cdef size_t ZERO_COPY = 65536  # bytes, from here up

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


cdef int fill(_core.Message &message, frames, Releases *releases, _core.Counts &counts) except -1:
    """Make *frames*, bytes or a list or tuple of bytes, a message."""
    cdef Py_ssize_t n, i
    if type(frames) is bytes:
        fill_frame(message.frames(), frames, releases)
        message.count = 1
    else:
        n = len(frames)
        message.reserve(n)
        for i in range(n):
            try:
                fill_frame(&message.frames()[i], frames[i], releases)
            except BaseException:
                counts.add_made(message.count)
                message.close(api, counts)
                raise
            message.count += 1
    counts.add_made(message.count)
    return 0


cdef int fill_frame(Msg *msg, frame, Releases *releases) except -1:
    cdef size_t size = PyBytes_GET_SIZE(frame)
    cdef char *data = PyBytes_AS_STRING(frame)
    if size >= ZERO_COPY:
        return lend_frame(msg, data, size, frame, releases)
    if api.msg_init_size(msg, size) < 0:
        raise MemoryError(f"no memory for a frame of {size} bytes")
    memcpy(api.msg_data(msg), data, size)
    return 0


cdef int lend_frame(Msg *msg, char *data, size_t size, frame, Releases *releases) except -1:
    """libzmq reads the content in place; `_Core.release` lets go of its owner."""
    cdef void *hint = releases.hint(<void *> <PyObject *> frame)
    if api.msg_init_data(msg, data, size, Releases.free_content, hint) < 0:
        releases.forget(hint)
        raise MemoryError(f"no memory for a frame of {size} bytes")
    Py_INCREF(frame)
    return 0


cdef object received_message(_core.Message &message, bint multipart):
    """As get() returns it."""
    cdef uint32_t i
    if message.count == 1 and not multipart:
        return frame_bytes(message.frames())
    return [frame_bytes(&message.frames()[i]) for i in range(message.count)]


cdef object sent_frames(_core.Message &message):
    """As they were pushed."""
    cdef uint32_t i
    if message.count == 1:
        return frame_bytes(message.frames())
    return tuple([frame_bytes(&message.frames()[i]) for i in range(message.count)])


cdef object frame_bytes(Msg *msg):
    return PyBytes_FromStringAndSize(<char *> api.msg_data(msg), api.msg_size(msg))

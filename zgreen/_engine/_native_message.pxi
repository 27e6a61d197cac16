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


cdef int append(vector[_core.Message] &batch, frames, _Core core) except -1:
    """`fill` one more."""
    cdef _core.Message empty
    batch.push_back(move(empty))
    try:
        fill(batch.back(), frames, core.releases.get(), core.core.out_hub)
    except BaseException:
        batch.pop_back()
        raise
    return 0


cdef int fill_frame(Msg *msg, frame, Releases *releases) except -1:
    if type(frame) is not bytes:
        return lend_buffer(msg, frame, releases)
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


cdef int lend_buffer(Msg *msg, frame, Releases *releases) except -1:
    """A zmq.Frame, or its subclass: its content stays where it is as long as it lives."""
    cdef Py_buffer view
    PyObject_GetBuffer(frame, &view, PyBUF_SIMPLE)
    try:
        return lend_frame(msg, <char *> view.buf, view.len, frame, releases)
    finally:
        PyBuffer_Release(&view)


cdef object Frame = zmq.Frame


cdef Py_ssize_t find_message() except? -1:
    """Where in a zmq.Frame its `zmq_msg_t` is, in bytes from its beginning; -1: not in the object itself.

    pyzmq does not tell, so we ask libzmq: a short content is kept within the `zmq_msg_t`, at the same place in each.
    """
    cdef Msg msg
    cdef Py_buffer view
    cdef Py_ssize_t place
    frame = Frame(b"x", copy=True)
    if api.msg_init_size(&msg, 1) < 0:
        raise MemoryError("no memory for a frame of 1 byte")
    PyObject_GetBuffer(frame, &view, PyBUF_SIMPLE)
    place = (<char *> view.buf - <char *> <PyObject *> frame) - (<char *> api.msg_data(&msg) - <char *> &msg)
    PyBuffer_Release(&view)
    api.msg_close(&msg)
    return place if 0 < place <= Frame.__basicsize__ - <Py_ssize_t> sizeof(Msg) else -1


cdef Py_ssize_t MESSAGE_IN_FRAME = find_message()


cdef extern from "Python.h":
    # As C has them, without a check for NULL.
    PyObject *PyBytes_FromStringAndSize(const char *, Py_ssize_t)
    PyObject *PyList_New(Py_ssize_t)
    void PyList_SET_ITEM(PyObject *, Py_ssize_t, PyObject *)
    void Py_SET_SIZE(PyObject *, Py_ssize_t)
    void drop "Py_DECREF"(PyObject *)
    int PyGC_Disable()
    int PyGC_Enable()
    int PyObject_GenericSetAttr(object, object, object) except -1  # a plain attribute, without Python code of its class


cdef extern from *:
    """
    static PyObject *checked(PyObject *made) { return made; }
    """
    object checked(PyObject *)  # which raises what is set if it is NULL


cdef PyObject *received_message(_core.Message &message, bint multipart) noexcept:
    """As get() returns it; NULL, and a MemoryError set, if there is no memory.

    No code of Python's runs in here, so no other thread pops from the pipe meanwhile. A new list may set the garbage
    collector off (up to Python 3.11), and with it any finalizer: so that waits.
    """
    if message.count == 1 and not multipart:
        return frame_bytes(message.frames())
    cdef int collects = PyGC_Disable()
    cdef PyObject *frames = list_of_frames(message)
    if collects:
        PyGC_Enable()
    return frames


cdef list received_frames(_core.Message &message):
    """A zmq.Frame for each frame, which is the message's no more; MemoryError: all of them still are. As
    `received_message` it runs no code of Python's."""
    cdef int collects = PyGC_Disable()
    cdef uint32_t i
    try:
        frames = [Frame() for _ in range(message.count)]
        for i in range(message.count):
            PyObject_GenericSetAttr(frames[i], "more", i + 1 < message.count)
        for i in range(message.count):  # the frame's own message is empty, and libzmq moves messages as plain memory
            memcpy(<char *> <PyObject *> frames[i] + MESSAGE_IN_FRAME, &message.frames()[i], sizeof(Msg))
        return frames
    finally:
        if collects:
            PyGC_Enable()


cdef PyObject *list_of_frames(_core.Message &message) noexcept:
    cdef PyObject *frames = PyList_New(message.count)
    cdef PyObject *frame
    cdef uint32_t i
    if frames is NULL:
        return NULL
    for i in range(message.count):
        frame = frame_bytes(&message.frames()[i])
        if frame is NULL:
            drop(frames)
            return NULL
        PyList_SET_ITEM(frames, i, frame)
    return frames


cdef PyObject *frame_bytes(Msg *msg) noexcept:
    return PyBytes_FromStringAndSize(<char *> api.msg_data(msg), api.msg_size(msg))


cdef object sent_frames(_core.Message &message):
    """As they were pushed."""
    if message.count == 1:
        return checked(frame_bytes(message.frames()))
    return tuple(checked(list_of_frames(message)))

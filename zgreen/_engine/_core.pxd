# What is taken from core.hpp.

from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t
from libcpp cimport bool
from libcpp.atomic cimport atomic
from libcpp.memory cimport shared_ptr
from libcpp.vector cimport vector


cdef extern from *:
    """
    // Why core.hpp has thrown, as Python's exception; with the GIL.
    static void raise_os_error() {
        try {
            throw;
        } catch (const std::system_error &error) {
            errno = error.code().value();
            PyErr_SetFromErrno(PyExc_OSError);
        } catch (const std::bad_alloc &) {
            PyErr_NoMemory();
        }
    }
    """
    void raise_os_error()


cdef extern from "core.hpp" namespace "zgreen" nogil:
    cdef cppclass Msg:
        pass

    cdef cppclass Api:
        int (*msg_init)(Msg *) noexcept
        int (*msg_init_size)(Msg *, size_t) noexcept
        int (*msg_init_data)(Msg *, void *, size_t, void (*)(void *, void *) noexcept, void *) noexcept
        void *(*msg_data)(Msg *) noexcept
        size_t (*msg_size)(const Msg *) noexcept
        int (*msg_more)(const Msg *) noexcept
        int (*msg_copy)(Msg *, Msg *) noexcept
        int (*msg_close)(Msg *) noexcept
        int (*msg_send)(Msg *, void *, int) noexcept
        int (*msg_recv)(Msg *, void *, int) noexcept
        int (*getsockopt)(void *, int, void *, size_t *) noexcept
        int (*error)() noexcept

    cdef cppclass Counts:
        atomic[int64_t] made
        atomic[int64_t] freed
        void add_made(int64_t)
        void add_freed(int64_t)

    cdef enum class Lot(uint8_t):
        Stays
        Once
        Gone

    cdef cppclass Message:
        uint64_t token
        uint32_t count
        Lot lot
        Message()
        Msg *frames()
        void reserve(uint32_t) except +
        void close(const Api &, Counts &)

    cdef enum class NoticeKind(uint8_t):
        Room
        Message
        Writable
        Outcome
        Refused

    cdef cppclass Notice:
        NoticeKind kind
        uint64_t pipe
        uint64_t token
        int error
        Message message

    cdef cppclass Inbox:
        bool idle()

    cdef cppclass HubBox:
        void take(vector[Notice] &)
        size_t held()

    cdef cppclass Bell:
        void none()
        void hub()
        void foreign(int) except +raise_os_error
        void answered()

    cdef cppclass Releases:
        @staticmethod
        shared_ptr[Releases] make(int) except +raise_os_error
        void *hint(void *) except +
        void forget(void *)
        @staticmethod
        void free_content(void *, void *) noexcept
        bool any()
        void *take()

    cdef enum class Overflow(uint8_t):
        Block
        DropOldest
        DropNewest

    const size_t kNoLimit

    cdef cppclass ByteLimit:
        size_t held()

    cdef cppclass Fifo:
        size_t size()
        Message &at(size_t)

    cdef cppclass Pipe:
        bool has_room(size_t)
        bool wakes(size_t)
        size_t places(size_t)
        void limit_waiting(size_t)
        bool push(Message) except +
        bool push_all(vector[Message] &) except +
        bool push_once(Message) except +
        bool take_back(uint64_t, Message &)
        bool pop(Message &)
        bool put_back(Message &)
        bool withdraw(Message &) except +
        void finish()
        const uint64_t id
        atomic[bool] open
        atomic[bool] finished
        size_t held()
        size_t pending()
        size_t waiting()
        atomic[uint64_t] settled
        atomic[uint64_t] sent
        atomic[uint64_t] received
        atomic[uint64_t] refused
        atomic[uint64_t] dropped
        atomic[uint64_t] sent_bytes
        atomic[uint64_t] received_bytes
        atomic[uint64_t] peak_pending
        atomic[uint64_t] peak_waiting
        atomic[uint64_t] send_turns
        atomic[uint64_t] receive_turns
        atomic[uint64_t] largest_send
        atomic[uint64_t] largest_receive
        atomic[uint64_t] rings
        atomic[uint64_t] touches
        Bell room
        Bell message
        Bell can_send
        atomic[bool] watched
        atomic[size_t] ahead
        atomic[bool] takes_more
        bool writable()
        void touch()
        double deadline
        uint64_t flush_target
        Fifo out
        ByteLimit out_bytes
        ByteLimit in_bytes

    cdef enum class EventKind(uint8_t):
        Mail
        Failed
        Drained
        Readable
        Flushed

    cdef cppclass Event:
        EventKind kind
        uint64_t number
        int error

    cdef cppclass Looking:
        atomic[uint64_t] hits
        atomic[uint64_t] misses

    cdef cppclass Waiting:
        atomic[uint64_t] wakeups
        Looking looking

    cdef cppclass Core:
        Core(const Api &, int, int, int, double) except +raise_os_error
        const Api api
        HubBox hub
        Inbox inbox
        Counts out_hub
        Counts out_thread
        Counts in_thread
        Counts in_hub
        vector[Event] events
        Waiting waiting
        @staticmethod
        double now()
        shared_ptr[Pipe] make_pipe(int, size_t, size_t, Overflow, size_t, size_t) except +
        void post_mail()
        int attach(const shared_ptr[Pipe] &, void *, int) except +
        void detach(Pipe &) except +
        uint64_t watch(int) except +raise_os_error
        void unwatch(int)
        void make_ready(Pipe &) except +
        void serve_now(Pipe &) except +
        void begin_close(Pipe &, double) except +
        void run(double) except +
        void forget_pipes()

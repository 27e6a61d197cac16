// The native engine's data path: pipes, mailbox wake-ups, the serve/park loop. No Python in this file.
//
// Threads. "Owning thread": runs Core::step. "Hub side": everybody else who calls; under CPython they hold the GIL, so
// among themselves they come one after the other, but they run beside the owning thread. Every field names who may
// touch it and under what. The owning thread holds no lock while it calls libzmq.
//
// Sleeping without lost wake-ups is one pattern throughout: this side writes its data, then reads the other's flag; the
// other writes its flag, then reads the data (all sequentially consistent). Whatever the order, one sees the other.
//
// libzmq is called through a table of functions, so that tests can put a scripted one in its place.

#pragma once

#include <cerrno>
#include <chrono>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <deque>
#include <atomic>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include <poll.h>
#include <unistd.h>
#if defined(__linux__) && !defined(ZGREEN_USE_POLL)  // the tests run both
#define ZGREEN_USE_EPOLL
#include <sys/epoll.h>
#endif

namespace zgreen {

// ---------------------------------------------------------------------------------------------------- libzmq

struct Msg {  // zmq_msg_t, whose size and alignment are part of libzmq's ABI
    alignas(void *) unsigned char bytes[64];
};

struct Api {
    int (*msg_init)(Msg *);
    int (*msg_init_size)(Msg *, size_t);
    int (*msg_init_data)(Msg *, void *, size_t, void (*)(void *, void *), void *);
    void *(*msg_data)(Msg *);
    size_t (*msg_size)(const Msg *);
    int (*msg_more)(const Msg *);
    int (*msg_copy)(Msg *, Msg *);
    int (*msg_close)(Msg *);
    int (*msg_send)(Msg *, void *, int);
    int (*msg_recv)(Msg *, void *, int);
    int (*getsockopt)(void *, int, void *, size_t *);
    int (*error)();
};

enum : int {
    kPair = 0, kReq = 3,
    kEvents = 15, kPollIn = 1, kPollOut = 2,
    kDontWait = 1, kSndMore = 2,
    kHausnumero = 156384712, kEfsm = kHausnumero + 51, kEterm = kHausnumero + 53,
};

// Every Msg that holds content is counted when it is made and when it is freed or given to libzmq: in the end the two
// meet. One such pair for each side and direction, so that the sides do not share a cache line.
struct Counts {
    alignas(64) std::atomic<int64_t> made{0};
    std::atomic<int64_t> freed{0};
    void add_made(int64_t n) { made.fetch_add(n, std::memory_order_relaxed); }
    void add_freed(int64_t n) { freed.fetch_add(n, std::memory_order_relaxed); }
};

// One whole message: `count` frames, none of them shared. Moves by copying bytes, as libzmq's own queues do.
struct Message {
    uint64_t token = 0;  // who wants to know what becomes of it; 0: nobody
    uint32_t count = 0;  // 0: a flush mark
    Msg one;
    std::unique_ptr<Msg[]> many;

    Message() = default;
    Message(Message &&other) noexcept { *this = std::move(other); }
    Message &operator=(Message &&other) noexcept {
        token = other.token;
        count = other.count;
        if (!other.many) one = other.one;
        many = std::move(other.many);
        other.count = 0;
        return *this;
    }
    Msg *frames() { return many ? many.get() : &one; }
    void reserve(uint32_t frames_) {
        if (frames_ > 1) many.reset(new Msg[frames_]);
    }
    void close(const Api &api, Counts &counts) {
        for (uint32_t i = 0; i < count; ++i) api.msg_close(&frames()[i]);
        counts.add_freed(count);
        count = 0;
    }
};

// First in, first out, in two vectors: pushing touches `back`, popping `front`, so that after a swap the two ends need
// no common lock. Keeps its memory while it is small.
class Fifo {
  public:
    bool empty() const { return head_ == front_.size() && back_.empty(); }
    bool front_empty() const { return head_ == front_.size(); }
    void push(Message &&message) { back_.push_back(std::move(message)); }
    Message &front() { return front_[head_]; }
    void pop() {
        front_[head_].many.reset();
        if (++head_ == front_.size()) clear_front();  // here, not in turn(): what comes next may come much later
    }
    void turn() {  // only when front_empty()
        front_.swap(back_);
    }

  private:
    void clear_front() {
        front_.clear();
        head_ = 0;
        if (front_.capacity() > kKeep) std::vector<Message>().swap(front_);
    }
    static constexpr size_t kKeep = 4096;
    std::vector<Message> front_, back_;
    size_t head_ = 0;
};

// ---------------------------------------------------------------------------------------------------- wake-ups

[[noreturn]] inline void fail(const char *what) { throw std::system_error(errno, std::generic_category(), what); }

// A descriptor to write to. Shared, and closed with the last reference: whoever rings holds one, so nobody can ring a
// number that has become somebody else's.
class Ringer {
  public:
    explicit Ringer(int fd) : fd_(::dup(fd)) {
        if (fd_ < 0) fail("dup");  // else who sleeps on it would sleep for ever
    }
    ~Ringer() { ::close(fd_); }
    Ringer(const Ringer &) = delete;
    Ringer &operator=(const Ringer &) = delete;
    void ring() const {
        const uint64_t one = 1;
        while (::write(fd_, &one, sizeof one) < 0 && errno == EINTR) {}
        // EAGAIN: it is full of rings, so it is readable
    }

  private:
    const int fd_;
};

enum class NoticeKind : uint8_t { Room, Message, Outcome, Refused };

struct Notice {  // for the hub
    NoticeKind kind;
    uint64_t pipe;
    uint64_t token;
    int error;
    Message message;  // the refused one
};

// What the owning thread has to say to the hub: notices, and one ring until the hub has looked.
class HubBox {
  public:
    explicit HubBox(int fd) : ringer_(fd) {}
    void send(Notice &&notice) {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            notices_.push_back(std::move(notice));
        }
        ring();
    }
    void ring() {
        if (!rung_.exchange(true)) ringer_.ring();
    }
    void take(std::vector<Notice> &into) {
        rung_.store(false);  // before we look: what comes from here on rings again
        std::lock_guard<std::mutex> lock(mutex_);
        into.swap(notices_);
    }

  private:
    const Ringer ringer_;
    std::atomic<bool> rung_{false};
    std::mutex mutex_;
    std::vector<Notice> notices_;  // under mutex_
};

// Whom to tell that there is room, or a message: nobody, the hub, or a foreign thread that sleeps on a descriptor.
class Bell {
  public:
    void nobody() { set(State::kNobody, nullptr); }
    void hub() { set(State::kHub, nullptr); }
    void foreign(int fd) { set(State::kForeign, std::make_shared<Ringer>(fd)); }
    void answered() { rung_.store(false); }  // the hub, before it looks

    void ring(HubBox &box, NoticeKind kind, uint64_t pipe) {  // the owning thread
        const State state = state_.load();
        if (state == State::kNobody) return;
        if (state == State::kHub) {
            if (!rung_.exchange(true)) box.send(Notice{kind, pipe, 0, 0, Message()});
            return;
        }
        std::shared_ptr<Ringer> ringer;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            ringer = ringer_;
        }
        if (ringer) ringer->ring();
    }

  private:
    enum class State : uint8_t { kNobody, kHub, kForeign };
    void set(State state, std::shared_ptr<Ringer> ringer) {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            ringer_.swap(ringer);
        }
        state_.store(state);
    }
    std::atomic<State> state_{State::kNobody};  // the hub side writes
    std::atomic<bool> rung_{false};
    std::mutex mutex_;
    std::shared_ptr<Ringer> ringer_;  // under mutex_
};

// Owners of content that libzmq reads in place (zmq_msg_init_data): it lets go of it in some thread of its own, the
// owner is released by the hub. Outlives the engine while libzmq holds content.
class Releases : public std::enable_shared_from_this<Releases> {
  public:
    explicit Releases(int hub_ring_fd) : ringer_(hub_ring_fd) {}
    ~Releases() {
        while (freed_) delete std::exchange(freed_, freed_->next);
    }
    Releases(const Releases &) = delete;
    Releases &operator=(const Releases &) = delete;
    void *hint(void *owner) { return new Hint{shared_from_this(), owner, nullptr}; }
    void forget(void *hint_) { delete static_cast<Hint *>(hint_); }  // one that libzmq did not take
    static void free_content(void *, void *hint_) noexcept {  // libzmq's zmq_free_fn; any thread; must not need memory
        Hint *hint = static_cast<Hint *>(hint_);
        const std::shared_ptr<Releases> releases = std::move(hint->releases);  // it may be the last
        bool first;
        {
            std::lock_guard<std::mutex> lock(releases->mutex_);
            first = !releases->freed_;
            hint->next = releases->freed_;
            releases->freed_ = hint;
            releases->any_.store(true);
        }
        if (first) releases->ringer_.ring();
    }
    bool any() const { return any_.load(std::memory_order_relaxed); }
    void take(std::vector<void *> &into) {
        std::lock_guard<std::mutex> lock(mutex_);
        for (; freed_; delete std::exchange(freed_, freed_->next)) into.push_back(freed_->owner);
        any_.store(false);
    }

  private:
    struct Hint {
        std::shared_ptr<Releases> releases;  // until it is on the list
        void *owner;
        Hint *next;
    };
    const Ringer ringer_;
    std::atomic<bool> any_{false};
    std::mutex mutex_;
    Hint *freed_ = nullptr;  // under mutex_
};

// ---------------------------------------------------------------------------------------------------- pipe

enum class Overflow : uint8_t { Block, DropOldest, DropNewest };

class Core;

// The messages of one socket between the two sides, bounded both ways.
class Pipe : public std::enable_shared_from_this<Pipe> {
  public:
    Pipe(Core &core, uint64_t id, int kind, size_t out_max, size_t in_max, Overflow overflow)
        : core(core), id(id), kind(kind), out_max(out_max), in_max(in_max), overflow(overflow) {}
    ~Pipe();

    // --- hub side
    bool has_room(size_t reserved) const { return open.load() && pending.load() + reserved < out_max; }
    bool push(Message &&message);  // false: too late, the message is still the caller's
    bool pop(Message &message);
    bool withdraw(Message &message);  // one that was not sent; after `finished`, one thread

    // --- set once
    Core &core;
    const uint64_t id;
    const int kind;
    const size_t out_max, in_max;
    const Overflow overflow;

    // --- any thread
    std::atomic<bool> open{true};        // hub side writes: puts are welcome
    std::atomic<size_t> pending{0};      // in `out`
    std::atomic<size_t> waiting{0};      // in `in`
    std::atomic<bool> finished{false};   // the owning thread writes, under out_mutex: it will not look at `out` again
    std::atomic<bool> idle{true};        // the owning thread sets: nothing to send; who pushes clears, and touches
    std::atomic<bool> starved{false};    // the owning thread sets: no credit; who pops clears, and touches
    std::atomic<uint64_t> sent{0}, received{0}, refused{0}, dropped{0};  // the owning thread writes
    Bell room, message;
    std::mutex out_mutex;  // over `out`'s back, and `finished`
    std::mutex in_mutex;   // over `in`
    Fifo out;              // the front is the owning thread's; after `finished` the hub side's
    Fifo in;

    // --- owning thread
    void *socket = nullptr;
    int fd = -1;
    bool ready = false;
    bool closing = false;
    bool drained_told = false;
    double deadline = INFINITY;  // of closing
    double retry_at = INFINITY;  // see Core::stall
    uint64_t flush_target = UINT64_MAX;  // tell when so many were sent or refused
    int stalls = 0;              // sends in a row refused although POLLOUT was there
    std::vector<Msg> parts;      // of a message that has not arrived whole

    void touch();  // hub side: have the owning thread look

  private:
    size_t low() const { return in_max / 2; }  // new credit is worth a wake-up from here down
    bool take_front(Message &message);         // under in_mutex
};

// ---------------------------------------------------------------------------------------------------- polling

// Which descriptors are readable, by the number they were registered with; the owning thread.
#ifdef ZGREEN_USE_EPOLL
class Poller {
  public:
    Poller() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {
        if (fd_ < 0) fail("epoll_create1");
    }
    ~Poller() { ::close(fd_); }
    Poller(const Poller &) = delete;
    Poller &operator=(const Poller &) = delete;
    int add(int fd, uint64_t number) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u64 = number;
        return ::epoll_ctl(fd_, EPOLL_CTL_ADD, fd, &event);
    }
    void remove(int fd) { ::epoll_ctl(fd_, EPOLL_CTL_DEL, fd, nullptr); }
    void wait(int milliseconds, std::vector<uint64_t> &numbers) {
        epoll_event events[kBatch];
        const int n = ::epoll_wait(fd_, events, kBatch, milliseconds);
        for (int i = 0; i < n; ++i) numbers.push_back(events[i].data.u64);
    }

  private:
    static constexpr int kBatch = 256;  // the rest is there at the next pass
    const int fd_;
};
#else
class Poller {
  public:
    int add(int fd, uint64_t number) {
        fds_.push_back(pollfd{fd, POLLIN, 0});
        numbers_.push_back(number);
        return 0;
    }
    void remove(int fd) {
        for (size_t i = 0; i < fds_.size(); ++i) {
            if (fds_[i].fd != fd) continue;
            fds_.erase(fds_.begin() + i);
            numbers_.erase(numbers_.begin() + i);
            return;
        }
    }
    void wait(int milliseconds, std::vector<uint64_t> &numbers) {
        if (::poll(fds_.data(), fds_.size(), milliseconds) <= 0) return;
        for (size_t i = 0; i < fds_.size(); ++i)
            if (fds_[i].revents) numbers.push_back(numbers_[i]);
    }

  private:
    std::vector<pollfd> fds_;
    std::vector<uint64_t> numbers_;
};
#endif

// ---------------------------------------------------------------------------------------------------- core

enum class EventKind : uint8_t { Mail, Failed, Drained, Readable, Outcome, Flushed };

struct Event {  // for who runs the loop, in the owning thread
    EventKind kind;
    uint64_t number;  // pipe or watch; Outcome: the token
    int error;
};

constexpr uint64_t kForeignToken = uint64_t(1) << 63;  // answered in the owning thread, not by the hub

class Core {
  public:
    Core(const Api &api, int own_fd, int own_ring_fd, int hub_ring_fd)
        : api(api), hub(hub_ring_fd), own_fd_(own_fd), ringer_(own_ring_fd) {
        arrived_.reserve(kTurn);
        if (poller_.add(own_fd, 0) < 0) fail("epoll_ctl");
    }
    ~Core() {
        for (Message &message : arrived_) message.close(api, in_hub);  // if step() threw
        std::vector<Notice> notices;
        hub.take(notices);
        for (Notice &notice : notices) notice.message.close(api, out_hub);
    }

    const Api api;
    HubBox hub;
    Counts out_hub, out_thread, in_thread, in_hub;  // of messages to send and received; by which side writes

    static double now() {
        using namespace std::chrono;
        return duration<double>(steady_clock::now().time_since_epoch()).count();
    }

    // --- hub side
    std::shared_ptr<Pipe> make_pipe(int kind, size_t out_max, size_t in_max, Overflow overflow) {
        return std::make_shared<Pipe>(*this, ++last_number_, kind, out_max, in_max, overflow);
    }
    void post_mail() {  // there is mail: step() shall return an event for it
        mail_.store(true);
        wake();
    }
    void touch(std::shared_ptr<Pipe> pipe) noexcept {
        {
            std::lock_guard<std::mutex> lock(touched_mutex_);
            try {
                touched_.push_back(std::move(pipe));
            } catch (const std::bad_alloc &) {
                all_touched_ = true;  // the message is in the pipe already, too late to refuse it
            }
        }
        any_touched_.store(true);
        wake();
    }

    // --- owning thread
    std::vector<Event> events;  // what step() found for its caller, who takes it

    int attach(const std::shared_ptr<Pipe> &pipe, void *socket, int fd) {
        ready_.push_back(pipe);  // what may throw comes first; with no descriptor it is passed over
        pipe->ready = true;
        pipes_[pipe->id] = pipe;
        if (poller_.add(fd, pipe->id) < 0) {
            const int error = errno;
            pipes_.erase(pipe->id);
            return error;
        }
        pipe->socket = socket;
        pipe->fd = fd;
        return 0;
    }
    void detach(Pipe &pipe) {
        if (pipe.fd < 0) return;
        poller_.remove(pipe.fd);
        pipe.fd = -1;
        pipe.closing = true;
        timed_.erase(pipe.id);
        for (Msg &part : pipe.parts) api.msg_close(&part);
        in_thread.add_freed(int64_t(pipe.parts.size()));
        pipe.parts.clear();
        {
            std::lock_guard<std::mutex> lock(pipe.out_mutex);
            pipe.finished.store(true);
        }
        pipes_.erase(pipe.id);
    }
    uint64_t watch(int fd) {  // an Event::Readable for each pass in which it is
        const uint64_t number = ++last_number_;
        if (poller_.add(fd, number) < 0) fail("epoll_ctl");
        return number;
    }
    void unwatch(int fd) { poller_.remove(fd); }
    void make_ready(Pipe &pipe) {
        if (pipe.ready || pipe.fd < 0) return;
        ready_.push_back(pipe.shared_from_this());
        pipe.ready = true;
    }
    void begin_close(Pipe &pipe, double linger) {  // Event::Drained when all is sent, or after `linger` seconds
        const double deadline = now() + linger;
        pipe.deadline = pipe.closing && pipe.deadline < deadline ? pipe.deadline : deadline;
        pipe.closing = true;
        timed_[pipe.id] = pipe.shared_from_this();
        make_ready(pipe);
    }

    // One pass: take what was touched, serve what is ready, else sleep up to `timeout` seconds (negative: no limit).
    // Stops early for events.
    void step(double timeout) {
        take_touched();
        for (size_t n = ready_.size(); n > 0; --n) {
            const std::shared_ptr<Pipe> pipe = std::move(ready_.front());
            ready_.pop_front();
            serve(*pipe);
        }
        if (!timed_.empty()) timeout = look_at_clock(timeout);
        if (mail_.exchange(false)) events.push_back(Event{EventKind::Mail, 0, 0});
        poll(events.empty() ? timeout : 0);
    }

  private:
    static constexpr int kTurn = 100;          // messages each way per socket and turn
    static constexpr double kRetry = 0.05;     // seconds; see stall
    static constexpr double kLongest = 60.0;   // seconds; of one sleep beside a timer

    void wake() {
        if (asleep_.exchange(false)) ringer_.ring();
    }

    void take_touched() {
        if (!any_touched_.exchange(false)) return;
        bool all;
        {
            std::lock_guard<std::mutex> lock(touched_mutex_);
            taking_.swap(touched_);
            all = std::exchange(all_touched_, false);
        }
        for (const auto &pipe : taking_) make_ready(*pipe);
        if (all)
            for (const auto &pipe : pipes_) make_ready(*pipe.second);
        taking_.clear();
    }

    void poll(double timeout) {
        asleep_.store(true);
        if (!ready_.empty() || any_touched_.load() || mail_.load()) timeout = 0;
        int milliseconds = -1;
        if (timeout >= 0) milliseconds = timeout * 1000 >= INT_MAX ? INT_MAX : int(std::ceil(timeout * 1000));
        numbers_.clear();
        poller_.wait(milliseconds, numbers_);
        asleep_.store(false);
        for (const uint64_t number : numbers_) {
            if (number == 0) {
                drain();
                continue;
            }
            const auto found = pipes_.find(number);
            if (found != pipes_.end()) make_ready(*found->second);
            else events.push_back(Event{EventKind::Readable, number, 0});
        }
    }

    void drain() {
        char buffer[512];
        while (::read(own_fd_, buffer, sizeof buffer) < 0 && errno == EINTR) {}
    }

    double look_at_clock(double timeout) {
        const double time = now();
        double next = time + (timeout < 0 || timeout > kLongest ? kLongest : timeout);
        for (auto it = timed_.begin(); it != timed_.end();) {
            Pipe &pipe = *it->second;
            if (pipe.retry_at <= time) {
                pipe.retry_at = INFINITY;
                make_ready(pipe);
            }
            if (pipe.closing && pipe.deadline <= time) tell_drained(pipe);
            double due = pipe.retry_at;
            if (pipe.closing && !pipe.drained_told && pipe.deadline < due) due = pipe.deadline;
            if (due == INFINITY) {
                it = timed_.erase(it);
                continue;
            }
            if (due < next) next = due;
            ++it;
        }
        return next > time ? next - time : 0;
    }

    void tell_drained(Pipe &pipe) {
        if (pipe.drained_told) return;
        pipe.drained_told = true;
        events.push_back(Event{EventKind::Drained, pipe.id, 0});
    }

    // One turn. ZMQ_FD is edge-triggered, and any call may eat the edge: so ZMQ_EVENTS is read last, and only a socket
    // that can do nothing is parked until its descriptor is readable or the hub side touches its pipe.
    void serve(Pipe &pipe) {
        pipe.ready = false;
        if (pipe.fd < 0 || pipe.drained_told) return;
        int error = 0;
        const bool refused = send_some(pipe, error);
        if (!error && pipe.closing && pipe.pending.load() == 0) {
            tell_drained(pipe);
            return;
        }
        int events_now = error ? 0 : zmq_events(pipe, error);
        if (!error && events_now & kPollIn && credit(pipe) > 0) {
            receive_some(pipe, error);
            if (!error) events_now = zmq_events(pipe, error);
        }
        if (error) {
            pipe.drained_told = true;  // nothing more of it
            events.push_back(Event{EventKind::Failed, pipe.id, error});
            return;
        }
        // say that we will not look, then look once more
        pipe.idle.store(true);
        pipe.starved.store(true);
        const bool has_credit = credit(pipe) > 0;
        if (has_credit) pipe.starved.store(false);
        const bool has_pending = pipe.pending.load() > 0;
        if (has_pending) pipe.idle.store(false);
        // not refused: the turn's budget is spent; what is next may be a mark, which needs no POLLOUT
        bool writable = has_pending && (events_now & kPollOut || !refused);
        if (refused && writable) writable = !stall(pipe);
        else pipe.stalls = 0;
        if (writable || (has_credit && events_now & kPollIn)) make_ready(pipe);
    }

    // Whether to leave a message alone that is refused although the socket says POLLOUT. Once is a race. Twice: ROUTER
    // with MANDATORY and XPUB with NODROP say POLLOUT when some peer has room, not the one that counts. The descriptor
    // tells when that changes, but any call of ours may eat the edge, so a timer stands behind it.
    bool stall(Pipe &pipe) {
        if (++pipe.stalls < 2) return false;
        pipe.retry_at = now() + kRetry;
        timed_[pipe.id] = pipe.shared_from_this();
        return true;
    }

    int zmq_events(Pipe &pipe, int &error) {
        int value = 0;
        size_t size = sizeof value;
        while (api.getsockopt(pipe.socket, kEvents, &value, &size) < 0) {
            const int e = api.error();
            if (e == EINTR) continue;
            error = e;
            return 0;
        }
        return value;
    }

    static size_t credit(const Pipe &pipe) {
        if (pipe.overflow != Overflow::Block) return SIZE_MAX;
        const size_t waiting = pipe.waiting.load();
        return waiting < pipe.in_max ? pipe.in_max - waiting : 0;
    }

    static void count(std::atomic<uint64_t> &counter, uint64_t n = 1) {  // one writer, so no locked instruction
        counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }

    // Send what is pending, up to a turn's worth; true if libzmq refused for now. `error`: the socket is gone.
    bool send_some(Pipe &pipe, int &error) {
        int done = 0;
        bool refused = false;
        while (done < kTurn) {
            if (pipe.out.front_empty()) {
                if (pipe.pending.load() == 0) break;
                std::lock_guard<std::mutex> lock(pipe.out_mutex);
                pipe.out.turn();
            }
            Message &message = pipe.out.front();
            int e = message.count ? send(pipe, message) : 0;
            if (e == EAGAIN) {
                refused = true;
                break;
            }
            if (e == kEterm || e == ENOTSOCK) {
                error = e;
                break;
            }
            ++done;
            // only now: until libzmq has it, it counts as pending; but before anybody is told what became of it
            pipe.pending.fetch_sub(1);
            try {
                settle(pipe, message, e);
            } catch (...) {
                pipe.pending.fetch_add(1);  // no memory: the loop ends, withdraw() gives what is left
                throw;
            }
            pipe.out.pop();
        }
        if (done) pipe.room.ring(hub, NoticeKind::Room, pipe.id);
        if (pipe.sent.load() + pipe.refused.load() >= pipe.flush_target) {
            pipe.flush_target = UINT64_MAX;
            events.push_back(Event{EventKind::Flushed, pipe.id, 0});
        }
        return refused;
    }

    // Report what became of a message and let go of it.
    void settle(Pipe &pipe, Message &message, int error) {
        const uint64_t token = message.token;
        if (!error) {
            if (message.count) count(pipe.sent);
            out_thread.add_freed(message.count);
            message.count = 0;
            if (token & kForeignToken) events.push_back(Event{EventKind::Outcome, token, 0});
            else if (token) hub.send(Notice{NoticeKind::Outcome, pipe.id, token, 0, Message()});
            return;
        }
        count(pipe.refused);
        if (token) {
            message.close(api, out_thread);
            if (token & kForeignToken) events.push_back(Event{EventKind::Outcome, token, error});
            else hub.send(Notice{NoticeKind::Outcome, pipe.id, token, error, Message()});
        } else {
            Notice notice{NoticeKind::Refused, pipe.id, 0, error, std::move(message)};
            try {
                hub.send(std::move(notice));
            } catch (...) {
                message = std::move(notice.message);
                throw;
            }
        }
    }

    // 0: libzmq has it, all of it. EAGAIN: it has nothing of it. Otherwise refused, for good.
    int send(Pipe &pipe, Message &message) {
        const uint32_t last = message.count - 1;
        Msg *frames = message.frames();
        if (last == 0) return send_frame(pipe, frames[0], kDontWait);
        return send_parts(pipe, message, last);
    }

    int send_frame(Pipe &pipe, Msg &frame, int flags) {
        while (api.msg_send(&frame, pipe.socket, flags) < 0) {
            const int e = api.error();
            if (e == EINTR) continue;
            if (e == kEfsm && pipe.kind == kReq) return EAGAIN;  // it waits for a reply
            return e;
        }
        return 0;
    }

    // The peer may go between two frames: then libzmq has thrown the first ones away. So all but the last are sent as
    // copies (which share large content), and the message is whole until libzmq has the last.
    int send_parts(Pipe &pipe, Message &message, uint32_t last) {
        Msg *frames = message.frames();
        for (uint32_t i = 0; i < last; ++i) {
            const int e = send_copy(pipe, frames[i], kDontWait | kSndMore);
            if (e) return i ? interrupted(pipe, message, i, last, e) : e;
        }
        const int e = send_frame(pipe, frames[last], kDontWait);
        if (e) return interrupted(pipe, message, last, last, e);
        for (uint32_t i = 0; i < last; ++i) api.msg_close(&frames[i]);
        return 0;
    }

    int send_copy(Pipe &pipe, Msg &frame, int flags) {
        Msg copy;
        api.msg_init(&copy);
        if (api.msg_copy(&copy, &frame) < 0) return api.error();
        const int e = send_frame(pipe, copy, flags);
        if (e) api.msg_close(&copy);
        return e;
    }

    // Frame `at`, not the first, was refused. PUSH, DEALER and REQ swallow the rest of that message, which they must be
    // given, or they would swallow the next one's frames instead; PAIR does not.
    int interrupted(Pipe &pipe, Message &message, uint32_t at, uint32_t last, int error) {
        if (error == EAGAIN && pipe.kind != kPair)
            for (uint32_t i = at + 1; i <= last; ++i)
                send_copy(pipe, message.frames()[i], i == last ? kDontWait : kDontWait | kSndMore);
        return error;
    }

    void receive_some(Pipe &pipe, int &error) {
        size_t budget = credit(pipe);
        if (budget > size_t(kTurn)) budget = kTurn;
        arrived_.clear();
        while (arrived_.size() < budget && receive(pipe, error)) {}
        if (arrived_.empty()) return;
        count(pipe.received, arrived_.size());
        deliver(pipe);
        pipe.message.ring(hub, NoticeKind::Message, pipe.id);
    }

    // One whole message onto arrived_; false if there is none now.
    bool receive(Pipe &pipe, int &error) {
        for (;;) {
            Msg part;
            api.msg_init(&part);
            if (api.msg_recv(&part, pipe.socket, kDontWait) < 0) {
                const int e = api.error();
                api.msg_close(&part);
                if (e == EINTR) continue;
                if (e != EAGAIN && e != kEfsm) error = e;  // EFSM: a REP that owes a reply, a REQ without a request
                return false;
            }
            in_thread.add_made(1);
            const bool more = api.msg_more(&part) != 0;
            if (!more && pipe.parts.empty()) {
                Message message;
                message.one = part;
                message.count = 1;
                arrived_.push_back(std::move(message));
                return true;
            }
            try {
                pipe.parts.push_back(part);
            } catch (...) {
                api.msg_close(&part);
                in_thread.add_freed(1);
                throw;
            }
            if (more) continue;
            Message message;
            message.reserve(uint32_t(pipe.parts.size()));
            std::memcpy(static_cast<void *>(message.frames()), pipe.parts.data(), pipe.parts.size() * sizeof(Msg));
            message.count = uint32_t(pipe.parts.size());
            pipe.parts.clear();
            arrived_.push_back(std::move(message));
            return true;
        }
    }

    // arrived_ to the pipe, or dropped as the user chose: what is dropped is in arrived_ then, and freed without the lock.
    void deliver(Pipe &pipe) {
        {
            std::lock_guard<std::mutex> lock(pipe.in_mutex);
            for (Message &message : arrived_) {
                if (pipe.overflow == Overflow::Block || pipe.waiting.load() < pipe.in_max) {
                    pipe.in.push(std::move(message));
                    pipe.waiting.fetch_add(1);
                    continue;
                }
                count(pipe.dropped);
                if (pipe.overflow == Overflow::DropNewest) continue;
                if (pipe.in.front_empty()) pipe.in.turn();
                pipe.in.push(std::move(message));
                message = std::move(pipe.in.front());
                pipe.in.pop();
            }
        }
        for (Message &message : arrived_)
            if (message.count) message.close(api, in_thread);
        arrived_.clear();
    }

    // --- any thread
    std::atomic<bool> asleep_{false};
    std::atomic<bool> mail_{false};
    std::atomic<bool> any_touched_{false};
    std::mutex touched_mutex_;
    std::vector<std::shared_ptr<Pipe>> touched_;  // under touched_mutex_
    bool all_touched_ = false;                    // likewise: there was no memory to say which
    std::atomic<uint64_t> last_number_{0};        // 0 is the signaler's
    // --- owning thread
    const int own_fd_;
    const Ringer ringer_;
    Poller poller_;
    std::unordered_map<uint64_t, std::shared_ptr<Pipe>> pipes_;
    std::unordered_map<uint64_t, std::shared_ptr<Pipe>> timed_;  // those with a deadline or a retry
    std::deque<std::shared_ptr<Pipe>> ready_;                    // round-robin
    std::vector<std::shared_ptr<Pipe>> taking_;
    std::vector<uint64_t> numbers_;
    std::vector<Message> arrived_;
};

// ---------------------------------------------------------------------------------------------------- pipe, once more

inline void Pipe::touch() { core.touch(shared_from_this()); }

inline bool Pipe::push(Message &&message) {
    {
        std::lock_guard<std::mutex> lock(out_mutex);
        if (finished.load()) return false;
        out.push(std::move(message));  // first: it may throw
        pending.fetch_add(1);
    }
    if (idle.load() && idle.exchange(false)) touch();
    return true;
}

inline bool Pipe::pop(Message &message) {
    size_t left;
    {
        std::lock_guard<std::mutex> lock(in_mutex);
        if (!take_front(message)) return false;
        left = waiting.load();
    }
    if (starved.load() && left <= low() && starved.exchange(false)) touch();
    return true;
}

inline bool Pipe::take_front(Message &message) {
    if (in.front_empty()) in.turn();
    if (in.front_empty()) return false;
    message = std::move(in.front());
    in.pop();
    waiting.fetch_sub(1);
    return true;
}

inline bool Pipe::withdraw(Message &message) {
    std::lock_guard<std::mutex> lock(out_mutex);
    finished.store(true);
    if (out.front_empty()) out.turn();
    if (out.front_empty()) return false;
    message = std::move(out.front());
    out.pop();
    pending.fetch_sub(1);
    return true;
}

inline Pipe::~Pipe() {
    Message message;
    while (withdraw(message)) message.close(core.api, core.out_hub);
    while (take_front(message)) message.close(core.api, core.in_hub);
    for (Msg &part : parts) core.api.msg_close(&part);
    core.in_hub.add_freed(int64_t(parts.size()));
}

}  // namespace zgreen

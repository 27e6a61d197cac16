// A scripted libzmq for the tests of core.hpp: sockets in memory behind the same table of functions.
//
// What of libzmq it keeps, because core.hpp relies on it:
// - What happens outside (a message arrives, a peer makes room or goes) is a command in the socket's mailbox. ZMQ_FD is
//   readable while there are commands, and only then; send, recv and EVENTS process them all, which eats the edge.
// - A message is taken whole or not at all. A frame refused with EAGAIN in the middle of one: the frames before it are
//   taken back; PUSH, DEALER and REQ then swallow the rest of that message, and would swallow the next one's otherwise.
// - REQ refuses to send while it waits for a reply, REP while there is no request: EFSM.
// And what it adds: any call can be made to fail on demand, and every content is accounted for: a second close, a use
// after close, an overwritten content and one never freed are violations.
//
// Threads: messages may be made and closed by any thread; a socket belongs to the thread that drives the core; its
// outside (`arrive`, `make_room`, ...) is for any thread. The accounting uses relaxed atomics only, so that it makes no
// order between threads that core.hpp does not make: ThreadSanitizer would not see what is missing there.

#pragma once

#include "core.hpp"

#include <sys/eventfd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <string>

namespace scripted {

#ifdef ZGREEN_SYNC
using zgreen::sync::eventfd;  // the explorer's descriptors are only numbers
#else
using ::eventfd;
#endif
using zgreen::Msg;
using Frames = std::vector<std::string>;

constexpr int kPair = 0, kPush = 8, kPull = 7, kReq = 3, kRep = 4, kDealer = 5, kRouter = 6, kSub = 2;

inline thread_local int last_error = 0;

inline std::atomic<int> violations{0};
inline void violation(const char *what) {
    violations.fetch_add(1, std::memory_order_relaxed);
    std::fprintf(stderr, "libzmq was misused: %s\n", what);
}

// ------------------------------------------------------------------------------------------------ on demand

enum Call { kInit, kInitSize, kInitData, kCopy, kClose, kSend, kRecv, kGetsockopt, kCalls };

// Which calls fail: the n-th from now on (1: the next), or every n-th (for long runs).
class Faults {
  public:
    void clear() {
        for (auto &plan : plans_) plan.clear();
        for (auto &period : periods_) period = {0, 0};
    }
    void at(Call call, uint64_t nth, int error) { plans_[call][count(call) + nth] = error; }
    void every(Call call, uint64_t period, int error) { periods_[call] = {period, error}; }
    uint64_t count(Call call) const { return counts_[call].load(std::memory_order_relaxed); }
    // The error of this call, or 0. The plans are written before the threads start, or while there is one.
    int next(Call call) {
        const uint64_t n = counts_[call].fetch_add(1, std::memory_order_relaxed) + 1;
        if (periods_[call].first && n % periods_[call].first == 0) return periods_[call].second;
        if (plans_[call].empty()) return 0;
        const auto found = plans_[call].find(n);
        return found == plans_[call].end() ? 0 : found->second;
    }

  private:
    std::array<std::atomic<uint64_t>, kCalls> counts_{};
    std::array<std::map<uint64_t, int>, kCalls> plans_;
    std::array<std::pair<uint64_t, int>, kCalls> periods_{};
};
inline Faults faults;

inline bool fails(Call call) {
    const int error = faults.next(call);
    if (error) last_error = error;
    return error != 0;
}
inline int refuse(int error) {
    last_error = error;
    return -1;
}

// ------------------------------------------------------------------------------------------------ contents

struct Content {
    std::atomic<int> references{1};
    std::atomic<bool> shared{false};
    std::string own;
    void *data = nullptr;  // the user's, with `free_fn`
    size_t size = 0;
    void (*free_fn)(void *, void *) = nullptr;
    void *hint = nullptr;
};

// What stands in the 64 bytes. A handle is one right to one content: it moves with the bytes and is closed once.
struct View {
    uint64_t magic;
    uint64_t handle;  // 0: empty
    Content *content;
    uint64_t more;
};
static_assert(sizeof(View) <= sizeof(Msg));
constexpr uint64_t kAlive = 0x5a6d716d73676c69, kClosed = 0xdeaddeaddeaddead;

inline View *view(const Msg *msg) { return reinterpret_cast<View *>(const_cast<Msg *>(msg)->bytes); }

class Handles {
  public:
    uint64_t make() {
        for (;;) {
            const uint64_t handle = last_.fetch_add(1, std::memory_order_relaxed) + 1;
            uint64_t none = 0;
            if (slot(handle).compare_exchange_strong(none, handle, std::memory_order_relaxed)) {
                made_.fetch_add(1, std::memory_order_relaxed);
                return handle;
            }
        }
    }
    bool alive(uint64_t handle) { return slot(handle).load(std::memory_order_relaxed) == handle; }
    bool close(uint64_t handle) {
        if (!slot(handle).compare_exchange_strong(handle, 0, std::memory_order_relaxed)) return false;
        closed_.fetch_add(1, std::memory_order_relaxed);
        return true;
    }
    int64_t open() const { return int64_t(made_.load()) - int64_t(closed_.load()); }

  private:
    static constexpr size_t kSlots = size_t(1) << 18;  // more than there are at a time
    std::atomic<uint64_t> &slot(uint64_t handle) { return slots_[handle % kSlots]; }
    std::unique_ptr<std::atomic<uint64_t>[]> slots_{new std::atomic<uint64_t>[kSlots]()};
    std::atomic<uint64_t> last_{0}, made_{0}, closed_{0};
};
inline Handles handles;
inline std::atomic<int64_t> contents{0};    // alive
inline std::atomic<int64_t> free_calls{0};  // of init_data's free functions

inline Content *content_of(const Msg *msg, const char *who) {
    const View *v = view(msg);
    if (v->magic != kAlive) {
        violation(who);
        return nullptr;
    }
    if (v->handle == 0) return nullptr;
    if (!handles.alive(v->handle)) {
        violation(who);
        return nullptr;
    }
    return v->content;
}

inline void set_empty(Msg *msg) { *view(msg) = View{kAlive, 0, nullptr, 0}; }
inline void set_content(Msg *msg, Content *content) { *view(msg) = View{kAlive, handles.make(), content, 0}; }

inline void release(Content *content) {
    if (content->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    contents.fetch_sub(1, std::memory_order_relaxed);
    if (content->free_fn) {
        free_calls.fetch_add(1, std::memory_order_relaxed);
        content->free_fn(content->data, content->hint);
    }
    delete content;
}

inline Content *new_content() {
    contents.fetch_add(1, std::memory_order_relaxed);
    return new Content;
}

inline int msg_init(Msg *msg) {
    if (fails(kInit)) return -1;
    set_empty(msg);
    return 0;
}

inline int msg_init_size(Msg *msg, size_t size) {
    if (fails(kInitSize)) return -1;
    Content *content = new_content();
    content->own.resize(size);
    set_content(msg, content);
    return 0;
}

inline int msg_init_data(Msg *msg, void *data, size_t size, void (*free_fn)(void *, void *), void *hint) {
    if (fails(kInitData)) return -1;
    Content *content = new_content();
    content->data = data;
    content->size = size;
    content->free_fn = free_fn;
    content->hint = hint;
    set_content(msg, content);
    return 0;
}

inline void *msg_data(Msg *msg) {
    Content *content = content_of(msg, "data of a closed message");
    if (!content) return nullptr;
    return content->free_fn ? content->data : content->own.data();
}

inline size_t msg_size(const Msg *msg) {
    const Content *content = content_of(msg, "size of a closed message");
    if (!content) return 0;
    return content->free_fn ? content->size : content->own.size();
}

inline int msg_more(const Msg *msg) {
    content_of(msg, "more of a closed message");
    return int(view(msg)->more);
}

inline int close_unasked(Msg *msg) {
    View *v = view(msg);
    if (v->magic != kAlive) {
        violation("close of a closed message");
        return refuse(EFAULT);
    }
    v->magic = kClosed;
    if (v->handle == 0) return 0;
    if (!handles.close(v->handle)) {
        violation("second close of one content");
        return refuse(EFAULT);
    }
    release(v->content);
    return 0;
}

inline int msg_close(Msg *msg) {
    faults.next(kClose);
    return close_unasked(msg);
}

inline int msg_copy(Msg *to, Msg *from) {
    if (fails(kCopy)) return -1;
    Content *content = content_of(from, "copy of a closed message");
    if (close_unasked(to) < 0) return -1;
    if (!content) {
        set_empty(to);
        return 0;
    }
    content->references.fetch_add(1, std::memory_order_relaxed);
    set_content(to, content);
    return 0;
}

inline std::string text_of(const Msg *msg) {
    return std::string(static_cast<char *>(msg_data(const_cast<Msg *>(msg))), msg_size(msg));
}

// ------------------------------------------------------------------------------------------------ sockets

class Socket {
  public:
    explicit Socket(int kind) : kind(kind) {}
    Socket(const Socket &) = delete;
    Socket &operator=(const Socket &) = delete;
    ~Socket() {
        for (auto &message : half_)
            close_unasked(&message);
        for (auto &message : arrived_)
            for (auto &frame : message) close_unasked(&frame);
        for (auto &command : commands_)
            for (auto &frame : command.message) close_unasked(&frame);
        zgreen::sync::close(fd);
    }

    const int kind;
    const int fd = scripted::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    // --- the outside; any thread
    void arrive(std::vector<Msg> &&message) { post(Command{Command::kMessage, 0, std::move(message)}); }
    void arrive(const Frames &frames) {
        std::vector<Msg> message;
        for (size_t i = 0; i < frames.size(); ++i) {
            Msg msg;
            Content *content = new_content();
            content->own = frames[i];
            set_content(&msg, content);
            view(&msg)->more = i + 1 < frames.size();
            message.push_back(msg);
        }
        arrive(std::move(message));
    }
    void make_room(size_t messages) { post(Command{Command::kRoom, messages, {}}); }
    void take_room() { post(Command{Command::kRoom, size_t(-1), {}}); }  // for one message: its peer has gone
    void nudge() { post(Command{Command::kRoom, 0, {}}); }  // a command that changes nothing
    // What the peer is given; else it is kept in `taken`. Set before the first message.
    Socket *peer = nullptr;

    // --- the thread that drives the core
    std::vector<Frames> taken;         // whole messages, as libzmq took them
    std::vector<Frames> swallowed;     // rests of messages whose first frames were refused
    bool says_writable = false;        // POLLOUT although it refuses: ROUTER with MANDATORY
    bool terminated = false;           // every call: ETERM
    std::vector<const char *> calls;   // what core.hpp did to it, if `logging`
    bool logging = false;
    std::vector<std::pair<const char *, std::function<void()>>> during;  // once, while this call runs, at its end

    size_t room() const { return room_; }
    void break_pipe_after(size_t frames) { break_after_ = frames + 1; }  // the peer goes after so many frames

    int send(Msg *msg, int flags) {
        note("send");
        const int rc = send_now(msg, flags);
        happen("send");
        return rc;
    }
    int recv(Msg *msg, int flags) {
        note("recv");
        const int rc = recv_now(msg, flags);
        happen("recv");
        return rc;
    }
    int events(int *value) {
        note("events");
        if (fails(kGetsockopt)) return -1;
        if (terminated) return refuse(zgreen::kEterm);
        process();
        *value = (readable() ? zgreen::kPollIn : 0) | (writable() ? zgreen::kPollOut : 0);
        happen("events");
        return 0;
    }

  private:
    struct Command {
        enum { kMessage, kRoom } what;
        size_t room;
        std::vector<Msg> message;
    };

    void post(Command &&command) {
        std::lock_guard<std::mutex> lock(mutex_);
        commands_.push_back(std::move(command));
        const uint64_t one = 1;
        if (commands_.size() == 1 && zgreen::sync::write(fd, &one, sizeof one) < 0) std::abort();
    }

    void process() {
        std::deque<Command> commands;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            if (commands_.empty()) return;
            commands.swap(commands_);
            uint64_t ignored;
            if (zgreen::sync::read(fd, &ignored, sizeof ignored) < 0) std::abort();
        }
        for (Command &command : commands) {
            room_ += command.room;
            if (command.what == Command::kMessage) arrived_.emplace_back(command.message.begin(), command.message.end());
        }
    }

    bool swallows() const { return kind == kPush || kind == kDealer || kind == kReq; }
    bool readable() const {
        if (arrived_.empty()) return false;
        return !(kind == kRep && owes_) && !(kind == kReq && !owes_);
    }
    bool writable() const {
        if (kind == kRep) return owes_;
        if (kind == kReq && owes_) return false;
        return says_writable || room_ > 0;
    }

    int refuse_frame(const Msg *msg, bool more, int error) {
        content_of(msg, "send of a closed message");
        const bool middle = !half_.empty();
        for (auto &frame : half_) close_unasked(&frame);
        half_.clear();
        if (middle && error == EAGAIN && swallows() && more) {
            swallowing_ = true;
            swallowed.emplace_back();
        }
        return refuse(error);
    }

    int send_now(Msg *msg, int flags) {
        const int error = faults.next(kSend);
        const bool more = flags & zgreen::kSndMore;
        if (!(flags & zgreen::kDontWait)) violation("send that may block");
        if (error == EINTR) return refuse(EINTR);
        if (terminated) return refuse(zgreen::kEterm);
        process();
        // EFSM in the middle stands for "not now", which only REQ has
        if (error) return refuse_frame(msg, more, error == zgreen::kEfsm && kind == kReq && !half_.empty() ? EAGAIN : error);
        if (swallowing_) {
            swallowed.back().push_back(text_of(msg));
            close_unasked(msg);
            set_empty(msg);
            swallowing_ = more;
            return 0;
        }
        if (half_.empty()) {
            if (kind == kRep && !owes_) return refuse(zgreen::kEfsm);
            if (kind == kReq && owes_) return refuse(zgreen::kEfsm);
            if (room_ == 0) return refuse_frame(msg, more, EAGAIN);
        }
        if (break_after_ && --break_after_ == 0) return refuse_frame(msg, more, EAGAIN);
        if (!content_of(msg, "send of a closed message")) violation("send of an empty message");
        view(msg)->more = more;
        half_.push_back(*msg);
        set_empty(msg);
        if (more) return 0;
        --room_;
        if (kind == kRep) owes_ = false;
        if (kind == kReq) owes_ = true;
        std::vector<Msg> whole;
        whole.swap(half_);
        if (peer) {
            peer->arrive(std::move(whole));
            return 0;
        }
        taken.emplace_back();
        for (Msg &frame : whole) {
            taken.back().push_back(text_of(&frame));
            close_unasked(&frame);
        }
        return 0;
    }

    int recv_now(Msg *msg, int flags) {
        if (!(flags & zgreen::kDontWait)) violation("recv that may block");
        if (view(msg)->magic != kAlive || view(msg)->handle != 0) violation("recv into what is not an empty message");
        if (fails(kRecv)) return -1;
        if (terminated) return refuse(zgreen::kEterm);
        process();
        if (kind == kRep && owes_) return refuse(zgreen::kEfsm);
        if (kind == kReq && !owes_) return refuse(zgreen::kEfsm);
        if (arrived_.empty()) return refuse(EAGAIN);
        *msg = arrived_.front().front();
        arrived_.front().pop_front();
        if (!arrived_.front().empty()) return int(msg_size(msg));
        arrived_.pop_front();
        if (kind == kRep) owes_ = true;
        if (kind == kReq) owes_ = false;
        if (sender) sender->make_room(1);
        return int(msg_size(msg));
    }

    void note(const char *call) {
        if (logging) calls.push_back(call);
    }
    void happen(const char *call) {
        for (size_t i = 0; i < during.size(); ++i) {
            if (std::strcmp(during[i].first, call) != 0) continue;
            const auto what = std::move(during[i].second);
            during.erase(during.begin() + long(i));
            what();
            return;
        }
    }

    std::mutex mutex_;
    std::deque<Command> commands_;  // under mutex_
    // --- the thread that drives the core
    std::deque<std::deque<Msg>> arrived_;
    std::vector<Msg> half_;  // of the message that is being sent
    size_t room_ = 0;        // messages
    size_t break_after_ = 0;
    bool swallowing_ = false;
    bool owes_ = false;  // REP: a reply; REQ: is owed one

  public:
    Socket *sender = nullptr;  // who gets room when a message is read here
};

inline int msg_send(Msg *msg, void *socket, int flags) { return static_cast<Socket *>(socket)->send(msg, flags); }
inline int msg_recv(Msg *msg, void *socket, int flags) { return static_cast<Socket *>(socket)->recv(msg, flags); }
inline int getsockopt(void *socket, int option, void *value, size_t *size) {
    if (option != zgreen::kEvents || *size != sizeof(int)) return refuse(EINVAL);
    return static_cast<Socket *>(socket)->events(static_cast<int *>(value));
}
inline int error() { return last_error; }

inline zgreen::Api api() {
    return {msg_init, msg_init_size, msg_init_data, msg_data, msg_size,   msg_more,
            msg_copy, msg_close,     msg_send,      msg_recv, getsockopt, error};
}

}  // namespace scripted

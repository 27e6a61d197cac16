// How the owning thread wakes the hub and foreign threads. Part of core.hpp.

#pragma once

#include <cerrno>
#include <cstdint>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "core_message.hpp"
#include "core_sync.hpp"

namespace zgreen {

[[noreturn]] inline void fail(const char *what) { throw std::system_error(errno, std::generic_category(), what); }

// A descriptor to write to. Shared, and closed with the last reference. A thread that rings holds a reference, so it
// cannot write to a number that has been given to another file.
class Ringer {
  public:
    explicit Ringer(int fd) : fd_(sync::dup(fd)) {
        if (fd_ < 0) fail("dup");  // otherwise the thread that sleeps on it would sleep for ever
    }
    ~Ringer() { sync::close(fd_); }
    Ringer(const Ringer &) = delete;
    Ringer &operator=(const Ringer &) = delete;
    void ring() const {
        const uint64_t one = 1;
        while (sync::write(fd_, &one, sizeof one) < 0 && errno == EINTR) {}
        // EAGAIN: it is full of rings, so it is readable
    }

  private:
    const int fd_;
};

enum class NoticeKind : uint8_t { Room, Message, Writable, Outcome, Refused };

struct Notice {  // for the hub
    NoticeKind kind;
    uint64_t pipe;
    uint64_t token;
    int error;
    Message message;  // the refused one
};

// Messages of the owning thread to the hub: notices, and one ring until the hub has looked.
class HubBox {
  public:
    explicit HubBox(int fd) : ringer_(fd) {}
    void send(Notice &&notice) {
        {
            sync::lock_guard lock(mutex_);
            notices_.push_back(std::move(notice));
        }
        ring();
    }
    void ring() {
        if (!rung_.exchange(true)) ringer_.ring();
    }
    void take(std::vector<Notice> &into) {
        rung_.store(false);  // before the look: a notice that comes from here on rings again
        sync::lock_guard lock(mutex_);
        into.swap(notices_);
    }
    size_t held() {  // frames
        sync::lock_guard lock(mutex_);
        size_t n = 0;
        for (const Notice &notice : notices_) n += notice.message.count;
        return n;
    }

  private:
    const Ringer ringer_;
    sync::atomic<bool> rung_{false};
    sync::mutex mutex_;
    std::vector<Notice> notices_;  // under mutex_
};

// Which thread to tell of room, or of a message: none, the hub, or a foreign thread that sleeps on a descriptor.
class Bell {
  public:
    void none() { set(State::kNone, nullptr); }
    void hub() { set(State::kHub, nullptr); }
    void foreign(int fd) { set(State::kForeign, std::make_shared<Ringer>(fd)); }
    void answered() { rung_.store(false); }  // the hub, before it looks

    bool ring(HubBox &box, NoticeKind kind, uint64_t pipe) {  // the owning thread; whether a thread was told
        const State state = state_.load();
        if (state == State::kNone) return false;
        if (state == State::kHub) {
            if (rung_.exchange(true)) return false;
            box.send(Notice{kind, pipe, 0, 0, Message()});
            return true;
        }
        std::shared_ptr<Ringer> ringer;
        {
            sync::lock_guard lock(mutex_);
            ringer = ringer_;
        }
        if (ringer) ringer->ring();
        return ringer != nullptr;
    }

  private:
    enum class State : uint8_t { kNone, kHub, kForeign };
    void set(State state, std::shared_ptr<Ringer> ringer) {
        {
            sync::lock_guard lock(mutex_);
            ringer_.swap(ringer);
        }
        state_.store(state);
    }
    sync::atomic<State> state_{State::kNone};  // the hub side writes
    sync::atomic<bool> rung_{false};
    sync::mutex mutex_;
    std::shared_ptr<Ringer> ringer_;  // under mutex_
};

// Owners of content that libzmq reads in place (zmq_msg_init_data). libzmq frees it in some thread of its own; the hub
// then releases the owner. Outlives the engine while libzmq holds content.
class Releases : public std::enable_shared_from_this<Releases> {
  public:
    explicit Releases(int hub_ring_fd) : ringer_(hub_ring_fd) {}
    ~Releases() {
        while (freed_) delete std::exchange(freed_, freed_->next);
    }
    Releases(const Releases &) = delete;
    Releases &operator=(const Releases &) = delete;
    static std::shared_ptr<Releases> make(int hub_ring_fd) { return std::make_shared<Releases>(hub_ring_fd); }
    void *hint(void *owner) { return new Hint{shared_from_this(), owner, nullptr}; }
    void forget(void *hint_) { delete static_cast<Hint *>(hint_); }  // one that libzmq did not take
    static void free_content(void *, void *hint_) noexcept {  // libzmq's zmq_free_fn; any thread; must not need memory
        Hint *hint = static_cast<Hint *>(hint_);
        const std::shared_ptr<Releases> releases = std::move(hint->releases);  // it may be the last
        bool first;
        {
            sync::lock_guard lock(releases->mutex_);
            first = !releases->freed_;
            hint->next = releases->freed_;
            releases->freed_ = hint;
            releases->any_.store(true);
        }
        if (first) releases->ringer_.ring();
    }
    bool any() const { return any_.load(std::memory_order_relaxed); }
    void *take() noexcept {  // one of the owners, or none; must not need memory: its caller has more to do
        sync::lock_guard lock(mutex_);
        void *owner = nullptr;
        if (freed_) {
            owner = freed_->owner;
            delete std::exchange(freed_, freed_->next);
        }
        any_.store(freed_ != nullptr);
        return owner;
    }

  private:
    struct Hint {
        std::shared_ptr<Releases> releases;  // until it is on the list
        void *owner;
        Hint *next;
    };
    const Ringer ringer_;
    sync::atomic<bool> any_{false};
    sync::mutex mutex_;
    Hint *freed_ = nullptr;  // under mutex_
};

}  // namespace zgreen

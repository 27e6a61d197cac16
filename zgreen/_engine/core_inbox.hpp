// How the hub side tells the owning thread that there is work. Part of core.hpp.

#pragma once

#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "core_sync.hpp"
#include "core_wakeup.hpp"

namespace zgreen {

class Pipe;

// Notes of the hub side for the owning thread: pipes to look at, and whether there is mail.
class Inbox {
  public:
    explicit Inbox(int own_ring_fd) : ringer_(own_ring_fd) {}

    // --- hub side
    void post_mail() {
        mail_.store(true);
        wake();
    }
    void touch(std::shared_ptr<Pipe> pipe) noexcept {
        {
            sync::lock_guard lock(mutex_);
            try {
                touched_.push_back(std::move(pipe));
            } catch (const std::bad_alloc &) {
                all_ = true;  // the message is in the pipe already, too late to refuse it
            }
        }
        any_.store(true);
        wake();
    }

    // Whether the owning thread has nothing to do, as far as it knows, and nothing was posted; any thread.
    bool idle() const { return resting_.load() && !any_.load() && !mail_.load(); }

    // --- owning thread
    bool take_mail() { return mail_.load() && mail_.exchange(false); }
    bool take(std::vector<std::shared_ptr<Pipe>> &into) {  // true: look at all pipes
        if (!any_.load() || !any_.exchange(false)) return false;
        sync::lock_guard lock(mutex_);
        into.swap(touched_);
        return std::exchange(all_, false);
    }
    void rest(bool now) { resting_.store(now); }  // it sleeps, or looks for work: until there is some, it does nothing
    bool has_any() const { return any_.load() || mail_.load(); }
    bool sleep() {  // say "asleep", then look once more; whether there is nothing to take
        asleep_.store(true);
        return !any_.load() && !mail_.load();
    }
    void wake_up() { asleep_.store(false); }

  private:
    void wake() {
        if (asleep_.load() && asleep_.exchange(false)) ringer_.ring();
    }
    sync::atomic<bool> asleep_{false};
    sync::atomic<bool> resting_{false};
    sync::atomic<bool> mail_{false};
    sync::atomic<bool> any_{false};
    sync::mutex mutex_;
    std::vector<std::shared_ptr<Pipe>> touched_;  // under mutex_
    bool all_ = false;                            // likewise: there was no memory to say which
    const Ringer ringer_;
};

}  // namespace zgreen

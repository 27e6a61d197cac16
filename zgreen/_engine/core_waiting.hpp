// How the owning thread waits for work: it may look for it for a while, and then it sleeps. Part of core.hpp.

#pragma once

#include <cerrno>
#include <climits>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core_inbox.hpp"
#include "core_looking.hpp"
#include "core_poller.hpp"
#include "core_sync.hpp"
#include "core_wakeup.hpp"

namespace zgreen {

// The owning thread, where nothing else is said.
class Waiting {
  public:
    // `own_fd`: what is readable when the hub side rings. `busy_wait`: seconds, the longest look before a sleep.
    Waiting(Inbox &inbox, int own_fd, double busy_wait) : looking(busy_wait), inbox_(inbox), own_fd_(own_fd) {
        if (poller.add(own_fd, kSignaler) < 0) fail("epoll_ctl");
    }
    Waiting(const Waiting &) = delete;
    Waiting &operator=(const Waiting &) = delete;

    sync::atomic<uint64_t> wakeups{0};  // how often it has slept; it writes, any thread reads
    Looking looking;
    Poller poller;  // the numbers that are added to it are above 0

    // The numbers of the descriptors that are readable. Unless there are some, or notes in the inbox, it waits for either
    // for up to `timeout` seconds (negative: no limit).
    const std::vector<uint64_t> &wait(double timeout) {
        numbers_.clear();
        if (timeout == 0) {
            poller.wait(0, numbers_);
        } else {
            inbox_.rest(true);
            if (!look(timeout)) sleep(timeout);
            inbox_.rest(false);
        }
        for (size_t i = 0; i < numbers_.size(); ++i) {
            if (numbers_[i] != kSignaler) continue;
            drain();
            numbers_.erase(numbers_.begin() + i);
            break;
        }
        return numbers_;
    }

  private:
    static constexpr uint64_t kSignaler = 0;

    // Look for work for a while, if that is worth it; whether there is some. Meanwhile no thread rings, as this one has
    // not said that it sleeps: so it looks once more when it has.
    bool look(double timeout) {
        if (!looking.begin(timeout)) return false;
        do {
            poller.wait(0, numbers_);
            if (!numbers_.empty() || inbox_.has_any()) {
                looking.found();
                return true;
            }
        } while (looking.go_on());
        return false;
    }

    void sleep(double timeout) {
        if (!inbox_.sleep()) timeout = 0;
        int milliseconds = -1;
        if (timeout >= 0) milliseconds = timeout * 1000 >= INT_MAX ? INT_MAX : int(std::ceil(timeout * 1000));
        poller.wait(milliseconds, numbers_);
        if (milliseconds != 0) count(wakeups);
        inbox_.wake_up();
        looking.slept();
    }

    void drain() {
        char buffer[512];
        while (sync::read(own_fd_, buffer, sizeof buffer) < 0 && errno == EINTR) {}
    }

    Inbox &inbox_;
    const int own_fd_;
    std::vector<uint64_t> numbers_;  // of the last wait
};

}  // namespace zgreen

// Which descriptors are readable: epoll, or poll where there is none. Part of core.hpp.

#pragma once

#include <cstdint>
#include <vector>

#include <poll.h>
#include <unistd.h>
#if defined(__linux__) && !defined(ZGREEN_USE_POLL)  // the tests run both
#define ZGREEN_USE_EPOLL
#include <sys/epoll.h>
#endif

#include "core_sync.hpp"
#include "core_wakeup.hpp"

namespace zgreen {

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
    static constexpr int kBatch = 256;  // the others are reported in the next pass
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
        if (sync::poll(fds_.data(), fds_.size(), milliseconds) <= 0) return;
        for (size_t i = 0; i < fds_.size(); ++i)
            if (fds_[i].revents) numbers.push_back(numbers_[i]);
    }

  private:
    std::vector<pollfd> fds_;
    std::vector<uint64_t> numbers_;
};
#endif

}  // namespace zgreen

// In place of what core_sync.hpp has for production: every use of an atomic, a mutex or a descriptor is a point at
// which the scheduler may let another thread go on. Descriptors are only numbers here.

#pragma once

#include "explore_scheduler.hpp"

#include <atomic>
#include <cerrno>

#include <poll.h>
#include <sys/types.h>

namespace explore {

// The planted mistake that this run is about; see tests/planted.py. 0: none.
inline int planted = 0;

}  // namespace explore

namespace zgreen::sync {

using explore::scheduler;

template <typename T>
class atomic {
  public:
    atomic() = default;
    atomic(T value) : value_(value) {}
    atomic(const atomic &) = delete;
    atomic &operator=(const atomic &) = delete;
    T load(std::memory_order = std::memory_order_seq_cst, EXPLORE_HERE) const {
        scheduler.point(id_, false, {file, line});
        scheduler.result(static_cast<long long>(value_));
        return value_;
    }
    void store(T value, std::memory_order = std::memory_order_seq_cst, EXPLORE_HERE) {
        scheduler.point(id_, true, {file, line});
        value_ = value;
    }
    T exchange(T value, std::memory_order = std::memory_order_seq_cst, EXPLORE_HERE) {
        scheduler.point(id_, true, {file, line});
        scheduler.result(static_cast<long long>(value_));
        return std::exchange(value_, value);
    }
    T fetch_add(T value, std::memory_order = std::memory_order_seq_cst, EXPLORE_HERE) {
        scheduler.point(id_, true, {file, line});
        return std::exchange(value_, T(value_ + value));
    }
    T operator++() { return T(fetch_add(1) + 1); }
    operator T() const { return load(); }

  private:
    T value_{};
    const explore::Id id_ = scheduler.new_id();
};

class mutex {
  public:
    mutex() = default;
    mutex(const mutex &) = delete;
    mutex &operator=(const mutex &) = delete;
    void lock(EXPLORE_HERE) {
        scheduler.point(id_, true, {file, line});
        if (!scheduler.wait([this] { return !locked_; }, -1, "for a mutex") && scheduler.running())
            scheduler.fail("a mutex is held for ever");
        locked_ = true;
    }
    void unlock() { locked_ = false; }

  private:
    bool locked_ = false;
    const explore::Id id_ = scheduler.new_id();
};

class lock_guard {
  public:
    explicit lock_guard(mutex &mutex, EXPLORE_HERE) : mutex_(mutex) { mutex.lock(file, line); }
    ~lock_guard() { mutex_.unlock(); }
    lock_guard(const lock_guard &) = delete;
    lock_guard &operator=(const lock_guard &) = delete;

  private:
    mutex &mutex_;
};

// ------------------------------------------------------------------------------------------------ descriptors

struct File {
    bool readable = false;
    const explore::Id id = scheduler.new_id();
};

class Files {
  public:
    int open(std::shared_ptr<File> file) {
        int fd = 0;
        while (size_t(fd) < files_.size() && files_[size_t(fd)]) ++fd;
        if (size_t(fd) == files_.size()) files_.emplace_back();
        files_[size_t(fd)] = std::move(file);
        return fd;
    }
    void close(int fd) {
        get(fd);
        files_[size_t(fd)].reset();
    }
    const std::shared_ptr<File> &get(int fd) const {
        if (fd < 0 || size_t(fd) >= files_.size() || !files_[size_t(fd)]) scheduler.fail("a closed descriptor is used");
        return files_[size_t(fd)];
    }
    size_t count() const {
        size_t n = 0;
        for (const auto &file : files_) n += file != nullptr;
        return n;
    }

  private:
    std::vector<std::shared_ptr<File>> files_;
};
inline Files files;

inline int eventfd(unsigned, int) { return files.open(std::make_shared<File>()); }
inline int dup(int fd) { return files.open(files.get(fd)); }
inline int close(int fd) {
    files.close(fd);
    return 0;
}
inline ssize_t write(int fd, const void *, size_t size, EXPLORE_HERE) {
    File &f = *files.get(fd);
    scheduler.point(f.id, true, {file, line});
    f.readable = true;
    return ssize_t(size);
}
inline ssize_t read(int fd, void *, size_t size, EXPLORE_HERE) {
    File &f = *files.get(fd);
    scheduler.point(f.id, true, {file, line});
    if (!std::exchange(f.readable, false)) {
        errno = EAGAIN;
        return -1;
    }
    return ssize_t(size);
}
inline int poll(pollfd *fds, size_t n, int milliseconds, EXPLORE_HERE) {
    std::vector<explore::Id> ids;
    for (size_t i = 0; i < n; ++i) ids.push_back(files.get(fds[i].fd)->id);
    scheduler.point(ids.data(), n, false, {file, line});
    const auto look = [&] {
        int readable = 0;
        for (size_t i = 0; i < n; ++i) {
            fds[i].revents = files.get(fds[i].fd)->readable ? POLLIN : 0;
            readable += fds[i].revents != 0;
        }
        return readable;
    };
    if (milliseconds != 0) scheduler.wait([&] { return look() > 0; }, milliseconds / 1e3, "in the poller");
    return look();
}

inline double now() { return scheduler.now(); }
inline void yield() { scheduler.give_way(1e-4); }

}  // namespace zgreen::sync

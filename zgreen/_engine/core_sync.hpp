// All means by which threads can notice each other, and the clock, in one place. Part of core.hpp.
//
// The explorer (tests/core/explore.cpp) runs the core with its own versions of these names, with which it decides at
// each of them which thread goes on. So no other part of the core uses std::atomic, std::mutex or the system calls
// below.

#pragma once

#ifdef ZGREEN_SYNC
#include ZGREEN_SYNC
#else

#include <atomic>
#include <chrono>
#include <mutex>

#include <poll.h>
#include <sched.h>
#include <unistd.h>

namespace zgreen::sync {

template <typename T>
using atomic = std::atomic<T>;
using mutex = std::mutex;
using lock_guard = std::lock_guard<std::mutex>;

using ::close;
using ::dup;
using ::poll;
using ::read;
using ::write;

inline double now() {  // seconds
    using namespace std::chrono;
    return duration<double>(steady_clock::now().time_since_epoch()).count();
}

inline void yield() { ::sched_yield(); }  // let other threads run on this core

}  // namespace zgreen::sync

#endif

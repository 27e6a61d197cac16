// When the owning thread looks for work before it sleeps, and for how long. Part of core.hpp.
//
// To sleep and to be woken often costs both sides more than the work itself. So a thread whose last waits were short
// looks for a while at its inbox and at its descriptors, and lets other threads run between two looks. A thread whose
// waits are long, an idle one above all, sleeps at once.

#pragma once

#include <algorithm>
#include <cstdint>

#include <unistd.h>

#include "core_message.hpp"
#include "core_sync.hpp"

namespace zgreen {

// For how long a thread may look. Times are seconds, moments those of sync::now(); no clock of its own.
class Grant {
  public:
    explicit Grant(double longest) : longest_(longest) {}
    bool is_set() const { return longest_ > 0; }
    double at(double now) const { return now < resume_at_ ? 0 : granted_; }

    // A wait is over. A short one, in which looking found something or would have, grants the longest time.
    void waited(double seconds) {
        if (seconds <= longest_) granted_ = longest_;
        else granted_ = granted_ / 2 < kShortest ? 0 : granted_ / 2;
    }
    // Two looks were so far apart. If that is long, other threads need the core, and the thread would have had it sooner
    // had it slept: then no time is granted for many times as long, and longer if this happens soon again. So what is
    // lost stays a small part of all time. Whether it was long.
    bool withdrawn(double seconds, double now) {
        if (seconds <= kLate) return false;
        rest_ = now < forgiven_at_ ? std::min(4 * rest_, kMostRest) : kLeastRest;
        resume_at_ = now + rest_ * seconds;
        forgiven_at_ = resume_at_ + kForgiven * rest_ * seconds;
        return true;
    }

    static constexpr double kShortest = 2e-6;  // less is not worth a look
    static constexpr double kLate = 500e-6;    // a slice of the scheduler is longer, a turn of libzmq's thread shorter
    static constexpr double kLeastRest = 120;  // so many times what was lost; once is no sign of a loaded machine
    static constexpr double kMostRest = 480;   // 0.2 % are lost then: less than what a 99th percentile shows
    static constexpr double kForgiven = 5;     // so many rests, in which it was not late, are "not soon"

  private:
    const double longest_;
    double granted_ = 0;
    double rest_ = 0;         // as a multiple of what was lost
    double resume_at_ = 0;    // no time is granted until then
    double forgiven_at_ = 0;  // from then on the rest is the least again
};

// The process id of the thread that looks, or 0: one thread of a process looks at a time, so that many pumps do not take
// all cores. In the child of a fork it may be the parent's, which keeps no thread of the child from looking.
inline sync::atomic<int> looking_process{0};

class Looking {
  public:
    explicit Looking(double longest) : grant_(longest) {}  // seconds; 0: it never looks
    ~Looking() { end_turn(); }
    Looking(const Looking &) = delete;
    Looking &operator=(const Looking &) = delete;

    // --- any thread reads, the owning thread writes
    sync::atomic<uint64_t> hits{0}, misses{0};  // looks that found something, and looks that did not

    // --- the owning thread. For each wait: begin; if that is true, go_on after each look that found nothing; then
    // found if one did, or slept.
    bool begin(double timeout) {  // whether to look in a wait of `timeout` seconds (negative: no limit)
        if (!grant_.is_set()) return false;
        began_ = last_ = sync::now();
        const double granted = grant_.at(began_);
        if (granted == 0) return false;
        end_ = began_ + (timeout < 0 ? granted : std::min(granted, timeout));
        return take_turn();
    }
    bool go_on() {  // lets other threads run; whether to look again
        sync::yield();
        const double time = sync::now(), passed = time - last_;
        last_ = time;
        if (!grant_.withdrawn(passed, time) && time < end_) return true;
        end_turn();
        count(misses);
        return false;
    }
    void found() {
        end_turn();
        count(hits);
        grant_.waited(last_ - began_);
    }
    void slept() {
        if (grant_.is_set()) grant_.waited(sync::now() - began_);
    }

  private:
    bool take_turn() {
        has_turn_ = looking_process.exchange(pid_) != pid_;
        return has_turn_;
    }
    void end_turn() {
        if (has_turn_) looking_process.store(0);
        has_turn_ = false;
    }
    const int pid_ = ::getpid();
    // --- owning thread
    Grant grant_;
    double began_ = 0, last_ = 0, end_ = 0;  // of this wait: its begin, the last look, when to look no more
    bool has_turn_ = false;
};

}  // namespace zgreen

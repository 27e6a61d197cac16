// Runs threads as fibers and decides which of them goes on at each point where one can notice another: so it can run
// every schedule with up to so many preemptions, one after the other. Knows nothing of zgreen.
//
// A *preemption* takes the processor from a thread that could go on. A thread that has to wait is left for free. Most
// mistakes show with one or two preemptions; this is the search of CHESS (Musuvathi and Qadeer) and of Rust's loom.
// Memory is sequentially consistent: what weaker orders would break is for ThreadSanitizer (hammer.cpp).
//
// A point at a variable that one thread alone uses, or that nobody writes, leads to nothing new, so it is passed over.
// Which variables are shared is learnt on the way: when one turns out to be, the search begins anew.

#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cxxabi.h>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ucontext.h>

namespace explore {

struct Place {  // in the source
    const char *file;
    int line;
};
#define EXPLORE_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

using Id = uint32_t;  // of a variable, a mutex, a descriptor; the same in every schedule

class Scheduler {
  public:
    // --- set-up and checks, outside the threads

    // Forget the threads and the names of the last schedule.
    void clear() {
        fibers_.clear();
        made_.assign(kMaxFibers + 1, 0);
        now_ = 0;
        depth_ = 0;
        preemptions_ = steps_ = quiet_ = 0;
        current_ = -1;
        ending_ = false;
        trace_.clear();
        known_ = accesses_;
    }
    void spawn(const std::string &name, std::function<void()> body, bool must_end = true) {
        if (fibers_.size() == kMaxFibers) broken("too many threads");
        fibers_.push_back(std::make_unique<Fiber>());
        Fiber &fiber = *fibers_.back();
        fiber.name = name;
        fiber.body = std::move(body);
        fiber.must_end = must_end;
        fiber.stack = stack(fibers_.size() - 1);
        ::getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack;
        fiber.context.uc_stack.ss_size = kStack;
        fiber.context.uc_link = nullptr;
        ::makecontext(&fiber.context, &Scheduler::enter, 0);
    }
    // One schedule, until no thread can go on. False: it failed, see `failure`.
    bool run() {
        failed_ = false;
        pick(-1);
        if (failed_) return false;
        if (depth_ < trail_.size()) broken("the same schedule has gone another way");
        for (const auto &fiber : fibers_)
            if (fiber->must_end && fiber->state != State::Ended)
                return note_failure("the thread \"" + fiber->name + "\" sleeps for ever, " + fiber->waits_for);
        return true;
    }
    // Unwind the threads that still sleep.
    void end() {
        ending_ = true;
        for (size_t i = 0; i < fibers_.size(); ++i)
            if (fibers_[i]->state != State::Ended) resume(int(i));
    }
    // Take the next schedule; false if that was the last.
    bool next() {
        ++schedules;
        if (learnt_) {
            learnt_ = false;
            schedules = 0;
            trail_.clear();
            return true;
        }
        while (!trail_.empty()) {
            if (++trail_.back().pick < trail_.back().options.size) return true;
            trail_.pop_back();
        }
        return false;
    }
    void search(int bound) {  // begin one, with so many preemptions
        bound_ = bound;
        schedules = 0;
        trail_.clear();
        learnt_ = false;
    }
    void forget_shared() { accesses_.clear(); }
    void replay() {  // the last schedule again, and note its trace
        tracing_ = true;
        accesses_ = known_;
    }
    bool note_failure(const std::string &why) {
        failure = why;
        failed_ = true;
        return false;
    }
    const std::vector<std::string> &trace() const { return trace_; }

    uint64_t schedules = 0;  // run in this search
    std::string failure;
    double time_limit = 0;  // seconds that may pass while all threads wait

    // --- anywhere

    Id new_id() {
        const uint32_t fiber = uint32_t(current_ + 1);
        if (made_[fiber] == kIdsPerFiber) broken("too many variables");
        return fiber * kIdsPerFiber + made_[fiber]++;
    }
    double now() const { return now_; }
    bool running() const { return current_ >= 0 && !ending_; }
    int current() const { return current_; }

    // --- in a thread

    // Another thread may go on before this one uses what has that `id`.
    void point(Id id, bool writes, Place place) { point(&id, 1, writes, place); }
    void point(const Id *ids, size_t n, bool writes, Place place) {
        traced_ = false;
        if (!running()) return;
        bool shared = false;
        for (size_t i = 0; i < n; ++i) shared = use(ids[i], writes) || shared;
        if (!shared || quiet_) return;
        if (++steps_ > kMaxSteps) fail("the threads go on without end");
        if (preemptions_ < bound_) pick(current_);
        if (!tracing_) return;
        trace_.push_back(fibers_[current_]->name + "\t" + source(place));
        traced_ = true;
    }
    // The thread that calls lets any other go on, which is no preemption, and so much time passes.
    void give_way(double seconds) {
        traced_ = false;
        if (!running() || quiet_) return;
        if (++steps_ > kMaxSteps) fail("the threads go on without end");
        now_ += seconds;
        if (tracing_) trace_.push_back(fibers_[current_]->name + "\tlets others go on");
        pick(current_, true);
    }
    void result(long long value) {  // what was read there, for the trace
        if (traced_) trace_.back() += "  -> " + std::to_string(value);
    }
    // Wait until `ready()`; false after so many seconds (negative: no limit), which pass only while all threads wait.
    template <typename Ready>
    bool wait(const Ready &ready, double seconds, const std::string &what) {
        if (ready()) return true;
        if (current_ < 0) return false;
        if (ending_) throw Stopped();
        Fiber &fiber = *fibers_[current_];
        fiber.state = State::Waiting;
        fiber.ready = [](const void *r) { return (*static_cast<const Ready *>(r))(); };
        fiber.argument = &ready;
        fiber.waits_for = what;
        fiber.deadline = seconds < 0 ? kNever : now_ + seconds;
        if (tracing_) trace_.push_back(fiber.name + "\tsleeps, " + what);
        pick(current_);
        fiber.state = State::Ready;
        if (ending_) throw Stopped();
        if (tracing_) trace_.push_back(fiber.name + (ready() ? "\twakes up" : "\tis woken by the clock"));
        return ready();
    }
    [[noreturn]] void fail(const std::string &why, Place place) {
        const std::string file = place.file;
        fail(why + ", " + file.substr(file.rfind('/') + 1) + ":" + std::to_string(place.line));
    }
    [[noreturn]] void fail(const std::string &why) {  // the threads are left as they are
        note_failure(why);
        if (current_ < 0) throw CheckFailed();
        current_ = -1;
        quiet_ = 0;
        char *const globals = reinterpret_cast<char *>(abi::__cxa_get_globals());
        std::copy(main_exceptions_, main_exceptions_ + sizeof main_exceptions_, globals);
        ::setcontext(&main_);
        std::abort();
    }

    struct CheckFailed {};  // by fail(), where no thread runs

    // The thread that calls has done what it must; it may sleep for ever from now on.
    void done() { fibers_[current_]->must_end = false; }

    // What is called meanwhile has no points: one step for the other threads.
    struct Quiet {
        explicit Quiet(Scheduler &scheduler) : scheduler(scheduler) { ++scheduler.quiet_; }
        ~Quiet() { --scheduler.quiet_; }
        Scheduler &scheduler;
    };

    [[noreturn]] static void broken(const std::string &why) {
        std::printf("BROKEN %s\n", why.c_str());
        std::fflush(stdout);
        std::_Exit(2);
    }

  private:
    static constexpr size_t kMaxFibers = 4, kStack = 256 * 1024;
    static constexpr uint32_t kIdsPerFiber = 512;
    static constexpr int kMaxSteps = 5000;
    static constexpr double kNever = 1e300;

    enum class State : uint8_t { Ready, Waiting, Ended };
    struct Stopped {};
    struct Fiber {
        std::string name, waits_for;
        std::function<void()> body;
        ucontext_t context;
        char *stack;
        bool must_end;
        State state = State::Ready;
        bool (*ready)(const void *) = nullptr;
        const void *argument = nullptr;
        double deadline = kNever;
        char exceptions[2 * sizeof(void *)] = {};  // those that it handles: __cxa_eh_globals, one for each real thread
    };
    struct Options {  // threads
        uint8_t size = 0, threads[kMaxFibers];
        void add(size_t thread) { threads[size++] = uint8_t(thread); }
        bool operator!=(const Options &other) const {
            return size != other.size || !std::equal(threads, threads + size, other.threads);
        }
    };
    struct Choice {
        Options options;
        uint8_t pick;
    };
    struct Use {
        uint8_t readers = 0, writers = 0;
    };
    static void enter();

    // Whether another thread uses it, too, and one of them writes.
    bool use(Id id, bool writes) {
        if (id >= accesses_.size()) accesses_.resize(id + 1);
        Use &use = accesses_[id];
        const bool before = shared(use);
        (writes ? use.writers : use.readers) |= uint8_t(1 << current_);
        if (!before && shared(use)) learnt_ = true;
        return before || shared(use);
    }
    static bool shared(const Use &use) {
        const uint8_t all = use.readers | use.writers;
        return use.writers && (all & (all - 1));
    }

    bool can_go_on(const Fiber &fiber) const {
        if (fiber.state == State::Waiting) return fiber.ready(fiber.argument) || now_ >= fiber.deadline;
        return fiber.state == State::Ready;
    }

    // Which thread goes on, instead of `me`; returns when `me` does. `free`: it is no preemption.
    void pick(int me, bool free = false) {
        Options options = list_options(me, free);
        while (options.size == 0 && pass_time()) options = list_options(me, free);
        if (options.size == 0) return go(me, -1);
        uint8_t choice = 0;
        if (options.size > 1) {
            if (depth_ == trail_.size()) trail_.push_back(Choice{options, 0});
            if (trail_[depth_].options != options) broken("the same schedule has gone another way");
            choice = trail_[depth_++].pick;
        }
        const int chosen = options.threads[choice];
        if (!free && me >= 0 && chosen != me && can_go_on(*fibers_[me])) {
            ++preemptions_;
            if (tracing_) trace_.push_back(fibers_[me]->name + "\t-- is preempted --");
        }
        go(me, chosen);
    }
    Options list_options(int me, bool free) const {
        Options options;
        const bool can = me >= 0 && can_go_on(*fibers_[me]);
        if (can) options.add(size_t(me));
        if (can && !free && preemptions_ >= bound_) return options;
        for (size_t i = 0; i < fibers_.size(); ++i)
            if (int(i) != me && can_go_on(*fibers_[i])) options.add(i);
        return options;
    }
    bool pass_time() {
        double next = kNever;
        for (const auto &fiber : fibers_)
            if (fiber->state == State::Waiting && fiber->deadline < next) next = fiber->deadline;
        if (next > time_limit) return false;
        now_ = next;
        return true;
    }

    void go(int from, int to) {
        if (from == to) return;
        swap_context(from, to);
    }
    void resume(int fiber) { swap_context(-1, fiber); }
    void swap_context(int from, int to) {
        char *const globals = reinterpret_cast<char *>(abi::__cxa_get_globals());
        char *const mine = from < 0 ? main_exceptions_ : fibers_[from]->exceptions;
        const char *const others = to < 0 ? main_exceptions_ : fibers_[to]->exceptions;
        std::copy(globals, globals + sizeof main_exceptions_, mine);
        std::copy(others, others + sizeof main_exceptions_, globals);
        current_ = to;
        ::swapcontext(from < 0 ? &main_ : &fibers_[from]->context, to < 0 ? &main_ : &fibers_[to]->context);
    }
    char *stack(size_t i) {
        while (stacks_.size() <= i) stacks_.push_back(std::unique_ptr<char[]>(new char[kStack]));
        return stacks_[i].get();
    }

    std::string source(Place place) {
        std::vector<std::string> &lines = sources_[place.file];
        if (lines.empty()) {
            std::ifstream in(place.file);
            for (std::string text; std::getline(in, text);) lines.push_back(text);
        }
        std::string name = place.file, text = size_t(place.line) <= lines.size() ? lines[size_t(place.line) - 1] : "";
        name.erase(0, name.rfind('/') + 1);
        text.erase(0, text.find_first_not_of(' '));
        return name + ":" + std::to_string(place.line) + "  " + text;
    }

    // --- of this schedule
    std::vector<std::unique_ptr<Fiber>> fibers_;
    std::vector<uint32_t> made_ = std::vector<uint32_t>(kMaxFibers + 1);  // ids, by each thread
    int current_ = -1;  // which thread runs; -1: set-up, checks
    double now_ = 0;
    size_t depth_ = 0;  // choices made
    int preemptions_ = 0, steps_ = 0, quiet_ = 0;
    bool ending_ = false, failed_ = false, tracing_ = false, traced_ = false;
    std::vector<std::string> trace_;
    // --- of the search
    std::vector<Choice> trail_;
    std::vector<Use> accesses_, known_;  // by id; now, and when this schedule began
    bool learnt_ = false;
    int bound_ = 0;
    // --- for good
    ucontext_t main_;
    char main_exceptions_[2 * sizeof(void *)] = {};
    std::vector<std::unique_ptr<char[]>> stacks_;
    std::map<std::string, std::vector<std::string>> sources_;
};

inline Scheduler scheduler;

inline void Scheduler::enter() {
    Scheduler &s = scheduler;
    Fiber &fiber = *s.fibers_[s.current_];
    try {
        if (!s.ending_) fiber.body();
    } catch (const Stopped &) {
    } catch (const std::exception &error) {
        s.fail("the thread \"" + fiber.name + "\" raised: " + error.what());
    }
    fiber.state = State::Ended;
    if (s.tracing_ && !s.ending_) s.trace_.push_back(fiber.name + "\tends");
    if (s.ending_) s.go(s.current_, -1);
    else s.pick(s.current_);
    std::abort();
}

}  // namespace explore

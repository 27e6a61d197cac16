// Every schedule of two or three threads, with up to so many preemptions, through core.hpp.
//
//     explore [--plant N] [SCENARIO...]
//
// core.hpp is compiled with ZGREEN_SYNC: its atomics, mutexes, descriptors and clock are the scheduler's
// (explore_scheduler.hpp), libzmq is the scripted one. Under CPython the hub and foreign threads hold the GIL while they
// call the core, so among themselves they come one after the other; the owning thread runs beside them.
//
// In the end of each schedule all threads but the owner have done their work, or nobody wakes them: a wake-up was lost.
// The owner sleeps, and has left nothing undone. No message was lost, doubled or overtaken by another of its thread, and
// the frames that were made and freed meet. --plant: with the mistake of that number, which the scenarios must find;
// what makes them is in the copy of the headers that tests/test_explore.py compiles.

#include "explore_commands.hpp"
#include "explore_lanes.hpp"
#include "explore_looking.hpp"
#include "explore_once.hpp"

#include <cstring>
#include <new>

using namespace explore;

// ------------------------------------------------------------------------------------------------ memory on demand

void *operator new(size_t size) {
    if (thread_without >= 0 && size == sizeof(std::shared_ptr<Pipe>) && scheduler.current() == thread_without) {
        ++refusals;
        throw std::bad_alloc();
    }
    void *memory = std::malloc(size ? size : 1);
    if (!memory) throw std::bad_alloc();
    return memory;
}
[[gnu::noinline]] void operator delete(void *memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void *memory, size_t) noexcept { std::free(memory); }

// ------------------------------------------------------------------------------------------------ running them

struct Scenario {
    const char *name;
    int preemptions;
    void (*build)(World &);
    double time_limit;
};

static const Scenario kScenarios[] = {
    {"put", 3, put, 0},
    {"put_many", 3, put_many, 0},
    {"put_full_hub", 3, put_full_hub, 0},
    {"put_full_foreign", 3, put_full_foreign, 0},
    {"put_full_quarter", 3, put_full_quarter, 0},
    {"putters_take_turns", 2, putters_take_turns, 0},
    {"peer_makes_room", 2, peer_makes_room, 0},
    {"peer_makes_little_room", 2, peer_makes_little_room, 0},
    {"stalled", 2, stalled, 10},
    {"no_memory_to_touch", 3, no_memory_to_touch, 0},
    {"get_credit", 3, get_credit, 0},
    {"get_credit_half", 3, get_credit_half, 0},
    {"get_foreign", 3, get_foreign, 0},
    {"get_arriving", 2, get_arriving, 0},
    {"getters_take_turns", 2, getters_take_turns, 0},
    {"drop_oldest", 3, drop_oldest, 0},
    {"drop_newest", 3, drop_newest, 0},
    {"put_back_and_block", 3, put_back_and_block, 0},
    {"put_back_and_drop", 3, put_back_and_drop, 0},
    {"both_ways", 2, both_ways, 0},
    {"room_while_receiving", 2, room_while_receiving, 0},
    {"two_sockets", 3, two_sockets, 0},
    {"mail", 3, mail, 0},
    {"mail_and_messages", 2, mail_and_messages, 0},
    {"flush", 3, flush, 0},
    {"outcomes", 3, outcomes, 0},
    {"releases", 3, releases, 0},
    {"close_with_linger", 2, close_with_linger, 0},
    {"close_at_once", 2, close_at_once, 0},
    {"close_under_a_putter", 2, close_under_a_putter, 0},
    {"push_against_the_end", 3, push_against_the_end, 0},
    {"push_against_withdraw", 3, push_against_withdraw, 0},
    {"tried_but_once", 2, tried_but_once, 0},
    {"tried_without_a_peer", 2, tried_without_a_peer, 0},
    {"taken_back", 2, taken_back, 0},
    {"writable", 2, writable, 0},
    {"looking_put", 2, looking_put, 0},
    {"looking_mail", 3, looking_mail, 0},
    {"looking_get", 2, looking_get, 0},
    {"looking_arriving", 1, looking_arriving, 0},
    {"looking_close", 1, looking_close, 0},
};

// One schedule; false: it failed.
static bool run_one(const Scenario &scenario, std::string &state) {
    sync::files = sync::Files();
    looking_process.store(0);  // a schedule that failed may have left it
    scheduler.clear();
    thread_without = -1;
    scheduler.time_limit = scenario.time_limit;
    const int64_t handles = scripted::handles.open(), contents = scripted::contents;
    auto world = std::make_unique<World>();
    try {
        scenario.build(*world);
        if (scheduler.run()) {
            world->finish_run();
            world.reset();
            MUST(scripted::handles.open() == handles);
            MUST(scripted::contents == contents);
            MUST(sync::files.count() == 0);
            return true;
        }
    } catch (const Scheduler::CheckFailed &) {
    }
    if (world) state = world->state();
    world.release();  // its threads are in the middle of it
    return false;
}

// All schedules; false: one failed, and its trace is printed.
static bool run_all(const Scenario &scenario) {
    std::string state;
    scheduler.forget_shared();
    for (int preemptions = 0; preemptions <= scenario.preemptions; ++preemptions) {
        scheduler.search(preemptions);
        do {
            if (run_one(scenario, state)) continue;
            const std::string failure = scheduler.failure;
            const auto schedules = static_cast<unsigned long long>(scheduler.schedules + 1);
            scheduler.replay();
            run_one(scenario, state);
            std::printf("FAIL %s: %s\n  (schedule %llu, %d preemptions)\n", scenario.name, failure.c_str(), schedules, preemptions);
            for (const std::string &step : scheduler.trace()) {
                const size_t tab = step.find('\t');
                std::printf("  %-8s %s\n", step.substr(0, tab).c_str(), step.c_str() + tab + 1);
            }
            std::printf("  in the end:%s\n", state.c_str());
            if (scheduler.failure != failure) Scheduler::broken("the same schedule has ended another way: " + scheduler.failure);
            return false;
        } while (scheduler.next());
    }
    std::printf("ok %s: %llu schedules, up to %d preemptions\n", scenario.name,
                static_cast<unsigned long long>(scheduler.schedules), scenario.preemptions);
    std::fflush(stdout);
    return true;
}

int main(int argc, char **argv) {
    std::vector<std::string> names;
    for (int i = 1; i < argc; ++i) {
        if (!std::strcmp(argv[i], "--plant") && i + 1 < argc) planted = std::atoi(argv[++i]);
        else names.push_back(argv[i]);
    }
    int passed = 0;
    for (const Scenario &scenario : kScenarios) {
        if (!names.empty() && std::find(names.begin(), names.end(), scenario.name) == names.end()) continue;
        if (!run_all(scenario)) return 1;
        ++passed;
    }
    std::printf("%d passed\n", passed);
    return 0;
}

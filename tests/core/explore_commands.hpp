// Scenarios of explore.cpp: commands, what becomes of messages, and the end of a socket.

#pragma once

#include "explore_lanes.hpp"

namespace explore {

// ------------------------------------------------------------------------------------------------ mail

inline void mail(World &w) {
    w.make_out(10);
    w.start();
    w.spawn_hub([&w] {
        for (const std::string &text : numbered('a', 3)) w.command(text, nullptr);
    });
    w.check = [&w] { MUST(w.commands_run == numbered('a', 3)); };
}

inline void mail_and_messages(World &w) {
    w.make_out(10);
    w.start();
    w.spawn_hub([&w] {
        w.command("a0", nullptr);
        w.command("a1", nullptr);
    });
    w.spawn_foreign([&w](const Waiter &) {
        for (const std::string &text : numbered('b', 2)) MUST(w.try_put(text));
    });
    w.check = [&w] {
        MUST(w.commands_run == numbered('a', 2));
        MUST(w.sent() == numbered('b', 2));
    };
}

// flush(): told when all that was put before has gone.
inline void flush(World &w) {
    w.make_out(10);
    scripted::faults.at(scripted::kSend, 2, EHOSTUNREACH);
    w.start();
    w.spawn_hub([&w] {
        MUST(w.try_put("a0"));
        MUST(w.try_put("a1"));
        w.command("flush", [&w] {
            const uint64_t target = w.out->settled + w.out->pending();
            MUST(target >= 2);
            if (w.out->settled >= target) ++w.flushes;
            else w.out->flush_target = target;
        });
        MUST(w.try_put("a2"));
    });
    w.check = [&w] {
        MUST((w.sent() == Texts{"a0", "a2"}));
        MUST(w.flushes == 1);
    };
}

// What becomes of messages: each with a token is told of, once; libzmq refuses the second one for good.
inline void outcomes(World &w) {
    w.make_out(10);
    scripted::faults.at(scripted::kSend, 2, EHOSTUNREACH);
    w.start();
    w.spawn_hub([&w] {
        MUST(w.try_put("a0", 1));
        MUST(w.try_put("a1"));
        MUST(w.try_put("a2", 2));
        while (w.outcomes.size() < 2) w.hub_pass();
        MUST(w.out->pending() == 0);  // who is told may look
        while (w.refused.empty()) w.hub_pass();
    });
    w.check = [&w] {
        MUST((w.sent() == Texts{"a0", "a2"}));
        MUST((w.outcomes == std::vector<uint64_t>{1, 2}));
        MUST(w.refused == Texts{"a1"});
    };
}

// libzmq lets go of content that it has read in place, in a thread of its own; the hub releases the owners.
inline void releases(World &w) {
    static char owners[3];
    const auto released = std::make_shared<std::vector<void *>>();
    std::vector<void *> hints;
    for (char &owner : owners) hints.push_back(w.releases->hint(&owner));
    w.start();
    scheduler.spawn("libzmq", [hints] {
        for (void *hint : hints) Releases::free_content(nullptr, hint);
    });
    w.spawn_hub([&w, released] {
        while (released->size() < 3) {
            w.greenlet.wait();
            while (w.releases->any())
                if (void *owner = w.releases->take()) released->push_back(owner);
        }
    });
    w.check = [released] { MUST(released->size() == 3); };
}

// ------------------------------------------------------------------------------------------------ the end

// close(): what was put before goes out; what comes too late is refused.
inline void close_at(World &w, size_t room, double linger, bool shut) {
    w.make_out(10, room);
    w.start();
    w.spawn_hub([&w, linger, shut] {
        MUST(w.try_put("a0"));
        MUST(w.try_put("a1"));
        if (shut) {
            const sync::lock_guard lock(w.gil);
            w.out->open.store(false);
        }
        w.command("close", [&w, linger] { w.core->begin_close(*w.out, linger); });
    });
    w.spawn_foreign([&w](const Waiter &) {
        for (const std::string &text : numbered('b', 2)) w.try_put(text);
    });
}
inline void close_with_linger(World &w) {
    close_at(w, 100, 1000, true);
    w.check = [&w] {
        MUST(w.drained == 1);
        MUST(w.unsent.empty());
        nothing_lost(w);
    };
}
inline void close_at_once(World &w) {
    close_at(w, 1, 0, false);
    w.check = [&w] {
        MUST(w.drained == 1);
        nothing_lost(w);
    };
}

// A putter waits for room, which the end takes from it.
inline void close_under_a_putter(World &w) {
    w.make_out(1, 1);
    w.start();
    w.spawn_hub([&w] {
        w.put_waiting(w.greenlet, "a0");
        w.command("close", [&w] { w.core->begin_close(*w.out, 0); });
        w.put_waiting(w.greenlet, "a1");
        w.put_waiting(w.greenlet, "a2");
    });
    w.check = [&w] {
        MUST(w.drained == 1);
        nothing_lost(w);
    };
}

// Without the GIL between them: one thread pushes, the owner ends the pipe and withdraws the rest.
inline void push_against_the_end(World &w) {
    w.make_out(10, 0);
    w.start();
    w.spawn_foreign([&w](const Waiter &) {
        for (const std::string &text : numbered('a', 2)) w.try_push(text);
    });
    scheduler.spawn("end", [&w] {
        w.command("end", [&w] {
            w.core->detach(*w.out);
            w.withdraw();
        });
    });
    w.check = [&w] { nothing_lost(w); };
}

// Likewise, of a pipe that never had a socket.
inline void push_against_withdraw(World &w) {
    w.out = w.core->make_pipe(scripted::kPush, 10, 1, Overflow::Block);
    w.start();
    w.spawn_foreign([&w](const Waiter &) {
        for (const std::string &text : numbered('a', 3)) w.try_push(text);
    });
    scheduler.spawn("end", [&w] {
        w.out->finish();
        w.withdraw();
    });
    w.check = [&w] { nothing_lost(w); };
}

}  // namespace explore

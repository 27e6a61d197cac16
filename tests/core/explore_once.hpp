// Scenarios of explore.cpp: messages that are tried but once or taken back, and whether libzmq would take the next one.

#pragma once

#include "explore_lanes.hpp"

namespace explore {

// One that is tried but once, behind one that stays: its sender is told in any case, and it is sent or given up.
inline void tried_but_once(World &w) {
    w.make_out(10, 0);
    w.start();
    w.spawn_hub([&w] {
        MUST(w.try_put("a0"));
        MUST(w.try_once("a1", 1));
        while (w.outcomes.empty()) w.hub_pass();
        MUST(w.try_put("a2"));
    });
    scheduler.spawn("peer", [&w] { w.push.make_room(3); });
    w.check = [&w] {
        MUST((w.outcomes == std::vector<uint64_t>{1}));
        MUST((w.errors == std::vector<int>{0}) || (w.errors == std::vector<int>{EAGAIN}));
        MUST(w.sent() == (w.errors[0] ? Texts{"a0", "a2"} : Texts{"a0", "a1", "a2"}));
        MUST(w.out->pending() == 0);
    };
}

// Two threads; no peer. All that are tried but once are told so, however the others' messages stand among them.
inline void tried_without_a_peer(World &w) {
    w.make_out(10, 0);
    w.start();
    w.spawn_hub([&w] {
        MUST(w.try_once("a0", 1));
        MUST(w.try_once("a1", 2));
        while (w.outcomes.size() < 2) w.hub_pass();
    });
    w.spawn_foreign([&w](const Waiter &) { MUST(w.try_put("b0")); });
    w.check = [&w] {
        MUST((w.outcomes == std::vector<uint64_t>{1, 2}));
        MUST((w.errors == std::vector<int>{EAGAIN, EAGAIN}));
        MUST(w.sent().empty());
    };
}

// Taken back by a command: then it is not sent, and nobody is told of it; else it is sent, as ever.
inline void taken_back(World &w) {
    w.make_out(10, 0);
    w.start();
    auto taken = std::make_shared<bool>(false);
    w.spawn_hub([&w, taken] {
        MUST(w.try_put("a0"));
        MUST(w.try_put("a1", 1));
        w.command("take back", [&w, taken] {
            Message message;
            *taken = w.out->take_back(1, message);
            if (*taken) MUST(w.text_of(message, w.core->out_thread) == "a1");
            w.core->make_ready(*w.out);
        });
        MUST(w.try_put("a2"));
    });
    scheduler.spawn("peer", [&w] { w.push.make_room(3); });
    w.check = [&w, taken] {
        MUST(w.commands_run.size() == 1);
        MUST(w.sent() == (*taken ? Texts{"a0", "a2"} : Texts{"a0", "a1", "a2"}));
        MUST(w.out->pending() == 0);
    };
}

// A sender that puts while `writable`, one message ahead, and sleeps else: it is woken whenever there is room.
inline void writable(World &w) {
    w.make_out(10, 1);
    w.start();
    w.spawn_hub([&w] {
        {
            const sync::lock_guard lock(w.gil);
            w.out->can_send.hub();
            w.out->ahead.store(1);
            w.out->watched.store(true);
            w.out->touch();
        }
        for (const std::string &text : numbered('a', 4)) {
            for (bool there = false; !there;) {
                {
                    const sync::lock_guard lock(w.gil);
                    there = w.out->writable();
                    if (there) MUST(w.try_push(text));
                    MUST(w.out->pending() <= 1);
                }
                if (!there) w.hub_pass();
            }
        }
    });
    scheduler.spawn("peer", [&w] {
        w.push.make_room(1);
        w.push.make_room(1);
    });
    w.check = [&w] {
        MUST(w.sent() == numbered('a', 3));
        MUST(w.out->pending() == 1);  // libzmq is full, and this one may pend
    };
}

}  // namespace explore

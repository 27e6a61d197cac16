// Scenarios of explore.cpp: threads that put and get.

#pragma once

#include "explore_world.hpp"

namespace explore {

using Texts = std::vector<std::string>;

// ------------------------------------------------------------------------------------------------ what must hold

inline Texts of(const Texts &texts, char producer) {
    Texts mine;
    for (const std::string &text : texts)
        if (text[0] == producer) mine.push_back(text);
    return mine;
}

inline Texts joined(Texts a, const Texts &b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

inline Texts numbered(char producer, int n) {
    Texts texts;
    for (int i = 0; i < n; ++i) texts.push_back(producer + std::to_string(i));
    return texts;
}

// Each message that was put is with libzmq or was given back, once, in the order of its thread.
inline void nothing_lost(World &w) {
    const Texts gone = joined(w.sent(), w.unsent);
    MUST(gone.size() == w.put.size());
    for (const char producer : {'a', 'b'}) MUST(of(gone, producer) == of(w.put, producer));
    MUST(w.out->pending() == 0);
}

// ------------------------------------------------------------------------------------------------ putting

inline void put(World &w) {
    w.make_out(10);
    w.start();
    w.spawn_hub([&w] {
        for (const std::string &text : numbered('a', 3)) MUST(w.try_put(text));
    });
    w.check = [&w] { MUST(w.sent() == numbered('a', 3)); };
}

// Two at a time.
inline void put_many(World &w) {
    w.make_out(10);
    w.start();
    w.spawn_hub([&w] {
        MUST(w.push_all({"a0", "a1"}));
        MUST(w.push_all({"a2", "a3"}));
    });
    w.check = [&w] { MUST(w.sent() == numbered('a', 4)); };
}

// One thread fills the queue again and again.
inline void put_full(World &w, size_t out_max, int n, bool hub) {
    w.make_out(out_max);
    w.start();
    const auto body = [&w, n](const Waiter &me) {
        for (const std::string &text : numbered('a', n)) w.put_waiting(me, text);
    };
    if (hub) w.spawn_hub([&w, body] { body(w.greenlet); });
    else w.spawn_foreign(body);
    w.check = [&w, n] { MUST(w.sent() == numbered('a', n)); };
}
inline void put_full_hub(World &w) { put_full(w, 1, 3, true); }
inline void put_full_foreign(World &w) { put_full(w, 1, 3, false); }
inline void put_full_quarter(World &w) { put_full(w, 4, 6, true); }  // much room is more than a quarter

// The hub and a foreign thread wait for room in one line: the bell goes from one to the other while it is rung.
inline void putters_take_turns(World &w) {
    w.make_out(1);
    w.start();
    w.spawn_hub([&w] {
        for (const std::string &text : numbered('a', 2)) w.put_waiting(w.greenlet, text);
    });
    w.spawn_foreign([&w](const Waiter &me) {
        w.put_waiting(me, "b0");
    });
    w.check = [&w] {
        MUST(w.put.size() == 3);
        nothing_lost(w);
    };
}

// libzmq refuses for now; its peer makes room while the owner goes to sleep.
inline void peer_makes_room(World &w) {
    w.make_out(2, 0);
    w.start();
    w.spawn_hub([&w] {
        for (const std::string &text : numbered('a', 3)) w.put_waiting(w.greenlet, text);
    });
    scheduler.spawn("peer", [&w] {
        w.push.make_room(1);
        w.push.make_room(2);
    });
    w.check = [&w] { MUST(w.sent() == numbered('a', 3)); };
}

// It makes room for one, no more: that is a little of it, but all that there will be.
inline void peer_makes_little_room(World &w) {
    w.make_out(4, 0);
    w.start();
    w.spawn_hub([&w] {
        for (const std::string &text : numbered('a', 6)) w.put_waiting(w.greenlet, text);
    });
    scheduler.spawn("peer", [&w] {
        w.push.make_room(1);
        w.push.make_room(1);
    });
    w.check = [&w] {
        MUST(w.sent() == numbered('a', 2));
        MUST(w.out->pending() == 4);
    };
}

// ROUTER with MANDATORY: POLLOUT is there although libzmq refuses; a timer tries again.
inline void stalled(World &w) {
    w.push.says_writable = true;
    w.make_out(2, 0);
    w.start();
    w.spawn_hub([&w] {
        for (const std::string &text : numbered('a', 3)) w.put_waiting(w.greenlet, text);
    });
    scheduler.spawn("peer", [&w] { w.push.make_room(3); });
    w.check = [&w] { MUST(w.sent() == numbered('a', 3)); };
}

// One thread gets no memory for the list of pipes to look at where that has to grow; see explore.cpp.
inline int thread_without = -1, refusals = 0;

inline void no_memory_to_touch(World &w) {
    w.make_out(10);
    w.start();
    w.spawn_hub([&w] {
        refusals = 0;
        thread_without = scheduler.current();
        for (const std::string &text : numbered('a', 3)) MUST(w.try_put(text));
        thread_without = -1;
        MUST(refusals > 0);
    });
    w.check = [&w] { MUST(w.sent() == numbered('a', 3)); };
}

// ------------------------------------------------------------------------------------------------ getting

inline void get_all(World &w, size_t in_max, int before, int after, bool hub) {
    w.make_in(in_max);
    for (const std::string &text : numbered('a', before)) w.pull.arrive(text);
    w.start();
    const auto body = [&w, before, after](const Waiter &me) {
        for (int i = 0; i < before + after; ++i) w.get_waiting(me);
    };
    if (hub) w.spawn_hub([&w, body] { body(w.greenlet); });
    else w.spawn_foreign(body);
    if (after)
        scheduler.spawn("peer", [&w, before, after] {
            for (int i = before; i < before + after; ++i) w.pull.arrive("a" + std::to_string(i));
        });
    w.check = [&w, before, after] { MUST(w.got == numbered('a', before + after)); };
}
inline void get_credit(World &w) { get_all(w, 1, 3, 0, true); }
inline void get_credit_half(World &w) { get_all(w, 2, 4, 0, true); }
inline void get_foreign(World &w) { get_all(w, 1, 3, 0, false); }
inline void get_arriving(World &w) { get_all(w, 1, 0, 3, true); }

// The hub and a foreign thread wait for a message in one line.
inline void getters_take_turns(World &w) {
    w.make_in(1);
    w.start();
    w.spawn_hub([&w] {
        for (int i = 0; i < 2; ++i) w.get_waiting(w.greenlet);
    });
    w.spawn_foreign([&w](const Waiter &me) { w.get_waiting(me); });
    for (const std::string &text : numbered('a', 3)) w.pull.arrive(text);
    w.check = [&w] {
        Texts got = w.got;
        std::sort(got.begin(), got.end());
        MUST(got == numbered('a', 3));
    };
}

inline void drops(World &w, Overflow overflow) {
    w.make_in(1, overflow);
    w.start();
    scheduler.spawn("peer", [&w] {
        for (const std::string &text : numbered('a', 4)) w.pull.arrive(text);
    });
    w.spawn_hub([&w] {
        for (int i = 0; i < 3; ++i) w.try_get();
    });
    w.check = [&w] {
        MUST(w.in->received == 4);
        MUST(w.got.size() + w.in->dropped + w.in->waiting() == 4);
        MUST(w.in->waiting() <= 1);
        while (w.try_get()) {}
        for (size_t i = 1; i < w.got.size(); ++i) MUST(w.got[i - 1] < w.got[i]);
    };
}
inline void drop_oldest(World &w) { drops(w, Overflow::DropOldest); }
inline void drop_newest(World &w) { drops(w, Overflow::DropNewest); }

// The hub has no memory for what it has popped.
inline void put_back(World &w, Overflow overflow) {
    w.make_in(1, overflow);
    w.start();
    scheduler.spawn("peer", [&w] {
        for (const std::string &text : numbered('a', 3)) w.pull.arrive(text);
    });
    w.spawn_hub([&w] {
        w.pop_and_put_back();
        for (int i = 0; i < 2; ++i) w.try_get();
    });
    w.check = [&w] {
        while (w.try_get()) {}
        MUST(w.got.size() + w.in->dropped + w.in->waiting() == w.in->received);
        for (size_t i = 1; i < w.got.size(); ++i) MUST(w.got[i - 1] < w.got[i]);
    };
}
inline void put_back_and_block(World &w) { put_back(w, Overflow::Block); }
inline void put_back_and_drop(World &w) { put_back(w, Overflow::DropOldest); }

// One socket both ways: any call of one lane may eat the edge of the other.
inline void both_ways(World &w) {
    w.make_both_ways(2, 1, 1);
    w.start();
    w.spawn_hub([&w] {
        for (const std::string &text : numbered('a', 3)) w.put_waiting(w.greenlet, text);
        w.get_waiting(w.greenlet);
    });
    scheduler.spawn("peer", [&w] {
        w.push.arrive("b0");
        w.push.make_room(2);
    });
    w.check = [&w] {
        MUST(w.sent() == numbered('a', 3));
        MUST(w.got == numbered('b', 1));
    };
}

// The peer makes room as the owner receives, which uses up the edge of that, and the credit is used up, too.
inline void room_while_receiving(World &w) {
    w.make_both_ways(2, 1, 0);
    w.start();
    w.spawn_hub([&w] { MUST(w.try_put("a0")); });
    scheduler.spawn("peer", [&w] {
        w.push.arrive("b0");
        w.push.make_room(1);
    });
    w.check = [&w] { MUST(w.sent() == numbered('a', 1)); };
}

// Two sockets, of which one is touched while the owner takes the other from the list.
inline void two_sockets(World &w) {
    w.make_out(2);
    w.make_in(1);
    for (const std::string &text : numbered('b', 3)) w.pull.arrive(text);
    w.start();
    w.spawn_hub([&w] {
        for (const std::string &text : numbered('a', 2)) {
            MUST(w.try_put(text));
            w.get_waiting(w.greenlet);
        }
    });
    w.check = [&w] {
        MUST(w.sent() == numbered('a', 2));
        MUST(w.got == numbered('b', 2));
        MUST(w.in->waiting() == 1);
    };
}

}  // namespace explore

// Scenarios of explore.cpp: an owning thread that looks for a while before it sleeps, and is not rung meanwhile.

#pragma once

#include "explore_commands.hpp"

namespace explore {

// It has looked in vain, at least after the last of its work.
inline void has_looked(World &w) { MUST(w.core->waiting.looking.misses.load() > 0); }

// With a look at the check that it is reached in each schedule.
inline void looking(World &w, void (*scenario)(World &)) {
    w.look_before_sleep();
    scenario(w);
    w.check = [&w, check = std::move(w.check)] {
        check();
        has_looked(w);
    };
}

inline void looking_put(World &w) { looking(w, put); }
inline void looking_mail(World &w) { looking(w, mail); }
inline void looking_get(World &w) { looking(w, get_credit); }
inline void looking_arriving(World &w) { looking(w, get_arriving); }
inline void looking_close(World &w) { looking(w, close_at_once); }

}  // namespace explore

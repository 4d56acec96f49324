// For a thread that does little, but soon: one that hands on what others compute, on a machine whose CPUs
// they keep busy.
#pragma once

namespace fathom {

// Asks the system to let the calling thread run soon after it wakes, for turns that are short in exchange;
// its share of the CPU stays the same. Linux has this since 6.12; elsewhere, and for threads whose scheduling
// policy is another than the default, nothing happens. Threads that it starts from now on do not inherit it.
void ask_for_short_turns();

}  // namespace fathom

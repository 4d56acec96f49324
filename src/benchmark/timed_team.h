// A team of threads that is timed: all start together, the last one's end counts.
#pragma once

#include <vector>

#include "base/function_ref.h"
#include "base/thread_team.h"

namespace fathom {

// Thread rule: one thread calls. Threads are placed as those of an engine with as many (choose_placement()),
// the caller among them; a caller that has an engine already must have made this team before it, because an
// engine keeps its caller on one CPU.
class TimedTeam {
 public:
  // Throws std::system_error as ThreadTeam does.
  explicit TimedTeam(int num_threads);

  const ThreadTeam& team() const { return team_; }
  int size() const { return team_.size(); }

  // Runs work(thread) on every thread at once; seconds from the first start to the last end, above 0.
  double time(FunctionRef<void(int)> work);
  // Waits until the threads sleep and gives the caller its own affinity back: before anything else is timed
  // and before anyone looks at the affinity.
  void leave();

 private:
  struct alignas(64) Times {  // a cache line each
    double begin = 0;
    double end = 0;
  };
  ThreadTeam team_;
  std::vector<Times> times_;  // by thread
};

}  // namespace fathom

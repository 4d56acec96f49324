// Who is admitted next. Sequences that have starved come first, in order of submission; then the others by
// priority, then in order of submission. A sequence starves when it has stood in line for more than
// max_wait_steps steps, all its times in line taken together, and stays starved: so before a starved one come
// at most those submitted before it, whatever their priority, and nobody waits for ever. One thread.
#pragma once

#include <cstdint>
#include <set>

#include "base/status.h"
#include "schedule/sequence.h"

namespace fathom {

class WaitingLine {
 public:
  // Step number `step` begins: those whose patience is at its end are starved from here on. Steps count up.
  void begin_step(int64_t step);
  // The sequence must outlive its time in line.
  void push(Sequence& sequence);
  // Precondition: it stands in line. Its patience is what is left.
  void remove(Sequence& sequence);

  // Null where nobody waits.
  Sequence* front() const { return line_.empty() ? nullptr : *line_.begin(); }
  int64_t size() const { return static_cast<int64_t>(line_.size()); }
  bool contains(const Sequence& sequence) const { return line_.contains(const_cast<Sequence*>(&sequence)); }

  // For tests.
  Status check_integrity() const;

 private:
  struct NextFirst {
    bool operator()(const Sequence* a, const Sequence* b) const;
  };
  struct StarvingFirst {
    bool operator()(const Sequence* a, const Sequence* b) const;
  };

  int64_t step_ = 0;
  std::set<Sequence*, NextFirst> line_;
  std::set<Sequence*, StarvingFirst> patient_;  // those of line_ that are not starved
};

}  // namespace fathom

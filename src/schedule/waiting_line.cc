#include "schedule/waiting_line.h"

#include <tuple>

#include "base/check.h"

namespace fathom {

bool WaitingLine::NextFirst::operator()(const Sequence* a, const Sequence* b) const {
  if (a->is_starved != b->is_starved) return a->is_starved;
  if (!a->is_starved && a->priority != b->priority) return a->priority < b->priority;
  return a->id < b->id;
}

bool WaitingLine::StarvingFirst::operator()(const Sequence* a, const Sequence* b) const {
  return std::tie(a->starves_at, a->id) < std::tie(b->starves_at, b->id);
}

void WaitingLine::begin_step(int64_t step) {
  step_ = step;
  while (!patient_.empty() && (*patient_.begin())->starves_at < step) {
    Sequence* sequence = *patient_.begin();
    patient_.erase(patient_.begin());
    line_.erase(sequence);
    sequence->is_starved = true;
    line_.insert(sequence);
  }
}

void WaitingLine::push(Sequence& sequence) {
  sequence.starves_at = step_ + sequence.patience;
  const bool is_new = line_.insert(&sequence).second;
  FATHOM_CHECK(is_new, "sequence {} is in line", sequence.id);
  if (!sequence.is_starved) patient_.insert(&sequence);
}

void WaitingLine::remove(Sequence& sequence) {
  const size_t num_removed = line_.erase(&sequence);
  FATHOM_CHECK(num_removed == 1, "sequence {} is not in line", sequence.id);
  if (sequence.is_starved) return;
  patient_.erase(&sequence);
  sequence.patience = sequence.starves_at - step_;
}

Status WaitingLine::check_integrity() const {
  size_t num_patient = 0;
  for (const Sequence* sequence : line_) {
    const bool is_patient = patient_.contains(const_cast<Sequence*>(sequence));
    num_patient += is_patient ? 1 : 0;
    if (is_patient == sequence->is_starved || (is_patient && sequence->starves_at < step_))
      return invalid_data("sequence {} starves at step {}, it is step {}", sequence->id, sequence->starves_at,
                          step_);
  }
  if (num_patient != patient_.size())
    return invalid_data("{} sequences of the line are patient, {} are listed", num_patient, patient_.size());
  return ok_status();
}

}  // namespace fathom

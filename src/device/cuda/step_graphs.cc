#include "device/cuda/step_graphs.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace fathom {
namespace {

// Shapes that are remembered: batch sizes up to some hundreds, at a few lengths of context.
constexpr size_t kMaxShapes = 512;

}  // namespace

StepGraphs::~StepGraphs() {
  if (is_capturing()) static_cast<void>(interrupt());
  drop_all();
}

void StepGraphs::release(Entry& entry) {
  if (entry.graph != nullptr) device_.graphs.release(entry.graph);
  entry.graph = nullptr;
}

void StepGraphs::make_room() {
  if (entries_.size() < kMaxShapes) return;
  const auto oldest = std::min_element(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) {
    return a.second.last_use < b.second.last_use;
  });
  release(oldest->second);
  entries_.erase(oldest);
}

Status StepGraphs::begin(const StepShape& shape) {
  if (is_open()) FATHOM_RETURN_IF_ERROR(interrupt());
  const bool is_new = entries_.find(shape) == entries_.end();
  if (is_new) make_room();
  Entry& entry = entries_[shape];
  entry.last_use = ++num_steps_;
  num_operations_ = 0;
  open_ = &entry;
  if (entry.graph != nullptr) {
    mode_ = Mode::kReplay;
  } else if (is_new || entry.is_spoiled) {
    mode_ = Mode::kEager;
  } else {
    FATHOM_RETURN_IF_ERROR(device_.graphs.begin_capture(device_.stream));
    mode_ = Mode::kCapture;
  }
  return ok_status();
}

bool StepGraphs::replays_operation() {
  ++num_operations_;
  return mode_ == Mode::kReplay;
}

Status StepGraphs::end_capture(Entry& entry) {
  FATHOM_ASSIGN_OR_RETURN(entry.graph, device_.graphs.end_capture(device_.stream));
  entry.num_operations = num_operations_;
  ++num_captured_;
  return device_.graphs.launch(entry.graph, device_.stream);
}

Status StepGraphs::interrupt() {
  if (!is_open()) return ok_status();
  FATHOM_CHECK(mode_ != Mode::kReplay, "memory is touched in the middle of a step that is a graph");
  const Mode mode = std::exchange(mode_, Mode::kClosed);
  open_->is_spoiled = true;
  if (mode != Mode::kCapture) return ok_status();
  const Status status = end_capture(*open_);
  FATHOM_RETURN_IF_ERROR(device_.synchronize(device_.stream));
  release(*open_);
  return status;
}

Status StepGraphs::end() {
  const Mode mode = std::exchange(mode_, Mode::kClosed);
  if (mode == Mode::kCapture) return end_capture(*open_);
  if (mode != Mode::kReplay) return ok_status();
  FATHOM_CHECK(num_operations_ == open_->num_operations, "{} operations in a step whose graph has {}",
               num_operations_, open_->num_operations);
  ++num_replayed_;
  return device_.graphs.launch(open_->graph, device_.stream);
}

void StepGraphs::drop_all() {
  FATHOM_CHECK(!is_capturing(), "graphs are dropped in a capture");
  mode_ = Mode::kClosed;
  for (auto& [shape, entry] : entries_) release(entry);
  entries_.clear();
}

}  // namespace fathom

// Steps as graphs of launches. A step begins with its first operation and ends with its last; a step whose
// shape is new runs as it is, which has all scratch memory grow to its size, the second one is captured, all
// later ones are launched whole. A graph holds addresses: where one of them changes, all graphs are dropped.
#pragma once

#include <compare>
#include <cstdint>
#include <map>

#include "base/status.h"
#include "device/cuda/cuda_device.h"

namespace fathom {

// What a step's launches depend on, but for memory's content.
struct StepShape {
  const void* model = nullptr;  // something that only one model's steps have
  int64_t num_tokens = 0;
  int64_t num_logits_rows = 0;
  int64_t num_split_items = 0;  // kernels/cuda/split_plan.h
  int64_t max_item_rows = 0;

  auto operator<=>(const StepShape&) const = default;
};

class StepGraphs {
 public:
  explicit StepGraphs(const CudaDevice& device) : device_(device) {}
  ~StepGraphs();
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  // Begins a step of this shape, in place of one that was not ended.
  Status begin(const StepShape& shape);
  bool is_open() const { return mode_ != Mode::kClosed; }
  bool is_capturing() const { return mode_ == Mode::kCapture; }
  // Counts an operation of an open step; whether its launches are in the graph already.
  bool replays_operation();
  // Something other than a launch is to be done now. In an open step that spoils its shape: such steps are
  // no graphs. What was captured of this one is launched, and the rest runs as it is.
  // Precondition: the step's graph is not there yet.
  Status interrupt();
  // Ends an open step: launches what was captured or is there.
  Status end();
  // Addresses change: forgets all graphs and shapes. Precondition: nothing is being captured.
  void drop_all();

  int64_t num_captured() const { return num_captured_; }
  int64_t num_replayed() const { return num_replayed_; }

 private:
  enum class Mode : uint8_t { kClosed, kEager, kCapture, kReplay };
  struct Entry {
    void* graph = nullptr;
    int64_t num_operations = 0;
    int64_t last_use = 0;
    bool is_spoiled = false;
  };

  void make_room();
  void release(Entry& entry);
  Status end_capture(Entry& entry);

  CudaDevice device_;
  std::map<StepShape, Entry> entries_;  // of the shapes seen
  Mode mode_ = Mode::kClosed;
  Entry* open_ = nullptr;  // of the open step
  int64_t num_operations_ = 0;
  int64_t num_steps_ = 0;
  int64_t num_captured_ = 0;
  int64_t num_replayed_ = 0;
};

}  // namespace fathom

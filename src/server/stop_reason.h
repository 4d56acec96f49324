// Which of a request's own stop conditions ended an answer; the engine says only that one did.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "server/generation.h"

namespace fathom {

class StopReason {
 public:
  StopReason() = default;
  // Has the engine show stop strings from now on, so that find() can see and hide them.
  explicit StopReason(SamplingParams& sampling);

  // Of an event that ends an answer: the stop string, the stop token's id, or null for the model's own end.
  // Cuts the stop string off event.text unless the client wants it shown. Other events: null.
  Json find(GenerationEvent& event) const;

 private:
  std::vector<std::string> strings_;
  std::vector<int32_t> tokens_;
  bool shows_string_ = false;
};

}  // namespace fathom

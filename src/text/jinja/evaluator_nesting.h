// One level of nesting of an Evaluator, counted while this lives.
#pragma once

#include "text/jinja/evaluator.h"

namespace fathom::jinja {

class Evaluator::Nesting {
 public:
  explicit Nesting(int& depth) : depth_(depth) { ++depth_; }
  ~Nesting() { --depth_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  int& depth_;
};

}  // namespace fathom::jinja

// The memory and the work of one rendering: everything it makes lives here until its end, and every step and
// byte is counted against a limit, so that no template can take more than that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/jinja/value.h"

namespace fathom::jinja {

struct Limits {
  uint64_t max_steps = 1'000'000;
  size_t max_output_bytes = size_t{64} << 20;
  size_t max_memory_bytes = size_t{256} << 20;  // of all values made during the rendering
  int max_depth = 400;                          // nested statements, expressions and macro calls
  size_t max_source_bytes = size_t{1} << 20;
};

// One thread.
class Arena {
 public:
  explicit Arena(const Limits& limits) : limits_(limits) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  const Limits& limits() const { return limits_; }

  // Counts work; `count` of 1 is about one operation.
  Status step(uint64_t count = 1);
  // Counts the work of looking at so many bytes.
  Status scan(size_t bytes) { return step(1 + bytes / kBytesPerStep); }
  // Counts bytes that are about to be made: call it before making them.
  Status charge(size_t bytes);

  // Each counts its size, so only text whose length does not depend on a number in the template may be made
  // before; for the other, charge() first and keep with keep_charged().
  Result<Value> make_string(std::string text);
  Value keep_charged(std::string text);
  Result<Value> make_list(List items);
  Result<Value> make_tuple(List items);
  Result<Value> make_dict(Dict dict);
  Result<Value> make_namespace();
  // Owns it until the end.
  Result<Value> make_callable(std::unique_ptr<Callable> function);

 private:
  static constexpr size_t kBytesPerStep = 1024;

  Limits limits_;
  uint64_t steps_ = 0;
  size_t bytes_ = 0;
  std::deque<std::string> strings_;
  std::deque<List> lists_;
  std::deque<Dict> dicts_;
  std::deque<Namespace> namespaces_;
  std::vector<std::unique_ptr<Callable>> callables_;
};

}  // namespace fathom::jinja

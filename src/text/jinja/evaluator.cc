#include "text/jinja/evaluator.h"

#include "text/jinja/builtins.h"
#include "text/jinja/evaluator_nesting.h"

namespace fathom::jinja {

Evaluator::Evaluator(const Program& program, const Limits& limits, std::time_t now)
    : program_(program), arena_(limits), now_(now) {}

Status Evaluator::check_depth() const {
  const int limit = arena_.limits().max_depth;
  if (depth_ <= limit) return ok_status();
  return resource_exhausted("the template nests deeper than the limit of {} levels", limit);
}

Status Evaluator::write(std::string_view text) {
  FATHOM_RETURN_IF_ERROR(arena_.charge(text.size()));
  const size_t limit = arena_.limits().max_output_bytes;
  if (!capturing_ && out_->size() + text.size() > limit) {
    return resource_exhausted("the template's text is over the limit of {} bytes", limit);
  }
  *out_ += text;
  return ok_status();
}

Result<std::string> Evaluator::capture(const Body& body, const ScopePointer& scope) {
  std::string text;
  std::string* const outer = std::exchange(out_, &text);
  const bool outer_capturing = std::exchange(capturing_, true);
  const Result<Flow> flow = execute(body, scope);
  out_ = outer;
  capturing_ = outer_capturing;
  if (!flow.ok()) return flow.status();
  return text;
}

Result<std::string> Evaluator::render(const Dict& variables) {
  const auto scope = std::make_shared<Scope>(nullptr);
  for (const auto& [name, value] : variables.entries()) scope->set(name.as_string(), value);
  std::string text;
  out_ = &text;
  const Result<Flow> flow = execute(program_.body, scope);
  out_ = nullptr;
  if (!flow.ok()) return flow.status().with_context(fmt::format("line {}", line_));
  return text;
}

Result<Value> Evaluator::call(const Value& function, const Arguments& arguments) {
  const Nesting nesting(depth_);
  FATHOM_RETURN_IF_ERROR(check_depth());
  FATHOM_RETURN_IF_ERROR(arena_.step());
  if (function.kind() == Value::Kind::kCallable) return function.as_callable().call(*this, arguments);
  if (function.is_undefined())
    return invalid_argument("\"{}\" is undefined and cannot be called", function.name());
  return invalid_argument("a {} cannot be called", type_name(function));
}

Result<Value> Evaluator::apply_filter(std::string_view name, const Value& value, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(arena_.step());
  const FilterFunction filter = find_filter(name);
  if (filter == nullptr) return unsupported("no filter named \"{}\"", name);
  Result<Value> result = filter(*this, value, arguments);
  return result.ok() ? std::move(result) : result.status().with_context(fmt::format("filter {}", name));
}

Result<bool> Evaluator::apply_test(std::string_view name, const Value& value, const Arguments& arguments) {
  FATHOM_RETURN_IF_ERROR(arena_.step());
  const TestFunction test = find_test(name);
  if (test == nullptr) return unsupported("no test named \"{}\"", name);
  Result<bool> result = test(*this, value, arguments);
  return result.ok() ? std::move(result) : result.status().with_context(fmt::format("test {}", name));
}

}  // namespace fathom::jinja

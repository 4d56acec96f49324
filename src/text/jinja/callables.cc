#include "text/jinja/callables.h"

#include "text/jinja/arguments.h"
#include "text/jinja/builtins.h"

namespace fathom::jinja {
namespace {

Value count(size_t value) { return Value::integer(static_cast<Integer>(value)); }

LoopObject& loop_of(const Value& self) {
  return const_cast<LoopObject&>(static_cast<const LoopObject&>(self.as_callable()));
}

Result<Value> call_cycle(Evaluator&, const Value& self, const Arguments& arguments) {
  return loop_of(self).cycle(arguments);
}

Result<Value> call_changed(Evaluator&, const Value& self, const Arguments& arguments) {
  return loop_of(self).changed(arguments);
}

}  // namespace

Result<Value> LoopObject::call(Evaluator& evaluator, const Arguments& arguments) const {
  if (!statement_.recursive) return invalid_argument("the loop is called, but is not recursive");
  FATHOM_ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind(arguments, {"iterable"}, 1));
  return evaluator.capture_loop(statement_, scope_, bound[0], depth_ + 1);
}

Result<Value> LoopObject::attribute(Evaluator& evaluator, std::string_view name) const {
  if (name == "index") return count(index_ + 1);
  if (name == "index0") return count(index_);
  if (name == "revindex") return count(items_.size() - index_);
  if (name == "revindex0") return count(items_.size() - index_ - 1);
  if (name == "first") return Value::boolean(index_ == 0);
  if (name == "last") return Value::boolean(index_ + 1 == items_.size());
  if (name == "length") return count(items_.size());
  if (name == "depth") return Value::integer(depth_ + 1);
  if (name == "depth0") return Value::integer(depth_);
  if (name == "previtem" && index_ > 0) return items_[index_ - 1];
  if (name == "nextitem" && index_ + 1 < items_.size()) return items_[index_ + 1];
  if (name == "cycle") return make_method(evaluator, Value::callable(this), call_cycle);
  if (name == "changed") return make_method(evaluator, Value::callable(this), call_changed);
  return Value::undefined(name);
}

Result<Value> LoopObject::cycle(const Arguments& arguments) const {
  if (arguments.positional.empty()) return invalid_argument("loop.cycle needs an argument");
  return arguments.positional[index_ % arguments.positional.size()];
}

Result<Value> LoopObject::changed(const Arguments& arguments) {
  bool same = last_ && last_->size() == arguments.positional.size();
  for (size_t i = 0; same && i < last_->size(); ++i) {
    FATHOM_ASSIGN_OR_RETURN(same, equals((*last_)[i], arguments.positional[i]));
  }
  last_ = arguments.positional;
  return Value::boolean(!same);
}

}  // namespace fathom::jinja

#include "text/jinja/arena.h"

namespace fathom::jinja {
namespace {

// What a dict keeps of an entry besides the entry: its node in the index, about.
constexpr size_t kDictEntryBytes = sizeof(Dict::Entry) + 64;
constexpr size_t kObjectBytes = 128;  // a string, list or callable object itself, about

}  // namespace

Status Arena::step(uint64_t count) {
  steps_ += count;
  if (steps_ <= limits_.max_steps) return ok_status();
  return resource_exhausted("the template takes more than the limit of {} steps", limits_.max_steps);
}

Status Arena::charge(size_t bytes) {
  if (bytes > limits_.max_memory_bytes || bytes_ + bytes > limits_.max_memory_bytes) {
    return resource_exhausted("the template's values take more than the limit of {} bytes",
                              limits_.max_memory_bytes);
  }
  bytes_ += bytes;
  return scan(bytes);
}

Result<Value> Arena::make_string(std::string text) {
  FATHOM_RETURN_IF_ERROR(charge(text.size() + kObjectBytes));
  return keep_charged(std::move(text));
}

Value Arena::keep_charged(std::string text) {
  strings_.push_back(std::move(text));
  return Value::string(strings_.back());
}

Result<Value> Arena::make_list(List items) {
  FATHOM_RETURN_IF_ERROR(charge(items.size() * sizeof(Value) + kObjectBytes));
  lists_.push_back(std::move(items));
  return Value::list(&lists_.back());
}

Result<Value> Arena::make_tuple(List items) {
  FATHOM_RETURN_IF_ERROR(charge(items.size() * sizeof(Value) + kObjectBytes));
  lists_.push_back(std::move(items));
  return Value::tuple(&lists_.back());
}

Result<Value> Arena::make_dict(Dict dict) {
  FATHOM_RETURN_IF_ERROR(charge(dict.entries().size() * kDictEntryBytes + kObjectBytes));
  dicts_.push_back(std::move(dict));
  return Value::dict(&dicts_.back());
}

Result<Value> Arena::make_namespace() {
  FATHOM_RETURN_IF_ERROR(charge(kObjectBytes));
  return Value::name_space(&namespaces_.emplace_back());
}

Result<Value> Arena::make_callable(std::unique_ptr<Callable> function) {
  FATHOM_RETURN_IF_ERROR(charge(kObjectBytes));
  callables_.push_back(std::move(function));
  return Value::callable(callables_.back().get());
}

}  // namespace fathom::jinja

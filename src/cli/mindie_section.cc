#include "cli/mindie_section.h"

namespace fathom {
namespace {

const Json kEmpty = Json::object();

}  // namespace

MindieSection::MindieSection(const Json& object, std::string name) : object_(object), name_(std::move(name)) {
  if (!object.is_object()) fail("", "must be an object");
}

void MindieSection::fail(const char* key, const std::string& message) {
  if (status_.ok()) status_ = invalid_data("{}{} {}", name_, key, message);
}

const Json* MindieSection::value(const char* key) {
  read_.insert(key);
  if (!object_.is_object()) return nullptr;
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

bool MindieSection::has(const char* key) { return value(key) != nullptr; }

int64_t MindieSection::integer(const char* key, int64_t fallback, int64_t low, int64_t high) {
  const Json* found = value(key);
  if (found == nullptr) return fallback;
  const int64_t number = found->is_number_integer() ? found->get<int64_t>() : low - 1;
  if (low <= number && number <= high) return number;
  fail(key, fmt::format("must be from {} to {}, is {}", low, high, dump_json(*found)));
  return fallback;
}

bool MindieSection::boolean(const char* key, bool fallback) {
  const Json* found = value(key);
  if (found == nullptr) return fallback;
  if (found->is_boolean()) return found->get<bool>();
  fail(key, "must be true or false");
  return fallback;
}

std::string MindieSection::text(const char* key, const std::string& fallback) {
  const Json* found = value(key);
  if (found == nullptr) return fallback;
  if (found->is_string()) return found->get<std::string>();
  fail(key, "must be a text");
  return fallback;
}

std::vector<std::string> MindieSection::texts(const char* key) {
  std::vector<std::string> all;
  const Json* found = value(key);
  if (found == nullptr) return all;
  for (const Json& entry : *found) {
    if (!found->is_array() || !entry.is_string()) {
      fail(key, "must be a list of texts");
      return {};
    }
    all.push_back(entry.get<std::string>());
  }
  return all;
}

const Json& MindieSection::object(const char* key) {
  const Json* found = value(key);
  if (found == nullptr) return kEmpty;
  if (found->is_object()) return *found;
  fail(key, "must be an object");
  return kEmpty;
}

const Json& MindieSection::single(const char* key) {
  const Json* found = value(key);
  if (found != nullptr && found->is_array() && found->size() == 1 && found->front().is_object())
    return found->front();
  fail(key, "must be a list of one model: one is served");
  return kEmpty;
}

void MindieSection::only(const char* key, const Json& allowed) {
  const Json* found = value(key);
  if (found != nullptr && *found != allowed)
    fail(key, fmt::format("is {}: only {} is offered", dump_json(*found), dump_json(allowed)));
}

std::vector<std::string> MindieSection::unused() const {
  std::vector<std::string> names;
  if (!object_.is_object()) return names;
  for (const auto& [key, entry] : object_.items()) {
    if (!read_.contains(key)) names.push_back(name_ + key);
  }
  return names;
}

}  // namespace fathom

#include "base/json.h"

#include <unordered_set>
#include <vector>

#include "base/file.h"

namespace fathom {
namespace {

constexpr size_t kMaxShownBytes = 200;  // of a document, in a message about it

std::string_view shown(std::string_view text) { return text.substr(0, kMaxShownBytes); }

// Builds the value, and stops the parse at the first value nested too deep, at the first key seen twice and
// at one key too many. The library's own parser with a callback looks through a whole list after each object
// in it, which takes minutes for the longest bodies.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(const JsonLimits& limits) : limits_(limits) {}

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return fail("not valid JSON"); }  // not in a text

  bool start_array(size_t) override { return open(Json::array()); }
  bool end_array() override { return close(); }
  bool start_object(size_t) override {
    if (!open(Json::object())) return false;
    keys_.emplace_back();
    return true;
  }
  bool end_object() override {
    keys_.pop_back();
    return close();
  }

  bool key(string_t& key) override {
    if (!keys_.back().insert(key).second) {
      return fail(fmt::format("JSON key \"{}\" occurs twice in one object", shown(key)));
    }
    if (keys_.back().size() > limits_.max_object_keys) {
      return fail(fmt::format("a JSON object has more than the limit of {} keys", limits_.max_object_keys));
    }
    key_ = std::move(key);
    return true;
  }

  // The library's message goes on with what it read last, which may be most of the document.
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) override {
    const std::string_view text = error.what();
    return fail(fmt::format("not valid JSON: {}", shown(text.substr(0, text.find("; last read: ")))));
  }

  Json take() { return std::move(root_); }
  const std::string& error() const { return error_; }

 private:
  bool fail(std::string error) {
    error_ = std::move(error);
    return false;
  }

  Json& place(Json value) {
    if (open_.empty()) return root_ = std::move(value);
    Json& parent = *open_.back();
    if (parent.is_array()) return parent.get_ref<Json::array_t&>().emplace_back(std::move(value));
    // Behind the object's own search for the key, which is known to be new.
    using Members = Json::object_t::Container;
    return static_cast<Members&>(parent.get_ref<Json::object_t&>())
        .emplace_back(std::move(key_), std::move(value))
        .second;
  }

  bool add(Json value) {
    place(std::move(value));
    return true;
  }

  bool open(Json container) {
    if (open_.size() >= static_cast<size_t>(limits_.max_depth)) {
      return fail(fmt::format("JSON is nested deeper than the limit of {} levels", limits_.max_depth));
    }
    open_.push_back(&place(std::move(container)));
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  const JsonLimits& limits_;
  Json root_;
  std::vector<Json*> open_;  // from the root on; nothing is put beside a value while it is open
  std::vector<std::unordered_set<std::string>> keys_;  // of the open objects
  std::string key_;                                    // of the next value
  std::string error_;
};

}  // namespace

Result<Json> parse_json(std::string_view text, const std::string& name, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return invalid_data("{}: JSON of {} bytes is over the limit of {} bytes", name, text.size(),
                        limits.max_bytes);
  }
  Builder builder(limits);
  if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
    return invalid_data("{}: {}", name, builder.error());
  }
  return builder.take();
}

Result<Json> read_json_file(const std::string& path, const JsonLimits& limits) {
  FATHOM_ASSIGN_OR_RETURN(const std::string text, read_file(path, limits.max_bytes));
  return parse_json(text, path, limits);
}

std::string dump_json(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace fathom

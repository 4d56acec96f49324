#include "text/tokenizer_json.h"

#include <utility>
#include <vector>

#include "base/file.h"

namespace fathom {
namespace {

constexpr size_t kMaxFileBytes = size_t{256} << 20;
constexpr size_t kMaxJsonDepth = 128;

// Builds the document from the parser's events; stops at the first value nested too deep, the first key seen
// twice in one object, and the first error.
class Builder {
 public:
  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(int64_t value) { return add(value); }
  bool number_unsigned(uint64_t value) { return add(value); }
  bool number_float(double value, const std::string&) { return add(value); }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(TokenizerJson::binary_t&) { return false; }
  bool start_object(size_t) { return open(TokenizerJson::object()); }
  bool end_object() { return close(); }
  bool start_array(size_t) { return open(TokenizerJson::array()); }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    const auto [member, inserted] = open_.back()->get_ref<Object&>().try_emplace(std::move(name));
    if (!inserted) return fail(fmt::format("JSON key \"{}\" occurs twice in one object", member->first));
    member_ = &member->second;
    return true;
  }

  bool parse_error(size_t, const std::string&, const TokenizerJson::exception& error) {
    return fail(fmt::format("not valid JSON: {}", error.what()));
  }

  TokenizerJson& document() { return document_; }
  const std::string& error() const { return error_; }

 private:
  using Object = TokenizerJson::object_t;

  bool fail(std::string message) {
    error_ = std::move(message);
    return false;
  }

  // Puts a value where the parser stands.
  TokenizerJson* place(TokenizerJson value) {
    if (open_.empty()) {
      document_ = std::move(value);
      return &document_;
    }
    if (open_.back()->is_array()) {
      open_.back()->push_back(std::move(value));
      return &open_.back()->back();
    }
    *member_ = std::move(value);
    return member_;
  }

  bool add(TokenizerJson value) {
    place(std::move(value));
    return true;
  }

  bool open(TokenizerJson value) {
    if (open_.size() >= kMaxJsonDepth) {
      return fail(fmt::format("JSON is nested deeper than the limit of {} levels", kMaxJsonDepth));
    }
    open_.push_back(place(std::move(value)));
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  TokenizerJson document_;
  std::vector<TokenizerJson*> open_;  // outermost first; an open value does not move while it is open
  TokenizerJson* member_ = nullptr;   // of the innermost object: the value of the last key
  std::string error_;
};

std::string path_of(const std::string& where, const char* key) {
  return where.empty() ? std::string(key) : where + "." + key;
}

Result<const TokenizerJson*> field(const TokenizerJson& object, const char* key, const std::string& where) {
  if (!object.is_object()) return invalid_data("{}: not an object", where.empty() ? "document" : where);
  const auto found = object.find(key);
  if (found == object.end()) return invalid_data("{}: missing", path_of(where, key));
  return &*found;
}

}  // namespace

Result<TokenizerJson> parse_tokenizer_json(std::string_view text, const std::string& name) {
  if (text.size() > kMaxFileBytes) {
    return invalid_data("{}: JSON of {} bytes is over the limit of {} bytes", name, text.size(),
                        kMaxFileBytes);
  }
  Builder builder;
  if (!TokenizerJson::sax_parse(text.begin(), text.end(), &builder)) {
    return invalid_data("{}: {}", name, builder.error());
  }
  return std::move(builder.document());
}

Result<TokenizerJson> read_tokenizer_json(const std::string& path) {
  FATHOM_ASSIGN_OR_RETURN(const std::string text, read_file(path, kMaxFileBytes));
  return parse_tokenizer_json(text, path);
}

Result<const TokenizerJson*> object_field(const TokenizerJson& object, const char* key,
                                          const std::string& where) {
  FATHOM_ASSIGN_OR_RETURN(const TokenizerJson* value, field(object, key, where));
  if (!value->is_object()) return invalid_data("{}: not an object", path_of(where, key));
  return value;
}

Result<const TokenizerJson*> array_field(const TokenizerJson& object, const char* key,
                                         const std::string& where) {
  FATHOM_ASSIGN_OR_RETURN(const TokenizerJson* value, field(object, key, where));
  if (!value->is_array()) return invalid_data("{}: not an array", path_of(where, key));
  return value;
}

Result<std::string> string_field(const TokenizerJson& object, const char* key, const std::string& where) {
  FATHOM_ASSIGN_OR_RETURN(const TokenizerJson* value, field(object, key, where));
  if (!value->is_string()) return invalid_data("{}: not a string", path_of(where, key));
  return value->get<std::string>();
}

Result<bool> bool_field(const TokenizerJson& object, const char* key, bool absent, const std::string& where) {
  if (!object.is_object()) return invalid_data("{}: not an object", where.empty() ? "document" : where);
  const auto found = object.find(key);
  if (found == object.end()) return absent;
  if (!found->is_boolean()) return invalid_data("{}: not true or false", path_of(where, key));
  return found->get<bool>();
}

bool is_null_field(const TokenizerJson& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null();
}

}  // namespace fathom

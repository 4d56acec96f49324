// One object of MindIE's config.json, read key by key. The first thing wrong is kept; what nobody read is
// reported as without a meaning.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace fathom {

class MindieSection {
 public:
  // object must outlive the section. name stands before keys in messages: "ServerConfig.".
  MindieSection(const Json& object, std::string name);

  int64_t integer(const char* key, int64_t fallback, int64_t low, int64_t high);
  bool boolean(const char* key, bool fallback);
  std::string text(const char* key, const std::string& fallback);
  std::vector<std::string> texts(const char* key);
  // The object at key, empty where there is none.
  const Json& object(const char* key);
  // The list of exactly one object at key.
  const Json& single(const char* key);
  // Other values, if the key is there, are refused: what they ask for is not offered.
  void only(const char* key, const Json& allowed);
  // The key may be there, or not.
  bool has(const char* key);
  // Keys that are well known and have no meaning here are like unknown ones.
  std::vector<std::string> unused() const;

  void fail(const char* key, const std::string& message);
  const Status& status() const { return status_; }

 private:
  const Json* value(const char* key);

  const Json& object_;
  std::string name_;
  std::unordered_set<std::string> read_;
  Status status_;
};

}  // namespace fathom

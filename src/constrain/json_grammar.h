// The grammar of JSON texts, in whole and in parts. RFC 8259, held to what a model cannot draw out for ever:
// * space (after '{', '[', ',' and ':', before '}' and ']') is nothing, one blank, or a line break and up to
// 20
//   blanks or tabs;
// * a number has up to 16 digits before and after the point and 2 in the exponent;
// * \u escapes of surrogates come in pairs.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "constrain/grammar.h"

namespace fathom {

inline constexpr uint32_t kMaxJsonIndent = 20;
inline constexpr uint32_t kMaxJsonDigits = 16;

// Any object. Nothing stands before or behind it.
Grammar json_object_grammar();

// The characters of the set as they stand inside a JSON string, each in its shortest spelling.
NodeId json_string_set(Grammar& grammar, const CodePointSet& set);

// Parts for a grammar in the making; each is made when first asked for.
class JsonParts {
 public:
  explicit JsonParts(Grammar& grammar) : grammar_(grammar) {}

  NodeId space();
  NodeId digit();
  NodeId string_character();  // in any spelling
  // With min to max characters (code points).
  NodeId string(uint32_t min, uint32_t max);
  NodeId string() { return string(0, kUnbounded); }
  NodeId integer();                      // without "-0"
  NodeId fraction(uint32_t max_digits);  // the point and digits
  NodeId number();
  NodeId object();
  NodeId array();
  NodeId value();
  // open, `min` to `max` items with commas between, close.
  NodeId list(std::string_view open, NodeId item, uint32_t min, uint32_t max, std::string_view close);
  NodeId member(NodeId key, NodeId value);

 private:
  static constexpr NodeId kNone = UINT32_MAX;

  Grammar& grammar_;
  NodeId space_ = kNone;
  NodeId digit_ = kNone;
  NodeId character_ = kNone;
  NodeId value_ = kNone;
  std::map<std::pair<uint32_t, uint32_t>, NodeId> strings_;  // by min and max
};

}  // namespace fathom

// The work of compile_schema, shared between its files. Not for others.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "constrain/json_grammar.h"
#include "constrain/number_grammar.h"

namespace fathom {

enum class NumberType { kInteger, kNumber };

// All pointers are of the fragment form: "#/properties/a". Methods return nodes of grammar_.
class SchemaCompiler {
 public:
  explicit SchemaCompiler(const Json& root) : root_(root), parts_(grammar_) {}
  Result<Grammar> run();

 private:
  // schema_compiler.cc
  Result<NodeId> compile(const Json& schema, const std::string& pointer, int depth);
  Result<NodeId> compile_alternatives(const Json& schema, const char* keyword, const std::string& pointer,
                                      int depth);
  Result<NodeId> compile_types(const Json& schema, const std::string& pointer, int depth);
  Result<NodeId> compile_type(const std::string& type, const Json& schema, const std::string& pointer,
                              int depth);
  Result<NodeId> compile_values(const Json& schema, const std::string& pointer);
  Status check_keywords(const Json& schema, const std::string& pointer) const;
  Result<std::vector<std::string>> types_of(const Json& schema, const std::string& pointer) const;
  // The schema with allOf and $ref merged into it; combine leaves a $ref that stands alone. Results live as
  // long as this.
  Result<const Json*> combine(const Json& schema, const std::string& pointer, int depth);
  Result<const Json*> expand(const Json& schema, const std::string& pointer, int depth);
  Result<const Json*> merge(const Json& a, const Json& b, const std::string& pointer);
  Result<const Json*> resolve(const Json& schema, const std::string& pointer) const;
  Result<NodeId> reference(const Json& schema, const std::string& pointer);

  // schema_types.cc
  Result<NodeId> compile_string(const Json& schema, const std::string& pointer);
  Result<NodeId> compile_number(const Json& schema, const std::string& pointer, NumberType type);
  Result<NodeId> compile_array(const Json& schema, const std::string& pointer, int depth);
  // A count of at most kMaxRepetition.
  Result<uint32_t> count_of(const Json& schema, const char* keyword, uint32_t otherwise,
                            const std::string& pointer) const;

  // schema_object.cc
  struct Property {
    NodeId member;
    bool is_required;
  };
  Result<NodeId> compile_object(const Json& schema, const std::string& pointer, int depth);
  Result<NodeId> compile_map(const Json& schema, NodeId value, const std::string& pointer);
  Result<std::vector<std::string>> required_names(const Json& schema, const std::string& pointer) const;
  NodeId object_of(const std::vector<Property>& properties, std::optional<NodeId> extra);
  Result<NodeId> key_not_among(const Json& names, const std::string& pointer);

  const Json& root_;
  Grammar grammar_;
  JsonParts parts_;
  struct PendingRule {
    RuleId rule;
    const Json* schema;
    std::string pointer;
  };
  std::map<std::string, RuleId> rules_;  // by pointer
  std::deque<PendingRule> pending_;
  std::deque<Json> merged_;
  size_t merged_values_ = 0;
};

// The pointer of a member: "/" and "~" in the name are escaped.
std::string child_pointer(const std::string& pointer, const std::string& name);

}  // namespace fathom

#include "server/openai/constraint_fields.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

using ConstraintKind = ConstraintSpec::Kind;

TEST(ConstraintFieldsTest, EverySpelling) {
  const struct {
    const char* body;
    ConstraintKind kind;
    const char* text;
    const char* param;
  } kCases[] = {
      {R"({"response_format": {"type": "json_object"}})", ConstraintKind::kJsonObject, "", "response_format"},
      {R"({"response_format": {"type": "json_object", "schema": {"type": "array"}}})",
       ConstraintKind::kJsonSchema, R"({"type":"array"})", "response_format"},
      {R"({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema":
          {"type": "null"}}}})",
       ConstraintKind::kJsonSchema, R"({"type":"null"})", "response_format"},
      {R"({"structured_outputs": {"json": {"type": "null"}}})", ConstraintKind::kJsonSchema,
       R"({"type":"null"})", "structured_outputs.json"},
      {R"({"structured_outputs": {"json": "{}"}})", ConstraintKind::kJsonSchema, "{}",
       "structured_outputs.json"},
      {R"({"structured_outputs": {"regex": "a+", "choice": null}})", ConstraintKind::kRegex, "a+",
       "structured_outputs.regex"},
      {R"({"structured_outputs": {"grammar": "root ::= \"a\""}})", ConstraintKind::kGrammar, "root ::= \"a\"",
       "structured_outputs.grammar"},
      {R"({"structured_outputs": {"json_object": true}})", ConstraintKind::kJsonObject, "",
       "structured_outputs.json_object"},
      {R"({"guided_json": {"type": "null"}})", ConstraintKind::kJsonSchema, R"({"type":"null"})",
       "guided_json"},
      {R"({"guided_regex": "b"})", ConstraintKind::kRegex, "b", "guided_regex"},
      {R"({"guided_grammar": "g"})", ConstraintKind::kGrammar, "g", "guided_grammar"},
      {R"({"json_schema": {"type": "null"}})", ConstraintKind::kJsonSchema, R"({"type":"null"})",
       "json_schema"},
      {R"({"regex": "c"})", ConstraintKind::kRegex, "c", "regex"},
      {R"({"ebnf": "e"})", ConstraintKind::kGrammar, "e", "ebnf"},
      {R"({"grammar": "h"})", ConstraintKind::kGrammar, "h", "grammar"},
  };
  for (const auto& test : kCases) {
    const Json body = parse_json(test.body, "test", {}).value();
    RequestFields fields(body);
    const auto found = read_constraint(fields);
    ASSERT_TRUE(found.has_value()) << test.body;
    EXPECT_FALSE(fields.error().has_value()) << test.body;
    EXPECT_EQ(found->spec.kind, test.kind) << test.body;
    EXPECT_EQ(found->spec.text, test.text) << test.body;
    EXPECT_EQ(found->param, test.param);
    EXPECT_TRUE(fields.unknown().empty()) << test.body;
  }
}

TEST(ConstraintFieldsTest, Choices) {
  const Json body = parse_json(R"({"structured_outputs": {"choice": ["a", "b"]}})", "test", {}).value();
  RequestFields fields(body);
  const auto found = read_constraint(fields);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->spec.choices, (std::vector<std::string>{"a", "b"}));
}

TEST(ConstraintFieldsTest, NoneIsNone) {
  for (const char* text : {"{}", R"({"response_format": {"type": "text"}})", R"({"guided_json": null})",
                           R"({"structured_outputs": {"json_object": false}})"}) {
    const Json body = parse_json(text, "test", {}).value();
    RequestFields fields(body);
    EXPECT_FALSE(read_constraint(fields).has_value()) << text;
    EXPECT_FALSE(fields.error().has_value()) << text;
  }
}

}  // namespace
}  // namespace fathom

#include <array>

#include "constrain/schema_test_support.h"
#include "constrain/test_support.h"

namespace fathom::constrain_test {
namespace {

struct SchemaCase {
  const char* schema;
  std::vector<std::string> accepted;
  std::vector<std::string> rejected;
};

const std::vector<SchemaCase>& cases() {
  static const std::vector<SchemaCase> all = {
      {R"({"type":"null"})", {"null"}, {"true", "", " null"}},
      {R"({"type":"boolean","description":"x","default":true})", {"true", "false"}, {"null"}},
      {R"({"type":["string","null"]})", {"\"a\"", "null"}, {"1"}},
      {R"({"type":"integer"})",
       {"0", "-1", "1234567890123456"},
       {"-0", "01", "1.0", "1e3", "12345678901234567"}},
      {R"({"type":"number"})",
       {"0", "-0", "-1.50", "1e-9", "2E+05"},
       {"01", ".5", "1.", "+1", "1e999", "--1"}},
      {R"({"type":"integer","minimum":0})", {"0", "7", "9999999999999999"}, {"-1", "-0"}},
      {R"({"type":"integer","minimum":-12,"exclusiveMaximum":105})",
       {"-12", "-1", "0", "104"},
       {"-13", "105", "-20"}},
      {R"({"type":"integer","exclusiveMinimum":1.5,"maximum":3.5})", {"2", "3"}, {"1", "4"}},
      {R"({"type":"integer","minimum":9223372036854775807})",
       {"9223372036854775807"},
       {"9223372036854775808", "1"}},
      {R"({"type":"integer","maximum":-9223372036854775808})",
       {"-9223372036854775808"},
       {"-9223372036854775807"}},
      {R"({"minimum":0,"maximum":1})", {"0", "1", "0.5", "1.00", "0.0"}, {"1.01", "-0.1", "2", "1e0"}},
      {R"({"type":"number","exclusiveMinimum":0,"exclusiveMaximum":10})",
       {"0.01", "9.99", "5"},
       {"0", "0.0", "10", "-1"}},
      {R"({"type":"number","maximum":-3})", {"-3", "-3.5", "-100"}, {"-2.9", "0", "3"}},
      {R"({"type":"string"})",
       {R"("")", R"("a\"b\\\/\b\f\n\r\tA\u00e9\ud83d\ude00\uD7FF")", "\"\u4f60\u007f\""},
       {R"("a)", R"("\x")", R"("\ud83d")", R"("\ude00")", "\"\n\"", R"("\u12")", "\"\xff\""}},
      {R"({"type":"string","minLength":2,"maxLength":3})",
       {R"("ab")", "\"\u4f60\u597da\"", R"("\n\u00e9")", R"("\ud83d\ude00a")"},
       {R"("a")", R"("abcd")"}},
      {R"({"maxLength":0})", {R"("")"}, {R"("a")"}},
      {R"({"type":"string","pattern":"^[a-c]{2}$"})", {R"("ab")"}, {R"("abc")", R"("a")"}},
      {R"({"type":"string","pattern":"b"})", {R"("b")", R"("abc")", R"("\nb")"}, {R"("ac")"}},
      {R"({"type":"string","pattern":"^a|b$"})", {R"("axx")", R"("xxb")"}, {R"("xax")"}},
      {R"({"type":"string","pattern":"^[\"\\\\\n]$"})",
       {R"("\"")", R"("\\")", R"("\n")"},
       {"\"\"\"", "\"\n\"", R"("a")"}},
      {R"({"type":"string","format":"date"})",
       {R"("2024-02-29")", R"("1999-12-31")"},
       {R"("2023-02-29")", R"("2024-13-01")", R"("1900-02-29")"}},
      {R"({"type":"string","format":"date-time"})",
       {R"("2024-01-02T03:04:05Z")", R"("2024-01-02T03:04:05.5+01:00")"},
       {R"("2024-01-02 03:04:05Z")"}},
      {R"({"format":"time"})", {R"("23:59:59Z")"}, {R"("24:00:00Z")", R"("23:59")"}},
      {R"({"format":"duration"})",
       {R"("P1DT2H")", R"("P3W")", R"("PT5M")"},
       {R"("P")", R"("PT")", R"("1D")"}},
      {R"({"format":"uuid"})", {R"("123e4567-e89b-12d3-a456-426614174000")"}, {R"("123e4567")"}},
      {R"({"format":"email"})", {R"("a.b@example.org")"}, {R"("a@b")", R"("a..b@c.d")"}},
      {R"({"format":"hostname"})", {R"("a-b.example")"}, {R"("-a")", R"("a..b")"}},
      {R"({"format":"ipv4"})", {R"("255.0.10.1")"}, {R"("256.0.0.1")", R"("1.2.3")", R"("01.2.3.4")"}},
      {R"({"format":"ipv6"})",
       {R"("::1")", R"("1:2:3:4:5:6:7:8")", R"("fe80::1:2")"},
       {R"("1:2")", R"(":::1")"}},
      {R"({"format":"uri"})", {R"("https://a.b/c?d=e#f")"}, {R"("a b")", R"("a")"}},
      {R"({"enum":["a",1,null,[1,{"b":2}],"\u00e9\n"]})",
       {R"("a")", "1", "null", R"([1,{"b":2}])", "\"\u00e9\\n\""},
       {R"("b")", "[1]"}},
      {R"({"type":"string","enum":["a",1]})", {R"("a")"}, {"1"}},
      {R"({"const":{"a":1}})", {R"({"a":1})"}, {R"({"a":2})", "{}"}},
      {R"({"type":"array","items":{"type":"integer"}})",
       {"[]", "[1]", "[ 1, 2 ]", "[1,2,3]", "[\n  1,\n  2\n]"},
       {"[1,]", "[a]", "[1 ,2]", "[", "[  1]"}},
      {R"({"items":{"type":"integer"},"minItems":2,"maxItems":3})",
       {"[1,2]", "[1, 2, 3]"},
       {"[]", "[1]", "[1,2,3,4]"}},
      {R"({"maxItems":0})", {"[]", "[ ]"}, {"[1]"}},
      {R"({"type":"array"})", {"[]", R"([1,"a",[null],{"a":true}])"}, {"{}"}},
      {R"({"prefixItems":[{"type":"integer"},{"type":"string"}]})",
       {"[]", "[1]", R"([1, "a"])"},
       {R"(["a"])", R"([1,"a",2])"}},
      {R"({"prefixItems":[{"type":"integer"},{"type":"string"}],"items":{"type":"null"},"minItems":1,"maxItems":4})",
       {"[1]", R"([1,"a"])", R"([1,"a",null,null])"},
       {"[]", R"([1,null])", R"([1,"a",null,null,null])"}},
      {R"({"prefixItems":[{"type":"integer"},{"type":"integer"}],"maxItems":1})", {"[]", "[1]"}, {"[1,2]"}},
      {R"({"prefixItems":[{"type":"integer"}],"minItems":3,"items":{}})", {"[1,2,3]"}, {"[1,2]"}},
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"},"c":{"type":"null"}},"required":["b"]})",
       {R"({"b":"x"})", R"({"a":1,"b":"x"})", R"({ "a": 1, "b": "x", "c": null })", R"({"b":"x","c":null})"},
       {"{}", R"({"a":1})", R"({"b":"x","a":1})", R"({"b":"x","d":1})", R"({"b":"x",})", R"({,"b":"x"})"}},
      {R"({"properties":{"a":{},"b":{}}})",
       {"{}", "{ }", R"({"a":[1]})", R"({"b":{}})", R"({"a":1,"b":2})"},
       {R"({"b":1,"a":2})", "[]"}},
      {R"({"properties":{"a":{"type":"integer"}},"additionalProperties":false})",
       {"{}", R"({"a":1})"},
       {R"({"b":1})"}},
      {R"({"type":"object","additionalProperties":{"type":"integer"}})",
       {"{}", R"({"x":1,"y":2})"},
       {R"({"x":"a"})"}},
      {R"({"type":"object","additionalProperties":{"type":"integer"},"minProperties":1,"maxProperties":2})",
       {R"({"x":1})", R"({"x":1,"y":2})"},
       {"{}", R"({"x":1,"y":2,"z":3})"}},
      {R"({"type":"object","additionalProperties":false})", {"{}"}, {R"({"a":1})"}},
      {R"({"properties":{"ab":{"type":"null"},"ac":{"type":"null"}},"additionalProperties":{"type":"integer"},"required":["ab"]})",
       {R"({"ab":null})", R"({"ab":null,"ac":null,"a":1,"abc":2,"":3,"b":4,"ad":5})"},
       {R"({"ab":null,"ab":1})", R"({"ab":null,"ac":1})", R"({"a":1,"ab":null})", R"({"ab":1})"}},
      {R"({"properties":{"a":{"type":"null"}},"required":["b","a"]})",
       {R"({"a":null,"b":[1]})"},
       {R"({"a":null})", R"({"b":1,"a":null})"}},
      {R"({"properties":{"a/b~\"\u00e9":{"type":"null"}}})",
       {"{\"a/b~\\\"\u00e9\":null}"},
       {R"({"a":null})"}},
      {R"({"properties":{"a":false,"b":true}})", {R"({"b":1})", "{}"}, {R"({"a":1})"}},
      {R"({"type":"object"})", {"{}", R"({"a":{"b":[1,2,{"c":null}]}})"}, {"[]", "1"}},
      {"true", {"1", R"({"a":[1]})", "\"x\""}, {"x"}},
      {"{}", {"1", "[]", "null"}, {"nul"}},
      {R"({"anyOf":[{"type":"integer"},{"type":"string"}]})", {"1", R"("a")"}, {"null"}},
      {R"({"oneOf":[{"type":"integer"},{"const":"x"}],"title":"t"})", {"1", R"("x")"}, {R"("a")"}},
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},"anyOf":[{"required":["a"]},{"required":["b"]}]})",
       {R"({"a":1})", R"({"b":1})", R"({"a":1,"b":2})"},
       {"{}"}},
      {R"({"allOf":[{"properties":{"a":{"type":"integer","minimum":0}},"required":["a"]},{"properties":{"b":{"type":"null"},"a":{"maximum":9}}}]})",
       {R"({"a":5})", R"({"a":9,"b":null})"},
       {R"({"a":10})", R"({"b":null})", R"({"a":-1})"}},
      {R"({"allOf":[{"type":["string","integer"]},{"type":["number","null"]}]})",
       {"1"},
       {"null", R"("a")", "1.5"}},
      {R"({"allOf":[{"enum":[1,2,3]},{"enum":[2,3,4]}]})", {"2", "3"}, {"1", "4"}},
      {R"({"$ref":"#/$defs/a","$defs":{"a":{"type":"integer"}}})", {"1"}, {"a"}},
      {R"({"properties":{"x":{"$ref":"#/$defs/a","description":"d"},"y":{"allOf":[{"$ref":"#/$defs/a"}]}},"$defs":{"a":{"enum":[1]}}})",
       {R"({"x":1,"y":1})"},
       {R"({"x":2})"}},
      {R"({"$ref":"#/$defs/a","maximum":5,"$defs":{"a":{"type":"integer","minimum":3}}})",
       {"3", "5"},
       {"2", "6"}},
      {R"({"properties":{"value":{"type":"integer"},"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["value","next"]})",
       {R"({"value":1,"next":null})", R"({"value":1,"next":{"value":2,"next":{"value":3,"next":null}}})"},
       {R"({"value":1})"}},
      {R"({"$ref":"#/$defs/tree","$defs":{"tree":{"type":"object","properties":{"children":{"type":"array","items":{"$ref":"#/$defs/tree"}}}}}})",
       {"{}", R"({"children":[{},{"children":[]}]})"},
       {R"({"children":[1]})"}},
      {R"({"properties":{"a/b":{"type":"integer"},"c":{"$ref":"#/properties/a~1b"}}})",
       {R"({"c":1})"},
       {R"({"c":"x"})"}},
      {R"({"type":"array","uniqueItems":false,"items":{"const":1}})", {"[1,1]"}, {"[2]"}},
  };
  return all;
}

TEST(Schema, AcceptsAndRejects) {
  for (const SchemaCase& c : cases()) {
    const Compiled compiled = compile(Kind::kJsonSchema, c.schema);
    ASSERT_NE(compiled, nullptr) << c.schema;
    for (const auto& text : c.accepted) EXPECT_TRUE(accepts(compiled, text)) << c.schema << "\n" << text;
    for (const auto& text : c.rejected) EXPECT_FALSE(accepts(compiled, text)) << c.schema << "\n" << text;
    // The table agrees with the validator of the walks below.
    const Json schema = Json::parse(c.schema);
    for (const auto& text : c.accepted) EXPECT_EQ(why_invalid(Json::parse(text), schema, schema), "") << text;
  }
}

TEST(Schema, AnyJsonObject) {
  const Compiled compiled = compile(Kind::kJsonObject, "");
  for (const char* text : {"{}", "{ }", R"({"a": 1, "b": [true, false, null, {"c": -1.5e3}]})",
                           "{\n  \"a\": [\n    1,\n    2\n  ]\n}"}) {
    EXPECT_TRUE(accepts(compiled, text)) << text;
  }
  for (const char* text : {"", "[]", "1", " {}", "{} ", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}",
                           "{\"a\" :1}", "{  \"a\":1}", "{\n\n\"a\":1}", "{\"a\":01}", "{'a':1}"}) {
    EXPECT_FALSE(accepts(compiled, text)) << text;
  }
}

// Walks of random allowed tokens, steered to an end after a while, end in JSON that is valid.
TEST(Schema, RandomWalksEndInValidText) {
  const Vocabulary vocabulary({"{\"",   "\":", "\",",  "\", \"", "\"}", "},{", "]}",    "[[",
                               "12",    "0.",  "true", "null",   "abc", "\\n", "\\u00", "\xe4\xbd",
                               "\xa0x", ", ",  ": ",   "\n  ",   "-",   "}}"});
  std::vector<std::string> schemas = {""};
  for (const SchemaCase& c : cases()) schemas.emplace_back(c.schema);
  for (const std::string& text : schemas) {
    const Compiled compiled = compile(text.empty() ? Kind::kJsonObject : Kind::kJsonSchema, text, vocabulary);
    ASSERT_NE(compiled, nullptr);
    const Json schema = text.empty() ? Json{{"type", "object"}} : Json::parse(text);
    for (uint64_t seed = 0; seed < 12; ++seed) {
      const std::string walked = random_walk(compiled, vocabulary, seed);
      const Json value = Json::parse(walked, nullptr, false);
      ASSERT_FALSE(value.is_discarded()) << text << "\n" << walked;
      ASSERT_EQ(why_invalid(value, schema, schema), "") << text << "\n" << walked;
    }
  }
}

// All bounds of three digits against counting.
TEST(Schema, IntegerRangesAreExact) {
  for (uint64_t i = 0; i < 60; ++i) {
    const auto a = static_cast<int>(random_bits(1, i) % 2200) - 1100;
    const auto b = a + static_cast<int>(random_bits(2, i) % (i % 2 == 0 ? 12 : 1300));
    const Compiled compiled =
        compile(Kind::kJsonSchema, fmt::format(R"({{"type":"integer","minimum":{},"maximum":{}}})", a, b));
    for (int n = -2300; n <= 2300; ++n) {
      ASSERT_EQ(accepts(compiled, std::to_string(n)), a <= n && n <= b) << n << " in " << a << ", " << b;
    }
  }
}

TEST(Schema, DecimalRangesAreExact) {
  for (const char* low : {"minimum", "exclusiveMinimum"}) {
    for (const char* high : {"maximum", "exclusiveMaximum"}) {
      for (int a = -12; a <= 11; a += 1) {
        const int b = a + 1 + (a + 12) % 5;
        const Compiled compiled = compile(
            Kind::kJsonSchema, fmt::format(R"({{"type":"number","{}":{},"{}":{}}})", low, a, high, b));
        for (int tenths = -200; tenths <= 200; ++tenths) {
          const std::string text = fmt::format("{:.1f}", tenths / 10.0);
          const bool above = low[0] == 'm' ? tenths >= 10 * a : tenths > 10 * a;
          const bool below = high[0] == 'm' ? tenths <= 10 * b : tenths < 10 * b;
          ASSERT_EQ(accepts(compiled, text), above && below) << text << " " << low << a << " " << high << b;
        }
      }
    }
  }
}

TEST(Schema, Refusals) {
  const std::vector<std::array<const char*, 2>> refused = {
      {"{", "the schema: not valid JSON"},
      {"1", "#: a schema has to be an object or a boolean"},
      {R"({"properties":{"a":{"items":3}}})",
       "#/properties/a/items: a schema has to be an object or a boolean"},
      {R"({"properties":{"a~b/c":{"type":"array","uniqueItems":true}}})",
       "#/properties/a~0b~1c/uniqueItems: this keyword is not supported"},
      {R"({"not":{}})", "#/not: this keyword is not supported"},
      {R"({"if":{}})", "#/if: this keyword is not supported"},
      {R"({"patternProperties":{}})", "#/patternProperties: this keyword is not supported"},
      {R"({"multipleOf":2})", "#/multipleOf: this keyword is not supported"},
      {R"({"$dynamicRef":"#a"})", "#/$dynamicRef: this keyword is not supported"},
      {R"({"items":{"$id":"x"}})", "#/items/$id: this keyword is not supported"},
      {R"({"type":"text"})", "#/type: \"text\" is not a type"},
      {R"({"type":[1]})", "#/type: has to be a string or a list of them"},
      {R"({"type":[]})", "no text can match"},
      {"false", "no text can match"},
      {R"({"minimum":2,"maximum":1})", "no text can match"},
      {R"({"type":"string","minLength":2,"maxLength":1})", "no text can match"},
      {R"({"enum":[1],"type":"string"})", "no text can match"},
      {R"({"properties":{"a":{"$ref":"#"}},"required":["a"]})", "no text can match"},
      {R"({"properties":{},"additionalProperties":false,"required":["a"]})", "no text can match"},
      {R"({"enum":[]})", "#/enum: has to be a list with members"},
      {R"({"enum":[1],"minimum":0})", "#: enum or const beside keywords other than type is not supported"},
      {R"({"anyOf":{}})", "#/anyOf: has to be a list with members"},
      {R"({"allOf":[]})", "#/allOf: has to be a list with members"},
      {R"({"allOf":[{"pattern":"a"},{"pattern":"b"}]})",
       "#: two different values of \"pattern\" together are not supported"},
      {R"({"allOf":[{"properties":{"a":{}},"additionalProperties":false},{"properties":{"b":{}}}]})",
       "#: additionalProperties beside another schema's properties is not supported"},
      {R"({"$ref":"other.json#/a"})",
       "#/$ref: \"other.json#/a\" is not in this document (only \"#...\" is supported)"},
      {R"({"$ref":"#a"})", "#/$ref: \"#a\" is an anchor; only \"#/...\" is supported"},
      {R"({"$ref":"#/$defs/a"})", "#/$ref: there is no \"#/$defs/a\""},
      {R"({"$ref":1})", "#/$ref: has to be a string"},
      {R"({"$ref":"#"})", "# is left recursive: it refers to itself before any text"},
      {R"({"anyOf":[{"type":"null"},{"$ref":"#/$defs/b"}],"$defs":{"b":{"$ref":"#"}}})",
       "# is left recursive: it refers to itself before any text"},
      {R"x({"pattern":"(?=a)"})x", "#/pattern: offset 0: lookahead and lookbehind are not supported"},
      {R"({"pattern":"a","minLength":1})", "#: only one of pattern, format and a length is supported"},
      {R"({"format":"iri"})", "#/format: \"iri\" is not supported"},
      {R"({"maxLength":20000})", "#/maxLength: 20000 is over the limit of 10000"},
      {R"({"minItems":-1})", "#/minItems: has to be a whole number, not negative"},
      {R"({"type":"number","minimum":0.5})",
       "#/minimum: 0.5 is not whole, which is supported for integers only"},
      {R"({"type":"integer","minimum":"1"})", "#/minimum: has to be a number"},
      {R"({"type":"integer","minimum":1e300})", "#/minimum: 1e+300 is over the limit of 9007199254740992"},
      {R"({"items":[{}]})", "#/items: a list is not supported (use prefixItems)"},
      {R"({"properties":[]})", "#/properties: has to be an object"},
      {R"({"required":"a"})", "#/required: has to be a list of strings"},
      {R"({"properties":{"a":{}},"minProperties":1})",
       "#/minProperties: this keyword is not supported beside properties"},
  };
  for (const auto& [schema, message] : refused) {
    EXPECT_NE(try_compile(Kind::kJsonSchema, schema).status().code(), ErrorCode::kInvalidData) << schema;
    const std::string error = error_of(Kind::kJsonSchema, schema);
    EXPECT_TRUE(error.starts_with(std::string("JSON schema: ") + message)) << schema << "\n" << error;
  }
}

TEST(Schema, Bombs) {
  std::string deep = "{}";
  for (int i = 0; i < 70; ++i) deep = R"({"items":)" + deep + "}";
  EXPECT_NE(error_of(Kind::kJsonSchema, deep).find("nested deeper than the limit of 64"), std::string::npos);
  for (int i = 0; i < 7; ++i) deep = R"({"items":)" + deep + R"(,"x":)" + deep + "}";
  EXPECT_NE(error_of(Kind::kJsonSchema, deep).find("is not supported"), std::string::npos);
  std::string doubling = R"("a60":{"type":"string"}})";
  for (int i = 60; i-- > 0;) {
    doubling = fmt::format(R"("a{}":{{"allOf":[{{"$ref":"#/$defs/a{}"}},{{"$ref":"#/$defs/a{}"}}]}},)", i,
                           i + 1, i + 1) +
               doubling;
  }
  EXPECT_NE(
      error_of(Kind::kJsonSchema, R"({"$ref":"#/$defs/a0","$defs":{)" + doubling + "}").find("limit of"),
      std::string::npos);
  EXPECT_NE(error_of(Kind::kJsonSchema, R"({"allOf":[{"$ref":"#"},{"type":"string"}]})").find("limit of 64"),
            std::string::npos);
  std::string many = R"("a":{})";
  for (int i = 0; i < 1100; ++i) many += fmt::format(R"(,"p{}":{{}})", i);
  EXPECT_EQ(error_of(Kind::kJsonSchema, R"({"properties":{)" + many + "}}"),
            "JSON schema: #: 1101 properties are over the limit of 1024");
}

}  // namespace
}  // namespace fathom::constrain_test

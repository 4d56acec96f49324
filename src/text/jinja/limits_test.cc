// Templates that try to take more than their share: each ends with an error, in bounded time and memory.
#include <gtest/gtest.h>

#include "text/jinja/template.h"

namespace fathom::jinja {
namespace {

std::string error_of(const std::string& source, const RenderOptions& options = {},
                     const Json& variables = Json::object()) {
  const auto parsed = Template::parse(source);
  if (!parsed.ok()) return parsed.status().message();
  const auto text = parsed->render(variables, options);
  return text.ok() ? "rendered " + std::to_string(text->size()) + " bytes" : text.status().message();
}

void expect_limit(const std::string& source, const std::string& what, const RenderOptions& options = {}) {
  const std::string error = error_of(source, options);
  EXPECT_NE(error.find(what), std::string::npos) << source.substr(0, 200) << "\n  gave: " << error;
}

std::string repeat(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

TEST(JinjaLimits, Loops) {
  expect_limit("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
               "limit of 1000000 steps");
  expect_limit("{% for a in range(99999) %}{% for b in range(99999) if false %}{% endfor %}{% endfor %}",
               "limit of 1000000 steps");
  expect_limit("{{ range(1000000000) | length }}", "range of 1000000000 is over the limit of 100000");
  expect_limit("{{ range(-9000000000000000000, 9000000000000000000) | length }}", "over the limit of 100000");
  expect_limit("{% for a in range(99999) %}{{ range(99999) | sum }}{% endfor %}", "limit of");
  expect_limit("{% for a in range(99999) %}{{ range(99999) | sort | unique | list }}{% endfor %}",
               "limit of");
}

TEST(JinjaLimits, StepLimitIsExact) {
  // The text, and one step for the statement.
  RenderOptions options;
  options.limits.max_steps = 2;
  EXPECT_EQ(error_of("x", options), "line 1: the template takes more than the limit of 2 steps");
  options.limits.max_steps = 100;
  EXPECT_EQ(error_of("x", options), "rendered 1 bytes");
}

TEST(JinjaLimits, Memory) {
  expect_limit("{{ 'x' * 1000000000000 }}", "over the limit of");
  expect_limit("{{ [1] * 100000000000 }}", "over the limit of");
  expect_limit("{{ 'x' * 170141183460469231731687303715884105727 }}", "over the limit of");
  expect_limit(
      "{% set ns = namespace(s='x' * 1000) %}{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor "
      "%}",
      "limit of");
  expect_limit(
      "{% set ns = namespace(s='xxxxxxxx') %}{% for a in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor "
      "%}",
      "limit of");
  expect_limit(
      "{% set ns = namespace(s='aaaaaaaa') %}{% for a in range(99) %}{% set ns.s = ns.s.replace('a', "
      "'aaaaaaaa') "
      "%}{% endfor %}",
      "limit of");
  expect_limit(
      "{% set ns = namespace(s=[1, 2]) %}{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
      "limit of");
  expect_limit(
      "{% set ns = namespace(s=[1, 2]) %}{% for a in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}"
      "{{ ns.s | tojson }}",
      "limit of");
  expect_limit("{{ ('%9999s' % 'x') * 100000 }}", "over the limit of");
  expect_limit("{{ ('x\\n' * 9999999) | indent(1000) }}", "limit of");
  expect_limit("{% for i in range(99999) %}{{ 'a' | center(99999) }}{% endfor %}", "limit of");
  expect_limit("{{ 2 ** 99999999999 }}", "out of range");
  expect_limit("{{ 9 ** 9 ** 9 }}", "out of range");
}

TEST(JinjaLimits, Output) {
  RenderOptions options;
  options.limits.max_output_bytes = 10;
  EXPECT_EQ(error_of("{{ 'x' * 10 }}", options), "rendered 10 bytes");
  EXPECT_EQ(error_of("{{ 'x' * 11 }}", options), "line 1: the template's text is over the limit of 10 bytes");
  EXPECT_EQ(error_of("{% for i in range(11) %}x{% endfor %}", options),
            "line 1: the template's text is over the limit of 10 bytes");
  // Text that is kept, not written, counts as memory.
  EXPECT_EQ(error_of("{% set a %}{{ 'x' * 11 }}{% endset %}", options), "rendered 0 bytes");
}

TEST(JinjaLimits, Recursion) {
  expect_limit("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nests deeper than the limit");
  expect_limit("{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
               "nests deeper");
  expect_limit("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "nests deeper than the limit");
  expect_limit("{% macro m(f) %}{{ f(f) }}{% endmacro %}{{ m(m) }}", "nests deeper than the limit");
  expect_limit(
      "{% set ns = namespace() %}{% set ns.x = [] %}{% for i in range(5000) %}{% set ns.x = [ns.x] %}{% "
      "endfor %}"
      "{{ ns.x }}",
      "nested deeper than the limit");
  expect_limit(
      "{% set ns = namespace(x=[], y=[]) %}{% for i in range(5000) %}{% set ns.x = [ns.x] %}"
      "{% set ns.y = [ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
      "nested deeper than the limit");
}

TEST(JinjaLimits, Sources) {
  expect_limit("{{ " + repeat("(", 5000) + "1" + repeat(")", 5000) + " }}", "nested deeper than the limit");
  expect_limit("{{ " + repeat("[", 5000) + repeat("]", 5000) + " }}", "nested deeper than the limit");
  expect_limit("{{ " + repeat("not ", 5000) + "1 }}", "nested deeper than the limit");
  expect_limit("{{ " + repeat("- ", 5000) + "1 }}", "nested deeper than the limit");
  expect_limit("{{ " + repeat("1 if 1 else ", 5000) + "1 }}", "nested deeper than the limit");
  expect_limit("{% set " + repeat("(", 5000) + "a" + repeat(")", 5000) + " = 1 %}",
               "nested deeper than the limit");
  expect_limit(repeat("{% if 1 %}", 5000) + repeat("{% endif %}", 5000), "nested deeper than the limit");
  expect_limit("{{ 1" + repeat(" + 1", 5000) + " }}", "nests deeper than the limit");
  expect_limit("{{ 1" + repeat(" | string", 5000) + " }}", "nests deeper than the limit");
  expect_limit("{{ a" + repeat(".a", 5000) + " }}", "nests deeper than the limit");
  expect_limit(std::string(Limits().max_source_bytes + 1, 'x'), "over the limit of 1048576 bytes");
  EXPECT_EQ(error_of(std::string(Limits().max_source_bytes, 'x')), "rendered 1048576 bytes");
  // Long, not deep.
  EXPECT_EQ(error_of("{% if 0 %}" + repeat("{% elif 0 %}", 20000) + "{% else %}x{% endif %}"),
            "rendered 1 bytes");
  EXPECT_EQ(error_of("{{ 1" + repeat(" ~ 1", 20000) + " }}"), "rendered 20001 bytes");
}

TEST(JinjaLimits, DeepInput) {
  Json deep = 1;
  for (int i = 0; i < 300; ++i) deep = Json::array({deep});
  EXPECT_NE(error_of("x", {}, Json{{"a", deep}}).find("nested deeper than the limit of 200"),
            std::string::npos);
}

TEST(JinjaLimits, InvalidUtf8) {
  EXPECT_EQ(error_of("ab\xff"), "the template is not valid UTF-8 at byte offset 2");
  EXPECT_EQ(error_of("x", {}, Json{{"a", "\xff"}}),
            "a text of the template's input is not valid UTF-8 at byte offset 0");
}

}  // namespace
}  // namespace fathom::jinja

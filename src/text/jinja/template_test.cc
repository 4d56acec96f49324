// What the golden cases (golden_template_test.cc) leave open: messages, numbers at their limits, scopes,
// escapes.
#include "text/jinja/template.h"

#include <gtest/gtest.h>

namespace fathom::jinja {
namespace {

std::string render(const std::string& source, const Json& variables = Json::object()) {
  const auto parsed = Template::parse(source);
  if (!parsed.ok()) return "parse: " + parsed.status().message();
  RenderOptions options;
  options.now = 1'700'000'000;  // 14 November 2023
  const auto text = parsed->render(variables, options);
  return text.ok() ? *text : "render: " + text.status().message();
}

TEST(Jinja, ErrorsNameTheLine) {
  EXPECT_EQ(render("a\nb\n{{ x.y }}"), "render: line 3: \"x\" is undefined and has no \"y\"");
  EXPECT_EQ(render("\n{{ 1 + }}"), "parse: line 2: expected an expression, found \"}}\"");
  EXPECT_EQ(render("{% for x in y %}"), "parse: line 1: expected \"endfor\", found the end of the template");
  EXPECT_EQ(render("\n\n{% unknown %}"), "parse: line 3: unknown or misplaced tag, found \"unknown\"");
  EXPECT_EQ(render("{{ 'x"), "parse: line 1: a string without an end");
  EXPECT_EQ(render("{{ raise_exception('roles must alternate') }}"), "render: line 1: roles must alternate");
  EXPECT_EQ(render("{{ f() }}"), "render: line 1: \"f\" is undefined and cannot be called");
  EXPECT_EQ(render("{{ 1 | nosuch }}"), "render: line 1: no filter named \"nosuch\"");
  EXPECT_EQ(render("{{ 'a' | trim(1, 2) }}"),
            "render: line 1: filter trim: 2 arguments where at most 1 are allowed");
  EXPECT_EQ(render("{% macro m(a) %}{% endmacro %}{{ m(b=1) }}"),
            "render: line 1: macro m: no parameter is called \"b\"");
  EXPECT_EQ(render("{{ f(*a) }}"), "parse: line 1: unpacking of arguments is not supported, found \"*\"");
}

TEST(Jinja, Integers) {
  EXPECT_EQ(render("{{ a }} {{ b }} {{ a + 1 }}", {{"a", UINT64_MAX}, {"b", INT64_MIN}}),
            "18446744073709551615 -9223372036854775808 18446744073709551616");
  EXPECT_EQ(render("{{ 170141183460469231731687303715884105727 + 1 }}"),
            "render: line 1: an integer is out of range");
  EXPECT_EQ(render("{{ 170141183460469231731687303715884105728 }}").find("parse: line 1: "), 0u);
  EXPECT_EQ(render("{{ -7 // 2 }} {{ -7 % 2 }} {{ 7 // -2 }} {{ 7 % -2 }} {{ -7.5 // 2 }} {{ -7.5 % 2 }}"),
            "-4 1 -4 -1 -4.0 0.5");
  EXPECT_EQ(render("{{ (0 - 170141183460469231731687303715884105727 - 1) // -1 }}"),
            "render: line 1: an integer is out of range");
  EXPECT_EQ(render("{{ 1 % 0 }}"), "render: line 1: division by zero");
}

TEST(Jinja, Floats) {
  EXPECT_EQ(
      render(
          "{{ 1e15 }} {{ 1e16 }} {{ 0.0001 }} {{ 0.00001 }} {{ 123456.789 }} {{ -0.0 }} {{ 1e300 * 1e300 }}"),
      "1000000000000000.0 1e+16 0.0001 1e-05 123456.789 -0.0 inf");
  EXPECT_EQ(render("{{ 1 / 3 }} {{ 2.50 }} {{ 1e3 | int }} {{ 'nan' | float }}"),
            "0.3333333333333333 2.5 1000 nan");
}

TEST(Jinja, Scopes) {
  EXPECT_EQ(render("{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}"), "21");
  EXPECT_EQ(render("{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}"), "2");
  EXPECT_EQ(render("{% with x = 1 %}{{ x }}{% set y = 2 %}{% endwith %}{{ x }}{{ y }}"), "1");
  EXPECT_EQ(render("{% set s %}{% set y = 1 %}a{% endset %}{{ s }}{{ y }}"), "a");
  EXPECT_EQ(render("{% set ns = namespace(f=none) %}{% for i in [7] %}{% macro m() %}{{ i }}{% endmacro %}"
                   "{% set ns.f = m %}{% endfor %}{{ ns.f() }}"),
            "7");
  EXPECT_EQ(render("{% for i in [] %}{% else %}e{% endfor %}{% for i in [1, 2] %}{% for j in [] %}{% else "
                   "%}{% break %}"
                   "{% endfor %}x{% endfor %}"),
            "e");
}

TEST(Jinja, NothingReachesOutside) {
  EXPECT_EQ(render("{{ ''.__class__ }}|{{ [].__class__ }}|{{ x.__init__ }}", {{"x", 1}}), "||");
  EXPECT_EQ(render("{{ ''['__class__'] }}|"), "|");
  EXPECT_EQ(render("{{ ''.__class__() }}"),
            "render: line 1: \"__class__\" is undefined and cannot be called");
  EXPECT_EQ(render("{% set ns = namespace() %}{% set ns.__x = 1 %}"),
            "render: line 1: a namespace cannot have \"__x\"");
  EXPECT_EQ(render("{{ [1].append(2) }}"), "render: line 1: \"append\" is undefined and cannot be called");
  EXPECT_EQ(render("{% include 'a' %}").find("parse: line 1: unknown or misplaced tag"), 0u);
  EXPECT_EQ(render("{% import 'a' as b %}").find("parse: line 1: unknown or misplaced tag"), 0u);
  EXPECT_EQ(render("{% extends 'a' %}").find("parse: line 1: unknown or misplaced tag"), 0u);
}

TEST(Jinja, MessagesAreDataNotTemplates) {
  const Json variables = {{"m", "{{ 1 + 1 }}{% raise %}"}};
  EXPECT_EQ(render("{{ m }}", variables), "{{ 1 + 1 }}{% raise %}");
}

TEST(Jinja, StringEscapes) {
  EXPECT_EQ(render(R"({{ '\x41\u00e9\U0001f600\101\q\'' }})"), "A\u00e9\U0001f600A\\q'");
  EXPECT_EQ(render(R"({{ '\ud800' }})").find("parse: line 1: a string has an escape for 0xd800"), 0u);
  EXPECT_EQ(render(R"({{ '\x4' }})"), "parse: line 1: a string has an escape with too few digits");
}

TEST(Jinja, Time) {
  EXPECT_EQ(render("{{ strftime_now('%Y') }}"), "2023");
  EXPECT_EQ(render("{{ strftime_now('') }}|"), "|");
  EXPECT_EQ(render("{{ strftime_now('%c' * 1000) }}"),
            "render: line 1: strftime_now: the time is over the limit of 1024 bytes");
}

TEST(Jinja, DictsAndMethods) {
  EXPECT_EQ(render("{{ {'items': 1}['items'] }} {{ {'items': 1}.items() | list }}"), "1 [('items', 1)]");
  EXPECT_EQ(render("{{ {1: 'a', true: 'b', 'x': 1, 'x': 2} }}"), "{1: 'b', 'x': 2}");
  EXPECT_EQ(render("{{ {[1]: 2} }}"), "render: line 1: a list cannot be a key");
  EXPECT_EQ(render("{{ 'a-b-c'.split('-', 1) }}{{ 'a-b-c'.rsplit('-', 1) }}{{ ' a  b c '.split(none, 1) }}"),
            "['a', 'b-c']['a-b', 'c']['a', 'b c']");
  EXPECT_EQ(
      render("{{ 'xyz'.startswith(('a', 'x')) }}{{ 'abc'.removeprefix('a') }}{{ 'abc'.removesuffix('c') }}"),
      "Truebcab");
  EXPECT_EQ(render("{{ '%5.1f|%-4s|%03d|%x|%%' % (2.25, 'a', 7, 255) }}"), "  2.2|a   |007|ff|%");
  EXPECT_EQ(render("{{ '{1}{0}{k}'.format('a', 'b', k='c') }}"), "bac");
  EXPECT_EQ(render("{{ ''.join(['a', 1]) }}"), "render: line 1: join: a int is not a str");
}

TEST(Jinja, SlicesAtTheirLimits) {
  EXPECT_EQ(
      render("{{ [1, 2, 3][-99:99] }}{{ [1, 2, 3][99:-99:-1] }}{{ [1, 2, 3][2:0:-1] }}{{ 'abc'[:-99] }}"),
      "[1, 2, 3][3, 2, 1][3, 2]");
  EXPECT_EQ(render("{{ [1, 2, 3][::170141183460469231731687303715884105727] }}"), "[1]");
  EXPECT_EQ(render("{{ [1][::0] }}"), "render: line 1: a slice with a step of 0");
}

TEST(Jinja, LoopObject) {
  EXPECT_EQ(render("{% for a in [3, 3, 4] %}{{ loop.changed(a) }} {% endfor %}"), "True False True ");
  EXPECT_EQ(render("{% for a in [[1, [2]]] recursive %}{% if a is iterable %}[{{ loop(a) }}]{% else %}{{ a "
                   "}}{{ loop.depth }}"
                   "{% endif %}{% endfor %}"),
            "[12[23]]");
  EXPECT_EQ(render("{% for a in [1] %}{{ loop([2]) }}{% endfor %}"),
            "render: line 1: the loop is called, but is not recursive");
}

TEST(Jinja, AnyDamageIsAnErrorNotACrash) {
  const std::string good =
      "{%- macro m(a, b='x') -%}{{ a ~ b | upper }}{%- endmacro -%}{% for x in range(3) if x is odd %}{{ "
      "m(x, b=[1, "
      "{'k': x[1:2]}][1].k) }}{# c #}{% else %}{{ loop.index + 1.5e3 }}{% endfor %}{% raw %}{{{% endraw %}";
  for (size_t i = 0; i < good.size(); ++i) {
    (void)render(good.substr(0, i));
    (void)render(good.substr(i));
    for (const char c : {'{', '}', '%', '\'', '(', ')', '|', ' ', '-', '0'}) {
      std::string bad = good;
      bad[i] = c;
      (void)render(bad);
    }
  }
}

}  // namespace
}  // namespace fathom::jinja

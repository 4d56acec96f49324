#include "server/request_fields.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

Json parsed(const char* text) { return parse_json(text, "test", {}).value(); }

TEST(RequestFields, ReadsWhatIsThere) {
  const Json object =
      parsed(R"({"a": true, "b": 5, "c": 5.0, "d": 0.5, "e": "x", "f": null, "g": [1, 2], "h": ["p", "q"]})");
  RequestFields fields(object);
  EXPECT_EQ(fields.boolean("a"), true);
  EXPECT_EQ(fields.integer("b", 0, 5), 5);
  EXPECT_EQ(fields.integer("c", 0, 5), 5);
  EXPECT_EQ(fields.number("d", 0, 1), 0.5);
  EXPECT_EQ(fields.text("e", 1), "x");
  EXPECT_EQ(fields.integer("f", 0, 1), std::nullopt);
  EXPECT_EQ(fields.token_ids("g", 3, 2), (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(fields.text_or_list("h", 2, 1), (std::vector<std::string>{"p", "q"}));
  EXPECT_EQ(fields.text_or_list("e", 1, 1), (std::vector<std::string>{"x"}));
  EXPECT_EQ(fields.text("none", 1), std::nullopt);
  EXPECT_FALSE(fields.error());
  EXPECT_TRUE(fields.unknown().empty());
}

// Every wrong value is an error that names its field; the first one is kept.
TEST(RequestFields, NamesTheFirstThingWrong) {
  const Json object = parsed(
      R"({"i": 6, "big": 18446744073709551615, "half": 1.5, "s": "xyz", "n": 2, "l": [3], "neg": [-1], "m": [1], "o": {}})");
  const auto message = [&object](auto read) {
    RequestFields fields(object, "x.");
    read(fields);
    fields.boolean("o");
    return fields.error() ? fields.error()->message : std::string();
  };
  EXPECT_EQ(message([](RequestFields& f) { f.integer("i", 0, 5); }), "x.i must be from 0 to 5, is 6");
  EXPECT_EQ(message([](RequestFields& f) { f.integer("big", 0, INT64_MAX); }),
            "x.big must be from 0 to 9223372036854775807, is 18446744073709551615");
  EXPECT_EQ(message([](RequestFields& f) { f.integer("half", 0, 5); }), "x.half must be an integer");
  EXPECT_EQ(message([](RequestFields& f) { f.integer("s", 0, 5); }), "x.s must be an integer");
  EXPECT_EQ(message([](RequestFields& f) { f.number("n", 0, 1); }), "x.n must be from 0 to 1, is 2");
  EXPECT_EQ(message([](RequestFields& f) { f.boolean("n"); }), "x.n must be true or false");
  EXPECT_EQ(message([](RequestFields& f) { f.text("s", 2); }), "x.s must have at most 2 bytes, has 3");
  EXPECT_EQ(message([](RequestFields& f) { f.token_ids("l", 3, 9); }), "x.l must hold token ids from 0 to 2");
  EXPECT_EQ(message([](RequestFields& f) { f.token_ids("neg", 3, 9); }),
            "x.neg must hold token ids from 0 to 2");
  EXPECT_EQ(message([](RequestFields& f) { f.token_ids("l", 9, 0); }),
            "x.l must have at most 0 entries, has 1");
  EXPECT_EQ(message([](RequestFields& f) { f.text_or_list("m", 9, 9); }),
            "x.m must hold strings of at most 9 bytes");
  EXPECT_EQ(message([](RequestFields& f) { f.only("n", 1); }), "x.n is not supported (other than 1)");
  EXPECT_EQ(message([](RequestFields&) {}), "x.o must be true or false");
}

TEST(RequestFields, KnowsWhatNobodyAskedFor) {
  const Json object = parsed(R"({"a": 1, "b": 2, "c": null})");
  RequestFields fields(object);
  fields.ignore("b");
  EXPECT_EQ(fields.unknown(), (std::vector<std::string>{"a", "c"}));
}

}  // namespace
}  // namespace fathom

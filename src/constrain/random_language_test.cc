#include <algorithm>

#include "constrain/random_language.h"
#include "constrain/test_support.h"

namespace fathom::constrain_test {

const std::vector<std::string>& RandomLanguage::characters() {
  static const std::vector<std::string> all = {"a", "b", "c", "\u00e9", "\u4f60", "\u4f61"};
  return all;
}

RandomLanguage::RandomLanguage(uint64_t seed, Rules rules)
    : seed_(seed), num_rules_(rules == Rules::kNone ? 0 : 1 + seed % 4) {
  for (size_t rule = 0; rule < std::max<size_t>(1, num_rules_); ++rule) rules_.push_back(add(0));
}

size_t RandomLanguage::add(int depth) {
  Node node{Node::Kind::kText, {}};
  const uint64_t kind = draw(depth >= 3 ? 4 : 9);
  if (kind == 3 && num_rules_ > 0) {
    node = {Node::Kind::kRule, {draw(num_rules_)}};
  } else if (kind < 4) {
    node.kind = kind == 0 ? Node::Kind::kSet : Node::Kind::kText;
    const uint64_t count = kind == 0 ? 1 + draw(3) : draw(8) == 0 ? 0 : 1 + draw(2);
    for (uint64_t i = 0; i < count; ++i) node.members.push_back(draw(characters().size()));
  } else if (kind < 8) {
    node.kind = kind < 6 ? Node::Kind::kSequence : Node::Kind::kChoice;
    for (uint64_t i = 2 + draw(2); i > 0; --i) node.members.push_back(add(depth + 1));
  } else {
    const auto min = static_cast<uint32_t>(draw(3));
    node = {Node::Kind::kRepeat,
            {add(depth + 1)},
            min,
            draw(2) == 0 ? kNoMax : min + static_cast<uint32_t>(draw(3))};
  }
  nodes_.push_back(node);
  return nodes_.size() - 1;
}

std::string RandomLanguage::spell_regex(size_t index) const {
  const Node& node = nodes_[index];
  std::string text;
  switch (node.kind) {
    case Node::Kind::kText:
      for (const size_t c : node.members) text += characters()[c];
      break;
    case Node::Kind::kSet:
      for (const size_t c : node.members) text += characters()[c];
      return "[" + text + "]";
    case Node::Kind::kSequence:
      for (const size_t member : node.members) text += spell_regex(member);
      break;
    case Node::Kind::kChoice:
      for (const size_t member : node.members) text += (text.empty() ? "" : "|") + spell_regex(member);
      break;
    case Node::Kind::kRepeat:
      text = "(" + spell_regex(node.members[0]) + ")";
      if (node.min == 0 && node.max == kNoMax) return text + "*?";
      if (node.min == 1 && node.max == kNoMax) return text + "+";
      if (node.min == 0 && node.max == 1) return text + "?";
      if (node.max == kNoMax) return text + "{" + std::to_string(node.min) + ",}";
      if (node.min == node.max) return text + "{" + std::to_string(node.min) + "}";
      return text + "{" + std::to_string(node.min) + "," + std::to_string(node.max) + "}";
    case Node::Kind::kRule:
      break;
  }
  return "(?:" + text + ")";
}

std::string RandomLanguage::spell_gbnf(size_t index) const {
  const Node& node = nodes_[index];
  std::string text;
  for (const size_t member : node.members) {
    switch (node.kind) {
      case Node::Kind::kText:
      case Node::Kind::kSet:
        text += characters()[member];
        break;
      case Node::Kind::kSequence:
        text += spell_gbnf(member) + " ";
        break;
      case Node::Kind::kChoice:
        text += (text.empty() ? "" : " |\n ") + spell_gbnf(member);
        break;
      case Node::Kind::kRepeat:
        text = spell_gbnf(member);
        break;
      case Node::Kind::kRule:
        return member == 0 ? "root" : "rule-" + std::to_string(member);
    }
  }
  if (node.kind == Node::Kind::kText) return "\"" + text + "\"";
  if (node.kind == Node::Kind::kSet) return "[" + text + "]";
  if (node.kind != Node::Kind::kRepeat) return "(" + text + ")";
  const std::string max = node.max == kNoMax ? "" : std::to_string(node.max);
  return text + "{" + std::to_string(node.min) + "," + max + "}";
}

std::string RandomLanguage::gbnf() const {
  std::string text;
  for (size_t rule = 0; rule < rules_.size(); ++rule) {
    text += (rule == 0 ? "root" : "rule-" + std::to_string(rule)) + " ::= " + spell_gbnf(rules_[rule]) + "\n";
  }
  return text;
}

// Position text.size() is the last one. Where the text is open, every byte leads from it to itself.
RandomLanguage::Relation RandomLanguage::relation(size_t index, std::string_view text, bool is_open,
                                                  const std::vector<Relation>& rules) const {
  const Node& node = nodes_[index];
  const size_t size = text.size() + 1;
  const auto identity = [size] {
    Relation result(size);
    for (size_t i = 0; i < size; ++i) result[i] = 1u << i;
    return result;
  };
  const auto after = [size](const Relation& a, const Relation& b) {
    Relation result(size, 0);
    for (size_t i = 0; i < size; ++i) {
      for (size_t j = 0; j < size; ++j) {
        if ((a[i] >> j & 1) != 0) result[i] |= b[j];
      }
    }
    return result;
  };
  const auto either = [size](Relation a, const Relation& b) {
    for (size_t i = 0; i < size; ++i) a[i] |= b[i];
    return a;
  };
  const auto spelled = [&](const std::string& bytes) {
    Relation result(size, 0);
    for (size_t i = 0; i < size; ++i) {
      size_t at = i;
      bool fits = true;
      for (const char c : bytes) {
        if (at == text.size()) {
          fits &= is_open;
        } else {
          fits &= text[at++] == c;
        }
      }
      if (fits) result[i] |= 1u << at;
    }
    return result;
  };
  Relation result =
      node.kind == Node::Kind::kChoice || node.kind == Node::Kind::kSet ? Relation(size, 0) : identity();
  switch (node.kind) {
    case Node::Kind::kText:
      for (const size_t c : node.members) result = after(result, spelled(characters()[c]));
      break;
    case Node::Kind::kSet:
      for (const size_t c : node.members) result = either(result, spelled(characters()[c]));
      break;
    case Node::Kind::kSequence:
      for (const size_t member : node.members) result = after(result, relation(member, text, is_open, rules));
      break;
    case Node::Kind::kChoice:
      for (const size_t member : node.members)
        result = either(result, relation(member, text, is_open, rules));
      break;
    case Node::Kind::kRepeat: {
      const Relation once = relation(node.members[0], text, is_open, rules);
      for (uint32_t i = 0; i < node.min; ++i) result = after(result, once);
      // More copies than positions reach nothing new.
      const uint32_t more = node.max == kNoMax ? static_cast<uint32_t>(size) : node.max - node.min;
      for (uint32_t i = 0; i < more; ++i) result = either(result, after(result, once));
      break;
    }
    case Node::Kind::kRule:
      result = rules[node.members[0]];
      break;
  }
  return result;
}

bool RandomLanguage::leads(std::string_view text, bool is_open) const {
  std::vector<Relation> rules(rules_.size(), Relation(text.size() + 1, 0));
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t rule = 0; rule < rules_.size(); ++rule) {
      Relation next = relation(rules_[rule], text, is_open, rules);
      changed |= next != rules[rule];
      rules[rule] = std::move(next);
    }
  }
  return (rules[0][0] >> text.size() & 1) != 0;
}

namespace {

// Tokens that end inside characters, span several, or have one text in common.
Vocabulary random_vocabulary(uint64_t seed) {
  std::vector<std::string> tokens;
  for (uint64_t i = 0; i < 24; ++i) {
    std::string text;
    for (uint64_t n = 2 + random_bits(seed, 10 * i) % 3; n > 0; --n) {
      text +=
          RandomLanguage::characters()[random_bits(seed, 10 * i + n) % RandomLanguage::characters().size()];
    }
    const size_t begin = random_bits(seed, 10 * i + 5) % 2;
    tokens.push_back(text.substr(begin, text.size() - begin - random_bits(seed, 10 * i + 6) % 2));
  }
  tokens.push_back(tokens[0]);
  return Vocabulary(tokens);
}

void compare_masks(const RandomLanguage& language, const Compiled& compiled, const Vocabulary& vocabulary,
                   uint64_t seed) {
  ConstraintMatcher matcher(compiled);
  std::string text;
  for (uint64_t step = 0; text.size() < 20; ++step) {
    const std::vector<uint32_t> bits = mask_of(matcher, vocabulary);
    std::vector<int32_t> allowed;
    bool has_long = false;
    for (int32_t token = 0; token < vocabulary.end_id; ++token) {
      const std::string& bytes = vocabulary.tokens[static_cast<size_t>(token)];
      const bool is_ascii_other = token < 0x80 && (token < 'a' || token > 'c');
      const bool expected = !bytes.empty() && !is_ascii_other && language.begins(text + bytes);
      ASSERT_EQ(is_set(bits, token), expected) << "token " << token << " after \"" << text << "\"";
      if (!expected) continue;
      allowed.push_back(token);
      has_long |= bytes.size() > 1;
    }
    ASSERT_EQ(is_set(bits, vocabulary.end_id), language.contains(text)) << "\"" << text << "\"";
    ASSERT_EQ(matcher.is_complete(), language.contains(text));
    ASSERT_EQ(matcher.can_end_only(), language.contains(text) && allowed.empty());
    ASSERT_TRUE(!allowed.empty() || language.contains(text)) << "a dead end after \"" << text << "\"";
    if (allowed.empty()) return;
    // What no copy does changes the original.
    ConstraintMatcher copy = matcher;
    ASSERT_TRUE(copy.accept(allowed[0]));
    const int32_t token = allowed[random_bits(seed, step) % allowed.size()];
    ASSERT_TRUE(matcher.accept(token));
    text += vocabulary.tokens[static_cast<size_t>(token)];
  }
}

TEST(RandomLanguages, RegexMasksEqualTheOracle) {
  for (uint64_t seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE(seed);
    const RandomLanguage language(seed, RandomLanguage::Rules::kNone);
    SCOPED_TRACE(language.regex());
    const Vocabulary vocabulary = random_vocabulary(seed);
    const Compiled compiled = compile(Kind::kRegex, language.regex(), vocabulary);
    ASSERT_NE(compiled, nullptr);
    compare_masks(language, compiled, vocabulary, seed);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TEST(RandomLanguages, GrammarMasksEqualTheOracle) {
  int num_compared = 0;
  int num_without_text = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    const RandomLanguage language(seed, RandomLanguage::Rules::kSome);
    SCOPED_TRACE(language.gbnf());
    const Vocabulary vocabulary = random_vocabulary(seed);
    const auto compiled = try_compile(Kind::kGrammar, language.gbnf(), vocabulary);
    if (!compiled.ok()) {
      const std::string message = compiled.status().message();
      if (message.find("left recursive") != std::string::npos) continue;
      ASSERT_EQ(message, "grammar: no text can match");
      ASSERT_FALSE(language.begins(""));
      ++num_without_text;
      continue;
    }
    ASSERT_TRUE(language.begins(""));
    ++num_compared;
    compare_masks(language, *compiled, vocabulary, seed);
    if (::testing::Test::HasFatalFailure()) return;
  }
  EXPECT_GT(num_compared, 100);
  EXPECT_GT(num_without_text, 0);
}

}  // namespace
}  // namespace fathom::constrain_test

// What a generated text has to look like, as masks over the next token: a regular expression, one of some
// strings, any JSON object, JSON of a schema, or a grammar. Not for choosing tokens (sample/sampler.h).
//
// Automata run over the bytes of UTF-8, so a token may end inside a character. Whatever a mask allows can be
// completed, as far as the vocabulary has tokens for every byte.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "constrain/automaton.h"
#include "constrain/stack_pool.h"
#include "constrain/token_trie.h"

namespace fathom {

struct ConstraintSpec {
  enum class Kind {
    kRegex,       // text: constrain/regex_parser.h; the whole output matches
    kChoice,      // choices: the output is one of them
    kJsonObject,  // any JSON object: constrain/json_grammar.h
    kJsonSchema,  // text: constrain/schema_compiler.h
    kGrammar,     // text: GBNF, constrain/gbnf_parser.h
  };
  Kind kind = Kind::kJsonObject;
  std::string text;
  std::vector<std::string> choices;
  // Beside all that, any text that begins with this may be written; empty: none. For answers that may be a
  // call of a tool instead.
  std::string or_begins_with = {};

  bool operator==(const ConstraintSpec&) const = default;
};

// A compiled constraint for one vocabulary, for any number of matchers on any threads: what they find out is
// kept inside, behind a lock, and changes no answer.
class CompiledConstraint {
 public:
  // kInvalidArgument: the text is wrong, over a limit of constrain/limits.h, or nothing matches it;
  // kUnsupported: it uses what is not offered. Takes less than 100 ms whatever the text.
  static Result<std::shared_ptr<const CompiledConstraint>> compile(const ConstraintSpec& spec,
                                                                   std::shared_ptr<const TokenTrie> trie);
  ~CompiledConstraint();
  const TokenTrie& trie() const { return *trie_; }
  // Memory that it takes with what its matchers have found out so far.
  size_t num_bytes() const;
  // So much of its limits is used up, by all its matchers together, that further texts should get one
  // compiled anew.
  bool is_worn() const;
  CompiledConstraint(const CompiledConstraint&) = delete;
  CompiledConstraint& operator=(const CompiledConstraint&) = delete;

 private:
  friend class ConstraintMatcher;
  struct Shared;
  CompiledConstraint(std::shared_ptr<const TokenTrie> trie, std::unique_ptr<Shared> shared);

  const std::shared_ptr<const TokenTrie> trie_;
  const std::unique_ptr<Shared> shared_;  // with its own lock
};

// How far one text has come. A copy goes on by itself: for several outputs of one prompt, and to come back
// to when tokens are taken back. One thread at a time, each.
class ConstraintMatcher {
 public:
  explicit ConstraintMatcher(std::shared_ptr<const CompiledConstraint> constraint);

  // Bit t % 32 of word t / 32 is set where token t may come next: end tokens exactly where the text is
  // complete, others where the text with them is or can become so. After an end token only end tokens are
  // allowed. bits: a bit for each id of the vocabulary or more; those beyond are cleared. kInvalidArgument
  // where the constraint turns out too complex for the limits: the request has to end.
  Status fill_mask(std::span<uint32_t> bits);

  // Goes on by a token. False, and nothing changes, where the mask does not allow it, or where status() says
  // so.
  bool accept(int32_t token);

  // Whether the text is a match as it stands.
  bool is_complete() const { return set_.finished; }
  // Whether it is, and nothing may follow but the end.
  bool can_end_only() const;

  // Not ok once the constraint went over a limit while this matcher used it.
  const Status& status() const { return status_; }

 private:
  bool step(std::string_view bytes, Automaton& automaton);

  std::shared_ptr<const CompiledConstraint> constraint_;
  ConfigurationSet set_;
  StackPool pool_;
  bool has_ended_ = false;
  Status status_;
};

}  // namespace fathom

#include "constrain/constraint.h"

#include <algorithm>
#include <atomic>
#include <mutex>

#include "base/check.h"
#include "constrain/gbnf_parser.h"
#include "constrain/json_grammar.h"
#include "constrain/limits.h"
#include "constrain/mask_cache.h"
#include "constrain/regex_parser.h"
#include "constrain/schema_compiler.h"

namespace fathom {
namespace {

// Stacks that a matcher keeps before it drops those it no longer stands on.
constexpr size_t kStacksBeforeCleaning = 256;

Result<Grammar> choice_grammar(const std::vector<std::string>& choices) {
  Grammar grammar;
  const RuleId root = grammar.add_rule("the choice");
  std::vector<NodeId> alternatives;
  for (const std::string& choice : choices) alternatives.push_back(grammar.literal(choice));
  grammar.define(root, grammar.choice(alternatives));
  return grammar;
}

Result<Grammar> regex_grammar(const std::string& text) {
  Grammar grammar;
  const RuleId root = grammar.add_rule("the regular expression");
  FATHOM_ASSIGN_OR_RETURN(const NodeId body,
                          parse_regex(text, RegexMatch::kWhole, RegexOutput::kPlain, grammar));
  grammar.define(root, body);
  return grammar;
}

Status check_source(const ConstraintSpec& spec) {
  size_t bytes = spec.text.size();
  for (const std::string& choice : spec.choices) bytes += choice.size();
  if (bytes > kMaxConstraintBytes) {
    return invalid_argument("{} bytes are over the limit of {}", bytes, kMaxConstraintBytes);
  }
  if (spec.kind != ConstraintSpec::Kind::kChoice) return ok_status();
  if (spec.choices.empty()) return invalid_argument("there are no choices");
  if (spec.choices.size() > kMaxConstraintChoices) {
    return invalid_argument("{} choices are over the limit of {}", spec.choices.size(),
                            kMaxConstraintChoices);
  }
  return ok_status();
}

Result<Grammar> parse(const ConstraintSpec& spec) {
  FATHOM_RETURN_IF_ERROR(check_source(spec));
  switch (spec.kind) {
    case ConstraintSpec::Kind::kRegex:
      return regex_grammar(spec.text);
    case ConstraintSpec::Kind::kChoice:
      return choice_grammar(spec.choices);
    case ConstraintSpec::Kind::kJsonObject:
      return json_object_grammar();
    case ConstraintSpec::Kind::kJsonSchema:
      return compile_schema(spec.text);
    case ConstraintSpec::Kind::kGrammar:
      return parse_gbnf(spec.text);
  }
  FATHOM_CHECK(false, "kind {}", static_cast<int>(spec.kind));
  return Grammar();
}

const char* name_of(ConstraintSpec::Kind kind) {
  switch (kind) {
    case ConstraintSpec::Kind::kRegex:
      return "regular expression";
    case ConstraintSpec::Kind::kChoice:
      return "choice";
    case ConstraintSpec::Kind::kJsonObject:
      return "JSON object";
    case ConstraintSpec::Kind::kJsonSchema:
      return "JSON schema";
    case ConstraintSpec::Kind::kGrammar:
      return "grammar";
  }
  return "";
}

Result<Nfa> compile_nfa(const ConstraintSpec& spec) {
  FATHOM_ASSIGN_OR_RETURN(Grammar grammar, parse(spec));
  if (!spec.or_begins_with.empty()) grammar.also_what_begins_with(spec.or_begins_with);
  FATHOM_ASSIGN_OR_RETURN(const std::vector<RuleFacts> facts, analyse_grammar(grammar));
  if (facts[0].need == kUnreachable) return invalid_argument("no text can match");
  if (facts[0].need > kMaxStackDepth) {
    return invalid_argument("every text needs rules nested {} deep, over the limit of {}", facts[0].need,
                            kMaxStackDepth);
  }
  return build_nfa(grammar, facts);
}

}  // namespace

struct CompiledConstraint::Shared {
  Shared(Nfa nfa, std::shared_ptr<const TokenTrie> trie)
      : automaton(std::move(nfa)), masks(std::move(trie)) {}

  std::mutex mutex;
  Automaton automaton;
  MaskCache masks;
  std::atomic<size_t> num_bytes{0};
  std::atomic<bool> is_worn{false};

  // Whoever changes automaton or masks holds this meanwhile; the figures follow at its end.
  class Access {
   public:
    explicit Access(Shared& shared) : shared_(shared), lock_(shared.mutex) {}
    ~Access() {
      shared_.automaton.forget_failure();
      shared_.account();
    }

   private:
    Shared& shared_;
    const std::lock_guard<std::mutex> lock_;
  };

  void account() {
    num_bytes.store(automaton.num_bytes() + masks.num_bytes(), std::memory_order_relaxed);
    if (automaton.is_worn()) is_worn.store(true, std::memory_order_relaxed);
  }
};

CompiledConstraint::CompiledConstraint(std::shared_ptr<const TokenTrie> trie, std::unique_ptr<Shared> shared)
    : trie_(std::move(trie)), shared_(std::move(shared)) {}

CompiledConstraint::~CompiledConstraint() = default;

size_t CompiledConstraint::num_bytes() const { return shared_->num_bytes.load(std::memory_order_relaxed); }

bool CompiledConstraint::is_worn() const { return shared_->is_worn.load(std::memory_order_relaxed); }

Result<std::shared_ptr<const CompiledConstraint>> CompiledConstraint::compile(
    const ConstraintSpec& spec, std::shared_ptr<const TokenTrie> trie) {
  Result<Nfa> nfa = compile_nfa(spec);
  if (!nfa.ok()) return nfa.status().with_context(name_of(spec.kind));
  auto shared = std::make_unique<Shared>(std::move(nfa).value(), trie);
  FATHOM_RETURN_IF_ERROR(shared->automaton.status().with_context(name_of(spec.kind)));
  shared->account();
  return std::shared_ptr<const CompiledConstraint>(
      new CompiledConstraint(std::move(trie), std::move(shared)));
}

ConstraintMatcher::ConstraintMatcher(std::shared_ptr<const CompiledConstraint> constraint)
    : constraint_(std::move(constraint)) {
  CompiledConstraint::Shared& shared = *constraint_->shared_;
  const CompiledConstraint::Shared::Access access(shared);
  set_.kernel = {{shared.automaton.start(), StackPool::kEmpty}};
  shared.automaton.close(set_, pool_);
  status_ = shared.automaton.status();
}

Status ConstraintMatcher::fill_mask(std::span<uint32_t> bits) {
  const TokenTrie& trie = *constraint_->trie_;
  FATHOM_CHECK(bits.size() >= trie.num_words(), "{} words for {} tokens", bits.size(), trie.vocabulary());
  std::fill(bits.begin(), bits.end(), 0);
  FATHOM_RETURN_IF_ERROR(status_);
  if (!has_ended_) {
    CompiledConstraint::Shared& shared = *constraint_->shared_;
    const CompiledConstraint::Shared::Access access(shared);
    status_ = shared.masks.add_allowed(set_, pool_, shared.automaton, bits);
    FATHOM_RETURN_IF_ERROR(status_);
  }
  if (!set_.finished) return ok_status();
  for (const int32_t id : trie.end_ids()) {
    bits[static_cast<size_t>(id) / 32] |= 1u << (static_cast<uint32_t>(id) % 32);
  }
  return ok_status();
}

bool ConstraintMatcher::step(std::string_view bytes, Automaton& automaton) {
  ConfigurationSet set = set_;
  ConfigurationSet next;
  for (const char c : bytes) {
    automaton.step(set, automaton.class_of(static_cast<uint8_t>(c)), pool_, next);
    if (!automaton.status().ok()) status_ = automaton.status();
    if (next.closed.empty() && !next.finished) return false;
    std::swap(set, next);
  }
  set_ = std::move(set);
  return true;
}

bool ConstraintMatcher::accept(int32_t token) {
  if (!status_.ok()) return false;
  const TokenTrie& trie = *constraint_->trie_;
  if (trie.is_end(token)) {
    has_ended_ |= set_.finished;
    return set_.finished;
  }
  const std::string_view bytes = trie.bytes(token);
  if (has_ended_ || bytes.empty()) return false;
  CompiledConstraint::Shared& shared = *constraint_->shared_;
  const CompiledConstraint::Shared::Access access(shared);
  const bool is_allowed = step(bytes, shared.automaton);
  if (pool_.size() > kStacksBeforeCleaning) {
    std::vector<uint32_t*> stacks;
    for (auto* list : {&set_.kernel, &set_.closed}) {
      for (Configuration& configuration : *list) stacks.push_back(&configuration.stack);
    }
    pool_.keep_only(stacks);
  }
  return is_allowed;
}

bool ConstraintMatcher::can_end_only() const {
  if (!set_.finished) return false;
  CompiledConstraint::Shared& shared = *constraint_->shared_;
  const CompiledConstraint::Shared::Access access(shared);
  return has_ended_ || !shared.automaton.can_go_on(set_);
}

}  // namespace fathom

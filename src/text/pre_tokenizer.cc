#include "text/pre_tokenizer.h"

#include "text/unicode.h"
#include "text/utf8.h"

namespace fathom {
namespace {

// Each step takes one level of the machine stack while a text is cut.
constexpr size_t kMaxSteps = 32;

// The pattern of ByteLevel with use_regex true (GPT-2's).
constexpr std::string_view kByteLevelPattern =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

std::string escape_literal(std::string_view literal) {
  std::string pattern;
  for (const char c : literal) {
    constexpr std::string_view kSpecial = "\\^$.[]|()?*+{}";
    if (kSpecial.find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

}  // namespace

Result<PreTokenizer> PreTokenizer::from_json(const TokenizerJson& description) {
  PreTokenizer result;
  FATHOM_RETURN_IF_ERROR(result.add(description, "pre_tokenizer"));
  if (!result.byte_level_)
    return unsupported("pre_tokenizer: only lists that end with ByteLevel are supported");
  return result;
}

Status PreTokenizer::add(const TokenizerJson& description, const std::string& where) {
  if (byte_level_) return unsupported("{}: a step after ByteLevel is not supported", where);
  if (steps_.size() >= kMaxSteps) return unsupported("{}: more than {} steps", where, kMaxSteps);
  FATHOM_ASSIGN_OR_RETURN(const std::string type, string_field(description, "type", where));
  if (type == "Sequence") {
    FATHOM_ASSIGN_OR_RETURN(const TokenizerJson* list, array_field(description, "pretokenizers", where));
    for (size_t i = 0; i < list->size(); ++i) {
      FATHOM_RETURN_IF_ERROR(add((*list)[i], fmt::format("{}.pretokenizers[{}]", where, i)));
    }
    return ok_status();
  }
  if (type == "Split") return add_split(description, where);
  if (type == "ByteLevel") return add_byte_level(description, where);
  if (type == "Digits") {
    FATHOM_ASSIGN_OR_RETURN(const bool individual,
                            bool_field(description, "individual_digits", false, where));
    steps_.push_back({individual ? Kind::kIndividualDigits : Kind::kDigitRuns, {}});
    return ok_status();
  }
  return unsupported("{}.type: \"{}\" is not supported (Sequence, Split, Digits and ByteLevel are)", where,
                     type);
}

Status PreTokenizer::add_split(const TokenizerJson& description, const std::string& where) {
  FATHOM_ASSIGN_OR_RETURN(const std::string behavior, string_field(description, "behavior", where));
  if (behavior != "Isolated") {
    return unsupported("{}.behavior: \"{}\" is not supported (\"Isolated\" is)", where, behavior);
  }
  FATHOM_ASSIGN_OR_RETURN(const bool invert, bool_field(description, "invert", false, where));
  if (invert) return unsupported("{}.invert: true is not supported", where);
  FATHOM_ASSIGN_OR_RETURN(const TokenizerJson* pattern, object_field(description, "pattern", where));
  const bool literal = pattern->contains("String");
  FATHOM_ASSIGN_OR_RETURN(const std::string text,
                          string_field(*pattern, literal ? "String" : "Regex", where + ".pattern"));
  Result<Regex> regex = Regex::compile(literal ? escape_literal(text) : text);
  if (!regex.ok()) return regex.status().with_context(where + ".pattern");
  steps_.push_back({Kind::kRegex, {}});
  steps_.back().regex.push_back(std::move(regex).value());
  return ok_status();
}

Status PreTokenizer::add_byte_level(const TokenizerJson& description, const std::string& where) {
  FATHOM_ASSIGN_OR_RETURN(const bool prefix_space, bool_field(description, "add_prefix_space", true, where));
  FATHOM_ASSIGN_OR_RETURN(const bool use_regex, bool_field(description, "use_regex", true, where));
  if (prefix_space) steps_.push_back({Kind::kPrefixSpace, {}});
  if (use_regex) {
    FATHOM_ASSIGN_OR_RETURN(Regex regex, Regex::compile(kByteLevelPattern));
    steps_.push_back({Kind::kRegex, {}});
    steps_.back().regex.push_back(std::move(regex));
  }
  byte_level_ = true;
  return ok_status();
}

Status PreTokenizer::split(std::string_view text, RegexScratch& scratch, const PieceSink& sink) const {
  return run(0, text, scratch, sink);
}

// Depth first, so that a piece is still in the cache when the next step looks at it. The depth is the number
// of steps, whatever the text.
Status PreTokenizer::run(size_t step_index, std::string_view text, RegexScratch& scratch,
                         const PieceSink& sink) const {
  if (text.empty()) return ok_status();
  if (step_index == steps_.size()) {
    sink(text);
    return ok_status();
  }
  switch (steps_[step_index].kind) {
    case Kind::kRegex:
      return run_regex(step_index, text, scratch, sink);
    case Kind::kIndividualDigits:
    case Kind::kDigitRuns:
      return run_digits(step_index, text, scratch, sink);
    case Kind::kPrefixSpace:
      break;
  }
  if (text.front() == ' ') return run(step_index + 1, text, scratch, sink);
  return run(step_index + 1, " " + std::string(text), scratch, sink);
}

Status PreTokenizer::run_regex(size_t step_index, std::string_view text, RegexScratch& scratch,
                               const PieceSink& sink) const {
  const Regex& regex = steps_[step_index].regex.front();
  size_t piece_begin = 0;  // what lies before has been passed on
  size_t from = 0;
  while (from <= text.size()) {
    FATHOM_ASSIGN_OR_RETURN(const Regex::Match match, regex.find(text, from, scratch));
    if (!match.found) break;
    if (match.begin > piece_begin) {
      FATHOM_RETURN_IF_ERROR(
          run(step_index + 1, text.substr(piece_begin, match.begin - piece_begin), scratch, sink));
    }
    if (match.end > match.begin) {
      FATHOM_RETURN_IF_ERROR(
          run(step_index + 1, text.substr(match.begin, match.end - match.begin), scratch, sink));
      from = match.end;
    } else {  // an empty match cuts here; the search goes on behind the next character
      if (match.end == text.size()) return ok_status();
      from = match.end + decode_utf8(text, match.end).length;
    }
    piece_begin = match.end;
  }
  return run(step_index + 1, text.substr(piece_begin), scratch, sink);
}

Status PreTokenizer::run_digits(size_t step_index, std::string_view text, RegexScratch& scratch,
                                const PieceSink& sink) const {
  const bool individual = steps_[step_index].kind == Kind::kIndividualDigits;
  size_t piece_begin = 0;
  bool piece_numeric = false;
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = decode_utf8(text, i);
    const bool numeric = is_numeric(point.value);
    if (i > 0 && (numeric != piece_numeric || (numeric && individual))) {
      FATHOM_RETURN_IF_ERROR(run(step_index + 1, text.substr(piece_begin, i - piece_begin), scratch, sink));
      piece_begin = i;
    }
    piece_numeric = numeric;
    i += point.length;
  }
  return run(step_index + 1, text.substr(piece_begin), scratch, sink);
}

}  // namespace fathom

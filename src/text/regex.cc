#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <string>
#include <utility>

#include "base/check.h"
#include "text/regex_syntax.h"

namespace fathom {
namespace {

// A run of n spaces costs the known patterns about 2n steps; this is far more than any text that is not an
// attack.
constexpr uint32_t kMatchLimit = 100'000'000;
constexpr uint32_t kHeapLimitKib = 64 * 1024;
// Same limit as for the interpreter: nested groups in a pattern.
constexpr uint32_t kMaxParenthesisNesting = 100;

std::string error_text(int code) {
  PCRE2_UCHAR buffer[128];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

// One pair of offsets is enough: groups are never asked for.
RegexScratch::RegexScratch()
    : match_data_(pcre2_match_data_create(1, nullptr)), match_context_(pcre2_match_context_create(nullptr)) {
  FATHOM_CHECK(match_data_ != nullptr && match_context_ != nullptr, "PCRE2 could not allocate a match");
  pcre2_set_match_limit(match_context_, kMatchLimit);
  pcre2_set_heap_limit(match_context_, kHeapLimitKib);
}

RegexScratch::~RegexScratch() {
  pcre2_match_context_free(match_context_);
  pcre2_match_data_free(match_data_);
}

Result<Regex> Regex::compile(std::string_view pattern) {
  FATHOM_ASSIGN_OR_RETURN(const std::string translated, translate_regex(pattern));
  return compile_native(translated);
}

Result<Regex> Regex::compile_native(std::string_view pattern) {
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  FATHOM_CHECK(context != nullptr, "PCRE2 could not allocate a compile context");
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context, kMaxParenthesisNesting);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &offset, context);
  pcre2_compile_context_free(context);
  if (code == nullptr) return invalid_data("pattern \"{}\" is not valid: {}", pattern, error_text(error));
  return Regex(code);
}

Regex::Regex(pcre2_real_code_8* code) : code_(code), jit_(pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0) {}

Regex::Regex(Regex&& other) noexcept : code_(std::exchange(other.code_, nullptr)), jit_(other.jit_) {}

Regex& Regex::operator=(Regex&& other) noexcept {
  std::swap(code_, other.code_);
  std::swap(jit_, other.jit_);
  return *this;
}

Regex::~Regex() { pcre2_code_free(code_); }

Result<Regex::Match> Regex::find(std::string_view text, size_t from, RegexScratch& scratch) const {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  int found = PCRE2_ERROR_JIT_STACKLIMIT;
  if (jit_) {
    found =
        pcre2_jit_match(code_, subject, text.size(), from, 0, scratch.match_data_, scratch.match_context_);
  }
  if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
    found = pcre2_match(code_, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                        scratch.match_data_, scratch.match_context_);
  }
  if (found == PCRE2_ERROR_NOMATCH) return Match{false, 0, 0};
  if (found < 0)
    return resource_exhausted("pattern search in a text of {} bytes: {}", text.size(), error_text(found));
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(scratch.match_data_);
  return Match{true, offsets[0], offsets[1]};
}

}  // namespace fathom

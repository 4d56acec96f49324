#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"
#include "text/utf8.h"

namespace fathom {
namespace {

constexpr size_t kNumPasses = 2;

size_t previous_offset(std::string_view text, size_t offset) {
  do {
    --offset;
  } while ((static_cast<unsigned char>(text[offset]) & 0xC0) == 0x80);
  return offset;
}

// The offset of the first character of the white space that ends at offset; not before limit.
size_t skip_spaces_back(std::string_view text, size_t offset, size_t limit) {
  while (offset > limit) {
    const size_t before = previous_offset(text, offset);
    if (!is_white_space(decode_utf8(text, before).value)) break;
    offset = before;
  }
  return offset;
}

size_t skip_spaces(std::string_view text, size_t offset) {
  while (offset < text.size()) {
    const CodePoint point = decode_utf8(text, offset);
    if (!is_white_space(point.value)) break;
    offset += point.length;
  }
  return offset;
}

}  // namespace

Result<AddedTokens> AddedTokens::create(std::vector<AddedToken> tokens) {
  FATHOM_ASSIGN_OR_RETURN(Regex word,
                          Regex::compile_native("[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]"));
  AddedTokens result(std::move(word));
  std::sort(tokens.begin(), tokens.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.content < b.content; });
  for (AddedToken& token : tokens) {
    Pass& pass = result.passes_[token.normalized ? 1 : 0];
    pass.first_byte[static_cast<unsigned char>(token.content[0])] = true;
    pass.tokens.push_back(std::move(token));
  }
  return result;
}

Status AddedTokens::split(std::string_view text, Special special, RegexScratch& scratch,
                          const Sink& sink) const {
  return split_pass(0, text, special, scratch, sink);
}

Status AddedTokens::split_pass(size_t pass_index, std::string_view text, Special special,
                               RegexScratch& scratch, const Sink& sink) const {
  if (text.empty()) return ok_status();
  if (pass_index == kNumPasses) return sink.text(text);
  FATHOM_ASSIGN_OR_RETURN(const std::vector<Find> finds,
                          find_all(passes_[pass_index], text, special, scratch));
  size_t done = 0;
  for (const Find& find : finds) {
    if (find.begin > done) {
      FATHOM_RETURN_IF_ERROR(
          split_pass(pass_index + 1, text.substr(done, find.begin - done), special, scratch, sink));
    }
    sink.token(find.token->id);
    done = find.end;
  }
  return split_pass(pass_index + 1, text.substr(done), special, scratch, sink);
}

Result<std::vector<AddedTokens::Find>> AddedTokens::find_all(const Pass& pass, std::string_view text,
                                                             Special special, RegexScratch& scratch) const {
  std::vector<Find> finds;
  if (pass.tokens.empty()) return finds;
  size_t taken = 0;  // the end of the last find, with the white space it took
  for (size_t i = 0; i < text.size();) {
    const AddedToken* token =
        pass.first_byte[static_cast<unsigned char>(text[i])] ? longest_at(pass, text, i) : nullptr;
    if (token == nullptr) {
      ++i;
      continue;
    }
    size_t begin = i;
    size_t end = i + token->content.size();
    i = end;  // a token that is refused below still hides what it covers
    if (special == Special::kLeaveAsText && token->special) continue;
    if (token->single_word) {
      FATHOM_ASSIGN_OR_RETURN(const bool touches, touches_word(text, begin, end, scratch));
      if (touches) continue;
    }
    if (token->lstrip) begin = std::max(skip_spaces_back(text, begin, std::min(taken, begin)), taken);
    if (token->rstrip) end = skip_spaces(text, end);
    finds.push_back({token, begin, end});
    taken = end;
  }
  return finds;
}

const AddedToken* AddedTokens::longest_at(const Pass& pass, std::string_view text, size_t offset) const {
  const AddedToken* longest = nullptr;
  auto first = pass.tokens.begin();
  auto last = pass.tokens.end();
  // Keeps [first, last): the tokens whose first `depth` bytes are those of the text.
  for (size_t depth = 0; first != last; ++depth) {
    if (first->content.size() == depth) longest = &*first++;
    if (offset + depth == text.size()) break;
    const auto wanted = static_cast<unsigned char>(text[offset + depth]);
    const auto byte = [depth](const AddedToken& token) {
      return static_cast<unsigned char>(token.content[depth]);
    };
    first = std::lower_bound(first, last, wanted, [&](const AddedToken& token, unsigned char value) {
      return byte(token) < value;
    });
    last = std::upper_bound(first, last, wanted, [&](unsigned char value, const AddedToken& token) {
      return value < byte(token);
    });
  }
  return longest;
}

Result<bool> AddedTokens::touches_word(std::string_view text, size_t begin, size_t end,
                                       RegexScratch& scratch) const {
  const auto is_word = [&](size_t offset) -> Result<bool> {
    const std::string_view character = text.substr(offset, decode_utf8(text, offset).length);
    FATHOM_ASSIGN_OR_RETURN(const Regex::Match match, word_.find(character, 0, scratch));
    return match.found;
  };
  if (begin > 0) {
    FATHOM_ASSIGN_OR_RETURN(const bool before, is_word(previous_offset(text, begin)));
    if (before) return true;
  }
  if (end < text.size()) return is_word(end);
  return false;
}

}  // namespace fathom

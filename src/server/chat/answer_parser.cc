#include "server/chat/answer_parser.h"

#include <algorithm>

#include "base/json.h"

namespace fathom {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr size_t kMaxHeldSpace = 64;

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

// Where the end of the text begins that may be the beginning of the tag.
size_t possible_tag(std::string_view text, std::string_view tag) {
  for (size_t length = std::min(text.size(), tag.size() - 1); length > 0; --length) {
    if (tag.starts_with(text.substr(text.size() - length))) return text.size() - length;
  }
  return text.size();
}

bool erase_prefix(std::string& text, std::string_view prefix) {
  if (!std::string_view(text).starts_with(prefix)) return false;
  text.erase(0, prefix.size());
  return true;
}

}  // namespace

std::vector<AnswerPiece> AnswerParser::push(std::string_view text) {
  if (text.empty()) return {};
  switch (use_.choice) {
    case ToolUse::Choice::kNone:
      add(AnswerPiece::Kind::kText, text);
      break;
    case ToolUse::Choice::kAuto:
      push_free(text);
      break;
    case ToolUse::Choice::kForced:
      push_forced(text);
      break;
  }
  return std::exchange(pieces_, {});
}

std::vector<AnswerPiece> AnswerParser::finish() {
  // Some models leave the last tag out.
  const bool is_call = inside_ && add_call(held_);
  if (inside_ && !is_call) add(AnswerPiece::Kind::kText, syntax_of(use_.syntax).open);
  const bool is_space_after_calls = num_calls_ > 0 && trim(held_).empty();
  if (!is_call && !is_space_after_calls) add(AnswerPiece::Kind::kText, held_);
  held_.clear();
  inside_ = false;
  return std::exchange(pieces_, {});
}

void AnswerParser::add(AnswerPiece::Kind kind, std::string_view text) {
  if (text.empty()) return;
  // A call past the only one that is allowed, and what belongs to it.
  if (kind == AnswerPiece::Kind::kArguments && !use_.is_parallel && num_calls_ > 1) return;
  const bool joins = !pieces_.empty() && pieces_.back().kind == kind;
  if (joins) {
    pieces_.back().text += text;
  } else {
    pieces_.push_back({kind, std::string(text)});
  }
}

void AnswerParser::begin_call(std::string name) {
  ++num_calls_;
  if (use_.is_parallel || num_calls_ == 1) pieces_.push_back({AnswerPiece::Kind::kCall, std::move(name)});
}

void AnswerParser::push_free(std::string_view text) {
  held_ += text;
  for (size_t before = held_.size() + 1; before != held_.size();) {
    before = held_.size();
    inside_ ? read_inside() : read_outside();
  }
}

// Text up to a tag. Space before a possible tag waits: it belongs to the calls, if any.
void AnswerParser::read_outside() {
  const CallSyntaxText& syntax = syntax_of(use_.syntax);
  const size_t open = held_.find(syntax.open);
  const size_t certain = open != std::string::npos ? open : possible_tag(held_, syntax.open);
  std::string_view text = std::string_view(held_).substr(0, certain);
  if (!syntax.list_open.empty()) {
    // The marks around all calls say nothing that the calls do not.
    for (const std::string_view mark : {syntax.list_open, syntax.list_close}) {
      const size_t at = held_.find(mark);
      if (at != std::string::npos) {
        held_.erase(at, mark.size());
        return;
      }
      text = text.substr(0, std::min(text.size(), possible_tag(held_, mark)));
    }
  }
  size_t shown = text.find_last_not_of(kSpace) + 1;  // 0 where there is none
  if (open == std::string::npos && text.size() > kMaxHeldSpace) {
    shown = std::max(shown, text.size() - kMaxHeldSpace);
  }
  add(AnswerPiece::Kind::kText, text.substr(0, shown));
  held_.erase(0, open == std::string::npos ? shown : open + syntax.open.size());
  inside_ = open != std::string::npos;
  searched_ = 0;
}

void AnswerParser::read_inside() {
  const CallSyntaxText& syntax = syntax_of(use_.syntax);
  const size_t close = held_.find(syntax.close, searched_);
  if (close == std::string::npos) {
    searched_ = held_.size() - std::min(held_.size(), syntax.close.size() - 1);
    return;
  }
  const std::string body = held_.substr(0, close);
  held_.erase(0, close + syntax.close.size());
  inside_ = false;
  if (add_call(body)) return;
  add(AnswerPiece::Kind::kText, syntax.open);
  add(AnswerPiece::Kind::kText, body);
  add(AnswerPiece::Kind::kText, syntax.close);
}

bool AnswerParser::add_call(std::string_view body) {
  return use_.syntax == CallSyntax::kTags ? add_json_call(trim(body)) : add_deep_seek_call(trim(body));
}

bool AnswerParser::add_json_call(std::string_view body) {
  const Result<Json> call = parse_json(body, "call", {.max_bytes = SIZE_MAX});
  if (!call.ok() || !call->is_object()) return false;
  const auto name = call->find("name");
  if (name == call->end() || !name->is_string() || name->get_ref<const std::string&>().empty()) return false;
  auto arguments = call->find("arguments");
  if (arguments == call->end()) arguments = call->find("parameters");  // as some models have learnt it
  if (arguments != call->end() && !arguments->is_object()) return false;
  begin_call(name->get<std::string>());
  add(AnswerPiece::Kind::kArguments, arguments == call->end() ? "{}" : dump_json(*arguments));
  return true;
}

// function<sep>NAME, and the arguments as a code block of JSON.
bool AnswerParser::add_deep_seek_call(std::string_view body) {
  const size_t separator = body.find(kDeepSeekSeparator);
  if (separator == std::string_view::npos) return false;
  std::string rest(body.substr(separator + kDeepSeekSeparator.size()));
  const size_t line_end = rest.find('\n');
  if (line_end == std::string::npos) return false;
  std::string name(trim(rest.substr(0, line_end)));
  rest = trim(rest.substr(line_end));
  erase_prefix(rest, "```json");
  if (rest.ends_with("```")) rest.resize(rest.size() - 3);
  const Result<Json> arguments = parse_json(trim(rest), "arguments", {.max_bytes = SIZE_MAX});
  if (name.empty() || !arguments.ok() || !arguments->is_object()) return false;
  begin_call(std::move(name));
  add(AnswerPiece::Kind::kArguments, dump_json(*arguments));
  return true;
}

void AnswerParser::push_forced(std::string_view text) {
  size_t arguments = 0;  // where those of this text begin
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string_) {
      if (depth_ == 0) string_ += c;
      const bool ends = !escaped_ && c == '"';
      escaped_ = !escaped_ && c == '\\';
      if (!ends) continue;
      in_string_ = false;
      if (depth_ == 0) forced_string_end();
    } else if (c == '"') {
      in_string_ = true;
      if (depth_ == 0) string_ = c;
    } else if (depth_ > 0 || num_strings_ == 3) {
      if (c == '{' || c == '[') {
        if (depth_++ == 0) arguments = i;
      } else if ((c == '}' || c == ']') && --depth_ == 0) {
        add(AnswerPiece::Kind::kArguments, text.substr(arguments, i + 1 - arguments));
        num_strings_ = 0;
      }
    }
  }
  if (depth_ > 0) add(AnswerPiece::Kind::kArguments, text.substr(arguments));
}

// The strings outside of arguments are: name, the name, arguments.
void AnswerParser::forced_string_end() {
  if (++num_strings_ != 2) return;
  const Result<Json> name = parse_json(string_, "name", {.max_bytes = SIZE_MAX});
  begin_call(name.ok() && name->is_string() ? name->get<std::string>() : string_);
}

}  // namespace fathom

#include "cli/chat_session.h"

#include <unistd.h>

#include <cstdio>

#include "base/file.h"
#include "cli/console.h"
#include "cli/interrupt.h"

namespace fathom {
namespace {

constexpr JsonLimits kFileLimits = {.max_bytes = size_t{64} << 20};

constexpr const char* kHelp =
    "/reset          begin again; the system message stays\n"
    "/system TEXT    set the system message; without TEXT there is none\n"
    "/retry          ask the last question again\n"
    "/undo           forget the last question and its answer\n"
    "/save FILE      write the conversation as JSON; /load FILE reads it\n"
    "/quit           leave, as Ctrl-D does\n"
    "\"\"\"             begins and ends a text of several lines; // begins a line with /\n"
    "Ctrl-C          stops the answer; what there is of it stays\n";

bool person_types() { return ::isatty(STDIN_FILENO) == 1; }

void tell(const std::string& text) { std::fputs(text.c_str(), stderr); }

bool is_message(const Json& message) {
  return message.is_object() && message.contains("role") && message["role"].is_string() &&
         message.contains("content") && message["content"].is_string();
}

}  // namespace

std::string without_controls(std::string_view text) {
  std::string shown;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F, some of which terminals obey.
    const bool two_byte_control =
        byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (two_byte_control) ++i;
    if (two_byte_control || byte == 0x7f || (byte < 0x20 && byte != '\n' && byte != '\t')) continue;
    shown += text[i];
  }
  return shown;
}

ChatSession::ChatSession(ChatPartner& partner, ChatOptions options)
    : partner_(partner), options_(std::move(options)) {}

Json ChatSession::all_messages() const {
  Json all = Json::array();
  if (!options_.system.empty()) all.push_back({{"role", "system"}, {"content", options_.system}});
  for (const Json& message : messages_) all.push_back(message);
  return all;
}

Status ChatSession::ask(const std::string& question) {
  clear_interrupt();  // one that came too late for the last answer
  messages_.push_back({{"role", "user"}, {"content", question}});
  const bool to_terminal = ::isatty(STDOUT_FILENO) == 1;
  bool at_line_end = true;
  const Result<ChatAnswer> answer = partner_.answer(all_messages(), [&](std::string_view text) {
    if (options_.json || text.empty()) return;
    at_line_end = text.back() == '\n';
    if (to_terminal) {
      print_text(without_controls(text));
    } else {
      print_text(text);
    }
  });
  const bool was_stopped = interrupted();
  clear_interrupt();
  if (!options_.json && !at_line_end) print_text("\n");
  if (!answer.ok()) {
    messages_.erase(messages_.size() - 1);
    return answer.status();
  }
  if (options_.json) print_json(answer->details);
  if (was_stopped) tell("(stopped)\n");
  if (options_.stats) tell(answer->statistics + "\n");
  messages_.push_back({{"role", "assistant"}, {"content", answer->text}});
  return ok_status();
}

void ChatSession::drop_last_turn() {
  while (!messages_.empty() && messages_.back()["role"] != "user") messages_.erase(messages_.size() - 1);
  if (!messages_.empty()) messages_.erase(messages_.size() - 1);
}

// Where it fails, the conversation is as it was.
Status ChatSession::retry() {
  Json before = messages_;
  Json question;
  for (const Json& message : messages_) {
    if (message["role"] == "user") question = message["content"];
  }
  if (question.is_null()) return invalid_argument("/retry: there is no question yet");
  drop_last_turn();
  Status status = ask(question.get<std::string>());
  if (!status.ok()) messages_ = std::move(before);
  return status;
}

Status ChatSession::save(const std::string& path) const {
  if (path.empty()) return invalid_argument("/save: wants a file");
  return write_file(path, dump_json({{"messages", all_messages()}}) + "\n");
}

Status ChatSession::load(const std::string& path) {
  if (path.empty()) return invalid_argument("/load: wants a file");
  FATHOM_ASSIGN_OR_RETURN(const Json file, read_json_file(path, kFileLimits));
  if (!file.is_object() || !file.contains("messages") || !file["messages"].is_array()) {
    return invalid_data("{}: not an object with \"messages\"", path);
  }
  Json messages = Json::array();
  std::string system;
  for (const Json& message : file["messages"]) {
    if (!is_message(message))
      return invalid_data("{}: a message is no object with strings \"role\" and \"content\"", path);
    if (message["role"] == "system" && messages.empty()) {
      system = message["content"];
    } else {
      messages.push_back(message);
    }
  }
  messages_ = std::move(messages);
  options_.system = std::move(system);
  return ok_status();
}

Result<ChatSession::Next> ChatSession::obey(const std::string& command, const std::string& argument) {
  Status status;
  if (command == "/quit" || command == "/exit") return Next::kLeave;
  if (command == "/reset") {
    messages_.clear();
  } else if (command == "/system") {
    options_.system = argument;
  } else if (command == "/retry") {
    status = retry();
  } else if (command == "/undo") {
    drop_last_turn();
  } else if (command == "/save") {
    status = save(argument);
  } else if (command == "/load") {
    status = load(argument);
  } else if (command == "/help") {
    tell(kHelp);
  } else {
    status = invalid_argument("{}: no such command; /help lists them", command);
  }
  if (!status.ok()) return status;
  return Next::kGoOn;
}

Result<ChatSession::Next> ChatSession::take_line(const std::string& line) {
  if (line.find_first_not_of(" \t\n") == std::string::npos) return Next::kGoOn;
  if (line.starts_with('/') && !line.starts_with("//")) {
    const size_t blank = line.find(' ');
    const size_t argument = line.find_first_not_of(' ', blank);
    return obey(line.substr(0, blank), argument == std::string::npos ? "" : line.substr(argument));
  }
  FATHOM_RETURN_IF_ERROR(ask(line.starts_with("//") ? line.substr(1) : line));
  return Next::kGoOn;
}

Status ChatSession::converse() {
  const InterruptGuard guard;
  if (person_types()) tell("/help lists commands, Ctrl-C stops an answer, Ctrl-D leaves\n");
  std::string line;
  while (true) {
    const LineEnd end = lines_.read("> ", line);
    if (end == LineEnd::kEndOfInput) break;
    if (end == LineEnd::kInterrupted) {
      if (!person_types()) return Status(ErrorCode::kCancelled, "interrupted");
      tell("\n");
      continue;
    }
    const Result<Next> next = take_line(line);
    if (!next.ok() && !person_types()) return next.status();
    if (!next.ok()) print_error(next.status());
    if (next.ok() && *next == Next::kLeave) return ok_status();
  }
  if (person_types()) tell("\n");
  return ok_status();
}

}  // namespace fathom

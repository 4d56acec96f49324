#include "offline/answer_journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "base/check.h"
#include "base/file.h"

namespace fathom {
namespace {

constexpr JsonLimits kRecordLimits = {.max_bytes = size_t{1} << 30};
constexpr size_t kMaxJournalBytes = size_t{64} << 30;
constexpr std::string_view kSetupKey = "fathom_run_setup";
constexpr std::string_view kLineKey = "{\"line\":";
constexpr std::string_view kFailedKey = ",\"failed\":";
constexpr std::string_view kRecordKey = ",\"record\":";

Status check_setup(const std::string& path, const Json& was, const Json& is) {
  for (const auto& [key, value] : is.items()) {
    const auto found = was.find(key);
    if (found != was.end() && *found == value) continue;
    return invalid_argument(
        "{} is of a run with {} {}, this is one with {}: give another --out, or remove it to start anew",
        path, key, found == was.end() ? "none" : dump_json(*found), dump_json(value));
  }
  return ok_status();
}

bool skip(std::string_view& text, std::string_view expected) {
  if (!text.starts_with(expected)) return false;
  text.remove_prefix(expected.size());
  return true;
}

}  // namespace

AnswerJournal::AnswerJournal(std::string out, int descriptor, size_t num_lines)
    : out_(std::move(out)), descriptor_(descriptor), entries_(num_lines) {}

AnswerJournal::~AnswerJournal() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<std::unique_ptr<AnswerJournal>> AnswerJournal::open(const std::string& out, const Json& setup,
                                                           size_t num_lines) {
  if (path_exists(out))
    return invalid_argument("--out: {} is there already: remove it, or give another name", out);
  const std::string path = out + ".unfinished";
  if (path_exists(path) && !file_exists(path)) return io_error("{}: not a file", path);
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (descriptor < 0) return io_error("{}: cannot create: {}", path, std::strerror(errno));
  std::unique_ptr<AnswerJournal> journal(new AnswerJournal(out, descriptor, num_lines));
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0)
    return resource_exhausted("{}: another process is writing it", path);
  FATHOM_RETURN_IF_ERROR(journal->take_over(setup));
  return journal;
}

// What is there already. The first line that is not whole ends it: that and what follows is cut off.
Status AnswerJournal::take_over(const Json& setup) {
  const std::string header = dump_json({{kSetupKey, setup}}) + "\n";
  FATHOM_ASSIGN_OR_RETURN(const std::string content, read_file(journal(), kMaxJournalBytes));
  if (content.find('\n') == std::string::npos) {
    // Killed while it wrote its first line, or not ours.
    if (!header.starts_with(content)) return invalid_data("{}: not a run's file of answers", journal());
  } else {
    const size_t end = content.find('\n');
    const Result<Json> first = parse_json(std::string_view(content).substr(0, end), journal(), kRecordLimits);
    if (!first.ok() || !first->is_object() || !first->contains(kSetupKey))
      return invalid_data("{} line 1: not a run's file of answers", journal());
    FATHOM_RETURN_IF_ERROR(check_setup(journal(), (*first)[kSetupKey], setup));
    size_ = end + 1;
  }
  for (size_t end; size_ > 0 && (end = content.find('\n', size_)) != std::string::npos; size_ = end + 1) {
    if (!take_line(size_, std::string_view(content).substr(size_, end - size_))) break;
  }
  if (::ftruncate(descriptor_, static_cast<off_t>(size_)) != 0)
    return io_error("{}: cannot cut: {}", journal(), std::strerror(errno));
  return size_ == 0 ? append(header) : ok_status();
}

bool AnswerJournal::take_line(uint64_t begin, std::string_view text) {
  std::string_view rest = text;
  size_t line = 0;
  if (!skip(rest, kLineKey)) return false;
  const auto [after, error] = std::from_chars(rest.data(), rest.data() + rest.size(), line);
  if (error != std::errc() || line >= entries_.size() || has(line)) return false;
  rest.remove_prefix(static_cast<size_t>(after - rest.data()));
  if (!skip(rest, kFailedKey)) return false;
  const bool failed = skip(rest, "true");
  if (!failed && !skip(rest, "false")) return false;
  if (!skip(rest, kRecordKey) || !rest.ends_with('}')) return false;
  rest.remove_suffix(1);
  const Result<Json> record = parse_json(rest, journal(), kRecordLimits);
  if (!record.ok() || !record->is_object()) return false;
  entries_[line] = {begin + static_cast<uint64_t>(rest.data() - text.data()), rest.size()};
  ++num_done_;
  num_failed_ += failed ? 1 : 0;
  return true;
}

Status AnswerJournal::append(std::string_view text) {
  size_ += text.size();
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor_, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return io_error("{}: cannot write: {}", journal(), std::strerror(errno));
    text.remove_prefix(static_cast<size_t>(written));
  }
  return ok_status();
}

Status AnswerJournal::add(size_t line, Outcome outcome, const std::string& record) {
  FATHOM_CHECK(line < entries_.size() && !has(line), "line {} of {} twice", line, entries_.size());
  const bool failed = outcome == Outcome::kFailed;
  const std::string head = fmt::format("{}{}{}{}{}", kLineKey, line, kFailedKey, failed, kRecordKey);
  entries_[line] = {size_ + head.size(), record.size()};
  FATHOM_RETURN_IF_ERROR(append(head + record + "}\n"));
  ++num_done_;
  num_failed_ += failed ? 1 : 0;
  return ok_status();
}

Status AnswerJournal::sync() {
  if (::fdatasync(descriptor_) == 0) return ok_status();
  return io_error("{}: cannot flush: {}", journal(), std::strerror(errno));
}

Status AnswerJournal::finish() {
  FATHOM_CHECK(num_done_ == entries_.size(), "{} of {} lines are answered", num_done_, entries_.size());
  FATHOM_ASSIGN_OR_RETURN(const auto input, InputFile::open(journal()));
  FATHOM_ASSIGN_OR_RETURN(const auto writer, FileWriter::create(out_));
  std::string record;
  for (const Entry& entry : entries_) {
    record.resize(entry.record_bytes);
    FATHOM_RETURN_IF_ERROR(input->read_at(entry.record_begin, std::as_writable_bytes(std::span(record))));
    FATHOM_RETURN_IF_ERROR(writer->write(record + "\n"));
  }
  FATHOM_RETURN_IF_ERROR(writer->commit());
  if (::unlink(journal().c_str()) != 0)
    return io_error("{}: cannot remove: {}", journal(), std::strerror(errno));
  return ok_status();
}

}  // namespace fathom

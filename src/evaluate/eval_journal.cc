#include "evaluate/eval_journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/file.h"
#include "evaluate/dataset_files.h"

namespace fathom {
namespace {

constexpr size_t kMaxJournalBytes = size_t{4} << 30;

Status write_all(int descriptor, const std::string& path, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return io_error("{}: {}", path, std::strerror(errno));
    text.remove_prefix(static_cast<size_t>(written));
  }
  return ok_status();
}

Status check_setup(const std::string& path, const Json& was, const Json& is) {
  for (const auto& [key, value] : is.items()) {
    const auto found = was.find(key);
    if (found != was.end() && *found == value) continue;
    return invalid_argument("--resume: {} is of a run with {} {}, this is one with {}; give another --out",
                            path, key, found == was.end() ? "none" : dump_json(*found), dump_json(value));
  }
  return ok_status();
}

// A line written by ourselves: what is missing or of another type shows as an exception of the JSON library.
ExampleResult result_from(const Json& line) {
  const Json &answer = line.at("answer"), &score = line.at("score");
  return {{.logprobs = answer.at("logprobs").get<std::vector<double>>(),
           .text = answer.at("text").get<std::string>(),
           .prompt_ids = answer.at("prompt_ids").get<std::vector<int32_t>>(),
           .output_ids = answer.at("output_ids").get<std::vector<int32_t>>()},
          {.values = score.at("values").get<std::vector<double>>(),
           .weights = score.at("weights").get<std::vector<double>>(),
           .result = score.at("result").get<std::string>(),
           .pass = score.at("pass").get<double>()}};
}

}  // namespace

std::string query_hash(const Query& query) {
  uint64_t hash = 0xcbf29ce484222325u;
  const auto add = [&hash](std::string_view text) {
    for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    hash = (hash ^ 0x1ffu) * 0x100000001b3u;  // no byte: ends the text
  };
  add(std::to_string(static_cast<int>(query.kind)));
  add(query.prompt);
  for (const std::string& choice : query.choices) add(choice);
  for (const std::string& stop : query.until) add(stop);
  add(std::to_string(query.max_tokens));
  return fmt::format("{:016x}", hash);
}

Json to_json(const Answer& answer) {
  return {{"logprobs", answer.logprobs},
          {"text", answer.text},
          {"prompt_ids", answer.prompt_ids},
          {"output_ids", answer.output_ids}};
}

Json to_json(const Score& score) {
  return {
      {"values", score.values}, {"weights", score.weights}, {"result", score.result}, {"pass", score.pass}};
}

// Returns the bytes of the whole lines; a last one without end is left out.
Result<size_t> EvalJournal::read(const std::string& path, const Json& setup,
                                 std::map<std::pair<std::string, size_t>, Entry>& entries) {
  FATHOM_ASSIGN_OR_RETURN(const std::string content, read_file(path, kMaxJournalBytes));
  size_t begin = 0, number = 0;
  for (size_t end; (end = content.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string where = fmt::format("{} line {}", path, ++number);
    const std::string_view text = std::string_view(content).substr(begin, end - begin);
    FATHOM_ASSIGN_OR_RETURN(const Json line, parse_json(text, where, {.max_bytes = kMaxDatasetBytes}));
    if (number == 1) {
      FATHOM_RETURN_IF_ERROR(check_setup(path, line, setup));
      continue;
    }
    try {
      entries[{line.at("task").get<std::string>(), line.at("index").get<size_t>()}] = {
          line.at("query").get<std::string>(), result_from(line)};
    } catch (const Json::exception& error) {
      return invalid_data("{}: not a line of a journal ({}); remove the file to start anew", where,
                          error.what());
    }
  }
  return begin;
}

Result<std::unique_ptr<EvalJournal>> EvalJournal::open(const std::string& path, const Json& setup,
                                                       Resume resume) {
  std::map<std::pair<std::string, size_t>, Entry> entries;
  size_t size = 0;
  if (file_exists(path)) {
    if (resume == Resume::kNo)
      return invalid_argument(
          "{} is of a run that did not end: give --resume to go on with it, or another --out", path);
    FATHOM_ASSIGN_OR_RETURN(size, read(path, setup, entries));
  }
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor < 0) return io_error("{}: {}", path, std::strerror(errno));
  std::unique_ptr<EvalJournal> journal(new EvalJournal(path, descriptor));
  if (::ftruncate(descriptor, static_cast<off_t>(size)) != 0)
    return io_error("{}: {}", path, std::strerror(errno));
  journal->entries_ = std::move(entries);
  if (size == 0) FATHOM_RETURN_IF_ERROR(journal->write_line(setup));
  return journal;
}

EvalJournal::~EvalJournal() { ::close(descriptor_); }

Result<const ExampleResult*> EvalJournal::find(const std::string& task, size_t index,
                                               const Query& query) const {
  const auto found = entries_.find({task, index});
  if (found == entries_.end()) return nullptr;
  if (found->second.query_hash != query_hash(query)) {
    return invalid_data("{}: question {} of {} was another one; the data has changed, give another --out",
                        path_, index + 1, task);
  }
  return &found->second.result;
}

Status EvalJournal::add(const std::string& task, size_t index, const Query& query, ExampleResult result) {
  const std::string hash = query_hash(query);
  FATHOM_RETURN_IF_ERROR(write_line({{"task", task},
                                     {"index", index},
                                     {"query", hash},
                                     {"answer", to_json(result.answer)},
                                     {"score", to_json(result.score)}}));
  entries_[{task, index}] = {hash, std::move(result)};
  return ok_status();
}

Status EvalJournal::write_line(const Json& line) {
  return write_all(descriptor_, path_, dump_json(line) + "\n");
}

Status EvalJournal::remove() {
  if (::unlink(path_.c_str()) != 0) return io_error("{}: {}", path_, std::strerror(errno));
  return ok_status();
}

}  // namespace fathom

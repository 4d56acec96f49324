// The state of a run on disk: what has been answered so far, a line each, so that a run that ended anyhow,
// even in the middle of a line, goes on where it was.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/json.h"
#include "evaluate/scorer.h"
#include "evaluate/task.h"

namespace fathom {

struct ExampleResult {
  Answer answer;
  Score score;
};

enum class Resume { kNo, kYes };

class EvalJournal {
 public:
  // Starts path, or with kYes goes on with it where it is there. setup: an object of what decides the
  // answers; another one than the journal's is an error that names the difference, and so is a journal that
  // is there without kYes.
  static Result<std::unique_ptr<EvalJournal>> open(const std::string& path, const Json& setup, Resume resume);
  ~EvalJournal();
  EvalJournal(const EvalJournal&) = delete;
  EvalJournal& operator=(const EvalJournal&) = delete;

  // Null where it is still to be answered; kInvalidData where it was answered for another query.
  Result<const ExampleResult*> find(const std::string& task, size_t index, const Query& query) const;
  // On disk when it returns, save for a crash of the machine.
  Status add(const std::string& task, size_t index, const Query& query, ExampleResult result);
  // The run is complete: the journal is not needed any more.
  Status remove();

 private:
  struct Entry {
    std::string query_hash;
    ExampleResult result;
  };
  EvalJournal(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  static Result<size_t> read(const std::string& path, const Json& setup,
                             std::map<std::pair<std::string, size_t>, Entry>& entries);
  Status write_line(const Json& line);

  std::string path_;
  int descriptor_;
  std::map<std::pair<std::string, size_t>, Entry> entries_;
};

// FNV-1a of all that a query says, 16 hexadecimal digits.
std::string query_hash(const Query& query);

Json to_json(const Answer& answer);
Json to_json(const Score& score);

}  // namespace fathom

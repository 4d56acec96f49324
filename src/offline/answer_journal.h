// The answers of a run on their way to disk. While the run lasts they stand in "OUT.unfinished" in the order
// in which they ended: one line of setup, then {"line": index, "failed": .., "record": {..}} for each.
// finish() writes OUT, the records in the order of the prompts, whole or not at all, and removes the journal.
// A run that was killed at any moment goes on from its journal: what is not whole at its end is dropped and
// computed again.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"

namespace fathom {

class AnswerJournal {
 public:
  // setup: an object of what decides the answers. A journal of another setup is an error that names the
  // difference; so is an OUT that is there, and a journal that another process is writing.
  static Result<std::unique_ptr<AnswerJournal>> open(const std::string& out, const Json& setup,
                                                     size_t num_lines);
  ~AnswerJournal();
  AnswerJournal(const AnswerJournal&) = delete;
  AnswerJournal& operator=(const AnswerJournal&) = delete;

  bool has(size_t line) const { return entries_[line].record_bytes > 0; }
  size_t num_lines() const { return entries_.size(); }
  size_t num_done() const { return num_done_; }
  size_t num_failed() const { return num_failed_; }
  // record: one JSON object on one line. A process that is killed afterwards has it kept; a machine that
  // crashes may lose what came after the last sync().
  enum class Outcome { kAnswered, kFailed };
  Status add(size_t line, Outcome outcome, const std::string& record);
  Status sync();
  // Precondition: has() of all lines.
  Status finish();

 private:
  struct Entry {
    uint64_t record_begin = 0;  // in the journal
    uint64_t record_bytes = 0;
  };
  AnswerJournal(std::string out, int descriptor, size_t num_lines);
  Status take_over(const Json& setup);
  // False for a line that is not one of ours.
  bool take_line(uint64_t begin, std::string_view text);
  Status append(std::string_view text);
  std::string journal() const { return out_ + ".unfinished"; }

  std::string out_;
  int descriptor_;
  uint64_t size_ = 0;
  std::vector<Entry> entries_;  // by line
  size_t num_done_ = 0;
  size_t num_failed_ = 0;
};

}  // namespace fathom

#include "offline/offline_run.h"

#include <deque>
#include <optional>

#include "base/clock.h"
#include "offline/answer_journal.h"
#include "offline/line_task.h"
#include "offline/record.h"
#include "offline/submission_order.h"

namespace fathom {
namespace {

constexpr double kSyncSeconds = 1;
// Sequences beyond those that the engine computes, so that none of its places is empty for a step.
constexpr size_t kInLine = 2;

class OfflineRun {
 public:
  OfflineRun(Engine& engine, const ServedModel& model, const OfflineOptions& options, AnswerJournal& journal)
      : engine_(engine),
        model_(model),
        options_(options),
        journal_(journal),
        num_resumed_(journal.num_done()) {}

  Status add_lines(PromptFile file);
  Status run();
  int64_t answer_tokens() const { return answer_tokens_; }
  const std::string& first_error() const { return first_error_; }

 private:
  // One prompt of one line's request.
  struct Unit {
    size_t task = 0;
    size_t prompt = 0;
  };
  // That the engine has, and did not begin when last looked at.
  struct InLine {
    RequestId id = 0;
    size_t unit = 0;
  };
  enum class Admission { kDone, kWait };

  Status submit_ready();
  Status step();
  void mark_started();
  ConstraintCache* constraints();
  Admission admit(size_t unit);
  void on_event(size_t unit, const RequestEvent& event);
  void end(size_t unit);
  void write(LineTask& task);
  Status add_error(const PromptLine& line, const ApiError& error);
  void report(double started) const;
  SubmissionOrder make_order() const;

  Engine& engine_;
  const ServedModel& model_;
  const OfflineOptions& options_;
  AnswerJournal& journal_;
  size_t num_resumed_;
  FileForm form_ = FileForm::kOwn;
  std::deque<LineTask> tasks_;  // which stay where they are
  std::vector<Unit> units_;
  std::optional<SubmissionOrder> order_;
  std::optional<size_t> held_;  // the engine has no place for it yet
  size_t in_flight_ = 0;
  std::vector<InLine> in_line_;
  double step_begin_ = 0;                         // monotonic seconds
  std::unique_ptr<ConstraintCache> constraints_;  // from the first line that asks for one
  int64_t answer_tokens_ = 0;
  Status journal_status_;
  std::string first_error_;
};

// Lines that are no requests are done with at once.
Status OfflineRun::add_lines(PromptFile file) {
  form_ = file.form;
  for (PromptLine& line : file.lines) {
    if (journal_.has(line.index)) continue;
    auto parsed = parse_line(line, form_, model_, options_.defaults);
    if (const auto* error = std::get_if<ApiError>(&parsed)) {
      FATHOM_RETURN_IF_ERROR(add_error(line, *error));
      continue;
    }
    if (std::holds_alternative<Json>(line.body)) line.body = Json();  // not needed any more
    tasks_.emplace_back(std::move(line), std::get<CompletionRequest>(std::move(parsed)), model_);
    for (size_t prompt = 0; prompt < tasks_.back().num_prompts(); ++prompt)
      units_.push_back({tasks_.size() - 1, prompt});
  }
  return ok_status();
}

SubmissionOrder OfflineRun::make_order() const {
  std::vector<std::span<const int32_t>> prompts;
  prompts.reserve(units_.size());
  for (const Unit& unit : units_) prompts.push_back(tasks_[unit.task].prompt(unit.prompt));
  return SubmissionOrder(prompts, {.expanded_prompt_tokens = options_.expanded_prompt_tokens});
}

Status OfflineRun::add_error(const PromptLine& line, const ApiError& error) {
  if (first_error_.empty()) first_error_ = located(line, error);
  return journal_.add(line.index, AnswerJournal::Outcome::kFailed, error_record(line, form_, error));
}

Status OfflineRun::run() {
  const double started = monotonic_seconds();
  double synced = started;
  order_.emplace(make_order());
  while (journal_.num_done() < journal_.num_lines()) {
    FATHOM_RETURN_IF_ERROR(submit_ready());
    FATHOM_RETURN_IF_ERROR(step());
    if (const double now = monotonic_seconds(); now - synced > kSyncSeconds) {
      synced = now;
      FATHOM_RETURN_IF_ERROR(journal_.sync());
    }
    report(started);
  }
  return engine_.recount();
}

Status OfflineRun::step() {
  step_begin_ = monotonic_seconds();
  if (engine_.has_work()) FATHOM_RETURN_IF_ERROR(engine_.step());
  mark_started();
  return journal_status_;
}

void OfflineRun::mark_started() {
  std::erase_if(in_line_, [this](const InLine& one) {
    if (engine_.is_waiting(one.id, 0)) return false;
    tasks_[units_[one.unit].task].start(step_begin_);
    return true;
  });
}

// Null where the model has no tokenizer.
ConstraintCache* OfflineRun::constraints() {
  if (constraints_ == nullptr) {
    if (auto trie = engine_.token_trie()) constraints_ = std::make_unique<ConstraintCache>(std::move(trie));
  }
  return constraints_.get();
}

void OfflineRun::report(double started) const {
  if (!options_.on_progress) return;
  const EngineStatistics statistics = engine_.statistics();
  options_.on_progress({.num_done = journal_.num_done() - num_resumed_,
                        .num_lines = journal_.num_lines() - num_resumed_,
                        .prompt_tokens = statistics.num_prompt_tokens - statistics.num_cached_tokens,
                        .answer_tokens = answer_tokens_,
                        .seconds = monotonic_seconds() - started});
}

Status OfflineRun::submit_ready() {
  while (in_flight_ < options_.max_num_seqs + kInLine) {
    const std::optional<size_t> unit = held_ ? std::exchange(held_, std::nullopt) : order_->next();
    if (!unit) break;
    if (admit(*unit) == Admission::kWait) {
      held_ = unit;
      break;
    }
    FATHOM_RETURN_IF_ERROR(journal_status_);
  }
  return ok_status();
}

// kWait only while the engine has work, after which there is more room. A constraint is compiled no sooner
// than here, and gone with its line: a file may have one of its own in every line.
OfflineRun::Admission OfflineRun::admit(size_t unit) {
  LineTask& task = tasks_[units_[unit].task];
  const size_t prompt = units_[unit].prompt;
  const auto refuse = [&](const ApiError& error) {
    task.refuse(prompt, error);
    end(unit);
    return Admission::kDone;
  };
  if (task.has_failed()) return refuse(task.error());  // by another of its prompts
  if (const auto error = task.compile_constraint([this] { return constraints(); })) {
    return error->status == 429 && engine_.has_work() ? Admission::kWait : refuse(*error);
  }
  const Request& request = task.request(prompt);
  const auto num_choices = static_cast<size_t>(request.n);
  const Result<RequestId> id =
      engine_.submit(request, [this, unit](const RequestEvent& event) { on_event(unit, event); });
  if (id.ok()) {
    in_flight_ += num_choices;
    in_line_.push_back({*id, unit});
    return Admission::kDone;
  }
  if (id.status().code() == ErrorCode::kResourceExhausted && engine_.has_work()) return Admission::kWait;
  return refuse(line_error_of(id.status()));
}

void OfflineRun::on_event(size_t unit, const RequestEvent& event) {
  LineTask& task = tasks_[units_[unit].task];
  if (event.token_id) task.start(step_begin_);
  task.on_event(units_[unit].prompt, event);
  if (event.token_id) {
    ++answer_tokens_;
    order_->computed(unit);
  }
  if (event.finish_reason == FinishReason::kNone) return;
  --in_flight_;
  end(unit);
}

void OfflineRun::end(size_t unit) {
  order_->computed(unit);
  LineTask& task = tasks_[units_[unit].task];
  if (task.has_ended()) write(task);
}

// Listeners have no way to return an error: run() looks at journal_status_ after each step.
void OfflineRun::write(LineTask& task) {
  const PromptLine& line = task.line();
  const Status status = task.has_failed()
                            ? add_error(line, task.error())
                            : journal_.add(line.index, AnswerJournal::Outcome::kAnswered,
                                           answer_record(line, form_, task.answer(), task.usage()));
  if (journal_status_.ok()) journal_status_ = status;
  task.forget();
}

Json setup_of(const OfflineOptions& options, const PromptFile& file) {
  Json setup = {{"file", options.path},
                {"checksum", file.checksum},
                {"lines", file.lines.size()},
                {"defaults", options.defaults.fields},
                {"own_max_tokens", options.defaults.own_max_tokens},
                {"seed", options.defaults.seed},
                {"chat", options.defaults.chat}};
  setup.update(options.setup);
  return setup;
}

}  // namespace

Result<OfflineSummary> run_offline(Engine& engine, const ServedModel& model, const OfflineOptions& options) {
  const double started = monotonic_seconds();
  FATHOM_ASSIGN_OR_RETURN(PromptFile file, read_prompt_file(options.path));
  OfflineSummary summary{.num_lines = file.lines.size()};
  FATHOM_ASSIGN_OR_RETURN(const auto journal,
                          AnswerJournal::open(options.out, setup_of(options, file), file.lines.size()));
  summary.num_resumed = journal->num_done();
  OfflineRun run(engine, model, options, *journal);
  FATHOM_RETURN_IF_ERROR(run.add_lines(std::move(file)));
  FATHOM_RETURN_IF_ERROR(run.run());
  summary.num_failed = journal->num_failed();
  FATHOM_RETURN_IF_ERROR(journal->finish());
  const EngineStatistics statistics = engine.statistics();
  summary.prompt_tokens = statistics.num_prompt_tokens;
  summary.cached_tokens = statistics.num_cached_tokens;
  summary.answer_tokens = run.answer_tokens();
  summary.first_error = run.first_error();
  summary.seconds = monotonic_seconds() - started;
  return summary;
}

}  // namespace fathom

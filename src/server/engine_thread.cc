#include "server/engine_thread.h"

#include <algorithm>
#include <exception>

#include "base/clock.h"
#include "base/log.h"
#include "engine/prompt_score.h"

namespace fathom {

EngineThread::EngineThread(Loader loader, Callbacks callbacks) : callbacks_(std::move(callbacks)) {
  thread_ = std::thread([this, loader = std::move(loader)] { run(loader); });
}

EngineThread::~EngineThread() {
  {
    const std::lock_guard lock(mutex_);
    commands_.stop = true;
  }
  wake_.notify_one();
  thread_.join();
}

void EngineThread::submit(GenerationJob job) {
  {
    const std::lock_guard lock(mutex_);
    commands_.jobs.push_back(std::move(job));
  }
  wake_.notify_one();
}

void EngineThread::cancel(uint64_t ticket) {
  {
    const std::lock_guard lock(mutex_);
    commands_.cancelled.push_back(ticket);
  }
  wake_.notify_one();
}

double EngineThread::seconds_without_progress() const {
  const double last = last_beat_.load(std::memory_order_relaxed);
  return last == 0 ? 0 : monotonic_seconds() - last;
}

void EngineThread::beat() { last_beat_.store(monotonic_seconds(), std::memory_order_relaxed); }

// Exceptions of libraries and of the allocator end here, as an engine that failed.
void EngineThread::run(const Loader& loader) {
  Status status;
  try {
    Result<std::unique_ptr<Engine>> engine = loader();
    if (engine.ok()) {
      engine_ = std::move(engine).value();
      callbacks_.loaded(*engine_);
      report();
      status = serve();
    } else {
      status = engine.status();
    }
  } catch (const std::bad_alloc&) {
    status = resource_exhausted("out of memory");
  } catch (const std::exception& error) {
    status = io_error("unexpected failure of a library: {}", error.what());
  }
  if (status.ok()) return;
  fail_all(status);
  callbacks_.failed(status);
}

Status EngineThread::serve() {
  while (take_commands()) {
    beat();
    expire();
    admit_pending();
    if (engine_->has_work()) FATHOM_RETURN_IF_ERROR(engine_->step());
    scored_ = false;
    mark_started();
    forget_ended();
    report();
  }
  return ok_status();
}

bool EngineThread::take_commands() {
  Commands commands;
  {
    std::unique_lock lock(mutex_);
    if (jobs_.empty()) {
      last_beat_.store(0, std::memory_order_relaxed);
      wake_.wait(
          lock, [this] { return commands_.stop || !commands_.jobs.empty() || !commands_.cancelled.empty(); });
    }
    std::swap(commands, commands_);
  }
  if (commands.stop) return false;
  for (GenerationJob& job : commands.jobs) accept(std::move(job));
  for (uint64_t ticket : commands.cancelled) {
    cancel_now(ticket, Status(ErrorCode::kCancelled, "cancelled"), false);
  }
  return true;
}

void EngineThread::accept(GenerationJob job) {
  const uint64_t ticket = job.ticket;
  Job& entry = jobs_[ticket];
  for (PlannedSequence& planned : job.sequences) entry.sequences.push_back({.planned = std::move(planned)});
  job.sequences.clear();
  entry.job = std::move(job);
  pending_.push_back(ticket);
  emit(ticket, 0, {.kind = GenerationEventKind::kAccepted});
}

void EngineThread::cancel_now(uint64_t ticket, const Status& why, bool timed_out) {
  const auto found = jobs_.find(ticket);
  if (found == jobs_.end()) return;
  Job& job = found->second;
  for (size_t i = 0; i < job.sequences.size(); ++i) {
    Sequence& sequence = job.sequences[i];
    if (sequence.state == Sequence::State::kEnded) continue;
    const bool with_engine = sequence.state != Sequence::State::kPending;
    end_sequence(ticket, static_cast<int32_t>(i));  // before, so that the engine's own event is not reported
    if (with_engine) engine_->cancel(sequence.request_id);
    emit(ticket, static_cast<int32_t>(i),
         {.kind = GenerationEventKind::kEnd,
          .finish_reason =
              why.code() == ErrorCode::kCancelled ? FinishReason::kCancelled : FinishReason::kError,
          .status = why,
          .timed_out = timed_out});
  }
  std::erase(pending_, ticket);
}

void EngineThread::admit_pending() {
  while (!pending_.empty()) {
    const uint64_t ticket = pending_.front();
    Job& job = jobs_.at(ticket);
    while (job.next < job.sequences.size()) {
      if (admit(ticket, job, static_cast<int32_t>(job.next)) == Admission::kWait) return;
      ++job.next;
    }
    pending_.pop_front();
  }
}

// Gives one sequence to the engine. kWait: it has no place for it now.
EngineThread::Admission EngineThread::admit(uint64_t ticket, Job& job, int32_t index) {
  Sequence& sequence = job.sequences[static_cast<size_t>(index)];
  if (sequence.planned.prompt_logprobs && score(ticket, job, index) == Admission::kWait) {
    return Admission::kWait;
  }
  if (sequence.state == Sequence::State::kEnded) return Admission::kDone;
  if (!sequence.planned.generates) {
    end_sequence(ticket, index);
    emit(ticket, index, {.kind = GenerationEventKind::kEnd, .finish_reason = FinishReason::kLength});
    return Admission::kDone;
  }
  const auto listener = [this, ticket, index](const RequestEvent& event) {
    const auto found = jobs_.find(ticket);
    if (found == jobs_.end()) return;
    Sequence& mine = found->second.sequences[static_cast<size_t>(index)];
    if (mine.state == Sequence::State::kEnded) return;
    if (mine.state == Sequence::State::kQueued && event.token_id) {
      mine.state = Sequence::State::kStarted;
      emit(ticket, index, {.kind = GenerationEventKind::kStarted});
    }
    if (event.finish_reason != FinishReason::kNone) end_sequence(ticket, index);
    emit(ticket, index, to_generation_event(event));
  };
  const Result<RequestId> id = engine_->submit(sequence.planned.request, listener);
  if (id.ok()) {
    sequence.request_id = *id;
    sequence.state = Sequence::State::kQueued;
    sequence.planned = {};
    return Admission::kDone;
  }
  if (id.status().code() == ErrorCode::kResourceExhausted && engine_->has_work()) return Admission::kWait;
  end_sequence(ticket, index);
  emit(ticket, index,
       {.kind = GenerationEventKind::kEnd, .finish_reason = FinishReason::kError, .status = id.status()});
  return Admission::kDone;
}

// Log-probabilities of the prompt, at most one prompt between two steps; with them comes the only token of a
// request for one.
EngineThread::Admission EngineThread::score(uint64_t ticket, Job& job, int32_t index) {
  Sequence& sequence = job.sequences[static_cast<size_t>(index)];
  PlannedSequence& planned = sequence.planned;
  if (scored_ && engine_->has_work()) return Admission::kWait;
  const bool wants_one = planned.generates && planned.request.sampling.max_tokens == 1;
  const PromptScoreOptions options{.num_top = *planned.prompt_logprobs,
                                   .next = wants_one ? &planned.request.sampling : nullptr,
                                   .between_chunks = [&]() -> Status {
                                     beat();
                                     if (is_cancelled(ticket))
                                       return Status(ErrorCode::kCancelled, "cancelled");
                                     if (monotonic_seconds() > job.job.total_deadline) {
                                       return Status(ErrorCode::kCancelled, "the deadline passed");
                                     }
                                     return ok_status();
                                   }};
  Result<PromptScore> score = score_prompt(*engine_, planned.request.prompt_ids, options);
  if (score.status().code() == ErrorCode::kResourceExhausted && engine_->has_work()) return Admission::kWait;
  scored_ = true;
  if (score.status().code() == ErrorCode::kCancelled) return Admission::kWait;  // ends before the next step
  planned.prompt_logprobs.reset();
  if (!score.ok()) {
    end_sequence(ticket, index);
    emit(
        ticket, index,
        {.kind = GenerationEventKind::kEnd, .finish_reason = FinishReason::kError, .status = score.status()});
    return Admission::kDone;
  }
  emit(ticket, index, {.kind = GenerationEventKind::kStarted});
  emit(ticket, index,
       {.kind = GenerationEventKind::kPromptScores, .prompt_scores = std::move(score->tokens)});
  if (score->next) {
    end_sequence(ticket, index);
    emit(ticket, index,
         {.kind = GenerationEventKind::kToken,
          .token = std::move(score->next->token),
          .text = std::move(score->next->text),
          .finish_reason = score->next->finish_reason});
  }
  return Admission::kDone;
}

bool EngineThread::is_cancelled(uint64_t ticket) {
  const std::lock_guard lock(mutex_);
  const auto& cancelled = commands_.cancelled;
  return commands_.stop || std::find(cancelled.begin(), cancelled.end(), ticket) != cancelled.end();
}

// Sequences whose prompt is being computed have left the queue.
void EngineThread::mark_started() {
  for (auto& [ticket, job] : jobs_) {
    for (size_t i = 0; i < job.sequences.size(); ++i) {
      Sequence& sequence = job.sequences[i];
      if (sequence.state != Sequence::State::kQueued || engine_->is_waiting(sequence.request_id)) continue;
      sequence.state = Sequence::State::kStarted;
      emit(ticket, static_cast<int32_t>(i), {.kind = GenerationEventKind::kStarted});
    }
  }
}

void EngineThread::expire() {
  const double now = monotonic_seconds();
  std::vector<std::pair<uint64_t, Status>> late;
  for (const auto& [ticket, job] : jobs_) {
    const bool waits = std::any_of(job.sequences.begin(), job.sequences.end(), [](const Sequence& sequence) {
      return sequence.state == Sequence::State::kPending || sequence.state == Sequence::State::kQueued;
    });
    if (now > job.job.total_deadline) {
      late.emplace_back(ticket, io_error("the answer took longer than the server's limit for a request"));
    } else if (waits && now > job.job.queue_deadline) {
      late.emplace_back(ticket, io_error("the request waited longer than the server's limit for its queue"));
    }
  }
  for (const auto& [ticket, status] : late) cancel_now(ticket, status, true);
}

void EngineThread::end_sequence(uint64_t ticket, int32_t index) {
  Job& job = jobs_.at(ticket);
  job.sequences[static_cast<size_t>(index)].state = Sequence::State::kEnded;
  if (++job.num_ended == job.sequences.size()) ended_.push_back(ticket);
}

void EngineThread::forget_ended() {
  for (uint64_t ticket : ended_) jobs_.erase(ticket);
  ended_.clear();
}

void EngineThread::emit(uint64_t ticket, int32_t index, GenerationEvent event) {
  event.ticket = ticket;
  event.index = index;
  event.time = monotonic_seconds();
  report_.events.push_back(std::move(event));
}

void EngineThread::fail_all(const Status& status) {
  {
    const std::lock_guard lock(mutex_);
    for (GenerationJob& job : commands_.jobs) accept(std::move(job));
    commands_.jobs.clear();
  }
  for (auto& [ticket, job] : jobs_) {
    for (size_t i = 0; i < job.sequences.size(); ++i) {
      if (job.sequences[i].state == Sequence::State::kEnded) continue;
      emit(ticket, static_cast<int32_t>(i),
           {.kind = GenerationEventKind::kEnd, .finish_reason = FinishReason::kError, .status = status});
    }
  }
  jobs_.clear();
  callbacks_.report(std::exchange(report_, {}));
}

void EngineThread::report() {
  report_.statistics = engine_->statistics();
  callbacks_.report(std::exchange(report_, {}));
}

}  // namespace fathom

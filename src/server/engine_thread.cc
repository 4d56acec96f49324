#include "server/engine_thread.h"

#include <algorithm>
#include <chrono>
#include <exception>

#include "base/clock.h"
#include "base/log.h"

namespace fathom {
namespace {

constexpr std::chrono::seconds kHealthInterval{1};  // between looks at an engine that has nothing to do

}  // namespace

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
  const EngineFailure failure{status, engine_ != nullptr && !engine_->health().ok()};
  // Before any request ends: who learns of it from an answer may ask for the server's health next.
  callbacks_.failed(failure);
  fail_all(failure);
  // Jobs that were on their way here while others learnt of it.
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return commands_.stop || !commands_.jobs.empty(); });
    if (commands_.stop) return;
    lock.unlock();
    fail_all(failure);
    lock.lock();
  }
}

Status EngineThread::serve() {
  while (true) {
    FATHOM_ASSIGN_OR_RETURN(const bool goes_on, take_commands());
    if (!goes_on) return ok_status();
    beat();
    expire();
    admit_pending();
    step_begin_ = monotonic_seconds();
    if (engine_->has_work()) FATHOM_RETURN_IF_ERROR(engine_->step());
    mark_started();
    forget_ended();
    report();
    FATHOM_RETURN_IF_ERROR(engine_->recount());
  }
}

Result<bool> EngineThread::take_commands() {
  Commands commands;
  {
    std::unique_lock lock(mutex_);
    if (jobs_.empty()) {
      last_beat_.store(0, std::memory_order_relaxed);
      const auto commanded = [this] {
        return commands_.stop || !commands_.jobs.empty() || !commands_.cancelled.empty();
      };
      while (!wake_.wait_for(lock, kHealthInterval, commanded)) FATHOM_RETURN_IF_ERROR(engine_->health());
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
  size_t num_choices = 0;
  for (const PlannedPrompt& prompt : job.prompts) num_choices += static_cast<size_t>(prompt.request.n);
  entry.choices.resize(num_choices, ChoiceState::kPending);
  entry.job = std::move(job);
  pending_.push_back(ticket);
  emit(ticket, {.kind = GenerationEventKind::kAccepted});
}

void EngineThread::cancel_now(uint64_t ticket, const Status& why, bool timed_out) {
  const auto found = jobs_.find(ticket);
  if (found == jobs_.end()) return;
  Job& job = found->second;
  const bool cancelled = why.code() == ErrorCode::kCancelled;
  for (size_t i = 0; i < job.choices.size(); ++i) {
    if (job.choices[i] == ChoiceState::kEnded) continue;
    // Before the engine is told, so that its own events are not reported.
    end_choice(ticket, static_cast<int32_t>(i));
    emit(ticket, {.index = static_cast<int32_t>(i),
                  .kind = GenerationEventKind::kEnd,
                  .finish_reason = cancelled ? FinishReason::kCancelled : FinishReason::kError,
                  .status = why,
                  .timed_out = timed_out});
  }
  for (RequestId id : job.request_ids) engine_->cancel(id);
  std::erase(pending_, ticket);
}

void EngineThread::admit_pending() {
  while (!pending_.empty()) {
    const uint64_t ticket = pending_.front();
    Job& job = jobs_.at(ticket);
    while (job.request_ids.size() < job.job.prompts.size()) {
      if (admit(ticket, job) == Admission::kWait) return;
    }
    pending_.pop_front();
  }
}

// Gives the job's next prompt to the engine. kWait: it has no place for it now.
EngineThread::Admission EngineThread::admit(uint64_t ticket, Job& job) {
  const size_t prompt_index = job.request_ids.size();
  const PlannedPrompt& prompt = job.job.prompts[prompt_index];
  const Result<RequestId> id = engine_->submit(
      prompt.request,
      [this, ticket, prompt_index](const RequestEvent& event) { take(ticket, prompt_index, event); });
  if (!id.ok() && id.status().code() == ErrorCode::kResourceExhausted && engine_->has_work()) {
    return Admission::kWait;
  }
  job.request_ids.push_back(id.ok() ? *id : 0);
  for (int32_t i = 0; i < prompt.request.n; ++i) {
    if (id.ok()) {
      job.choice(prompt, i) = ChoiceState::kQueued;
      ++job.num_queued;
      continue;
    }
    end_choice(ticket, prompt.first_index + i);
    emit(ticket, {.index = prompt.first_index + i,
                  .kind = GenerationEventKind::kEnd,
                  .finish_reason = FinishReason::kError,
                  .status = id.status()});
  }
  return Admission::kDone;
}

// What a step did for one choice.
void EngineThread::take(uint64_t ticket, size_t prompt_index, const RequestEvent& event) {
  const auto found = jobs_.find(ticket);
  if (found == jobs_.end()) return;
  PlannedPrompt& prompt = found->second.job.prompts[prompt_index];
  ChoiceState& state = found->second.choice(prompt, event.choice);
  if (state == ChoiceState::kEnded) return;
  GenerationEvent out = to_generation_event(prompt, event);
  if (event.token_id && state == ChoiceState::kQueued) {
    start(ticket, out.index, state);
  }
  if (event.token_id && event.choice == 0 && std::exchange(prompt.scores_prompt, false)) {
    emit(ticket, to_scores_event(prompt, event));
  }
  if (out.ends()) end_choice(ticket, out.index);
  emit(ticket, std::move(out));
}

// Choices whose prompt is being computed have left the queue.
void EngineThread::mark_started() {
  for (auto& [ticket, job] : jobs_) {
    if (job.num_queued == 0) continue;
    for (size_t p = 0; p < job.request_ids.size(); ++p) {
      const PlannedPrompt& prompt = job.job.prompts[p];
      for (int32_t i = 0; i < prompt.request.n; ++i) {
        ChoiceState& state = job.choice(prompt, i);
        if (state != ChoiceState::kQueued || engine_->is_waiting(job.request_ids[p], i)) continue;
        start(ticket, prompt.first_index + i, state);
      }
    }
  }
}

void EngineThread::expire() {
  const double now = monotonic_seconds();
  std::vector<std::pair<uint64_t, Status>> late;
  for (auto& [ticket, job] : jobs_) {
    // Other choices wait for their prompt, which the first one computes.
    const bool waits = std::any_of(
        job.job.prompts.begin(), job.job.prompts.end(),
        [&](const PlannedPrompt& prompt) { return job.choice(prompt, 0) < ChoiceState::kStarted; });
    if (now > job.job.total_deadline) {
      late.emplace_back(ticket, io_error("the answer took longer than the server's limit for a request"));
    } else if (waits && now > job.job.queue_deadline) {
      late.emplace_back(ticket, io_error("the request waited longer than the server's limit for its queue"));
    }
  }
  for (const auto& [ticket, status] : late) cancel_now(ticket, status, true);
}

void EngineThread::end_choice(uint64_t ticket, int32_t index) {
  Job& job = jobs_.at(ticket);
  ChoiceState& state = job.choices[static_cast<size_t>(index)];
  if (state == ChoiceState::kQueued) --job.num_queued;
  state = ChoiceState::kEnded;
  if (++job.num_ended == job.choices.size()) ended_.push_back(ticket);
}

void EngineThread::forget_ended() {
  for (uint64_t ticket : ended_) jobs_.erase(ticket);
  ended_.clear();
}

void EngineThread::start(uint64_t ticket, int32_t index, ChoiceState& state) {
  state = ChoiceState::kStarted;
  --jobs_.at(ticket).num_queued;
  // It left the queue when the step began that is known only now to have taken it.
  emit(ticket, {.index = index, .kind = GenerationEventKind::kStarted, .time = step_begin_});
}

void EngineThread::emit(uint64_t ticket, GenerationEvent event) {
  event.ticket = ticket;
  if (event.time == 0) event.time = monotonic_seconds();
  report_.events.push_back(std::move(event));
}

void EngineThread::fail_all(const EngineFailure& failure) {
  {
    const std::lock_guard lock(mutex_);
    for (GenerationJob& job : commands_.jobs) accept(std::move(job));
    commands_.jobs.clear();
  }
  for (auto& [ticket, job] : jobs_) {
    for (size_t i = 0; i < job.choices.size(); ++i) {
      if (job.choices[i] == ChoiceState::kEnded) continue;
      emit(ticket, {.index = static_cast<int32_t>(i),
                    .kind = GenerationEventKind::kEnd,
                    .finish_reason = FinishReason::kError,
                    .status = failure.status,
                    .rank_lost = failure.rank_lost});
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

#include "cli/with_ranks.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/topology.h"
#include "cli/console.h"
#include "cli/rank_group.h"

namespace fathom {
namespace {

// Clients hear of a lost rank within 15 s: this, a second or two on the way between nodes, and what is left
// of the step.
constexpr std::chrono::seconds kSilenceLimit{10};
// mpirun ends all ranks when one has failed. So rank 0 goes first, once it has noticed and its clients have
// been told; the others wait for it, so long at most.
constexpr std::chrono::seconds kLastWords{20};
// Where rank 0 itself is lost, nobody has clients.
constexpr std::chrono::seconds kLastWordsAlone{1};

Status check_number_of_ranks(int wanted, int num_ranks) {
  if (wanted == 0 || wanted == num_ranks) return ok_status();
  return invalid_argument("--tp: {} ranks are asked for and {} there: start it by fathom launch -n {} --",
                          wanted, num_ranks == 1 ? "one is" : fmt::format("{} are", num_ranks), wanted);
}

// Ranks that are not bound to CPUs of their own share them all.
int threads_of_rank(const NodeLayout& layout) {
  const auto num_ranks = static_cast<int>(layout.ranks_of(layout.node()).size());
  const auto num_cpus = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  return std::max(1, std::min(available_cpus(), num_cpus / num_ranks));
}

Status work_on_ranks(const EngineFlags& flags, Communicator& communicator,
                     const std::function<Status(EngineOptions)>& work) {
  FATHOM_ASSIGN_OR_RETURN(EngineOptions options, to_engine_options(flags));
  FATHOM_RETURN_IF_ERROR(check_number_of_ranks(flags.num_ranks, communicator.size()));
  if (communicator.size() > 1) {
    options.communicator = &communicator;
    if (options.num_threads == 0) options.num_threads = threads_of_rank(communicator.layout());
  }
  return work(std::move(options));
}

}  // namespace

Status with_ranks(const EngineFlags& flags, const std::function<Status(EngineOptions)>& work) {
  FATHOM_ASSIGN_OR_RETURN(RankGroup group, join_rank_group({.silence_limit = kSilenceLimit}));
  Status status = work_on_ranks(flags, *group.communicator, work);
  if (!status.ok()) group.communicator->fail(status.message());
  const int rank = group.communicator->rank();
  if (status.ok()) status = group.finish();
  if (!status.ok() && rank != 0) {
    std::this_thread::sleep_for(group.communicator->lost_rank() == 0 ? kLastWordsAlone : kLastWords);
    std::_Exit(1);
  }
  return status;
}

Status with_engine(const EngineFlags& flags, const std::function<Status(Engine&)>& lead) {
  return with_ranks(flags, [&](const EngineOptions& options) -> Status {
    std::unique_ptr<Engine> engine;
    {
      ProgressBar progress;
      FATHOM_ASSIGN_OR_RETURN(engine, Engine::load(options, &progress));
    }
    return engine->leads() ? lead(*engine) : engine->follow();
  });
}

}  // namespace fathom

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "base/clock.h"
#include "checkpoint/sharded_folder.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "shard/shard.h"

namespace fathom {
namespace {

constexpr const char* kShardExamples = R"(Examples:
  fathom shard MODEL OUT --tp 4                               a folder for fathom launch -n 4 -- fathom serve OUT
  fathom shard MODEL OUT --tp 16 --moe-ep 16                  whole experts, as serve --moe-ep 16 has them
  fathom shard MODEL OUT --tp 2 --slices 8                    with the bits that 8 ranks would have
  fathom shard MODEL OUT --tp 8 --shard-size 2G --json

Commands take OUT like MODEL, over as many ranks and with the same --moe-ep and --slices; answers are the same bits.
Each rank opens its own files rank-RR-of-NN*.safetensors alone: a server needs those of its ranks and all files that
are not called so. OUT appears when it is whole; until then everything is in OUT.partial, and the same command goes on
where it was interrupted. Check OUT with fathom verify.)";

struct ShardFlags {
  std::string source;
  std::string destination;
  int64_t num_ranks = 0;
  int64_t num_expert_groups = 1;
  int64_t num_slices = 0;
  std::string shard_size = "5G";
  bool force = false;
  bool json = false;
};

Result<ShardOptions> to_shard_options(const ShardFlags& flags) {
  ShardOptions options{.source = flags.source,
                       .destination = flags.destination,
                       .num_ranks = flags.num_ranks,
                       .num_expert_groups = flags.num_expert_groups,
                       .num_slices = flags.num_slices,
                       .existing = flags.force ? ExistingModel::kReplace : ExistingModel::kRefuse};
  const struct {
    int64_t value, lowest;
    const char* option;
  } ranges[] = {{flags.num_ranks, 1, "--tp"},
                {flags.num_expert_groups, 1, "--moe-ep"},
                {flags.num_slices, 0, "--slices"}};
  for (const auto& [value, lowest, option] : ranges) {
    if (value < lowest || value > kMaxFolderSlices)
      return invalid_argument("{}: {} is outside [{}, {}]", option, value, lowest, kMaxFolderSlices);
  }
  FATHOM_ASSIGN_OR_RETURN(options.file_bytes, parse_size(flags.shard_size, "--shard-size"));
  return options;
}

Json shard_json(const ShardResult& result, const std::string& destination, double seconds) {
  const Sharding& sharding = result.sharding;
  return {{"output", destination},
          {"ranks", sharding.num_ranks},
          {"moe_ep", sharding.num_expert_groups},
          {"slices", sharding.num_slices},
          {"source_bytes", result.source_bytes},
          {"rank_bytes", result.rank_bytes},
          {"files", result.num_files},
          {"resumed_files", result.num_resumed_files},
          {"left_out", result.left_out},
          {"seconds", seconds}};
}

std::string shard_text(const ShardResult& result, const std::string& destination, double seconds) {
  const Sharding& sharding = result.sharding;
  uint64_t bytes = 0;
  for (const uint64_t of_rank : result.rank_bytes) bytes += of_rank;
  std::string text = fmt::format(
      "{}: for {}\n{} became {} in {} files, the largest rank {}, in {:.1f} s, {:.0f} MB/s\n", destination,
      sharding_text(sharding.num_ranks, sharding.num_expert_groups, sharding.num_slices),
      format_bytes(result.source_bytes), format_bytes(bytes), result.num_files,
      format_bytes(*std::max_element(result.rank_bytes.begin(), result.rank_bytes.end())), seconds,
      static_cast<double>(bytes) / std::max(seconds, 1e-9) / 1e6);
  if (!result.left_out.empty()) {
    text += fmt::format("{} tensors that the model does not need are left out, the first is {}\n",
                        result.left_out.size(), result.left_out[0]);
  }
  return text;
}

Status run_shard(const ShardFlags& flags) {
  FATHOM_ASSIGN_OR_RETURN(const ShardOptions options, to_shard_options(flags));
  const double started = monotonic_seconds();
  ShardResult result;
  {
    ProgressBar bar;
    FATHOM_ASSIGN_OR_RETURN(result, shard_model(options, &bar));
  }
  const double seconds = monotonic_seconds() - started;
  if (flags.json) {
    print_json(shard_json(result, flags.destination, seconds));
  } else {
    print_text(shard_text(result, flags.destination, seconds));
  }
  return ok_status();
}

}  // namespace

void add_shard_command(CLI::App& app, int& exit_status) {
  auto flags = std::make_shared<ShardFlags>();
  CLI::App* command =
      app.add_subcommand("shard", "make a folder with files of each tensor-parallel rank's own");
  command->footer(kShardExamples);
  command->add_option("MODEL", flags->source, "checkpoint folder, floating or quantised")->required();
  command->add_option("OUT", flags->destination, "the folder to make")->required();
  command->add_option("--tp", flags->num_ranks, "ranks")->required();
  command->add_option("--moe-ep", flags->num_expert_groups, "groups of ranks that share out whole experts")
      ->capture_default_str();
  command->add_option("--slices", flags->num_slices, "slices the model is cut into; 0: one a rank")
      ->capture_default_str();
  command->add_option("--shard-size", flags->shard_size, "largest file, or one layer where that is more")
      ->capture_default_str();
  command->add_flag("--force", flags->force, "replace the sharded model in OUT when the new one is whole");
  command->add_flag("--json", flags->json, "print one JSON document");
  command->callback([flags, &exit_status] {
    const Status status = run_shard(*flags);
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom

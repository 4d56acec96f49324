#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/cpu_features.h"
#include "base/file.h"
#include "checkpoint/known_configs.h"
#include "cli/commands.h"
#include "cli/config_source.h"
#include "cli/console.h"
#include "model/synth.h"

namespace fathom {
namespace {

constexpr const char* kSynthExamples = R"(Examples:
  fathom synth deepseek-v2-lite /data/v2-lite                 31 GB of random bf16 weights in the released sizes
  fathom synth deepseek-v2 /data/v2-2-layers --layers 2       one dense and one MoE layer of the 236B model
  fathom synth config.json out --type fp16 --seed 7
  fathom synth deepseek-v2-lite out --type w8a8-dynamic       16 GB, int8 in the files of Ascend's tools
  fathom synth deepseek-v2-lite out --type w4a16 --group-size 32
  fathom synth deepseek-v2-lite out --tokenizer MODEL         with another model's tokenizer, so that text works
  fathom synth deepseek-v2-lite out --repeat-after 64         greedy text repeats itself: for measuring speculation

The same CONFIG, type and seed give the same bytes, whatever the number of threads.)";

struct SynthFlags {
  std::string config;
  std::string output;
  std::string type = "auto";
  std::string shard_size = "5G";
  std::string tokenizer;
  std::optional<int64_t> layers;
  int64_t group_size = LayoutOptions().group_size;
  int64_t repeat_after = 0;
  uint64_t seed = 0;
  int threads = 0;
  bool force = false;
  bool json = false;
};

// A quantised type leaves the floating type of the other weights as it is.
Status apply_type(const std::string& type, ModelConfig& config) {
  if (type == "auto") return ok_status();
  config.quantize = config.mla_quantize = config.moe_quantize = std::nullopt;
  config.quantize = quant_type_from_option(type);
  if (config.quantize) return ok_status();
  const auto dtype = dtype_from_name(type);
  if (!dtype || !is_floating(*dtype)) {
    return invalid_argument(
        "--type: \"{}\" is not one of auto, bf16, fp16, fp32, w8a16, w8a8-dynamic, w4a16, w4a8-dynamic",
        type);
  }
  config.torch_dtype = *dtype;
  return ok_status();
}

std::string type_text(const ModelConfig& config) {
  const std::string dtype(dtype_name(config.torch_dtype));
  return config.quantize ? fmt::format("{} and {}", quant_type_name(*config.quantize), dtype) : dtype;
}

Result<SynthOptions> to_synth_options(const SynthFlags& options) {
  SynthOptions synth;
  FATHOM_ASSIGN_OR_RETURN(synth.config, find_config(options.config));
  // A model folder's tokenizer is taken along.
  if (!known_config(options.config) && directory_exists(options.config))
    synth.tokenizer_directory = options.config;
  FATHOM_RETURN_IF_ERROR(apply_type(options.type, synth.config));
  if (options.layers) {
    // Checked like a config's own value.
    Json json = to_json(synth.config);
    json["num_hidden_layers"] = *options.layers;
    FATHOM_ASSIGN_OR_RETURN(synth.config, parse_model_config(json, "--layers"));
  }
  FATHOM_ASSIGN_OR_RETURN(synth.shard_bytes, parse_size(options.shard_size, "--shard-size"));
  if (synth.shard_bytes < 1024) return invalid_argument("--shard-size: {} is below 1k", options.shard_size);
  if (options.threads < 0 || options.threads > 1024) {
    return invalid_argument("--threads: {} is outside [0, 1024]", options.threads);
  }
  synth.num_threads = options.threads == 0 ? available_cpus() : options.threads;
  if (!options.tokenizer.empty()) {
    if (!directory_exists(options.tokenizer))
      return not_found("--tokenizer: {}: no such folder", options.tokenizer);
    synth.tokenizer_directory = options.tokenizer;
  }
  synth.output = options.output;
  synth.seed = options.seed;
  synth.repeat_after = options.repeat_after;
  synth.group_size = options.group_size;
  synth.existing_output = options.force ? ExistingOutput::kReplace : ExistingOutput::kRefuse;
  return synth;
}

Status run_synth(const SynthFlags& options) {
  FATHOM_ASSIGN_OR_RETURN(const SynthOptions synth, to_synth_options(options));
  const double started = monotonic_seconds();
  SynthResult result;
  {
    ProgressBar bar;
    FATHOM_ASSIGN_OR_RETURN(result, synthesize(synth, &bar));
  }
  const double seconds = monotonic_seconds() - started;
  const double rate = static_cast<double>(result.data_bytes) / std::max(seconds, 1e-9);
  if (options.json) {
    print_json({{"output", synth.output},
                {"tensors", result.num_tensors},
                {"files", result.num_files},
                {"bytes", result.data_bytes},
                {"seconds", seconds},
                {"mb_per_s", rate / 1e6}});
  } else {
    print_text(fmt::format("{}: {} tensors in {} files, {} of {}, {:.1f} s, {:.0f} MB/s\n", synth.output,
                           result.num_tensors, result.num_files, format_bytes(result.data_bytes),
                           type_text(synth.config), seconds, rate / 1e6));
  }
  return ok_status();
}

}  // namespace

void add_synth_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<SynthFlags>();
  CLI::App* command = app.add_subcommand("synth", "write a random checkpoint of any configuration");
  command->footer(kSynthExamples);
  command
      ->add_option("CONFIG", options->config, "config.json, a model folder, deepseek-v2-lite or deepseek-v2")
      ->required();
  command->add_option("OUT", options->output, "the folder to write")->required();
  command
      ->add_option("--type", options->type,
                   "auto (the config's), bf16, fp16, fp32, w8a16, w8a8-dynamic, w4a16, w4a8-dynamic")
      ->capture_default_str();
  command->add_option("--layers", options->layers, "this many layers instead of the config's");
  command->add_option("--group-size", options->group_size, "int4: inputs that share a factor, 32, 64 or 128")
      ->capture_default_str()
      ->check(CLI::IsMember({32, 64, 128}));
  command->add_option("--seed", options->seed, "random seed")->capture_default_str();
  command
      ->add_option("--repeat-after", options->repeat_after,
                   "greedy text repeats itself after so many tokens, by the head's weights; 0: it does not")
      ->capture_default_str();
  command->add_option("--shard-size", options->shard_size, "largest file")->capture_default_str();
  command->add_option("--tokenizer", options->tokenizer, "a folder whose tokenizer files are copied");
  command->add_option("--threads", options->threads, "0: all CPUs this process may use")
      ->capture_default_str();
  command->add_flag("--force", options->force, "replace the model in OUT");
  command->add_flag("--json", options->json, "print one JSON document");
  command->callback([options, &exit_status] {
    const Status status = run_synth(*options);
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom

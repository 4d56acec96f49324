#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "base/clock.h"
#include "base/cpu_features.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "quantize/quantize.h"

namespace fathom {
namespace {

constexpr const char* kQuantizeExamples = R"(Examples:
  fathom quantize MODEL OUT                                   w8a8-dynamic, in the files of Ascend's tools
  fathom quantize MODEL OUT --mix self_attn=w8a16             attention w8a16, all else w8a8-dynamic
  fathom quantize MODEL OUT --type w4a16 --group-size 32 --exclude 'model.layers.0.*'
  fathom quantize MODEL OUT --type w8a8-dynamic --mix .mlp.experts.=w4a8-dynamic
  fathom quantize MODEL OUT --layout ascendv1 --quantize-head

PATTERN is a part of a tensor's name, or a glob over all of it (*, ?, [ab]). The later of several --mix wins, and
--exclude over all. OUT appears when it is whole; until then everything is in OUT.partial, and the same command goes
on where it was interrupted. quantization_report.html shows what rounding has cost; check OUT with fathom verify.)";

struct QuantizeFlags {
  std::string source;
  std::string destination;
  std::string type = "w8a8-dynamic";
  std::vector<std::string> mix;
  std::vector<std::string> exclude;
  std::string rounding = "auto";
  std::string layout = "modelslim";
  std::string shard_size = "5G";
  int64_t group_size = Recipe().group_size;
  int threads = 0;
  bool quantize_head = false;
  bool force = false;
  bool json = false;
};

Result<QuantType> parse_type(const std::string& name, const char* option) {
  const auto type = quant_type_from_option(name);
  if (type) return *type;
  return invalid_argument("{}: \"{}\" is not one of w8a16, w8a8-dynamic, w4a16, w4a8-dynamic", option, name);
}

Result<Recipe> to_recipe(const QuantizeFlags& options) {
  Recipe recipe;
  FATHOM_ASSIGN_OR_RETURN(recipe.type, parse_type(options.type, "--type"));
  for (const std::string& rule : options.mix) {
    const size_t split = rule.rfind('=');
    if (split == std::string::npos || split == 0)
      return invalid_argument("--mix: \"{}\" is not PATTERN=TYPE, as in self_attn=w8a16", rule);
    FATHOM_ASSIGN_OR_RETURN(const QuantType type, parse_type(rule.substr(split + 1), "--mix"));
    recipe.mix.push_back({rule.substr(0, split), type});
  }
  recipe.exclude = options.exclude;
  recipe.quantize_head = options.quantize_head;
  recipe.group_size = options.group_size;
  if (options.rounding != "auto")
    recipe.rounding = options.rounding == "nearest" ? Rounding::kNearest : Rounding::kSearch;
  return recipe;
}

Result<QuantizeOptions> to_quantize_options(const QuantizeFlags& options) {
  QuantizeOptions quantize;
  quantize.source = options.source;
  quantize.destination = options.destination;
  FATHOM_ASSIGN_OR_RETURN(quantize.recipe, to_recipe(options));
  quantize.layout = options.layout == "ascendv1" ? FileLayout::kAscendV1 : FileLayout::kModelSlim;
  FATHOM_ASSIGN_OR_RETURN(quantize.shard_bytes, parse_size(options.shard_size, "--shard-size"));
  if (quantize.shard_bytes < 1024)
    return invalid_argument("--shard-size: {} is below 1k", options.shard_size);
  if (options.threads < 0 || options.threads > 1024)
    return invalid_argument("--threads: {} is outside [0, 1024]", options.threads);
  quantize.num_threads = options.threads == 0 ? available_cpus() : options.threads;
  quantize.existing = options.force ? ExistingModel::kReplace : ExistingModel::kRefuse;
  return quantize;
}

void print_result(const QuantizeFlags& options, const QuantizeResult& result, double seconds) {
  const auto rate = [seconds](uint64_t bytes) {
    return static_cast<double>(bytes) / std::max(seconds, 1e-9) / 1e6;
  };
  if (options.json) {
    Json json = to_json(result.report);
    json["output"] = options.destination;
    json["source_bytes"] = result.source_bytes;
    json["bytes"] = result.data_bytes;
    json["files"] = result.num_shards;
    json["resumed_files"] = result.num_resumed_shards;
    json["left_out"] = result.left_out;
    json["seconds"] = seconds;
    print_json(json);
    return;
  }
  print_text(report_table(result.report));
  if (!result.left_out.empty()) {
    print_text(fmt::format("{} tensors that the model does not need are left out, the first is {}\n",
                           result.left_out.size(), result.left_out[0]));
  }
  print_text(fmt::format("{}: {} of {} in {} files, {:.1f} s, {:.0f} MB/s in, {:.0f} MB/s out\n",
                         options.destination, format_bytes(result.data_bytes), options.type,
                         result.num_shards, seconds, rate(result.source_bytes), rate(result.data_bytes)));
}

Status run_quantize(const QuantizeFlags& options) {
  FATHOM_ASSIGN_OR_RETURN(const QuantizeOptions quantize_options, to_quantize_options(options));
  const double started = monotonic_seconds();
  QuantizeResult result;
  {
    ProgressBar bar;
    FATHOM_ASSIGN_OR_RETURN(result, quantize(quantize_options, &bar));
  }
  print_result(options, result, monotonic_seconds() - started);
  return ok_status();
}

}  // namespace

void add_quantize_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<QuantizeFlags>();
  CLI::App* command = app.add_subcommand("quantize", "make an int8 or int4 checkpoint of a float one");
  command->footer(kQuantizeExamples);
  command->add_option("MODEL", options->source, "the float checkpoint's folder")->required();
  command->add_option("OUT", options->destination, "the folder to make")->required();
  command->add_option("--type", options->type, "w8a16, w8a8-dynamic, w4a16, w4a8-dynamic")
      ->capture_default_str();
  command->add_option("--mix", options->mix, "PATTERN=TYPE: another type for these tensors")
      ->allow_extra_args(false);
  command->add_option("--exclude", options->exclude, "PATTERN: these tensors stay floating")
      ->allow_extra_args(false);
  command->add_flag("--quantize-head", options->quantize_head,
                    "the head too, which stays floating otherwise");
  command->add_option("--group-size", options->group_size, "int4: inputs that share a factor, 32, 64 or 128")
      ->capture_default_str()
      ->check(CLI::IsMember({32, 64, 128}));
  command
      ->add_option("--rounding", options->rounding,
                   "nearest, search (scales of least squared error), auto: nearest for int8, search for int4")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "nearest", "search"}));
  command->add_option("--layout", options->layout, "file names: modelslim or ascendv1")
      ->capture_default_str()
      ->check(CLI::IsMember({"modelslim", "ascendv1"}));
  command->add_option("--shard-size", options->shard_size, "largest file")->capture_default_str();
  command->add_option("--threads", options->threads, "0: all CPUs this process may use")
      ->capture_default_str();
  command->add_flag("--force", options->force,
                    "replace the quantised model in OUT when the new one is whole");
  command->add_flag("--json", options->json, "print one JSON document");
  command->callback([options, &exit_status] {
    const Status status = run_quantize(*options);
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "base/clock.h"
#include "base/cpu_features.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "quantize/verify.h"

namespace fathom {
namespace {

constexpr const char* kVerifyExamples = R"(Examples:
  fathom verify MODEL               every byte against fathom_manifest.json, which fathom quantize or shard has written
  fathom verify MODEL --json
  fathom verify FOLDER --ranks 0,1  of a folder of fathom shard, on a server that has these ranks' files only

Without a manifest only sizes and headers are looked at. Exit status 1 where anything is damaged, missing or extra.)";

struct VerifyFlags {
  std::string model;
  std::vector<int64_t> ranks;
  int threads = 0;
  bool json = false;
};

Json result_json(const VerifyResult& result, double seconds) {
  Json damages = Json::array();
  for (const Damage& damage : result.damages)
    damages.push_back({{"file", damage.file}, {"tensor", damage.tensor}, {"what", damage.what}});
  return {{"ok", result.damages.empty()}, {"has_checksums", result.has_checksums},
          {"files", result.num_files},    {"tensors", result.num_tensors},
          {"bytes", result.num_bytes},    {"seconds", seconds},
          {"damages", std::move(damages)}};
}

std::string result_text(const VerifyResult& result, double seconds) {
  std::string text;
  for (const Damage& damage : result.damages) {
    text += damage.file.empty() ? "" : damage.file + ": ";
    text += damage.tensor.empty() ? "" : fmt::format("tensor \"{}\": ", damage.tensor);
    text += damage.what + "\n";
  }
  return text + fmt::format("{} files, {} tensors, {} {} in {:.1f} s, {:.0f} MB/s\n", result.num_files,
                            result.num_tensors, format_bytes(result.num_bytes),
                            result.has_checksums
                                ? "read"
                                : "by sizes and headers alone (no fathom_manifest.json, so there "
                                  "are no checksums to compare)",
                            seconds, static_cast<double>(result.num_bytes) / std::max(seconds, 1e-9) / 1e6);
}

Status run_verify(const VerifyFlags& options) {
  if (options.threads < 0 || options.threads > 1024)
    return invalid_argument("--threads: {} is outside [0, 1024]", options.threads);
  const double started = monotonic_seconds();
  VerifyResult result;
  {
    ProgressBar bar;
    FATHOM_ASSIGN_OR_RETURN(
        result, verify_model({.directory = options.model,
                              .ranks = options.ranks,
                              .num_threads = options.threads == 0 ? available_cpus() : options.threads},
                             &bar));
  }
  const double seconds = monotonic_seconds() - started;
  if (options.json) {
    print_json(result_json(result, seconds));
  } else {
    print_text(result_text(result, seconds));
  }
  if (result.damages.empty()) return ok_status();
  return invalid_data("{}: {} damages: copy or make the files named above again", options.model,
                      result.damages.size());
}

}  // namespace

void add_verify_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<VerifyFlags>();
  CLI::App* command = app.add_subcommand("verify", "check a model's files for damage");
  command->footer(kVerifyExamples);
  command->add_option("MODEL", options->model, "checkpoint folder")->required();
  command->add_option("--ranks", options->ranks, "of a sharded folder: these ranks' files (default: all)")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--threads", options->threads, "0: all CPUs this process may use")
      ->capture_default_str();
  command->add_flag("--json", options->json, "print one JSON document");
  command->callback([options, &exit_status] {
    const Status status = run_verify(*options);
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom

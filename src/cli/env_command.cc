#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/engine_options.h"
#include "kernels/kernel_table.h"

namespace fathom {
namespace {

constexpr const char* kExamples = R"(Examples:
  fathom env
  FATHOM_ISA=avx2 fathom env --json)";

Json cpu_json(const CpuFeatures& features) {
  return {{"model", features.model_name},
          {"cpus", available_cpus()},
          {"best_isa", isa_name(features.best_isa())},
          {"avx2", features.avx2},
          {"avx512", features.avx512},
          {"avx512_vnni", features.avx512_vnni},
          {"avx512_bf16", features.avx512_bf16},
          {"avx512_fp16", features.avx512_fp16},
          {"amx_tile", features.amx_tile},
          {"amx_int8", features.amx_int8},
          {"amx_bf16", features.amx_bf16}};
}

Status show_environment(bool json) {
  const CpuFeatures features = detect_cpu_features();
  FATHOM_ASSIGN_OR_RETURN(const Isa isa, isa_in_use(features));
  Json kernels = Json::object();
  for (const auto& [family, name] : kernels::describe_kernels(kernels::select_kernels(isa)))
    kernels[family] = name;
  const Json all = {{"version", FATHOM_VERSION},
                    {"cpu", cpu_json(features)},
                    {"isa_in_use", isa_name(isa)},
                    {"kernels", std::move(kernels)}};
  if (json) {
    print_json(all);
    return ok_status();
  }
  for (const auto& [key, value] : all.items()) {
    if (!value.is_object()) {
      print_text(fmt::format("{:<22} {}\n", key, value.get<std::string>()));
      continue;
    }
    for (const auto& [inner, entry] : value.items()) {
      print_text(fmt::format("{:<22} {}\n", fmt::format("{} {}", key, inner),
                             entry.is_string() ? entry.get<std::string>() : dump_json(entry)));
    }
  }
  return ok_status();
}

}  // namespace

void add_env_command(CLI::App& app, int& exit_status) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("env", "show the CPU features in use and the kernels chosen");
  command->footer(kExamples);
  command->add_flag("--json", *json, "print one JSON document");
  command->callback([json, &exit_status] {
    const Status status = show_environment(*json);
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom

// The subcommands: each lives in cli/<name>_command.cc and adds itself to the application. Its callback
// runs after parsing and stores the exit status: 0 done, 1 failed (one line on stderr), 2 wrong usage.
#pragma once

#include <CLI/App.hpp>

namespace fathom {

using AddCommand = void (*)(CLI::App& app, int& exit_status);

void add_run_command(CLI::App& app, int& exit_status);
void add_chat_command(CLI::App& app, int& exit_status);
void add_serve_command(CLI::App& app, int& exit_status);
void add_score_command(CLI::App& app, int& exit_status);
void add_compare_command(CLI::App& app, int& exit_status);
void add_eval_command(CLI::App& app, int& exit_status);
void add_env_command(CLI::App& app, int& exit_status);
void add_tokenize_command(CLI::App& app, int& exit_status);
void add_detokenize_command(CLI::App& app, int& exit_status);
void add_synth_command(CLI::App& app, int& exit_status);
void add_show_command(CLI::App& app, int& exit_status);
void add_quantize_command(CLI::App& app, int& exit_status);
void add_shard_command(CLI::App& app, int& exit_status);
void add_verify_command(CLI::App& app, int& exit_status);
void add_template_command(CLI::App& app, int& exit_status);
void add_bench_command(CLI::App& app, int& exit_status);
void add_launch_command(CLI::App& app, int& exit_status);

// Subcommands of `bench`.
void add_bench_machine_command(CLI::App& bench, int& exit_status);
void add_bench_model_command(CLI::App& bench, int& exit_status);
void add_bench_maxbs_command(CLI::App& bench, int& exit_status);
void add_bench_kernels_command(CLI::App& bench, int& exit_status);
void add_bench_comm_command(CLI::App& bench, int& exit_status);
void add_bench_serve_command(CLI::App& bench, int& exit_status);

}  // namespace fathom

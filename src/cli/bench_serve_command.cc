#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <memory>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/load_options.h"
#include "client/openai_api.h"
#include "load/load_report.h"

namespace fathom {
namespace {

constexpr const char* kBenchServeExamples = R"(Examples:
  fathom bench serve --url http://127.0.0.1:8000 --num-prompts 200 --random-input-len 256 --random-output-len 64
  fathom bench serve --url U --request-rate 4 --burstiness 0.5 --goodput ttft:2000 tpot:100
  fathom bench serve --url U --max-concurrency 32 --percentile-metrics ttft,tpot,itl,e2el --metric-percentiles 50,90,99
  fathom bench serve --url U --endpoint /v1/chat/completions --dataset-name sharegpt --dataset-path ShareGPT.json
  fathom bench serve --url U --dataset-name custom --dataset-path prompts.jsonl     {"prompt": "..", "output_tokens": 50}
  fathom bench serve --url U --save-result --result-dir runs --metadata machine=a --html runs/load.html

Options, table and result file are those of `vllm bench serve`; docs/clients.md says what each figure is. The server
counts tokens; without --tokenizer FOLDER it also makes the random prompts' text (/tokenizer_info, /detokenize).)";

Status save(const LoadFlags& flags, const LoadInfo& info, const LoadOptions& options,
            const LoadResult& result, const LoadSummary& summary) {
  if (flags.save_result || flags.save_detailed) {
    if (!flags.result_dir.empty()) FATHOM_RETURN_IF_ERROR(make_directories(flags.result_dir));
    const std::string name =
        flags.result_filename.empty() ? load_file_name(info, options) : flags.result_filename;
    const std::string path = flags.result_dir.empty() ? name : join_path(flags.result_dir, name);
    const Detail detail = flags.save_detailed ? Detail::kEveryRequest : Detail::kSummary;
    FATHOM_RETURN_IF_ERROR(
        write_file(path, dump_json(load_json(info, options, result, summary, detail)) + "\n"));
  }
  if (!flags.html.empty())
    FATHOM_RETURN_IF_ERROR(write_file(flags.html, load_html(info, options, result, summary)));
  return ok_status();
}

Status check_failures(const LoadResult& result, const LoadSummary& summary) {
  if (summary.failed == 0) return ok_status();
  const auto first = std::find_if(result.records.begin(), result.records.end(),
                                  [](const LoadRecord& record) { return !record.error.empty(); });
  return io_error("{} of {} requests failed, the first with: {}", summary.failed, result.records.size(),
                  first->error);
}

Result<LoadResult> run_under_way(HttpClient& client, const std::vector<LoadRequest>& requests,
                                 const LoadOptions& options) {
  if (options.num_warmups > 0) {
    FATHOM_RETURN_IF_ERROR(warm_up(client, requests[0], options).with_context("warm-up"));
  }
  ProgressBar progress(ProgressUnit::kSteps);
  return run_load(client, requests, options, &progress);
}

Status bench_serve(const LoadFlags& flags) {
  FATHOM_ASSIGN_OR_RETURN(LoadOptions options, to_load_options(flags));
  FATHOM_ASSIGN_OR_RETURN(const SummaryOptions wanted, to_summary_options(flags));
  FATHOM_ASSIGN_OR_RETURN(LoadInfo info, to_load_info(flags));
  FATHOM_ASSIGN_OR_RETURN(const std::unique_ptr<HttpClient> client, make_client(flags.url));
  FATHOM_ASSIGN_OR_RETURN(const ServedModelInfo model, find_model(*client, flags.url.model));
  options.model = model.id;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<TokenSource> tokens = std::make_unique<ServerTokens>(*client, model.id);
  if (!flags.tokenizer.empty()) {
    FATHOM_ASSIGN_OR_RETURN(tokenizer, Tokenizer::load(flags.tokenizer));
    tokens = std::make_unique<LocalTokens>(*tokenizer);
  }
  FATHOM_ASSIGN_OR_RETURN(const std::vector<LoadRequest> requests,
                          make_requests(flags.dataset, options.api, *tokens));
  info.url = client->url().text();
  info.start_time = static_cast<double>(std::time(nullptr));
  FATHOM_ASSIGN_OR_RETURN(const LoadResult result, run_under_way(*client, requests, options));
  const LoadSummary summary = summarise(result, wanted);
  FATHOM_RETURN_IF_ERROR(save(flags, info, options, result, summary));
  if (flags.json) {
    const Detail detail = flags.save_detailed ? Detail::kEveryRequest : Detail::kSummary;
    print_json(load_json(info, options, result, summary, detail));
  } else {
    print_text(load_table(info, options, result, summary));
  }
  return check_failures(result, summary);
}

}  // namespace

void add_bench_serve_command(CLI::App& bench, int& exit_status) {
  auto flags = std::make_shared<LoadFlags>();
  CLI::App* command = bench.add_subcommand("serve", "load a server and measure its answers");
  command->footer(kBenchServeExamples);
  add_load_flags(*command, *flags);
  command->callback([flags, &exit_status] {
    const Status status = bench_serve(*flags);
    if (!status.ok()) exit_status = print_error(status);
  });
}

}  // namespace fathom

#include "cli/load_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>

namespace fathom {
namespace {

constexpr int64_t kMaxFlagCount = 1 << 24;

Result<double> parse_number(std::string_view text, std::string_view option) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return invalid_argument("{}: \"{}\" is no number", option, text);
  }
  return value;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// "a=b" or "a:b".
Result<std::pair<std::string, std::string>> split_pair(const std::string& text, char between,
                                                       std::string_view option, std::string_view form) {
  const size_t place = text.find(between);
  if (place == std::string::npos || place == 0)
    return invalid_argument("{}: \"{}\" is not {}", option, text, form);
  return std::pair(text.substr(0, place), text.substr(place + 1));
}

std::string endpoint_of(const LoadFlags& flags) {
  if (!flags.endpoint.empty()) return flags.endpoint;
  return std::string(api_path(flags.backend == "openai-chat" ? CompletionApi::kChat : CompletionApi::kText));
}

void add_dataset_flags(CLI::App& command, LoadFlags& flags) {
  const std::string group = "Data set";
  DatasetOptions& data = flags.dataset;
  const auto count = [&](const char* name, int64_t& value, int64_t least, const char* help) {
    return command.add_option(name, value, help)->check(CLI::Range(least, kMaxFlagCount))->group(group);
  };
  command
      .add_option("--dataset-name", data.name,
                  "random, sharegpt (JSON) or custom (JSON lines with \"prompt\")")
      ->check(CLI::IsMember({"random", "sharegpt", "custom"}))
      ->capture_default_str()
      ->group(group);
  command.add_option("--dataset-path", data.path, "file of sharegpt and custom")->group(group);
  count("--num-prompts", data.num_prompts, 1, "requests; a file with fewer is repeated")
      ->capture_default_str();
  command.add_option("--seed", data.seed, "of prompts, order and arrivals")
      ->capture_default_str()
      ->group(group);
  command
      .add_flag_callback(
          "--disable-shuffle", [&data] { data.order = DatasetOrder::kOfFile; }, "a file's own order")
      ->group(group);
  count("--random-input-len", data.random_input_len, 1, "tokens of a prompt")->capture_default_str();
  count("--random-output-len", data.random_output_len, 1, "tokens of an answer")->capture_default_str();
  count("--random-prefix-len", data.random_prefix_len, 0,
        "tokens that all prompts begin with, beside the others")
      ->capture_default_str();
  command
      .add_option("--random-range-ratio", data.random_range_ratio,
                  "lengths are uniform in [n (1 - r), n (1 + r)]")
      ->check(CLI::Range(0.0, 0.999))
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--sharegpt-output-len", data.sharegpt_output_len,
                  "tokens of an answer; default: of the answer in the file")
      ->check(CLI::Range(int64_t{1}, kMaxFlagCount))
      ->group(group);
  count("--custom-output-len", data.custom_output_len, -1,
        "tokens of an answer; -1: each line's \"output_tokens\"")
      ->capture_default_str();
  command
      .add_option("--tokenizer", flags.tokenizer,
                  "folder with the model's tokenizer.json; default: ask the server")
      ->group(group);
}

void add_request_flags(CLI::App& command, LoadFlags& flags) {
  const std::string group = "Requests";
  command.add_option("--backend", flags.backend, "openai, vllm: completions; openai-chat: chats")
      ->check(CLI::IsMember({"openai", "vllm", "openai-chat"}))
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--endpoint", flags.endpoint,
                  "/v1/completions or /v1/chat/completions; default: the backend's")
      ->check(CLI::IsMember({"/v1/completions", "/v1/chat/completions"}))
      ->group(group);
  command.add_option("--request-rate", flags.request_rate, "requests per second; inf: all at once")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--burstiness", flags.burstiness,
                  "shape of the gaps: 1 Poisson, below in bursts, above regular")
      ->check(CLI::Range(1e-3, 1e6))
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--max-concurrency", flags.max_concurrency, "requests under way at once; others wait here")
      ->check(CLI::Range(int64_t{1}, kMaxFlagCount))
      ->group(group);
  command
      .add_option("--num-warmups", flags.num_warmups,
                  "first requests that do not count; an error there ends the run")
      ->check(CLI::Range(int64_t{0}, kMaxFlagCount))
      ->capture_default_str()
      ->group(group);
  command.add_flag("--ignore-eos", flags.ignore_eos, "answers of full length; random prompts always do")
      ->group(group);
  command.add_option("--temperature", flags.temperature, "default: the server's")->group(group);
  command.add_option("--top-p", flags.top_p, "default: the server's")->group(group);
  command.add_option("--top-k", flags.top_k, "default: the server's")->group(group);
  command.add_option("--extra-body", flags.extra_body, "JSON object with further fields of every request")
      ->group(group);
}

void add_result_flags(CLI::App& command, LoadFlags& flags) {
  const std::string group = "Results";
  command.add_option("--percentile-metrics", flags.percentile_metrics, "of ttft, tpot, itl, e2el")
      ->capture_default_str()
      ->group(group);
  command.add_option("--metric-percentiles", flags.metric_percentiles, "from 0 to 100")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--goodput", flags.goodput,
                  "most milliseconds of a good request: ttft:2000 tpot:100 e2el:9000")
      ->group(group);
  command.add_option("--label", flags.label, "first part of the result file's name; default: the backend")
      ->group(group);
  command.add_option("--metadata", flags.metadata, "KEY=VALUE for the result file")->group(group);
  command.add_flag("--save-result", flags.save_result, "write the result file")->group(group);
  command.add_flag("--save-detailed", flags.save_detailed, "write it with lists of every request's figures")
      ->group(group);
  command.add_option("--result-dir", flags.result_dir, "folder of the result file, made where it is missing")
      ->group(group);
  command.add_option("--result-filename", flags.result_filename, "its name; default: as vLLM names it")
      ->group(group);
  command.add_option("--html", flags.html, "write a page with plots")->group(group);
  command.add_flag("--json", flags.json, "print the result file instead of the table")->group(group);
}

}  // namespace

void add_load_flags(CLI::App& command, LoadFlags& flags) {
  add_url_flags(command, flags.url)->required();
  add_dataset_flags(command, flags);
  add_request_flags(command, flags);
  add_result_flags(command, flags);
}

Result<LoadOptions> to_load_options(const LoadFlags& flags) {
  LoadOptions options;
  options.api =
      endpoint_of(flags) == api_path(CompletionApi::kChat) ? CompletionApi::kChat : CompletionApi::kText;
  if (flags.backend == "openai-chat" && options.api != CompletionApi::kChat) {
    return invalid_argument("--backend openai-chat asks for chats, --endpoint {} does not", flags.endpoint);
  }
  FATHOM_ASSIGN_OR_RETURN(options.request_rate, parse_number(flags.request_rate, "--request-rate"));
  if (!(options.request_rate > 0))
    return invalid_argument("--request-rate: {} is not above 0", flags.request_rate);
  options.burstiness = flags.burstiness;
  options.max_concurrency = flags.max_concurrency;
  options.num_warmups = flags.num_warmups;
  options.seed = flags.dataset.seed;
  options.ignore_eos = flags.ignore_eos || flags.dataset.name == "random";
  if (flags.temperature) options.extra_body["temperature"] = *flags.temperature;
  if (flags.top_p) options.extra_body["top_p"] = *flags.top_p;
  if (flags.top_k) options.extra_body["top_k"] = *flags.top_k;
  if (!flags.extra_body.empty()) {
    FATHOM_ASSIGN_OR_RETURN(const Json extra, parse_json(flags.extra_body, "--extra-body", {}));
    if (!extra.is_object()) return invalid_argument("--extra-body: not a JSON object");
    options.extra_body.update(extra);
  }
  return options;
}

Result<SummaryOptions> to_summary_options(const LoadFlags& flags) {
  SummaryOptions options{.percentiles = {}};
  for (const std::string& text : split(flags.metric_percentiles)) {
    FATHOM_ASSIGN_OR_RETURN(const double p, parse_number(text, "--metric-percentiles"));
    if (!(p >= 0 && p <= 100)) return invalid_argument("--metric-percentiles: {} is outside [0, 100]", text);
    options.percentiles.push_back(p);
  }
  for (const std::string& text : flags.goodput) {
    FATHOM_ASSIGN_OR_RETURN(const auto pair, split_pair(text, ':', "--goodput", "METRIC:MILLISECONDS"));
    if (pair.first != "ttft" && pair.first != "tpot" && pair.first != "e2el") {
      return invalid_argument("--goodput: \"{}\" is not one of ttft, tpot, e2el", pair.first);
    }
    FATHOM_ASSIGN_OR_RETURN(const double most, parse_number(pair.second, "--goodput"));
    if (!(most >= 0)) return invalid_argument("--goodput: {} is below 0", text);
    options.goodput[pair.first] = most;
  }
  return options;
}

Result<LoadInfo> to_load_info(const LoadFlags& flags) {
  LoadInfo info{.backend = flags.backend,
                .label = flags.label,
                .tokenizer = flags.tokenizer,
                .num_prompts = flags.dataset.num_prompts,
                .dataset = flags.dataset.path.empty() ? flags.dataset.name
                                                      : flags.dataset.name + " " + flags.dataset.path,
                .version = FATHOM_VERSION};
  for (const std::string& metric : split(flags.percentile_metrics)) {
    constexpr std::string_view kMetrics[] = {"ttft", "tpot", "itl", "e2el"};
    if (std::find(std::begin(kMetrics), std::end(kMetrics), metric) == std::end(kMetrics)) {
      return invalid_argument("--percentile-metrics: \"{}\" is not one of ttft, tpot, itl, e2el", metric);
    }
    info.metrics.push_back(metric);
  }
  // As vLLM: with a limit on what is under way, what waited here is told; with a rate, latencies with the
  // wait.
  if (flags.max_concurrency > 0) {
    info.metrics.push_back("client_queue_time");
    if (flags.request_rate != "inf") info.metrics.push_back("e2el_including_client_queue");
  }
  for (const std::string& text : flags.metadata) {
    FATHOM_ASSIGN_OR_RETURN(auto pair, split_pair(text, '=', "--metadata", "KEY=VALUE"));
    info.metadata.push_back(std::move(pair));
  }
  return info;
}

}  // namespace fathom

#include "cli/sampling_flags.h"

#include <CLI/CLI.hpp>

namespace fathom {

void add_sampling_flags(CLI::App& command, SamplingFlags& flags) {
  SamplingParams& params = flags.params;
  SamplingFlags::Given& given = flags.given;
  const std::string until =
      params.max_tokens ? std::to_string(*params.max_tokens) : "what the context allows";
  given.max_tokens =
      command.add_option("--max-tokens", flags.max_tokens, "longest answer, in tokens")->default_str(until);
  given.temperature = command.add_option("--temperature", params.temperature, "0: greedy");
  given.top_p = command.add_option("--top-p", params.top_p, "smallest set of tokens with this probability");
  given.top_k = command.add_option("--top-k", params.top_k, "the k most likely tokens; 0: all");
  given.min_p =
      command.add_option("--min-p", params.min_p, "tokens at least this share as likely as the likeliest");
  given.repetition_penalty =
      command.add_option("--repetition-penalty", params.repetition_penalty, "above 1 discourages");
  given.presence_penalty = command.add_option("--presence-penalty", params.presence_penalty,
                                              "per token that occurred in the answer");
  given.frequency_penalty =
      command.add_option("--frequency-penalty", params.frequency_penalty, "per occurrence in the answer");
  given.seed = command.add_option("--seed", flags.seed, "random seed");
  command.add_flag("--greedy", flags.greedy, "always the likeliest token");
  command.add_flag("--ignore-eos", params.ignore_eos, "go on after the end-of-sequence token");
}

SamplingParams sampling_of(const SamplingFlags& flags, const GenerationConfig& defaults) {
  SamplingParams sampling = flags.params;
  const SamplingFlags::Given& given = flags.given;
  if (given.max_tokens->count() > 0) sampling.max_tokens = flags.max_tokens;
  if (given.temperature->count() == 0) sampling.temperature = defaults.do_sample ? defaults.temperature : 0;
  if (given.top_p->count() == 0) sampling.top_p = defaults.top_p;
  if (given.top_k->count() == 0) sampling.top_k = static_cast<int32_t>(defaults.top_k);
  if (given.repetition_penalty->count() == 0) sampling.repetition_penalty = defaults.repetition_penalty;
  if (flags.greedy) sampling.temperature = 0;
  sampling.seed = flags.seed;
  return sampling;
}

Json sampling_json(const SamplingFlags& flags) {
  Json json = Json::object();
  const auto put = [&json](const CLI::Option* option, const char* key, const auto& value) {
    if (option->count() > 0) json[key] = value;
  };
  const SamplingParams& params = flags.params;
  const SamplingFlags::Given& given = flags.given;
  put(given.max_tokens, "max_tokens", flags.max_tokens);
  put(given.temperature, "temperature", params.temperature);
  put(given.top_p, "top_p", params.top_p);
  put(given.top_k, "top_k", params.top_k);
  put(given.min_p, "min_p", params.min_p);
  put(given.repetition_penalty, "repetition_penalty", params.repetition_penalty);
  put(given.presence_penalty, "presence_penalty", params.presence_penalty);
  put(given.frequency_penalty, "frequency_penalty", params.frequency_penalty);
  put(given.seed, "seed", flags.seed);
  if (flags.greedy) json["temperature"] = 0;
  if (params.ignore_eos) json["ignore_eos"] = true;
  return json;
}

}  // namespace fathom

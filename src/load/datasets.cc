#include "load/datasets.h"

#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "base/random.h"

namespace fathom {
namespace {

constexpr size_t kMaxFileBytes = size_t{2} << 30;
constexpr JsonLimits kFileLimits = {.max_bytes = kMaxFileBytes};
// What vLLM takes of ShareGPT, in tokens.
constexpr int64_t kMinTokens = 4, kMaxPromptTokens = 1024, kMaxTotalTokens = 2048;

// Numbers in the order they are drawn.
class Draw {
 public:
  Draw(uint64_t seed, std::string_view name) : key_(random_key(seed, name)) {}
  // Uniform in [low, high].
  int64_t between(int64_t low, int64_t high) {
    const double share = random_uniform(key_, counter_++);
    return low + std::min(static_cast<int64_t>(share * static_cast<double>(high - low + 1)), high - low);
  }

 private:
  uint64_t key_;
  uint64_t counter_ = 0;
};

template <typename T>
void shuffle(std::vector<T>& list, uint64_t seed) {
  Draw draw(seed, "order");
  for (size_t i = list.size(); i > 1; --i)
    std::swap(list[i - 1], list[static_cast<size_t>(draw.between(0, static_cast<int64_t>(i) - 1))]);
}

int64_t length_around(int64_t length, double ratio, Draw& draw) {
  const auto middle = static_cast<double>(length);
  return std::max<int64_t>(1, draw.between(static_cast<int64_t>(std::floor(middle * (1 - ratio))),
                                           static_cast<int64_t>(std::ceil(middle * (1 + ratio)))));
}

Result<std::vector<LoadRequest>> random_requests(const DatasetOptions& options, CompletionApi api,
                                                 TokenSource& tokens) {
  FATHOM_ASSIGN_OR_RETURN(const int32_t vocab_size, tokens.vocab_size());
  std::vector<int32_t> plain;
  for (int32_t id = 0; id < vocab_size; ++id) {
    if (tokens.is_plain(id)) plain.push_back(id);
  }
  if (plain.empty()) return invalid_data("the tokenizer has no ordinary tokens");
  const auto last = static_cast<int64_t>(plain.size()) - 1;
  Draw prefix_draw(options.seed, "prefix"), draw(options.seed, "random");
  std::vector<int32_t> prefix;
  for (int64_t i = 0; i < options.random_prefix_len; ++i) {
    prefix.push_back(plain[static_cast<size_t>(prefix_draw.between(0, last))]);
  }
  std::vector<LoadRequest> requests;
  for (int64_t i = 0; i < options.num_prompts; ++i) {
    LoadRequest request;
    const int64_t input_len = length_around(options.random_input_len, options.random_range_ratio, draw);
    request.max_tokens = length_around(options.random_output_len, options.random_range_ratio, draw);
    // As in vLLM: ids that count up from a random one, so that no two prompts begin alike.
    const int64_t offset = draw.between(0, last);
    std::vector<int32_t> ids = prefix;
    for (int64_t j = 0; j < input_len; ++j)
      ids.push_back(plain[static_cast<size_t>((offset + i + j) % (last + 1))]);
    request.prompt_len = static_cast<int64_t>(ids.size());
    if (api == CompletionApi::kText) {
      request.prompt_ids = std::move(ids);
    } else {
      FATHOM_ASSIGN_OR_RETURN(request.prompt, tokens.decode(ids));
    }
    requests.push_back(std::move(request));
  }
  return requests;
}

// The value of one turn, or nothing where the entry has another form.
const std::string* turn_of(const Json& conversation, size_t index) {
  if (index >= conversation.size() || !conversation[index].is_object()) return nullptr;
  const auto value = conversation[index].find("value");
  return value != conversation[index].end() && value->is_string() ? value->get_ptr<const std::string*>()
                                                                  : nullptr;
}

Result<std::vector<LoadRequest>> sharegpt_requests(const DatasetOptions& options, TokenSource& tokens) {
  FATHOM_ASSIGN_OR_RETURN(const Json file, read_json_file(options.path, kFileLimits));
  if (!file.is_array())
    return invalid_data("{}: not a list of {{\"conversations\": [{{\"value\": ..}}, ..]}}", options.path);
  std::vector<std::pair<const std::string*, const std::string*>> pairs;
  for (const Json& entry : file) {
    if (!entry.is_object() || !entry.contains("conversations") || !entry["conversations"].is_array())
      continue;
    const std::string *question = turn_of(entry["conversations"], 0),
                      *answer = turn_of(entry["conversations"], 1);
    if (question != nullptr && answer != nullptr) pairs.emplace_back(question, answer);
  }
  if (options.order == DatasetOrder::kShuffled) shuffle(pairs, options.seed);
  std::vector<LoadRequest> requests;
  for (const auto& [question, answer] : pairs) {
    if (static_cast<int64_t>(requests.size()) == options.num_prompts) break;
    LoadRequest request{.prompt = *question};
    FATHOM_ASSIGN_OR_RETURN(request.prompt_len, tokens.count(*question));
    if (options.sharegpt_output_len) {
      request.max_tokens = *options.sharegpt_output_len;
    } else {
      FATHOM_ASSIGN_OR_RETURN(request.max_tokens, tokens.count(*answer));
      if (request.max_tokens < kMinTokens) continue;
    }
    if (request.prompt_len < kMinTokens || request.prompt_len > kMaxPromptTokens) continue;
    if (request.prompt_len + request.max_tokens > kMaxTotalTokens) continue;
    requests.push_back(std::move(request));
  }
  if (requests.empty()) {
    return invalid_data(
        "{}: no conversation has two turns of {} tokens or more, the first at most {}, both at most {}",
        options.path, kMinTokens, kMaxPromptTokens, kMaxTotalTokens);
  }
  return requests;
}

Result<LoadRequest> custom_request(std::string_view line, const std::string& where,
                                   const DatasetOptions& options, TokenSource& tokens) {
  FATHOM_ASSIGN_OR_RETURN(const Json value, parse_json(line, where, kFileLimits));
  if (!value.is_object() || !value.contains("prompt") || !value["prompt"].is_string()) {
    return invalid_data("{}: not an object with a string \"prompt\"", where);
  }
  LoadRequest request{.prompt = value["prompt"].get<std::string>(), .max_tokens = options.custom_output_len};
  if (options.custom_output_len < 0) {
    if (!value.contains("output_tokens") || !value["output_tokens"].is_number_integer() ||
        value["output_tokens"] < 1) {
      return invalid_data("{}: --custom-output-len -1 wants an \"output_tokens\" of 1 or more", where);
    }
    request.max_tokens = value["output_tokens"].get<int64_t>();
  }
  FATHOM_ASSIGN_OR_RETURN(request.prompt_len, tokens.count(request.prompt));
  return request;
}

Result<std::vector<LoadRequest>> custom_requests(const DatasetOptions& options, TokenSource& tokens) {
  FATHOM_ASSIGN_OR_RETURN(const std::string content, read_file(options.path, kMaxFileBytes));
  std::vector<std::pair<size_t, std::string_view>> lines;  // with their numbers
  size_t number = 0;
  for (size_t begin = 0; begin < content.size();) {
    const size_t end = std::min(content.find('\n', begin), content.size());
    const std::string_view line = std::string_view(content).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) lines.emplace_back(number, line);
  }
  if (lines.empty()) return invalid_data("{}: has no lines", options.path);
  if (options.order == DatasetOrder::kShuffled) shuffle(lines, options.seed);
  std::vector<LoadRequest> requests;
  for (const auto& [line_number, line] : lines) {
    if (static_cast<int64_t>(requests.size()) == options.num_prompts) break;
    FATHOM_ASSIGN_OR_RETURN(
        LoadRequest request,
        custom_request(line, fmt::format("{} line {}", options.path, line_number), options, tokens));
    requests.push_back(std::move(request));
  }
  return requests;
}

Result<std::vector<LoadRequest>> requests_of(const DatasetOptions& options, CompletionApi api,
                                             TokenSource& tokens) {
  if (options.name == "random") {
    if (!options.path.empty()) return invalid_argument("--dataset-path: the random data set reads no file");
    return random_requests(options, api, tokens);
  }
  if (options.path.empty())
    return invalid_argument("--dataset-name {}: --dataset-path says which file", options.name);
  return options.name == "sharegpt" ? sharegpt_requests(options, tokens) : custom_requests(options, tokens);
}

}  // namespace

Result<std::vector<LoadRequest>> make_requests(const DatasetOptions& options, CompletionApi api,
                                               TokenSource& tokens) {
  FATHOM_ASSIGN_OR_RETURN(std::vector<LoadRequest> requests, requests_of(options, api, tokens));
  const size_t num_known = requests.size();
  while (static_cast<int64_t>(requests.size()) < options.num_prompts)
    requests.push_back(requests[requests.size() % num_known]);
  return requests;
}

}  // namespace fathom

#include "server/served_model.h"

#include <algorithm>
#include <ctime>

namespace fathom {
namespace {

SamplingParams sampling_of(const GenerationConfig& config) {
  SamplingParams sampling;
  sampling.temperature = config.do_sample ? config.temperature : 0;
  sampling.top_p = config.top_p;
  sampling.top_k = static_cast<int32_t>(config.top_k);
  sampling.repetition_penalty = config.repetition_penalty;
  return sampling;
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  std::string out;
  size_t begin = 0;
  for (size_t at = 0; (at = text.find(from, begin)) != std::string::npos; begin = at + from.size()) {
    out.append(text, begin, at - begin);
    out += to;
  }
  if (begin == 0) return;
  out.append(text, begin);
  text = std::move(out);
}

// The spelling with a mark behind its first character.
std::string broken(const std::string& spelling, const std::string& mark) {
  size_t first = 1;
  while (first < spelling.size() && (static_cast<unsigned char>(spelling[first]) & 0xc0) == 0x80) ++first;
  return spelling.substr(0, first) + mark + spelling.substr(first);
}

// Finds the leftmost of several texts, the longest of those that begin together, again and again, in linear
// time.
class LeftmostFinder {
 public:
  LeftmostFinder(const std::string& text, const std::vector<std::string>& wanted)
      : text_(text), wanted_(wanted), next_(wanted.size()) {
    for (size_t i = 0; i < wanted.size(); ++i) next_[i] = text.find(wanted[i]);
  }

  struct Find {
    size_t begin;  // npos: none is left
    const std::string* text;
  };
  Find from(size_t offset) {
    Find found{std::string::npos, nullptr};
    for (size_t i = 0; i < wanted_.size(); ++i) {
      if (next_[i] < offset) next_[i] = text_.find(wanted_[i], offset);
      const bool longer = found.text != nullptr && wanted_[i].size() > found.text->size();
      if (next_[i] < found.begin || (next_[i] == found.begin && longer)) found = {next_[i], &wanted_[i]};
    }
    return found;
  }

 private:
  const std::string& text_;
  const std::vector<std::string>& wanted_;
  std::vector<size_t> next_;
};

// A code point that the messages do not hold: one of Unicode's 32 noncharacters, which no text should.
std::string unused_mark(const std::string& text) {
  for (int last = 0x90; last <= 0xaf; ++last) {
    const std::string mark = {'\xef', '\xb7', static_cast<char>(last)};
    if (text.find(mark) == std::string::npos) return mark;
  }
  return {};
}

}  // namespace

ApiError context_exceeded(int64_t prompt_tokens, int64_t answer_tokens, int64_t max_model_len) {
  return {.status = 400,
          .message =
              answer_tokens == 0
                  ? fmt::format("the prompt has {} tokens, the model's context is {} with the answer",
                                prompt_tokens, max_model_len)
                  : fmt::format("the prompt has {} tokens and the answer up to {}, the model's context is {}",
                                prompt_tokens, answer_tokens, max_model_len),
          .param = "prompt",
          .code = "context_length_exceeded",
          .details = {{"n_prompt_tokens", prompt_tokens}, {"n_ctx", max_model_len}}};
}

Result<std::unique_ptr<ServedModel>> ServedModel::create(const Engine& engine, const std::string& model_dir,
                                                         std::vector<std::string> names,
                                                         SamplingDefaults defaults) {
  std::unique_ptr<ServedModel> model(new ServedModel());
  model->names_ = std::move(names);
  model->directory_ = model_dir;
  model->created_ = static_cast<int64_t>(std::time(nullptr));
  model->max_model_len_ = engine.max_model_len();
  model->vocab_size_ = static_cast<int32_t>(engine.config().vocab_size);
  model->dtype_ = engine.config().torch_dtype;
  model->end_ids_ = engine.generation_config().eos_token_ids;
  if (defaults == SamplingDefaults::kModel) {
    model->default_sampling_ = sampling_of(engine.generation_config());
    FATHOM_RETURN_IF_ERROR(
        model->default_sampling_.validate().with_context(model_dir + ": generation_config.json"));
  }
  model->tokenizer_ = engine.tokenizer();
  auto chat_template = ChatTemplate::load(model_dir);
  if (chat_template.ok()) {
    model->template_ = std::move(chat_template).value();
    model->tool_format_ = find_tool_format(*model->template_);
  } else if (chat_template.status().code() != ErrorCode::kNotFound) {
    return chat_template.status();
  }
  if (model->tokenizer_ == nullptr) return model;
  for (int32_t id = 0; id < model->tokenizer_->vocab_size(); ++id) {
    model->longest_token_bytes_ =
        std::max(model->longest_token_bytes_, model->tokenizer_->spelling(id).size());
    if (model->tokenizer_->is_special(id))
      model->special_spellings_.emplace_back(model->tokenizer_->spelling(id));
  }
  return model;
}

std::vector<std::string> ServedModel::shown_names() const {
  std::vector<std::string> shown = {names_.front()};
  std::copy_if(names_.begin() + 1, names_.end(), std::back_inserter(shown),
               [this](const std::string& name) { return name != directory_; });
  return shown;
}

std::optional<ApiError> ServedModel::check_name(const std::string& name) const {
  if (std::find(names_.begin(), names_.end(), name) != names_.end()) return std::nullopt;
  return ApiError{.status = 404,
                  .message = fmt::format("the model \"{}\" is not served here; \"{}\" is",
                                         name.substr(0, 200), names_.front()),
                  .param = "model",
                  .code = "model_not_found"};
}

bool ServedModel::is_end_token(int32_t id) const {
  return std::find(end_ids_.begin(), end_ids_.end(), id) != end_ids_.end();
}

std::optional<ApiError> ServedModel::check_text_bytes(size_t bytes, const char* param) const {
  const size_t most = static_cast<size_t>(max_model_len_) * std::max<size_t>(longest_token_bytes_, 1);
  if (bytes <= most) return std::nullopt;
  ApiError error = context_exceeded(static_cast<int64_t>(bytes / std::max<size_t>(longest_token_bytes_, 1)),
                                    0, max_model_len_);
  error.message =
      fmt::format("the prompt has {} bytes, more than the {} tokens of the model's context can hold", bytes,
                  max_model_len_);
  error.param = param;
  return error;
}

ServedModel::Ids ServedModel::encode(const std::string& text, const EncodeOptions& options) const {
  if (tokenizer_ == nullptr) return bad_request("prompt", "the model has no tokenizer: give token ids");
  if (auto error = check_text_bytes(text.size(), "prompt")) return *error;
  Result<std::vector<int32_t>> ids = tokenizer_->encode(text, options);
  if (!ids.ok()) return api_error_of(ids.status(), "prompt");
  return std::move(ids).value();
}

bool ServedModel::holds_special(const std::string& text) const {
  return std::any_of(
      special_spellings_.begin(), special_spellings_.end(),
      [&text](const std::string& spelling) { return text.find(spelling) != std::string::npos; });
}

void ServedModel::break_special(Json& value, const std::string& mark) const {
  if (value.is_structured()) {
    for (Json& inner : value) break_special(inner, mark);
  } else if (value.is_string()) {
    // So that only the template's own spellings are whole.
    std::string& text = value.get_ref<std::string&>();
    for (const std::string& spelling : special_spellings_)
      replace_all(text, spelling, broken(spelling, mark));
  }
}

std::variant<ServedModel::Rendered, ApiError> ServedModel::render(const Json& messages,
                                                                  const ChatRendering& rendering) const {
  if (tokenizer_ == nullptr) return bad_request("messages", "the model has no tokenizer");
  if (template_ == nullptr)
    return bad_request("messages", "the model has no chat template: use /v1/completions");
  Json marked = messages;
  ChatTemplateOptions options;
  options.generation_prompt =
      rendering.ending == ChatEnding::kOpenAnswer ? GenerationPrompt::kAdd : GenerationPrompt::kOmit;
  options.variables = rendering.variables;
  options.tools = rendering.tools;
  options.max_output_bytes =
      std::min<size_t>(options.max_output_bytes,
                       static_cast<size_t>(max_model_len_) * std::max<size_t>(longest_token_bytes_, 1) * 4);
  const std::string all = dump_json(messages) + dump_json(rendering.tools);
  const std::string last_end = unused_mark(all);
  if (last_end.empty()) return bad_request("messages", "messages holds all 32 noncharacters of Unicode");
  std::string mark;
  if (holds_special(all)) {
    mark = unused_mark(all + last_end);
    if (mark.empty()) return bad_request("messages", "messages holds 31 noncharacters of Unicode");
    break_special(marked, mark);
    break_special(options.tools, mark);
  }
  const bool continues = rendering.ending == ChatEnding::kContinueLast;
  if (continues) marked.back()["content"].get_ref<std::string&>() += last_end;
  Result<std::string> text = template_->render(marked, options);
  if (!text.ok()) return bad_request("messages", text.status().message());
  if (continues) {
    const size_t end = text->rfind(last_end);
    if (end == std::string::npos) {
      return bad_request("continue_final_message", "the chat template does not show the last message");
    }
    text->resize(end);
  }
  if (auto error = check_text_bytes(text->size(), "messages")) return *error;
  Ids ids = encode_rendered(*text, mark);
  if (const auto* error = std::get_if<ApiError>(&ids)) return *error;
  if (!mark.empty()) replace_all(*text, mark, "");
  return Rendered{std::move(text).value(), std::get<std::vector<int32_t>>(std::move(ids))};
}

// Without a mark the text is the template's alone. With one, whole spellings are the template's and become
// ids; what lies between them, broken spellings put together again, is text and nothing else.
ServedModel::Ids ServedModel::encode_rendered(const std::string& text, const std::string& mark) const {
  if (mark.empty()) {
    Result<std::vector<int32_t>> ids = tokenizer_->encode(text, {.add_bos = AddBos::kNever});
    if (!ids.ok()) return api_error_of(ids.status(), "messages");
    return std::move(ids).value();
  }
  std::vector<int32_t> all;
  LeftmostFinder finder(text, special_spellings_);
  for (size_t begin = 0; begin < text.size();) {
    const LeftmostFinder::Find find = finder.from(begin);
    const size_t end = std::min(find.begin, text.size());
    std::string between = text.substr(begin, end - begin);
    replace_all(between, mark, "");
    const Result<std::vector<int32_t>> ids =
        tokenizer_->encode(between, {.add_bos = AddBos::kNever, .special = SpecialInText::kAsText});
    if (!ids.ok()) return api_error_of(ids.status(), "messages");
    all.insert(all.end(), ids->begin(), ids->end());
    if (find.text != nullptr) all.push_back(*tokenizer_->find(*find.text));
    begin = end + (find.text != nullptr ? find.text->size() : 0);
  }
  return all;
}

}  // namespace fathom

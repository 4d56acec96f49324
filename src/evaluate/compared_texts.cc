// Reading texts for two models: whatever makes them incomparable is found here, before either is loaded.
#include <algorithm>

#include "base/file.h"
#include "checkpoint/model_config.h"
#include "evaluate/text_windows.h"

namespace fathom {
namespace {

constexpr int64_t kDefaultContext = 512;

struct Side {
  std::string model;
  ModelConfig config;
  std::unique_ptr<Tokenizer> tokenizer;
};

Result<Side> open_side(const std::string& model) {
  Side side{.model = model, .config = {}, .tokenizer = nullptr};
  FATHOM_ASSIGN_OR_RETURN(side.config, load_model_config(model));
  FATHOM_ASSIGN_OR_RETURN(side.tokenizer, Tokenizer::load(model));
  if (!side.tokenizer->bos_id())
    return invalid_data("{}: the tokenizer has no BOS to begin a window with", model);
  return side;
}

Status check_alike(const Side& a, const Side& b) {
  if (a.config.vocab_size != b.config.vocab_size) {
    return invalid_argument("{} predicts {} tokens and {} predicts {} (vocab_size): not comparable", a.model,
                            a.config.vocab_size, b.model, b.config.vocab_size);
  }
  if (a.tokenizer->bos_id() != b.tokenizer->bos_id()) {
    return invalid_argument("BOS is token {} in {} and {} in {}: not comparable", *a.tokenizer->bos_id(),
                            a.model, *b.tokenizer->bos_id(), b.model);
  }
  return ok_status();
}

Result<int64_t> choose_context(const std::optional<int64_t>& wanted, const Side& a, const Side& b) {
  const Side& shorter = a.config.max_position_embeddings <= b.config.max_position_embeddings ? a : b;
  const int64_t longest = shorter.config.max_position_embeddings;
  const int64_t context = wanted.value_or(std::min(kDefaultContext, longest));
  if (context < 2 || context > longest) {
    return invalid_argument("--context: {} is outside [2, {}], the latter max_position_embeddings of {}",
                            context, longest, shorter.model);
  }
  return context;
}

Result<TokenText> read_text(const std::string& path, const Side& a, const Side& b) {
  FATHOM_ASSIGN_OR_RETURN(const std::string text, read_file(path, Tokenizer::kMaxTextBytes));
  const EncodeOptions plain{.add_bos = AddBos::kNever, .special = SpecialInText::kAsText};
  auto ids = a.tokenizer->encode(text, plain);
  if (!ids.ok()) return ids.status().with_context(path);
  auto other = b.tokenizer->encode(text, plain);
  if (!other.ok()) return other.status().with_context(path);
  const auto [at, at_other] = std::mismatch(ids->begin(), ids->end(), other->begin(), other->end());
  if (at != ids->end() || at_other != other->end()) {
    return invalid_argument(
        "{}: the tokenizers of {} and {} differ from token {} on ({} and {} tokens): not comparable", path,
        a.model, b.model, at - ids->begin(), ids->size(), other->size());
  }
  if (ids->empty()) return invalid_data("{}: no text", path);
  return TokenText{path, std::move(ids).value()};
}

}  // namespace

Result<TextWindows> read_compared_texts(const ComparedTexts& options) {
  FATHOM_ASSIGN_OR_RETURN(Side a, open_side(options.model_a));
  FATHOM_ASSIGN_OR_RETURN(const Side b, open_side(options.model_b));
  FATHOM_RETURN_IF_ERROR(check_alike(a, b));
  FATHOM_ASSIGN_OR_RETURN(const int64_t context, choose_context(options.context, a, b));
  if (options.limit && *options.limit < 1)
    return invalid_argument("--limit: {} is less than 1", *options.limit);
  std::vector<TokenText> texts;
  for (const std::string& path : options.files) {
    FATHOM_ASSIGN_OR_RETURN(TokenText text, read_text(path, a, b));
    texts.push_back(std::move(text));
  }
  if (texts.empty()) return invalid_argument("--text-file: no file to compare on");
  return TextWindows(std::move(a.tokenizer), std::move(texts), context, options.limit);
}

}  // namespace fathom

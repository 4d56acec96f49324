// Text to token ids and back, as tokenizer.json of a model folder describes it: byte-level BPE, equal to
// Hugging Face's tokenizers on all well-formed UTF-8. Not for chat prompts (text/chat_template.h) nor for ids
// that arrive one by one (text/detokenizer.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer_file.h"
#include "text/vocabulary.h"

namespace fathom {

enum class AddBos { kAsConfigured, kNever, kAlways };
// Whether special tokens written out in the text become their ids or stay text. Text of a user should stay
// text.
enum class SpecialInText { kParse, kAsText };
enum class SpecialInOutput { kKeep, kSkip };

struct EncodeOptions {
  AddBos add_bos = AddBos::kAsConfigured;
  SpecialInText special = SpecialInText::kParse;
};

// Immutable after loading: any number of threads.
class Tokenizer {
 public:
  // Longer texts are refused.
  static constexpr size_t kMaxTextBytes = size_t{1} << 29;

  // Reads tokenizer.json and, where there is one, tokenizer_config.json of a folder. Errors name file and
  // field.
  static Result<std::unique_ptr<Tokenizer>> load(const std::string& model_dir);
  // The same from the two files' contents, called tokenizer.json and tokenizer_config.json in messages.
  static Result<std::unique_ptr<Tokenizer>> parse(std::string_view tokenizer_json,
                                                  std::string_view config_json);

  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Time is linear in the text, save for a logarithm. Fails on ill-formed UTF-8, naming the byte offset, on a
  // text over the limit, and where BOS is asked for and there is none.
  Result<std::vector<int32_t>> encode(std::string_view text, const EncodeOptions& options = {}) const;

  // The text of the ids; ill-formed parts become U+FFFD. Ids without a token, such as those between
  // vocab_size() and a model's padded vocabulary, add nothing.
  std::string decode(std::span<const int32_t> ids, SpecialInOutput special = SpecialInOutput::kKeep) const;

  // The bytes one token adds to the text, not always whole characters; empty for an id without a token. The
  // view lives as long as the tokenizer.
  std::string_view token_bytes(int32_t id) const;
  // How tokenizer.json spells the token; empty for an id without a token.
  std::string_view spelling(int32_t id) const;
  // The id of a token by its spelling, "<|EOT|>" for one.
  std::optional<int32_t> find(std::string_view spelling) const { return file_.vocabulary.find(spelling); }

  // Tokens including the added ones: ids are [0, vocab_size()).
  int32_t vocab_size() const { return file_.vocabulary.size(); }
  std::optional<int32_t> bos_id() const { return bos_id_; }
  std::optional<int32_t> eos_id() const { return eos_id_; }
  // Whether encode() puts BOS first unless told otherwise.
  bool adds_bos() const { return adds_bos_; }
  bool is_special(int32_t id) const;
  // Whether BPE can make the token; false for added tokens and for an id without a token.
  bool in_model(int32_t id) const {
    return file_.vocabulary.contains(id) && file_.vocabulary.in_model(id);
  }

 private:
  Tokenizer(TokenizerFile file, AddedTokens added_tokens);
  static Result<std::unique_ptr<Tokenizer>> create(const TokenizerJson& tokenizer_json,
                                                   const std::string& path, const TokenizerJson& config_json,
                                                   const std::string& config_path);
  Status configure(const TokenizerConfig& config, const std::string& config_path);

  const TokenizerFile file_;
  const AddedTokens added_tokens_;
  const Bpe bpe_;  // refers to file_
  std::vector<bool> special_;
  std::optional<int32_t> bos_id_;
  std::optional<int32_t> eos_id_;
  bool adds_bos_ = false;
};

}  // namespace fathom

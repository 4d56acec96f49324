#include "text/tokenizer.h"

#include "base/file.h"
#include "text/utf8.h"

namespace fathom {

Result<std::unique_ptr<Tokenizer>> Tokenizer::load(const std::string& model_dir) {
  const std::string path = join_path(model_dir, "tokenizer.json");
  const std::string config_path = join_path(model_dir, "tokenizer_config.json");
  FATHOM_ASSIGN_OR_RETURN(const TokenizerJson document, read_tokenizer_json(path));
  if (!file_exists(config_path)) {
    FATHOM_ASSIGN_OR_RETURN(const TokenizerJson nothing, parse_tokenizer_json("{}", config_path));
    return create(document, path, nothing, config_path);
  }
  FATHOM_ASSIGN_OR_RETURN(const TokenizerJson config, read_tokenizer_json(config_path));
  return create(document, path, config, config_path);
}

Result<std::unique_ptr<Tokenizer>> Tokenizer::parse(std::string_view tokenizer_json,
                                                    std::string_view config_json) {
  const std::string path = "tokenizer.json";
  const std::string config_path = "tokenizer_config.json";
  FATHOM_ASSIGN_OR_RETURN(const TokenizerJson document, parse_tokenizer_json(tokenizer_json, path));
  FATHOM_ASSIGN_OR_RETURN(const TokenizerJson config, parse_tokenizer_json(config_json, config_path));
  return create(document, path, config, config_path);
}

Result<std::unique_ptr<Tokenizer>> Tokenizer::create(const TokenizerJson& tokenizer_json,
                                                     const std::string& path,
                                                     const TokenizerJson& config_json,
                                                     const std::string& config_path) {
  FATHOM_ASSIGN_OR_RETURN(TokenizerFile file, parse_tokenizer_file(tokenizer_json, path));
  FATHOM_ASSIGN_OR_RETURN(const TokenizerConfig config, parse_tokenizer_config(config_json, config_path));
  FATHOM_ASSIGN_OR_RETURN(AddedTokens added_tokens, AddedTokens::create(file.added_tokens));
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer(std::move(file), std::move(added_tokens)));
  FATHOM_RETURN_IF_ERROR(tokenizer->configure(config, config_path));
  return tokenizer;
}

Tokenizer::Tokenizer(TokenizerFile file, AddedTokens added_tokens)
    : file_(std::move(file)),
      added_tokens_(std::move(added_tokens)),
      bpe_(file_.vocabulary, file_.merges,
           file_.ignore_merges ? Bpe::WholePieces::kAlways : Bpe::WholePieces::kWhereMergesAgree),
      special_(static_cast<size_t>(file_.vocabulary.size())) {
  for (const AddedToken& token : file_.added_tokens) special_[static_cast<size_t>(token.id)] = token.special;
}

Status Tokenizer::configure(const TokenizerConfig& config, const std::string& config_path) {
  const auto find_named = [&](const std::optional<std::string>& name, const char* key,
                              std::optional<int32_t>& id) -> Status {
    if (!name) return ok_status();
    id = find(*name);
    if (!id) return invalid_data("{}: {}: tokenizer.json has no token \"{}\"", config_path, key, *name);
    return ok_status();
  };
  FATHOM_RETURN_IF_ERROR(find_named(config.bos_token, "bos_token", bos_id_));
  FATHOM_RETURN_IF_ERROR(find_named(config.eos_token, "eos_token", eos_id_));
  const std::optional<std::string>& from_template = file_.template_bos;
  if (from_template && from_template != config.bos_token) {
    return unsupported("{}: bos_token is not \"{}\", which tokenizer.json puts first", config_path,
                       *from_template);
  }
  adds_bos_ = config.add_bos_token.value_or(from_template.has_value());
  if (adds_bos_ && !bos_id_)
    return invalid_data("{}: add_bos_token is true without a bos_token", config_path);
  return ok_status();
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  if (text.size() > kMaxTextBytes) {
    return invalid_argument("text of {} bytes is over the limit of {} bytes", text.size(), kMaxTextBytes);
  }
  const size_t bad = find_invalid_utf8(text);
  if (bad != std::string_view::npos)
    return invalid_argument("text is not valid UTF-8 at byte offset {}", bad);
  std::vector<int32_t> ids;
  if (options.add_bos == AddBos::kAlways || (options.add_bos == AddBos::kAsConfigured && adds_bos_)) {
    if (!bos_id_) return invalid_argument("BOS is asked for, but tokenizer_config.json has no bos_token");
    ids.push_back(*bos_id_);
  }
  RegexScratch regex_scratch;
  BpeScratch bpe_scratch;
  const PieceSink encode_piece = [&](std::string_view piece) { bpe_.encode(piece, bpe_scratch, ids); };
  const AddedTokens::Sink sink = {
      [&](std::string_view part) { return file_.pre_tokenizer.split(part, regex_scratch, encode_piece); },
      [&](int32_t id) { ids.push_back(id); },
  };
  const auto special = options.special == SpecialInText::kParse ? AddedTokens::Special::kFind
                                                                : AddedTokens::Special::kLeaveAsText;
  FATHOM_RETURN_IF_ERROR(added_tokens_.split(text, special, regex_scratch, sink));
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, SpecialInOutput special) const {
  std::string text;
  Utf8Stream stream;
  for (const int32_t id : ids) {
    if (special == SpecialInOutput::kSkip && is_special(id)) continue;
    stream.push(token_bytes(id), text);
  }
  stream.flush(text);
  return text;
}

std::string_view Tokenizer::token_bytes(int32_t id) const {
  return file_.vocabulary.contains(id) ? file_.vocabulary.bytes(id) : std::string_view();
}

std::string_view Tokenizer::spelling(int32_t id) const {
  return file_.vocabulary.contains(id) ? file_.vocabulary.spelling(id) : std::string_view();
}

bool Tokenizer::is_special(int32_t id) const {
  return file_.vocabulary.contains(id) && special_[static_cast<size_t>(id)];
}

}  // namespace fathom

#include "text/tokenizer_file.h"

#include <string_view>

namespace fathom {
namespace {

// The largest known vocabularies have about 260,000 tokens.
constexpr size_t kMaxTokens = size_t{1} << 24;
constexpr size_t kMaxTokenBytes = size_t{1} << 16;

// An id in [0, limit).
Result<int32_t> read_id(const TokenizerJson& value, size_t limit) {
  if (!value.is_number_integer()) return invalid_data("id is not an integer");
  if (!value.is_number_unsigned() || value.get<uint64_t>() >= limit) {
    return invalid_data("id {} is outside [0, {})", value.dump(), limit);
  }
  return static_cast<int32_t>(value.get<uint64_t>());
}

Status check_token(const std::string& text) {
  if (text.empty()) return invalid_data("empty token");
  if (text.size() > kMaxTokenBytes) {
    return invalid_data("token of {} bytes is over the limit of {} bytes", text.size(), kMaxTokenBytes);
  }
  return ok_status();
}

Result<AddedToken> read_added_token(const TokenizerJson& entry, size_t id_limit, const std::string& where) {
  AddedToken token;
  FATHOM_ASSIGN_OR_RETURN(token.content, string_field(entry, "content", where));
  FATHOM_RETURN_IF_ERROR(check_token(token.content).with_context(where + ".content"));
  if (!entry.contains("id")) return invalid_data("{}.id: missing", where);
  const Result<int32_t> id = read_id(entry["id"], id_limit);
  if (!id.ok()) return id.status().with_context(where);
  token.id = *id;
  FATHOM_ASSIGN_OR_RETURN(token.single_word, bool_field(entry, "single_word", false, where));
  FATHOM_ASSIGN_OR_RETURN(token.lstrip, bool_field(entry, "lstrip", false, where));
  FATHOM_ASSIGN_OR_RETURN(token.rstrip, bool_field(entry, "rstrip", false, where));
  FATHOM_ASSIGN_OR_RETURN(token.normalized, bool_field(entry, "normalized", true, where));
  FATHOM_ASSIGN_OR_RETURN(token.special, bool_field(entry, "special", false, where));
  return token;
}

// Absent is as good as an empty list.
Result<std::vector<AddedToken>> read_added_tokens(const TokenizerJson& document, size_t num_model_tokens) {
  std::vector<AddedToken> tokens;
  if (is_null_field(document, "added_tokens")) return tokens;
  FATHOM_ASSIGN_OR_RETURN(const TokenizerJson* list, array_field(document, "added_tokens", ""));
  const size_t id_limit = num_model_tokens + list->size();
  if (id_limit > kMaxTokens) {
    return invalid_data("added_tokens: {} tokens are over the limit of {}", id_limit, kMaxTokens);
  }
  tokens.reserve(list->size());
  for (size_t i = 0; i < list->size(); ++i) {
    FATHOM_ASSIGN_OR_RETURN(AddedToken token,
                            read_added_token((*list)[i], id_limit, fmt::format("added_tokens[{}]", i)));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

// Puts a token at its id; two different tokens on one id are an error.
Status place(std::vector<Vocabulary::Token>& tokens, int32_t id, const std::string& spelling) {
  const auto index = static_cast<size_t>(id);
  if (index >= tokens.size()) tokens.resize(index + 1);
  Vocabulary::Token& token = tokens[index];
  if (!token.spelling.empty() && token.spelling != spelling) {
    return invalid_data("id {} of token \"{}\" is also the id of \"{}\"", id, spelling, token.spelling);
  }
  token.spelling = spelling;
  return ok_status();
}

Status place_model_token(std::vector<Vocabulary::Token>& tokens, const std::string& spelling,
                         const TokenizerJson& id, size_t id_limit) {
  FATHOM_RETURN_IF_ERROR(check_token(spelling));
  FATHOM_ASSIGN_OR_RETURN(const int32_t index, read_id(id, id_limit));
  FATHOM_RETURN_IF_ERROR(place(tokens, index, spelling));
  tokens[static_cast<size_t>(index)].in_model = true;
  return ok_status();
}

Result<Vocabulary> read_vocabulary(const TokenizerJson& model, const std::vector<AddedToken>& added) {
  FATHOM_ASSIGN_OR_RETURN(const TokenizerJson* vocab, object_field(model, "vocab", "model"));
  std::vector<Vocabulary::Token> tokens;
  tokens.reserve(vocab->size() + added.size());
  const size_t id_limit = vocab->size() + added.size();
  for (const auto& [spelling, id] : vocab->get_ref<const TokenizerJson::object_t&>()) {
    const Status placed = place_model_token(tokens, spelling, id, id_limit);
    if (!placed.ok()) return placed.with_context(fmt::format("model.vocab[\"{}\"]", spelling.substr(0, 64)));
  }
  std::vector<bool> seen(id_limit);
  for (size_t i = 0; i < added.size(); ++i) {
    const std::string where = fmt::format("added_tokens[{}]", i);
    const auto index = static_cast<size_t>(added[i].id);
    if (seen[index]) return invalid_data("{}: id {} occurs twice", where, added[i].id);
    seen[index] = true;
    FATHOM_RETURN_IF_ERROR(place(tokens, added[i].id, added[i].content).with_context(where));
  }
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (tokens[id].spelling.empty()) {
      return invalid_data("model.vocab: no token has the id {}, though ids go up to {}", id,
                          tokens.size() - 1);
    }
  }
  Result<Vocabulary> vocabulary = Vocabulary::create(std::move(tokens));
  return vocabulary.ok() ? std::move(vocabulary) : vocabulary.status().with_context("model.vocab");
}

struct MergePair {
  std::string_view left;
  std::string_view right;
};

// "a b" or ["a", "b"]; the parts live as long as the entry.
Result<MergePair> read_merge(const TokenizerJson& entry) {
  if (entry.is_string()) {
    const std::string_view text = entry.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
      return invalid_data("\"{}\" is not two tokens with one space between", text);
    }
    return MergePair{text.substr(0, space), text.substr(space + 1)};
  }
  if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_string()) {
    return invalid_data("neither a string nor a pair of strings");
  }
  return MergePair{entry[0].get_ref<const std::string&>(), entry[1].get_ref<const std::string&>()};
}

Result<int32_t> find_token(const Vocabulary& vocabulary, std::string_view spelling) {
  const std::optional<int32_t> id = vocabulary.find(spelling);
  if (!id || !vocabulary.in_model(*id)) return invalid_data("\"{}\" is not in model.vocab", spelling);
  return *id;
}

Status add_merge(MergeTable& merges, const TokenizerJson& entry, const Vocabulary& vocabulary) {
  FATHOM_ASSIGN_OR_RETURN(const MergePair pair, read_merge(entry));
  FATHOM_ASSIGN_OR_RETURN(const int32_t left, find_token(vocabulary, pair.left));
  FATHOM_ASSIGN_OR_RETURN(const int32_t right, find_token(vocabulary, pair.right));
  std::string joined(pair.left);
  joined += pair.right;
  FATHOM_ASSIGN_OR_RETURN(const int32_t result, find_token(vocabulary, joined));
  if (merges.add(left, right, result)) return ok_status();
  return invalid_data("the pair \"{}\" \"{}\" occurs twice", pair.left, pair.right);
}

Result<MergeTable> read_merges(const TokenizerJson& model, const Vocabulary& vocabulary) {
  FATHOM_ASSIGN_OR_RETURN(const TokenizerJson* list, array_field(model, "merges", "model"));
  if (list->size() > kMaxTokens) {
    return invalid_data("model.merges: {} merges are over the limit of {}", list->size(), kMaxTokens);
  }
  MergeTable merges(list->size());
  for (size_t i = 0; i < list->size(); ++i) {
    const Status added = add_merge(merges, (*list)[i], vocabulary);
    if (!added.ok()) return added.with_context(fmt::format("model.merges[{}]", i));
  }
  return merges;
}

// null or absent or "".
Status refuse_text(const TokenizerJson& object, const char* key) {
  if (is_null_field(object, key)) return ok_status();
  const TokenizerJson& value = object[key];
  if (value.is_string() && value.get_ref<const std::string&>().empty()) return ok_status();
  return unsupported("model.{}: {} is not supported (null is)", key, value.dump().substr(0, 64));
}

Result<bool> check_model(const TokenizerJson& model) {
  FATHOM_ASSIGN_OR_RETURN(const std::string type, string_field(model, "type", "model"));
  if (type != "BPE") return unsupported("model.type: \"{}\" is not supported (\"BPE\" is)", type);
  for (const char* key : {"unk_token", "continuing_subword_prefix", "end_of_word_suffix"}) {
    FATHOM_RETURN_IF_ERROR(refuse_text(model, key));
  }
  if (!is_null_field(model, "dropout") && model["dropout"] != 0) {
    return unsupported("model.dropout: {} is not supported (null is)", model["dropout"].dump().substr(0, 64));
  }
  FATHOM_ASSIGN_OR_RETURN(const bool byte_fallback, bool_field(model, "byte_fallback", false, "model"));
  if (byte_fallback) return unsupported("model.byte_fallback: true is not supported");
  return bool_field(model, "ignore_merges", false, "model");
}

Status check_normalizer(const TokenizerJson& document) {
  if (is_null_field(document, "normalizer")) return ok_status();
  const TokenizerJson& normalizer = document["normalizer"];
  FATHOM_ASSIGN_OR_RETURN(const std::string type, string_field(normalizer, "type", "normalizer"));
  if (type == "Sequence") {
    FATHOM_ASSIGN_OR_RETURN(const TokenizerJson* list, array_field(normalizer, "normalizers", "normalizer"));
    if (list->empty()) return ok_status();
  }
  return unsupported("normalizer: \"{}\" is not supported (none or an empty Sequence is)", type);
}

Status check_decoder(const TokenizerJson& document) {
  FATHOM_ASSIGN_OR_RETURN(const TokenizerJson* decoder, object_field(document, "decoder", ""));
  FATHOM_ASSIGN_OR_RETURN(const std::string type, string_field(*decoder, "type", "decoder"));
  if (type != "ByteLevel")
    return unsupported("decoder.type: \"{}\" is not supported (\"ByteLevel\" is)", type);
  return ok_status();
}

// {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": ..}}, {"Sequence": ..}]}: the token put
// first.
Result<std::optional<std::string>> read_template(const TokenizerJson& processor, const std::string& where) {
  FATHOM_ASSIGN_OR_RETURN(const TokenizerJson* single, array_field(processor, "single", where));
  std::optional<std::string> first;
  for (size_t i = 0; i < single->size(); ++i) {
    const TokenizerJson& item = (*single)[i];
    const std::string item_where = fmt::format("{}.single[{}]", where, i);
    if (i + 1 == single->size() && item.is_object() && item.contains("Sequence")) return first;
    if (i > 0) break;
    FATHOM_ASSIGN_OR_RETURN(const TokenizerJson* token, object_field(item, "SpecialToken", item_where));
    FATHOM_ASSIGN_OR_RETURN(first, string_field(*token, "id", item_where + ".SpecialToken"));
  }
  return unsupported("{}.single: only one token before the text is supported", where);
}

// ByteLevel changes offsets, not ids. depth bounds Sequences inside Sequences.
Result<std::optional<std::string>> read_post_processor(const TokenizerJson& processor,
                                                       const std::string& where, int depth) {
  FATHOM_ASSIGN_OR_RETURN(const std::string type, string_field(processor, "type", where));
  std::optional<std::string> first;
  if (type == "ByteLevel") return first;
  if (type == "TemplateProcessing") return read_template(processor, where);
  if (type != "Sequence" || depth > 0) {
    return unsupported("{}.type: \"{}\" is not supported (ByteLevel and TemplateProcessing are)", where,
                       type);
  }
  FATHOM_ASSIGN_OR_RETURN(const TokenizerJson* list, array_field(processor, "processors", where));
  for (size_t i = 0; i < list->size(); ++i) {
    FATHOM_ASSIGN_OR_RETURN(
        std::optional<std::string> token,
        read_post_processor((*list)[i], fmt::format("{}.processors[{}]", where, i), depth + 1));
    if (token && first) return unsupported("{}: two templates", where);
    if (token) first = std::move(token);
  }
  return first;
}

Result<TokenizerFile> parse_document(const TokenizerJson& document) {
  if (!document.is_object()) return invalid_data("not an object");
  FATHOM_ASSIGN_OR_RETURN(const TokenizerJson* model, object_field(document, "model", ""));
  FATHOM_ASSIGN_OR_RETURN(const bool ignore_merges, check_model(*model));
  FATHOM_RETURN_IF_ERROR(check_normalizer(document));
  FATHOM_RETURN_IF_ERROR(check_decoder(document));
  std::optional<std::string> template_bos;
  if (!is_null_field(document, "post_processor")) {
    FATHOM_ASSIGN_OR_RETURN(template_bos,
                            read_post_processor(document["post_processor"], "post_processor", 0));
  }
  FATHOM_ASSIGN_OR_RETURN(const TokenizerJson* description, object_field(document, "pre_tokenizer", ""));
  FATHOM_ASSIGN_OR_RETURN(PreTokenizer pre_tokenizer, PreTokenizer::from_json(*description));
  FATHOM_ASSIGN_OR_RETURN(const TokenizerJson* vocab, object_field(*model, "vocab", "model"));
  if (vocab->empty() || vocab->size() > kMaxTokens) {
    return invalid_data("model.vocab: {} tokens, not in [1, {}]", vocab->size(), kMaxTokens);
  }
  FATHOM_ASSIGN_OR_RETURN(std::vector<AddedToken> added, read_added_tokens(document, vocab->size()));
  FATHOM_ASSIGN_OR_RETURN(Vocabulary vocabulary, read_vocabulary(*model, added));
  FATHOM_ASSIGN_OR_RETURN(MergeTable merges, read_merges(*model, vocabulary));
  return TokenizerFile{std::move(vocabulary),    std::move(merges), ignore_merges,
                       std::move(pre_tokenizer), std::move(added),  std::move(template_bos)};
}

// "text" or {"content": "text"}; null or absent is nothing.
Result<std::optional<std::string>> read_token_name(const TokenizerJson& document, const char* key) {
  std::optional<std::string> name;
  if (is_null_field(document, key)) return name;
  const TokenizerJson& value = document[key];
  if (value.is_string()) {
    name = value.get<std::string>();
    return name;
  }
  FATHOM_ASSIGN_OR_RETURN(name, string_field(value, "content", key));
  return name;
}

Result<TokenizerConfig> parse_config(const TokenizerJson& document) {
  if (!document.is_object()) return invalid_data("not an object");
  TokenizerConfig config;
  FATHOM_ASSIGN_OR_RETURN(config.bos_token, read_token_name(document, "bos_token"));
  FATHOM_ASSIGN_OR_RETURN(config.eos_token, read_token_name(document, "eos_token"));
  FATHOM_ASSIGN_OR_RETURN(const bool add_eos, bool_field(document, "add_eos_token", false, ""));
  if (add_eos) return unsupported("add_eos_token: true is not supported");
  if (document.contains("add_bos_token")) {
    FATHOM_ASSIGN_OR_RETURN(config.add_bos_token, bool_field(document, "add_bos_token", false, ""));
  } else if (!is_null_field(document, "tokenizer_class")) {
    FATHOM_ASSIGN_OR_RETURN(const std::string name, string_field(document, "tokenizer_class", ""));
    if (name.starts_with("LlamaTokenizer")) config.add_bos_token = true;  // the default of that class
  }
  return config;
}

}  // namespace

Result<TokenizerFile> parse_tokenizer_file(const TokenizerJson& document, const std::string& path) {
  Result<TokenizerFile> file = parse_document(document);
  return file.ok() ? std::move(file) : file.status().with_context(path);
}

Result<TokenizerConfig> parse_tokenizer_config(const TokenizerJson& document, const std::string& path) {
  Result<TokenizerConfig> config = parse_config(document);
  return config.ok() ? std::move(config) : config.status().with_context(path);
}

}  // namespace fathom

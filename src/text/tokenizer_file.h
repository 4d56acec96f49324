// tokenizer.json and tokenizer_config.json, read and checked in full: everything Tokenizer is made of. Every
// error names the file and the field.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "text/added_tokens.h"
#include "text/merge_table.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer_json.h"
#include "text/vocabulary.h"

namespace fathom {

struct TokenizerFile {
  Vocabulary vocabulary;  // the model's tokens and the added ones
  MergeTable merges;
  bool ignore_merges = false;
  PreTokenizer pre_tokenizer;
  std::vector<AddedToken> added_tokens;
  std::optional<std::string> template_bos;  // what a TemplateProcessing post-processor puts first
};

// The content of tokenizer.json; messages begin with its path.
Result<TokenizerFile> parse_tokenizer_file(const TokenizerJson& document, const std::string& path);

struct TokenizerConfig {
  std::optional<std::string> bos_token;
  std::optional<std::string> eos_token;
  std::optional<bool> add_bos_token;  // nothing: the post-processor of tokenizer.json decides
};

// The content of tokenizer_config.json; messages begin with its path.
Result<TokenizerConfig> parse_tokenizer_config(const TokenizerJson& document, const std::string& path);

}  // namespace fathom

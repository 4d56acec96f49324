// For tests only: small tokenizer files with all 256 byte symbols, the pre-tokenizer of DeepSeek-V2 in short,
// and the merges a test asks for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "text/byte_alphabet.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace fathom::tiny {

inline constexpr const char* kBos = "<｜begin｜>";
inline constexpr const char* kEos = "<｜end｜>";

inline std::string symbols(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) append_utf8(byte_symbol(static_cast<unsigned char>(c)), text);
  return text;
}

inline TokenizerJson split_step(const std::string& regex) {
  return {{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}};
}

inline TokenizerJson byte_level(bool prefix_space, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", prefix_space},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

inline TokenizerJson added_token(int id, const std::string& content, bool special) {
  return {{"id", id},        {"content", content}, {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", true}, {"special", special}};
}

// tokenizer.json: byte symbol b has id b, then the merges' results in order, then BOS and EOS.
inline TokenizerJson tokenizer_json(const std::vector<std::pair<std::string, std::string>>& merges = {}) {
  TokenizerJson vocab = TokenizerJson::object();
  for (int b = 0; b < 256; ++b) {
    const char c = static_cast<char>(b);
    vocab[symbols({&c, 1})] = b;
  }
  TokenizerJson list = TokenizerJson::array();
  for (const auto& [left, right] : merges) {
    list.push_back(symbols(left) + " " + symbols(right));
    const std::string joined = symbols(left + right);
    if (!vocab.contains(joined)) vocab[joined] = vocab.size();
  }
  const int size = static_cast<int>(vocab.size());
  TokenizerJson steps = TokenizerJson::array({split_step("[\r\n]"), split_step("\\s?[A-Za-zµÀ-ÖØ-öø-ƺ]+"),
                                              split_step("\\s?[!-/:-~！-／：-～‘-‟　-。]+"),
                                              split_step("\\s+$"), split_step("[一-龥ࠀ-一가-퟿]+"),
                                              TokenizerJson{{"type", "Digits"}, {"individual_digits", true}},
                                              byte_level(false, false)});
  TokenizerJson document;
  document["added_tokens"] = {added_token(size, kBos, true), added_token(size + 1, kEos, true)};
  document["normalizer"] = {{"type", "Sequence"}, {"normalizers", TokenizerJson::array()}};
  document["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
  document["post_processor"] = byte_level(true, true);
  document["decoder"] = byte_level(true, true);
  document["model"] = {{"type", "BPE"},     {"dropout", nullptr},        {"unk_token", nullptr},
                       {"fuse_unk", false}, {"vocab", std::move(vocab)}, {"merges", std::move(list)}};
  return document;
}

inline TokenizerJson config_json() {
  return {{"add_bos_token", true}, {"bos_token", {{"content", kBos}}}, {"eos_token", kEos}};
}

inline Result<std::unique_ptr<Tokenizer>> load(const TokenizerJson& document,
                                               const TokenizerJson& config = config_json()) {
  return Tokenizer::parse(document.dump(), config.dump());
}

}  // namespace fathom::tiny

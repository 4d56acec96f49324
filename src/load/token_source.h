// Who turns tokens into text and counts them for a data set: a tokenizer of this machine, or the server under
// load itself.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "client/http_client.h"
#include "text/tokenizer.h"

namespace fathom {

class TokenSource {
 public:
  virtual ~TokenSource() = default;
  // Ids are [0, vocab_size()).
  virtual Result<int32_t> vocab_size() = 0;
  // Whether an id is ordinary text, as far as is known.
  virtual bool is_plain(int32_t id) const = 0;
  virtual Result<std::string> decode(std::span<const int32_t> ids) = 0;
  // Tokens of a text on its own, without BOS.
  virtual Result<int64_t> count(std::string_view text) = 0;
};

class LocalTokens : public TokenSource {
 public:
  explicit LocalTokens(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  Result<int32_t> vocab_size() override { return tokenizer_.vocab_size(); }
  bool is_plain(int32_t id) const override { return tokenizer_.in_model(id) && !tokenizer_.is_special(id); }
  Result<std::string> decode(std::span<const int32_t> ids) override { return tokenizer_.decode(ids); }
  Result<int64_t> count(std::string_view text) override;

 private:
  const Tokenizer& tokenizer_;
};

// By /tokenizer_info, /tokenize and /detokenize, one call after the other.
class ServerTokens : public TokenSource {
 public:
  ServerTokens(HttpClient& client, std::string model) : client_(client), model_(std::move(model)) {}
  Result<int32_t> vocab_size() override;
  bool is_plain(int32_t) const override { return true; }
  Result<std::string> decode(std::span<const int32_t> ids) override;
  Result<int64_t> count(std::string_view text) override;

 private:
  Result<Json> ask(HttpCall call);

  HttpClient& client_;
  std::string model_;
};

}  // namespace fathom

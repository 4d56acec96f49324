// Texts as the windows of tokens that a model is measured on. Every token of a text is predicted exactly
// once: a window is BOS and the next context - 1 tokens, and no window crosses from one text to the next.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "text/tokenizer.h"

namespace fathom {

struct TokenText {
  std::string path;
  std::vector<int32_t> ids;  // without BOS
};

// Tokens [begin, end) of a text, which are the tokens from first on of all texts together.
struct Window {
  size_t text = 0;
  size_t begin = 0;
  size_t end = 0;
  int64_t first = 0;
};

// Where a token stands, for people.
struct TokenPlace {
  std::string path;
  size_t token = 0;    // index in its text
  uint64_t byte = 0;   // where it begins in its text
  std::string before;  // the text of the few tokens before it
  std::string text;    // its own
};

class TextWindows {
 public:
  // context: at least 2. The tokens after the first limit are left out; each text has at least one token.
  // tokenizer: the one that made the ids, with a BOS.
  TextWindows(std::unique_ptr<Tokenizer> tokenizer, std::vector<TokenText> texts, int64_t context,
              std::optional<int64_t> limit);

  const std::vector<Window>& windows() const { return windows_; }
  int64_t context() const { return context_; }
  int64_t num_tokens() const { return windows_.back().first + size_of(windows_.back()); }
  // Bytes of text that the tokens stand for.
  uint64_t num_bytes() const;

  static int64_t size_of(const Window& window) { return static_cast<int64_t>(window.end - window.begin); }
  // What a model is fed: BOS and the window's tokens.
  std::vector<int32_t> model_input(const Window& window) const;
  // index: of a token of all texts together, in [0, num_tokens()).
  int32_t token(int64_t index) const;
  TokenPlace place(int64_t index) const;

 private:
  const Window& window_of(int64_t index) const;

  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<TokenText> texts_;
  std::vector<Window> windows_;
  int64_t context_;
};

// Two models that are to predict the same tokens of the same files.
struct ComparedTexts {
  std::string model_a;  // folders
  std::string model_b;
  std::vector<std::string> files;
  std::optional<int64_t> context = std::nullopt;  // default: 512, or the models' length where that is less
  std::optional<int64_t> limit = std::nullopt;    // tokens
};

// Reads and encodes the files. Refuses, naming both sides: vocabularies of different sizes, a tokenizer that
// cuts a file otherwise, a context over a model's length; also a folder without tokenizer and an empty file.
Result<TextWindows> read_compared_texts(const ComparedTexts& options);

}  // namespace fathom

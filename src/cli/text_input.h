// What the text commands read: an argument, a file of plain text or of JSON lines, or standard input.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace fathom {

enum class TextSource { kOneText, kJsonLines };

struct TextInput {
  TextSource source = TextSource::kOneText;
  std::vector<std::string> texts;  // exactly one for kOneText
};

// text: the argument, used if has_text. file: a path ending in .jsonl has one {"text": ".."} a line, any
// other is one text as it stands; empty for none. With neither, standard input is one text. At most 512 MiB.
struct TextInputOptions {
  bool has_text = false;
  std::string text;
  std::string file;
};
Result<TextInput> read_text_input(const TextInputOptions& options);

// Standard input up to its end; more than max_bytes is an error.
Result<std::string> read_stdin(size_t max_bytes);

}  // namespace fathom

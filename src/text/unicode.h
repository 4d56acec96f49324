// The few Unicode properties the tokenizer needs, in the Unicode versions Hugging Face's tokenizers uses.
// Not for patterns: those are text/regex.h.
#pragma once

namespace fathom {

// General category Nd, Nl or No in Unicode 17 (what Rust's char::is_numeric says).
bool is_numeric(char32_t value);

// The property White_Space (what Rust's char::is_whitespace and \s in Oniguruma say).
bool is_white_space(char32_t value);

}  // namespace fathom

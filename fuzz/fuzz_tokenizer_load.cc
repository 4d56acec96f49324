// Any bytes as tokenizer.json: an error, or a tokenizer whose decode undoes its encode as far as its bytes
// are tokens.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fathom;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = Tokenizer::parse(text, "{}");
  if (!tokenizer.ok()) return 0;
  const auto ids = (*tokenizer)->encode("The cat\r\n  sat 123 on \u4f60\u597d \U0001f600.");
  if (ids.ok()) (void)(*tokenizer)->decode(*ids);
  return 0;
}

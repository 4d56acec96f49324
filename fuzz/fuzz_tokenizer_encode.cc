// Any bytes as text and as ids for a small tokenizer: ill-formed text is refused, the rest comes back from
// decode as it was, and streaming gives what decoding at once gives.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "text/detokenizer.h"
#include "text/tiny_tokenizer.h"
#include "text/tokenizer.h"

namespace fathom {
namespace {

const Tokenizer& tokenizer() {
  static const auto instance = tiny::load(
      tiny::tokenizer_json({{"t", "h"}, {"th", "e"}, {" ", "the"}, {"\xe4", "\xbd"}, {"\xe4\xbd", "\xa0"}}));
  return **instance;
}

void check_text(std::string_view text) {
  const auto ids = tokenizer().encode(text, {.add_bos = AddBos::kNever, .special = SpecialInText::kParse});
  FATHOM_CHECK(ids.ok() == (find_invalid_utf8(text) == std::string_view::npos), "{}", ids.status().message());
  if (ids.ok()) FATHOM_CHECK(tokenizer().decode(*ids) == text, "{} ids", ids.value().size());
}

void check_ids(const uint8_t* data, size_t size) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i + 1 < size; i += 2) ids.push_back((data[i] << 8 | data[i + 1]) % 300 - 5);
  Detokenizer detokenizer(tokenizer(), SpecialInOutput::kKeep);
  std::string text;
  for (const int32_t id : ids) text += detokenizer.push(id);
  text += detokenizer.flush();
  FATHOM_CHECK(text == tokenizer().decode(ids), "{} ids", ids.size());
}

}  // namespace
}  // namespace fathom

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fathom::check_text({reinterpret_cast<const char*>(data), size});
  fathom::check_ids(data, size);
  return 0;
}

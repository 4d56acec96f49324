// Any bytes as a chat template: an error or a text, within tight limits.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "text/jinja/template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fathom;
  const auto parsed = jinja::Template::parse({reinterpret_cast<const char*>(data), size});
  if (!parsed.ok()) return 0;
  const Json variables = {{"messages", {{{"role", "user"}, {"content", "Hi \u4f60"}}}},
                          {"add_generation_prompt", true},
                          {"list", {3, 1.5, nullptr, "x"}},
                          {"map", {{"a", {1, 2}}, {"b", "c"}}}};
  jinja::RenderOptions options;
  options.limits.max_steps = 20'000;
  options.limits.max_output_bytes = size_t{1} << 20;
  options.limits.max_memory_bytes = size_t{4} << 20;
  const auto text = parsed->render(variables, options);
  if (text.ok()) FATHOM_CHECK(text->size() <= options.limits.max_output_bytes, "{} bytes", text->size());
  return 0;
}

#include "base/html.h"

#include <fmt/format.h>

namespace fathom {
namespace {

constexpr std::string_view kStyle =
    R"(:root { color-scheme: light dark; --text: #1c1c1c; --back: #ffffff; --line: #d0d0d0; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e4e4; --back: #181818; --line: #444444; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
svg text { fill: var(--text); }
)";

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string html_page(std::string_view title, std::string_view style, std::string_view body) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>{}</title><style>\n{}{}</style></head><body>\n{}</body></html>\n",
      escape_html(title), kStyle, style, body);
}

}  // namespace fathom

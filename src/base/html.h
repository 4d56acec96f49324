// The frame that all report pages share: one file, light and dark by the system, loads nothing.
#pragma once

#include <string>
#include <string_view>

namespace fathom {

// Text as content or as an attribute's value in any quotes, spelled as Jinja's filter does.
std::string escape_html(std::string_view text);

// A page from doctype to </html>. title is text, body and style are HTML and CSS. The frame styles text,
// tables (cells of class "number" to the right) and SVG text; CSS may use --text, --back and --line for
// colours.
std::string html_page(std::string_view title, std::string_view style, std::string_view body);

}  // namespace fathom

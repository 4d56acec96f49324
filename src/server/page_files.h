// The chat page's files, part of the binary. cmake/embed.cmake makes the definition from src/server/page.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace fathom::server {

struct PageFile {
  std::string_view path;          // what a request names: "/" for index.html, "/app.js"
  std::string_view content_type;  // with its charset
  std::string_view content;       // the file's bytes
  std::string_view etag;          // quoted, changes with the content
};

// What a response with any of these files must say in Content-Security-Policy. The page is written to work
// under it; it is what keeps a hole in the page's own care with a model's text from becoming a script.
inline constexpr std::string_view kPagePolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'";

// All files, sorted by their names; lives as long as the process.
std::span<const PageFile> page_files();

}  // namespace fathom::server

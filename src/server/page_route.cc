#include "server/page_route.h"

#include <algorithm>

namespace fathom {

const server::PageFile* find_page_file(std::string_view path) {
  const auto files = server::page_files();
  const auto found =
      std::find_if(files.begin(), files.end(), [path](const auto& file) { return file.path == path; });
  return found != files.end() ? &*found : nullptr;
}

HttpReply page_reply(const HttpRequest& request, const server::PageFile& file) {
  HttpReply reply{.content_type = std::string(file.content_type),
                  .headers = {{"ETag", std::string(file.etag)},
                              {"Cache-Control", "no-cache"},
                              {"Content-Security-Policy", std::string(server::kPagePolicy)},
                              {"X-Content-Type-Options", "nosniff"},
                              {"Referrer-Policy", "no-referrer"}}};
  if (request.header("if-none-match") == file.etag) {
    reply.status = 304;
  } else {
    reply.body = file.content;
  }
  return reply;
}

}  // namespace fathom

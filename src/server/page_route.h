// The chat page over HTTP: its files by path, with the policy that they are written for.
#pragma once

#include <string_view>

#include "server/http_message.h"
#include "server/page_files.h"

namespace fathom {

// Null: the page has no such file.
const server::PageFile* find_page_file(std::string_view path);

// The file, or 304 where the client has it already.
HttpReply page_reply(const HttpRequest& request, const server::PageFile& file);

}  // namespace fathom

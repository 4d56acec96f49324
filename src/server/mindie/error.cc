#include "server/mindie/error.h"

namespace fathom::mindie {
namespace {

std::string_view error_type(int status) {
  switch (status) {
    case 401:
    case 403:
      return "Bad Request";
    case 404:
    case 405:
      return "NotFoundError";
    case 422:
      return "Input Validation Error";
    case 424:
    case 429:
      return "Generation Error";
    case 503:
      return "Service Unavailable";
    default:
      return status < 500 ? "Bad Request" : "Incomplete Generation";
  }
}

}  // namespace

int refusal_status(const ApiError& error) {
  if (error.status == 400) return 422;
  if (error.status == 504) return 500;
  return error.status;
}

Json refusal_json(const ApiError& error) {
  return {{"error", error.message}, {"error_type", error_type(refusal_status(error))}};
}

HttpReply refusal_reply(const ApiError& error) {
  HttpReply reply = fathom::error_reply(error);  // its headers
  reply.status = refusal_status(error);
  reply.body = dump_json(refusal_json(error));
  return reply;
}

}  // namespace fathom::mindie

// A small engine for the Jinja templates that chat models ship, equal to jinja2 with Hugging Face's settings
// where it has the construct at all, and bounded in steps, memory, depth and output. Not here, and refused
// with an error: include, import, extends, blocks, unpacking of arguments. Not here either, by intent:
// anything that reaches outside the values it is given.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "text/jinja/arena.h"
#include "text/jinja/ast.h"

namespace fathom::jinja {

struct RenderOptions {
  Limits limits;
  std::time_t now = 0;  // what strftime_now shows, in local time
};

// Immutable after parsing: any number of threads.
class Template {
 public:
  // The source may have at most Limits().max_source_bytes. Errors name the line.
  static Result<Template> parse(std::string_view source);

  // variables: an object. Errors name the line; raise_exception's message is given as it is after that.
  Result<std::string> render(const Json& variables, const RenderOptions& options) const;

 private:
  explicit Template(std::unique_ptr<Program> program) : program_(std::move(program)) {}
  std::unique_ptr<Program> program_;
};

}  // namespace fathom::jinja

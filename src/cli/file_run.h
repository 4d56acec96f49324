// `run --file`: a file of prompts, answered to stdout or into a file of answers.
#pragma once

#include <string>

#include "cli/generate.h"
#include "engine/engine.h"
#include "offline/prompt_file.h"

namespace fathom {

struct FileRunOptions {
  std::string path;
  std::string out;    // empty: stdout, at the end, and the first line that is no request ends the command
  std::string steps;  // without out: the file of the engine's steps, or empty
  LineDefaults defaults;
  ReportOptions report;
};

Status run_file(Engine& engine, const FileRunOptions& options);

}  // namespace fathom

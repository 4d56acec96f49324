// What Prometheus' clients say of every process: memory, CPU time, open files, start. Any thread.
#pragma once

#include <string>
#include <string_view>

namespace fathom {

// process_* under their usual names, and build_info; none of what the system does not tell.
std::string process_metrics(std::string_view version);

}  // namespace fathom

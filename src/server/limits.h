// Every bound of the server in one place; docs/serving.md shows the table. Times in seconds.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fathom {

struct ServerLimits {
  // One HTTP request.
  size_t max_head_bytes = size_t{32} << 10;  // request line and headers
  size_t max_header_fields = 100;
  size_t max_body_bytes = size_t{32} << 20;
  int max_json_depth = 64;
  double head_timeout =
      10;  // from the first byte of a request, or from the connection, to the end of its head
  double body_timeout = 60;   // from the end of the head to the end of the body
  double idle_timeout = 60;   // between requests of a connection
  double write_timeout = 30;  // for the client to take what was sent

  // All connections together.
  size_t max_connections = 1024;
  size_t max_pending_body_bytes = size_t{256} << 20;  // of bodies being received

  // One generation.
  size_t max_stream_buffer_bytes = size_t{1} << 20;  // produced and not yet taken by the client
  int32_t max_choices = 16;                          // n
  size_t max_prompts = 64;                           // of one completion request
  int64_t max_queue = 512;                           // sequences beyond those that run at once
  double queue_timeout = 600;                        // until the first step
  double total_timeout = 3600;                       // until the last token
  double ping_interval = 15;                         // between comments in a stream that has nothing to say

  double step_timeout = 120;  // after which an engine step without progress counts as hung
};

}  // namespace fathom

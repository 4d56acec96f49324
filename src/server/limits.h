// Every bound of the server in one place; docs/serving.md shows the table. Times in seconds.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fathom {

// Reading or writing more JSON than this takes milliseconds, which would hold up all streams: it is done on
// the worker.
constexpr size_t kInlineBodyBytes = size_t{16} << 10;

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
  size_t max_pending_body_bytes = size_t{256} << 20;  // of bodies being received or waiting to be parsed

  // One generation.
  // Produced and not yet taken by the client, before a stream's next piece is added.
  size_t max_stream_buffer_bytes = size_t{1} << 20;
  int32_t max_choices = 16;                       // n
  size_t max_prompts = 64;                        // of one completion request
  int64_t max_prompt_tokens = 0;                  // of a prompt; 0: what the context holds
  int64_t max_output_tokens = 0;                  // of an answer: longer ones end there; 0: as above
  int64_t max_reply_logprobs = int64_t{1} << 20;  // of prompts, answers and their alternatives together
  int64_t max_queue = 512;                        // sequences beyond those that run at once
  double queue_timeout = 600;                     // until the first step
  double total_timeout = 3600;                    // until the last token
  double ping_interval = 15;                      // between comments in a silent stream; 0: none

  double step_timeout = 120;  // after which an engine step without progress counts as hung
};

}  // namespace fathom

"""A stand-in for `fathom serve`: the page's files under the server's content policy, and the endpoints the page uses with
scripted answers. What the last user message says decides the answer (see Script). Standard library only.

usage by hand: mock_server.py [PORT]"""
import http.server
import json
import pathlib
import socket
import sys
import threading
import time

PAGE = pathlib.Path(__file__).resolve().parents[2] / "src" / "server" / "page"
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
          "form-action 'none'; frame-ancestors 'none'")
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".svg": "image/svg+xml"}
CONTEXT = 4096

HOSTILE = """<script>window.hacked = 1</script> <img src=x onerror="window.hacked = 2">
[click](javascript:window.hacked=3) [click](JaVaScRiPt&#58;alert(1)) [data](data:text/html,<script>1</script>) [relative](/v1/models)
![picture](https://evil.example/x.png) <a href="javascript:1">a</a> [ok](https://example.com/a?b=1)
<style>body{display:none}</style><iframe src="https://evil.example"></iframe>

```html
<script>window.hacked = 4</script>
```
| <b>x</b> | y |
|---|---|
| <svg onload="window.hacked=5"> | `<i>` |
"""

MARKDOWN = """## Binary search

It finds a value in a **sorted** list by halving the range, so it needs only $\\log_2 n$ steps.

| Method | Steps for 1,000 | Needs order |
|:--|--:|:-:|
| Linear search | 1,000 | no |
| Binary search | 10 | yes |

```python
def search(values: list[int], wanted: int) -> int:
    # Returns an index, or -1 where the value is missing.
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low if low < len(values) and values[low] == wanted else -1
```

1. Take the *middle* element.
2. Compare:
   - smaller than wanted: go right
   - otherwise: go left
3. Stop when the range is empty.

- [x] sorted input
- [ ] duplicates

> The list must be sorted first; that costs $O(n \\log n)$. See [the article](https://en.wikipedia.org/wiki/Binary_search).
"""


class Script:
    """Pieces of an answer and what happens around them."""

    def __init__(self, text, status=200, headers=None, error=None, pause=0.0, end="done", finish="stop"):
        self.pieces = [text[i:i + 4] for i in range(0, len(text), 4)]
        self.status, self.headers, self.error, self.pause, self.end, self.finish = status, headers or {}, error, pause, end, finish


def script_of(messages):
    said = messages[-1]["content"]
    if messages[-1]["role"] == "assistant":
        return Script(" and here is the rest.")
    if said.startswith("hostile"):
        return Script(HOSTILE)
    if said.startswith("markdown"):
        return Script(MARKDOWN)
    if said.startswith("slow"):
        return Script("word " * 4000, pause=0.02)
    if said.startswith("busy"):
        return Script("", 429, {"Retry-After": "7"}, {"message": "too many requests wait", "type": "rate_limit_error"})
    if said.startswith("refuse"):
        return Script("", 400, error={"message": "temperature is 9, the limit is 2", "type": "invalid_request_error", "param": "temperature"})
    if said.startswith("too long") and len(messages) > 2:
        return Script("", 400, error={"message": "5000 tokens, the limit is 4096", "code": "context_length_exceeded",
                                      "n_prompt_tokens": 5000, "n_ctx": 4096})
    if said.startswith("break"):
        return Script("The first half", end="cut")
    if said.startswith("fault"):
        return Script("Half of it", end="error")
    if said.startswith("limit"):
        return Script("A short part", finish="length")
    return Script(f"You said: {said}")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, kind, body, headers=None):
        data = body if isinstance(body, bytes) else body.encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), "Content-Security-Policy": POLICY,
                            "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def reply_json(self, status, value, headers=None):
        self.reply(status, "application/json", json.dumps(value), headers)

    def allowed(self):
        key = self.server.api_key
        if key and self.headers.get("Authorization") != f"Bearer {key}":
            self.reply_json(401, {"error": {"message": "no valid API key", "type": "authentication_error", "code": "invalid_api_key"}})
            return False
        return True

    def do_GET(self):
        name = self.path.partition("?")[0].lstrip("/") or "index.html"
        file = PAGE / name
        if "/" not in name and file.is_file():
            self.reply(200, TYPES[file.suffix], file.read_bytes())
        elif not self.allowed():
            pass
        elif self.path == "/v1/models":
            self.reply_json(200, {"object": "list", "data": [{"id": "demo-model", "object": "model", "max_model_len": CONTEXT},
                                                             {"id": "other-model", "object": "model", "max_model_len": 1000}]})
        elif self.path == "/metrics":
            self.reply(200, "text/plain; version=0.0.4", self.server.metrics())
        else:
            self.reply_json(404, {"error": {"message": f"no {self.path}", "type": "not_found_error"}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return
        if self.path == "/apply-template":
            self.reply_json(200, {"prompt": "".join(f"<{m['role']}>{m['content']}" for m in body["messages"]) + "<assistant>"})
            return
        self.server.requests.append(body)
        script = script_of(body["messages"])
        if script.error:
            self.reply_json(script.status, {"error": script.error}, script.headers)
        else:
            try:
                self.stream(body, script)
            except (BrokenPipeError, ConnectionResetError):
                self.server.aborted.set()
            self.close_connection = True

    def stream(self, body, script):
        self.send_response(200)
        for name, value in (("Content-Type", "text/event-stream; charset=utf-8"), ("Cache-Control", "no-cache"), ("Transfer-Encoding", "chunked")):
            self.send_header(name, value)
        self.end_headers()
        self.chunk(": ping\n\n")
        self.delta({"role": "assistant", "content": ""})
        for piece in script.pieces:
            self.delta({"content": piece}, body.get("logprobs") and piece)
            if script.pause:
                time.sleep(script.pause)
        if script.end == "cut":
            # A browser may throw away what it has not read yet when the connection breaks.
            self.server.may_cut.wait(20)
            self.connection.close()
            return
        if script.end == "error":
            self.data({"error": {"message": "the engine stopped", "type": "server_error", "code": 500}})
        else:
            self.delta({}, finish=script.finish)
            prompt = sum(len(m["content"]) for m in body["messages"])
            self.data({"object": "chat.completion.chunk", "choices": [],
                       "usage": {"prompt_tokens": prompt, "completion_tokens": len(script.pieces), "total_tokens": prompt + len(script.pieces),
                                 "prompt_tokens_details": {"cached_tokens": prompt // 2}}})
        self.chunk("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def delta(self, delta, token=None, finish=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        if token:
            choice["logprobs"] = {"content": [{"token": token, "logprob": -0.3, "top_logprobs": [{"token": token, "logprob": -0.3},
                                                                                               {"token": "other", "logprob": -2.0}]}]}
        self.data({"object": "chat.completion.chunk", "choices": [choice], "usage": None})

    def data(self, value):
        self.chunk(f"data: {json.dumps(value, ensure_ascii=False)}\n\n")

    def chunk(self, text):
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


class MockServer(http.server.ThreadingHTTPServer):
    """requests: the bodies asked for; aborted: set when a client went away in the middle of an answer; may_cut: to be set when what
    was sent of an answer that will be cut has been seen."""
    daemon_threads = True

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), Handler)
        self.api_key = None
        self.requests = []
        self.aborted = threading.Event()
        self.may_cut = threading.Event()
        self.readings = 0
        self.connections = set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def stop(self):
        """As when the process ends: no listener, and open connections are closed."""
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # closed before

    def handle_error(self, *_):
        pass  # a browser that goes away is no news

    def metrics(self):
        """Counters that move on with every reading, under vLLM's names."""
        self.readings += 1
        n = self.readings
        wave = 40 + 30 * ((n * 7) % 11) / 10
        generated = sum(40 + 30 * ((k * 7) % 11) / 10 for k in range(n)) * 2
        lines = [f'vllm:num_requests_running{{model_name="demo-model"}} {n % 4 + 1}', f'vllm:num_requests_waiting{{model_name="demo-model"}} {n % 3}',
                 f"vllm:kv_cache_usage_perc {min(0.9, 0.1 + wave / 200)}", f"vllm:prompt_tokens_total {n * 512.0}",
                 f"vllm:generation_tokens_total {generated}", f"vllm:prefix_cache_queries_total {n * 512}", f"vllm:prefix_cache_hits_total {n * 384}",
                 f"vllm:num_preemptions_total {n // 5}", f'vllm:request_success_total{{finished_reason="stop"}} {n * 3}',
                 f'vllm:request_success_total{{finished_reason="length"}} {n}']
        for bound, share in (("0.1", 1), ("0.5", 3), ("1.0", 4), ("+Inf", 4)):
            lines.append(f'vllm:time_to_first_token_seconds_bucket{{le="{bound}"}} {n * share}')
            lines.append(f'vllm:inter_token_latency_seconds_bucket{{le="{bound}"}} {n * 40 * share}')
        return "# HELP vllm:num_requests_running Running\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    server = MockServer(int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
    print(server.url, file=sys.stderr)
    threading.Event().wait()

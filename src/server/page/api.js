// Talks to the server's OpenAI endpoints. Every failure becomes an ApiError that says what happened in one word (kind).
import {api_key} from "./settings.js";

const kRoot = new URL(".", document.baseURI);
const kMaxLine = 16 << 20;  // a stream line longer than this is not an answer

// kind: "unreachable", "unauthorized", "busy", "unavailable", "too_long", "too_large", "refused", "not_found", "failed", "stream", "cut",
// "schema" (before any request); the texts hold words for each.
export class ApiError extends Error {
  constructor(kind, message = "", details = {}) {
    super(message);
    Object.assign(this, {kind, status: 0, retry_after: 0, param: ""}, details);
  }
}

const kKinds = {401: "unauthorized", 403: "unauthorized", 404: "not_found", 405: "not_found", 413: "too_large", 429: "busy", 503: "unavailable"};

function kind_of(status, error) {
  const code = String(error.code ?? error.type ?? "");
  if (code.includes("context_length_exceeded") || error.type === "exceed_context_size_error") return "too_long";
  return kKinds[status] ?? (status >= 500 ? "failed" : "refused");
}

// Seconds from now; the header holds seconds or a date.
function retry_after(header) {
  if (!header) return 0;
  const wait = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(wait) ? Math.max(0, Math.ceil(wait)) : 0;
}

async function error_of(response) {
  const text = await response.text().catch(() => "");
  let error = {message: text.slice(0, 500)};
  try {
    const body = JSON.parse(text);
    error = typeof body.error === "object" && body.error ? body.error : {message: body.message ?? body.error ?? "", ...body};
  } catch {
    // Not JSON: a proxy's page. Its beginning is better than nothing.
  }
  return new ApiError(kind_of(response.status, error), String(error.message ?? ""),
                      {status: response.status, retry_after: retry_after(response.headers.get("retry-after")), param: String(error.param ?? "")});
}

// A request to the server; the response's status is below 400.
async function ask(path, {body, signal, timeout_ms} = {}) {
  const headers = {};
  if (api_key()) headers.Authorization = `Bearer ${api_key()}`;
  if (body) headers["Content-Type"] = "application/json";
  const limit = timeout_ms ? AbortSignal.timeout(timeout_ms) : undefined;
  let response;
  try {
    response = await fetch(new URL(path, kRoot), {method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal: signal ?? limit});
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("unreachable", error.message);
  }
  if (!response.ok) throw await error_of(response);
  return response;
}

// [{id, max_model_len}]
export async function list_models() {
  const body = await (await ask("v1/models", {timeout_ms: 10000})).json();
  return (body.data ?? []).map(({id, max_model_len}) => ({id: String(id), max_model_len: Number(max_model_len) || 0}));
}

export async function metrics_text() {
  return (await ask("metrics", {timeout_ms: 10000})).text();
}

// The prompt as the model gets it.
export async function render_prompt(model, messages) {
  return (await (await ask("apply-template", {body: {model, messages}, timeout_ms: 10000})).json()).prompt;
}

// The data of each event of a text/event-stream, until it ends.
export async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let data = [];
  try {
    for (;;) {
      const {value, done} = await reader.read();
      if (done) return;
      rest += value;
      if (rest.length > kMaxLine) throw new ApiError("stream", "the stream has no line ends");
      // A lone \r at the end may be the first half of \r\n.
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
        if (line === "" && data.length > 0) {
          yield data.join("\n");
          data = [];
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// Streams a chat answer: on_chunk gets every chunk object. Ends well only with [DONE] or a finish reason.
export async function stream_chat(body, signal, on_chunk) {
  const response = await ask("v1/chat/completions", {body, signal});
  let finished = false;
  try {
    for await (const data of events(response.body)) {
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError("stream", String(chunk.error.message ?? chunk.error));
      finished ||= Boolean(chunk.choices?.[0]?.finish_reason);
      on_chunk(chunk);
    }
  } catch (error) {
    if (error instanceof ApiError || signal.aborted) throw error;
    if (error instanceof SyntaxError) throw new ApiError("stream", error.message);
    if (!finished) throw new ApiError("cut", error.message);
  }
  if (!finished) throw new ApiError("cut");
}

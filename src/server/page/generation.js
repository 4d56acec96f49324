// One running answer: asks the server, grows the message as chunks come, measures, and saves what came however it ends.
import {ApiError, stream_chat} from "./api.js";
import {request_fields, settings} from "./settings.js";

const kSaveEvery = 500;  // ms: what a crash of the browser can lose

// The messages a request sends for an answer: all above it, and what it holds already when it is to be continued.
export function messages_for(conversation, answer) {
  const above = [];
  for (let at = conversation.parent(answer); at; at = conversation.parent(at)) above.unshift(at);
  const kept = above.slice(Math.max(0, above.findIndex((message) => message.id === conversation.head.first)));
  const messages = kept.filter((message) => message.content !== "").map(({role, content}) => ({role, content}));
  if (settings.system.trim() !== "") messages.unshift({role: "system", content: settings.system});
  if (answer.content !== "") messages.push({role: "assistant", content: answer.content});
  return messages;
}

export class Generation {
  // model() resolves to the model's name; save(message) stores the answer; changed(message) draws it.
  constructor(conversation, answer, {model, save, changed}) {
    Object.assign(this, {conversation, answer, model, save, changed});
    this.abort = new AbortController();
    this.last_save = 0;
  }

  stop() {
    this.abort.abort();
  }

  // Resolves when the answer has ended, well or not; the answer's state says how.
  async run() {
    const {answer} = this;
    try {
      Object.assign(answer, {state: "streaming", error: null, stats: {chunks: 0}});
      await this.keep();
      answer.model = await this.model();
      const body = this.body();
      this.begin = performance.now();
      await stream_chat(body, this.abort.signal, (chunk) => this.take(chunk));
    } catch (error) {
      if (this.abort.signal.aborted) answer.state = "stopped";
      else this.fail(error);
    }
    if (answer.state === "streaming") answer.state = this.finish ?? "stop";
    this.measure();
    await this.keep();
  }

  body() {
    const {answer} = this;
    const body = {model: answer.model, messages: messages_for(this.conversation, answer), stream: true,
                  stream_options: {include_usage: true}, ...this.settings_fields()};
    if (answer.content !== "") Object.assign(body, {continue_final_message: true, add_generation_prompt: false});
    return body;
  }

  settings_fields() {
    try {
      return request_fields();
    } catch {
      throw new ApiError("schema");
    }
  }

  take(chunk) {
    const {answer} = this;
    const choice = chunk.choices?.[0];
    const text = choice?.delta?.content;
    if (typeof text === "string" && text !== "") {
      const now = performance.now();
      this.first ??= now;
      this.last = now;
      answer.content += text;
      answer.stats.chunks += 1;
    }
    const tokens = choice?.logprobs?.content;
    if (Array.isArray(tokens)) (answer.logprobs ??= []).push(...tokens.map(compact_token));
    if (choice?.finish_reason) this.finish = choice.finish_reason === "length" ? "length" : "stop";
    if (chunk.usage) answer.stats.usage = chunk.usage;
    this.measure();
    this.changed(answer);
    if (performance.now() - this.last_save > kSaveEvery) this.keep();
  }

  measure() {
    const {stats} = this.answer;
    if (this.first === undefined) return;
    // Without the server's count (still running, or stopped) a chunk is taken for a token.
    const tokens = stats.usage?.completion_tokens ?? stats.chunks;
    stats.first_token = (this.first - this.begin) / 1000;
    const time = (this.last - this.first) / 1000;
    stats.rate = time > 0 && tokens > 1 ? (tokens - 1) / time : 0;
  }

  fail(error) {
    const known = error instanceof ApiError ? error : new ApiError("stream", String(error?.message ?? error));
    this.answer.state = "error";
    this.answer.error = {kind: known.kind, message: known.message, status: known.status,
                         retry_at: known.retry_after ? Date.now() + known.retry_after * 1000 : 0};
  }

  // A failed save is told once, by the store's owner; the answer goes on.
  keep() {
    this.last_save = performance.now();
    this.changed(this.answer);
    return this.save(this.answer);
  }
}

function compact_token({token, logprob, top_logprobs}) {
  return {token, logprob, top: (top_logprobs ?? []).map((other) => ({token: other.token, logprob: other.logprob}))};
}

// The status dialog: what the server does now, from /metrics every two seconds while it can be seen.
import {ApiError, metrics_text} from "./api.js";
import {el, open_dialog} from "./dom.js";
import {error_words} from "./message_view.js";
import {median, parse_metrics, sample, totals} from "./metrics.js";
import {Plot} from "./plot.js";
import {number, seconds} from "./text.js";

const kEvery = 2000;  // ms
const kMoments = 150;  // five minutes

const kTiles = ["running", "waiting_requests", "cache_use", "prefix_hits", "median_first_token", "median_gap", "requests_done", "preemptions"];

export class StatusView {
  constructor() {
    this.samples = [];
    const {body} = open_dialog("status", "wide", () => this.close());
    this.problem = el("p", {class: "problem", role: "status", hidden: true});
    this.tiles = Object.fromEntries(kTiles.map((name) => [name, el("strong", {}, "–")]));
    this.plots = {
      generation: new Plot("generation_rate", {names: [""], unit: "tok/s", moments: kMoments}),
      prompt: new Plot("prompt_rate", {names: [""], unit: "tok/s", moments: kMoments}),
      cache: new Plot("cache_plot", {names: ["cache_use", "prefix_hits"], unit: "%", limit: 100, moments: kMoments}),
      queue: new Plot("queue_plot", {names: ["running", "waiting_requests"], unit: "", moments: kMoments}),
    };
    body.append(this.problem, el("dl", {class: "tiles"}, ...kTiles.map((name) => el("div", {id: `tile-${name}`}, el("dt", {t: name}), el("dd", {}, this.tiles[name])))),
      el("div", {class: "plots"}, ...Object.values(this.plots).map((plot) => plot.node)), el("p", {class: "quiet", t: "status_hint"}));
    this.seen = () => { if (!document.hidden) this.poll(); };
    document.addEventListener("visibilitychange", this.seen);
    this.poll();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.seen);
  }

  async poll() {
    clearTimeout(this.timer);
    if (this.closed || document.hidden || this.asking) return;
    this.asking = true;
    try {
      this.take(parse_metrics(await metrics_text()), performance.now());
      this.problem.hidden = true;
    } catch (error) {
      this.problem.hidden = false;
      this.problem.textContent = error_words(error instanceof ApiError ? error : new ApiError("stream", error.message));
    }
    this.asking = false;
    if (!this.closed) this.timer = setTimeout(() => this.poll(), kEvery);
  }

  take(now, time) {
    this.start ??= now;
    const latest = sample(now, this.before, (time - this.time) / 1000);
    this.before = now;
    this.time = time;
    this.samples.push(latest);
    if (this.samples.length > kMoments) this.samples.shift();
    const series = (...names) => this.samples.map((one) => names.map((name) => one[name]));
    this.plots.generation.draw(series("generation"));
    this.plots.prompt.draw(series("prompt"));
    this.plots.cache.draw(series("cache", "hits"));
    this.plots.queue.draw(series("running", "waiting"));
    this.draw_tiles(now, latest);
  }

  draw_tiles(now, latest) {
    const all = totals(now);
    const none = {values: {}, buckets: {}};
    // Of what happened since this view was opened, else since the server's start.
    const middle = (name) => median(name, now, this.start) ?? median(name, now, none);
    const show = (name, value, words) => { this.tiles[name].textContent = value === null ? "–" : words(value); };
    const percent = (value) => `${number(value, 1)} %`;
    show("running", latest.running, number);
    show("waiting_requests", latest.waiting, number);
    show("cache_use", latest.cache, percent);
    show("prefix_hits", all.hits, percent);
    show("median_first_token", middle("time_to_first_token_seconds_bucket"), seconds);
    show("median_gap", middle("inter_token_latency_seconds_bucket"), seconds);
    show("requests_done", all.done, number);
    show("preemptions", all.preemptions, number);
  }
}

// Reads Prometheus text and works out what the status page shows.

const kLine = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+\d+)?$/;
const kBound = /(?:^|,)\s*le="([^"]*)"/;
// The prefix of the names is the server's choice: "vllm:", "fathom:", "fathom_" or none.
const kPrefix = /^[a-zA-Z0-9]+[:_]/;

const kScalars = new Set(["num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "prompt_tokens_total", "generation_tokens_total",
                          "prefix_cache_queries_total", "prefix_cache_hits_total", "num_preemptions_total", "request_success_total"]);
const kHistograms = new Set(["time_to_first_token_seconds_bucket", "inter_token_latency_seconds_bucket"]);

// {values: {suffix: sum over labels}, buckets: {suffix: Map(bound -> count)}}
export function parse_metrics(text) {
  const values = {};
  const buckets = {};
  for (const line of text.split("\n")) {
    const match = line.startsWith("#") ? null : kLine.exec(line.trim());
    if (!match) continue;
    const [, full, labels, digits] = match;
    const value = Number(digits);
    if (!Number.isFinite(value)) continue;
    const name = kScalars.has(full) || kHistograms.has(full) ? full : full.replace(kPrefix, "");
    if (kScalars.has(name)) values[name] = (values[name] ?? 0) + value;
    if (!kHistograms.has(name)) continue;
    const bound = kBound.exec(labels ?? "")?.[1];
    const limit = bound === "+Inf" ? Infinity : Number(bound);
    const map = (buckets[name] ??= new Map());
    map.set(limit, (map.get(limit) ?? 0) + value);
  }
  return {values, buckets};
}

// Change of a counter; a server that restarted counts from zero.
function growth(name, now, before) {
  const a = before?.values[name];
  const b = now.values[name];
  if (a === undefined || b === undefined) return null;
  return b >= a ? b - a : b;
}

// The median of what was observed between two readings, interpolated inside its bucket; null where nothing was.
export function median(name, now, before) {
  const bounds = [...(now.buckets[name]?.keys() ?? [])].sort((a, b) => a - b);
  const counts = bounds.map((bound) => Math.max(0, now.buckets[name].get(bound) - (before.buckets[name]?.get(bound) ?? 0)));
  const total = counts[counts.length - 1] ?? 0;
  if (total === 0) return null;
  const i = counts.findIndex((count) => count >= total / 2);
  const low = i > 0 ? bounds[i - 1] : 0;
  if (bounds[i] === Infinity) return low;
  const below = i > 0 ? counts[i - 1] : 0;
  return low + (bounds[i] - low) * (total / 2 - below) / (counts[i] - below);
}

// What happened in the seconds between two readings. Unknown figures are null, as are rates where before is.
export function sample(now, before, seconds) {
  const rate = (name) => {
    const change = growth(name, now, before);
    return change === null ? null : change / seconds;
  };
  const value = (name) => now.values[name] ?? null;
  const queries = growth("prefix_cache_queries_total", now, before);
  return {
    generation: rate("generation_tokens_total"),
    prompt: rate("prompt_tokens_total"),
    running: value("num_requests_running"),
    waiting: value("num_requests_waiting"),
    cache: value("kv_cache_usage_perc") === null ? null : value("kv_cache_usage_perc") * 100,
    hits: queries ? 100 * growth("prefix_cache_hits_total", now, before) / queries : null,
  };
}

// Shares and totals since the server's start.
export function totals({values}) {
  const queries = values.prefix_cache_queries_total;
  return {
    done: values.request_success_total ?? null,
    preemptions: values.num_preemptions_total ?? null,
    hits: queries ? 100 * values.prefix_cache_hits_total / queries : null,
  };
}

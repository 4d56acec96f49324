#!/usr/bin/env python3
"""What the server costs beside the engine: CPU time of the I/O thread and time between steps, per step; and how soon a stream's
first byte follows its first token. Loads a server with `fathom bench serve`. Standard library only.

usage: serve_cost.py FATHOM_BINARY MODEL [STREAMS ..]         (default 32 64)

On a machine whose cores the engine fills, the load generator takes time from both; shares of the step stand all the same."""
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "end_to_end"))
from serving import Server  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
OUTPUT = 256  # tokens of an answer


def thread_seconds(pid):
    """{thread id: CPU seconds}"""
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        fields = pathlib.Path(f"/proc/{pid}/task/{task}/stat").read_text().rsplit(")", 1)[1].split()
        found[int(task)] = (int(fields[11]) + int(fields[12])) / TICKS
    return found


def reading(server):
    names = ("engine_steps_total", "engine_step_seconds_total", "generation_tokens_total", "first_byte_delay_seconds_sum",
             "first_byte_delay_seconds_count")
    return {name: server.metric(f"fathom:{name}") for name in names}


def delay_buckets(server):
    lines = server.request("GET", "/metrics")[2].splitlines()
    return [(line.split('le="')[1].split('"')[0], float(line.split()[-1])) for line in lines
            if line.startswith("fathom:first_byte_delay_seconds_bucket")]


def measure(binary, model, streams):
    with Server(binary, "--max-num-seqs", streams, "--speculation", "off", model=model) as server:
        def load(number):
            subprocess.run([binary, "bench", "serve", "--url", server.url, "--dataset-name", "random", "--random-input-len", "16",
                            "--random-output-len", str(OUTPUT), "--num-prompts", str(number), "--max-concurrency", str(streams), "--ignore-eos",
                            "--num-warmups", "0"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        load(streams)
        before, cpu_before, start, buckets_before = reading(server), thread_seconds(server.process.pid), time.monotonic(), delay_buckets(server)
        load(3 * streams)
        seconds = time.monotonic() - start
        after, cpu_after, buckets = reading(server), thread_seconds(server.process.pid), delay_buckets(server)
        grown = {name: after[name] - before[name] for name in after}
        io = cpu_after[server.process.pid] - cpu_before[server.process.pid]
        steps, computing = grown["engine_steps_total"], grown["engine_step_seconds_total"]
        delays = grown["first_byte_delay_seconds_count"]
        within = {bound: (count - dict(buckets_before)[bound]) / delays for bound, count in buckets}
        print(f"{streams:7} {grown['generation_tokens_total'] / seconds:9.0f} {computing / steps * 1e3:9.2f} {io / steps * 1e3:9.3f} "
              f"{100 * io / computing:7.2f} % {100 * (1 - computing / seconds):7.1f} % "
              f"{grown['first_byte_delay_seconds_sum'] / delays * 1e3:9.3f} {100 * within['0.001']:7.1f} %", flush=True)


if __name__ == "__main__":
    fathom, folder = sys.argv[1:3]
    print("streams  tokens/s   step ms  I/O CPU ms  of step  not in a step  first byte ms  within 1 ms")
    for number in map(int, sys.argv[3:] or ("32", "64")):
        measure(fathom, folder, number)

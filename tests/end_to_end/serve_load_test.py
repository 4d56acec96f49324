#!/usr/bin/env python3
"""`fathom serve` under load: answers equal those of the same requests alone, memory stays where it is, idle connections cost
nothing. Short by default; longer by environment variables, of which each prints a table:

  FATHOM_SOAK_SECONDS=60    32 streams at once for so long
  FATHOM_REQUESTS=50000     short requests, one after the other on 8 connections
  FATHOM_IDLE=1000          idle connections and waiting streams beside 64 active ones

usage: serve_load_test.py FATHOM_BINARY [TEST ..]
Standard library only."""
import http.client
import itertools
import json
import os
import random
import re
import resource
import sys
import threading
import time
import unittest

from serving import PATIENCE, Server, in_threads, wait_until

BINARY = ""
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
MIB = 1 << 20
# What may differ between two answers to one request: when it was made, and what the cache had.
VOLATILE = re.compile(r'"(created|created_at|cached_tokens)":\d+')


def setting(name, default):
    return int(os.environ.get(name, default))


INDEX = re.compile(r'"index":(\d+)')


def comparable(text):
    """Of a stream the choices one after the other: how their events interleave is the scheduler's."""
    text = VOLATILE.sub(r'"\1":0', text.replace(": ping\n\n", ""))
    if not text.startswith("data: "):
        return text
    return "\n\n".join(sorted(text.split("\n\n"), key=lambda event: int(found[1]) if (found := INDEX.search(event)) else 1 << 30))


class Client:
    """One kept connection."""

    def __init__(self, server):
        self.server = server
        self.connect()

    def connect(self):
        self.connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def ask(self, path, body):
        """(status, text without what may differ)"""
        self.connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", "X-Request-Id": "x"})
        response = self.connection.getresponse()
        return response.status, comparable(response.read().decode())

    def leave(self, path, body):
        """Asks and is gone before the answer is complete."""
        self.connection.request("POST", path, json.dumps(body))
        self.connection.close()
        self.connect()


def requests_of_all_kinds():
    """(path, body): bodies that together touch everything an answer may have."""
    kinds = [
        {"prompt": "The old house", "temperature": 0},
        {"prompt": "话说宋江", "temperature": 1, "n": 2, "logprobs": 3},
        {"prompt": [5, 17, 400, 33], "temperature": 0.7, "top_p": 0.9, "return_token_ids": True},
        {"prompt": "It was ", "stop": ["e", "and"], "presence_penalty": 1},
        {"prompt": "Say: ", "guided_regex": "[a-c]{3,20}(x|y)?"},
        {"prompt": ["She", "He"], "echo": True, "logprobs": 1},
        {"messages": [{"role": "user", "content": "Hello"}], "logprobs": True, "top_logprobs": 2},
        {"messages": [{"role": "user", "content": "Give JSON"}],
         "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "properties": {
             "a": {"type": "integer", "minimum": 0, "maximum": 99}, "b": {"enum": ["x", "yy"]}}, "required": ["a", "b"], "additionalProperties": False}}}},
        {"messages": [{"role": "user", "content": "word " * 120}], "min_p": 0.05},
        {"prompt": "x", "temperature": 9},  # refused
    ]
    all_bodies = []
    for seed, (kind, stream) in enumerate(itertools.product(kinds, (False, True))):
        body = {"max_tokens": 12 + 3 * seed, "seed": seed, "stream": stream, **kind}
        if stream and "temperature" not in kind:
            body["stream_options"] = {"include_usage": True}
        all_bodies.append((CHAT if "messages" in kind else TEXT, body))
    return all_bodies


class Soak(unittest.TestCase):
    STREAMS = 32

    def test_answers_under_load_equal_those_alone(self):
        seconds = setting("FATHOM_SOAK_SECONDS", 5)
        bodies = requests_of_all_kinds()
        with Server(BINARY, "--max-num-seqs", 24) as server:
            with Client(server) as client:
                alone = [client.ask(path, body) for path, body in bodies]
            self.assertEqual({status for status, _ in alone}, {200, 400})
            counts = [0] * self.STREAMS
            end = time.monotonic() + seconds

            def stream(i):
                order = random.Random(i)
                with Client(server) as mine:
                    while counts[i] == 0 or time.monotonic() < end:
                        which = order.randrange(len(bodies))
                        path, body = bodies[which]
                        if order.random() < 0.05:
                            mine.leave(path, body)
                        self.assertEqual(mine.ask(path, body), alone[which], body)
                        counts[i] += 1

            in_threads([lambda i=i: stream(i) for i in range(self.STREAMS)])
            server.wait_for_load(server_load=0, cache_pages_used=0)
        self.assertEqual(server.status, 0, server.log[-2000:])
        print(f"soak: {self.STREAMS} streams, {seconds} s, {sum(counts)} answers, all equal to those alone", file=sys.stderr)


def resident_bytes(server):
    with open(f"/proc/{server.process.pid}/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def open_files(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


class Memory(unittest.TestCase):
    CLIENTS = 8
    MOST_GROWTH = 6 * MIB  # after the warm-up, of which the allocator's own spread is the larger part

    def test_memory_stays_flat(self):
        total = setting("FATHOM_REQUESTS", 2000)
        bodies = [(path, {**body, "max_tokens": 3}) for path, body in requests_of_all_kinds()]
        # A cache so small that it is in use to its last page early on.
        # The address sanitizer keeps what is freed, up to 256 MB unless told otherwise.
        with Server(BINARY, "--max-model-len", 512, "--max-num-seqs", 16, "--kv-memory", "4M",
                    env={"ASAN_OPTIONS": "quarantine_size_mb=1:thread_local_quarantine_size_kb=16"}) as server:
            files = open_files(server)
            numbers = itertools.count()
            rows = []
            lock = threading.Lock()

            def client():
                with Client(server) as mine:
                    while (number := next(numbers)) < total:
                        path, body = bodies[number % len(bodies)]
                        if number % 50 == 49:
                            mine.leave(path, {**body, "max_tokens": 100})
                            continue
                        if number % 7 == 0:  # constraints and prompts that were never seen before
                            path, body = TEXT, {"prompt": [number % 8000, 7, 8], "max_tokens": 3, "guided_regex": f"[a-z]{{2}}{number}"}
                        mine.ask(path, body)
                        if number % (total // 20) == 0:
                            with lock:
                                rows.append((number, resident_bytes(server), open_files(server)))

            in_threads([client] * self.CLIENTS)
            server.wait_for_load(server_load=0, cache_pages_used=0)
            wait_until(lambda: open_files(server) == files, f"{files} open files, as before")
            rows.append((total, resident_bytes(server), open_files(server)))
        self.assertEqual(server.status, 0, server.log[-2000:])
        rows.sort()
        table = "".join(f"{number:9} {bytes_ / MIB:10.2f} {files:6}\n" for number, bytes_, files in rows)
        print(" requests   resident  files\n" + table, file=sys.stderr)
        settled = next(bytes_ for number, bytes_, _ in rows if number >= total * 0.4)
        self.assertLess(rows[-1][1] - settled, self.MOST_GROWTH, table)


class Idle(unittest.TestCase):
    ACTIVE = 64 if "FATHOM_IDLE" in os.environ else 16

    def test_idle_connections_and_waiting_streams_cost_nothing(self):
        idle = setting("FATHOM_IDLE", 200)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * idle + 500)), hard))
        body = {"max_tokens": 60, "ignore_eos": True, "temperature": 1, "stream": True, "return_token_ids": True}
        bodies = [{**body, "prompt": [i + 1] * 5, "seed": i} for i in range(self.ACTIVE)]
        with Server(BINARY, "--max-num-seqs", self.ACTIVE, "--max-queue", idle, "--max-connections", 4 * idle + 200,
                    "--idle-timeout", 3600, "--ping-interval", 0.5) as server:
            def stream(one):
                with Client(server) as client:
                    return client.ask(TEXT, one)

            def active():
                begin = time.monotonic()
                texts = in_threads([lambda one=one: stream(one) for one in bodies])
                return texts, time.monotonic() - begin

            want, _ = active()
            again, alone = active()
            self.assertEqual(again, want)
            empty = resident_bytes(server)
            silent = [Client(server) for _ in range(idle)]
            for client in silent:
                client.connection.request("GET", "/ping")
                self.assertEqual(client.connection.getresponse().read(), b'{"status":"ok"}')
            held = resident_bytes(server) - empty
            got, beside_silent = active()
            self.assertEqual(got, want)
            # Streams that wait: first those that run are taken up for good, then come as many as the queue holds.
            runners = [server.send("POST", TEXT, {**body, "prompt": "x", "max_tokens": 300, "priority": -1}) for _ in range(self.ACTIVE)]
            server.wait_for_load(running=self.ACTIVE)
            waiting = [server.send("POST", TEXT, {**body, "prompt": [9], "max_tokens": 1}) for _ in range(idle)]
            for response, connection in runners + waiting:
                self.assertTrue(response.read().endswith(b"data: [DONE]\n\n"))
                connection.close()
            for client in silent:
                client.connection.close()
            server.wait_for_load(server_load=0, cache_pages_used=0)
        self.assertEqual(server.status, 0, server.log[-2000:])
        tokens = self.ACTIVE * body["max_tokens"]
        print(f"{self.ACTIVE} streams alone: {tokens / alone:.0f} tokens/s; beside {idle} idle connections "
              f"({held / 1024 / idle:.1f} KiB each): {tokens / beside_silent:.0f} tokens/s; then {idle} streams in the queue", file=sys.stderr)


if __name__ == "__main__":
    BINARY = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=1)

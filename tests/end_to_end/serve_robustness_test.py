#!/usr/bin/env python3
"""`fathom serve` against hostile, careless and vanishing clients. Standard library only.

usage: serve_robustness_test.py FATHOM_BINARY"""
import json
import os
import pathlib
import socket
import sys
import tempfile
import threading
import time
import unittest

from serving import DEMO, PATIENCE, Server, at, events_of, free_port, in_threads, wait_until

BINARY = ""
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
LONG = {"prompt": "The old house", "max_tokens": 4000, "ignore_eos": True, "seed": 1}
HEAD = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"


def status_of(server, data, hold_open=True):
    """Status of the reply to raw bytes; 0 where the connection ends without one."""
    with server.connect() as sock:
        sock.sendall(data if isinstance(data, bytes) else data.encode())
        if not hold_open:
            sock.shutdown(socket.SHUT_WR)
        line = sock.makefile("rb").readline().split()
        return int(line[1]) if line else 0


class OneServer(unittest.TestCase):
    """A server with short limits, shared by the tests of a class, that must have lost nothing at the end."""
    FLAGS = ("--max-num-seqs", 4, "--max-queue", 4, "--head-timeout", 1, "--body-timeout", 1, "--max-body-size", "256k")

    @classmethod
    def setUpClass(cls):
        cls.server = Server(BINARY, *cls.FLAGS)
        cls.server.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.wait_for_load(server_load=0, cache_pages_used=0)
        cls.server.__exit__()
        assert cls.server.status == 0, (cls.server.status, cls.server.log)


class BadRequests(OneServer):
    USER = [{"role": "user", "content": "x"}]
    # (path, body or bytes, status, param)
    BODIES = [
        (TEXT, b"", 400, None), (TEXT, b"{", 400, None), (TEXT, b"[]", 400, None), (TEXT, b'{"prompt": "\xff"}', 400, None),
        (TEXT, b'{"x":' + b"[" * 100_000, 400, None), (TEXT, b'{"prompt":"x","prompt":"y"}', 400, None),
        (TEXT, b'{"prompt":"x","temperature":NaN}', 400, None), (TEXT, b'{"prompt":"x","temperature":1e999}', 400, None),
        (TEXT, {}, 400, "prompt"), (TEXT, {"prompt": []}, 400, "prompt"), (TEXT, {"prompt": [[]]}, 400, "prompt"),
        (TEXT, {"prompt": [-1]}, 400, "prompt"), (TEXT, {"prompt": [8192]}, 400, "prompt"), (TEXT, {"prompt": {}}, 400, "prompt"),
        (TEXT, {"prompt": ["x"] * 65}, 400, "prompt"), (TEXT, {"prompt": [1.5]}, 400, "prompt"),
        (TEXT, {"prompt": "x" * 200_000}, 400, "prompt"), (TEXT, {"prompt": "x", "max_tokens": 4096}, 400, "prompt"),
        (TEXT, {"prompt": "x", "max_tokens": 0}, 400, "max_tokens"), (TEXT, {"prompt": "x", "max_tokens": -2}, 400, "max_tokens"),
        (TEXT, {"prompt": "x", "max_tokens": "9"}, 400, "max_tokens"), (TEXT, {"prompt": "x", "max_tokens": 1 << 63}, 400, "max_tokens"),
        (TEXT, {"prompt": "x", "n": 0}, 400, "n"), (TEXT, {"prompt": "x", "n": 17}, 400, "n"), (TEXT, {"prompt": "x", "n": 10**9}, 400, "n"),
        (TEXT, {"prompt": "x", "n": 9}, 400, "n"), (TEXT, {"prompt": "x", "best_of": 2, "stream": True}, 400, "best_of"), (TEXT, {"prompt": "x", "best_of": 17}, 400, "best_of"),
        (TEXT, {"prompt": "x", "truncate_prompt_tokens": 0}, 400, "truncate_prompt_tokens"),
        (TEXT, {"prompt": "x", "temperature": -0.1}, 400, "temperature"), (TEXT, {"prompt": "x", "temperature": 2.1}, 400, "temperature"),
        (TEXT, {"prompt": "x", "top_p": 1.1}, 400, "top_p"), (TEXT, {"prompt": "x", "top_k": -2}, 400, "top_k"),
        (TEXT, {"prompt": "x", "min_p": -1}, 400, "min_p"), (TEXT, {"prompt": "x", "logprobs": 21}, 400, "logprobs"),
        (TEXT, {"prompt": "x", "logprobs": True}, 400, "logprobs"), (TEXT, {"prompt": "x", "stop": ["x"] * 17}, 400, "stop"),
        (TEXT, {"prompt": "x", "stop": "x" * 257}, 400, "stop"), (TEXT, {"prompt": "x", "stop": [1]}, 400, "stop"),
        (TEXT, {"prompt": "x", "stop_token_ids": [-1]}, 400, "stop_token_ids"), (TEXT, {"prompt": "x", "stream": 1}, 400, "stream"),
        (TEXT, {"prompt": "x", "logit_bias": {"8192": 1}}, 400, "logit_bias"), (TEXT, {"prompt": "x", "logit_bias": {"-1": 1}}, 400, "logit_bias"),
        (TEXT, {"prompt": "x", "logit_bias": {"1": 101}}, 400, "logit_bias"), (TEXT, {"prompt": "x", "logit_bias": {"x": 1}}, 400, "logit_bias"),
        (TEXT, {"prompt": "x", "logit_bias": {str(i): 1 for i in range(1025)}}, 400, "logit_bias"),
        (TEXT, {"prompt": "x", "stream_options": {"include_usage": True}}, 400, "stream_options"),
        (TEXT, {"prompt": "x", "model": "other"}, 404, "model"), (TEXT, {"prompt": "x", "guided_regex": "a)"}, 400, "guided_regex"),
        (TEXT, {"prompt": "x", "min_tokens": 17}, 400, "min_tokens"), (TEXT, {"prompt": "x", "use_beam_search": True}, 400, "use_beam_search"),
        (CHAT, {}, 400, "messages"), (CHAT, {"messages": []}, 400, "messages"), (CHAT, {"messages": ["x"]}, 400, "messages"),
        (CHAT, {"messages": [{"role": "king", "content": "x"}]}, 400, "messages"), (CHAT, {"messages": [{"content": "x"}]}, 400, "messages"),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]}, 400, "messages"),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": 1, "text": "x"}]}]}, 400, "messages"),
        (CHAT, {"messages": USER, "chat_template": "{{ x }}"}, 400, "chat_template"),
        (CHAT, {"messages": USER, "chat_template_kwargs": {"messages": []}}, 400, "chat_template_kwargs"),
        (CHAT, {"messages": USER, "tools": [{"type": "function"}]}, 400, "tools"),
        (CHAT, {"messages": USER, "response_format": {"type": "xml"}}, 400, "response_format"),
        (CHAT, {"messages": USER, "guided_regex": "("}, 400, "guided_regex"), (TEXT, {"prompt": "x", "guided_json": {"type": "y"}}, 400, "guided_json"),
        (TEXT, {"prompt": "x", "guided_json": "a"}, 400, "guided_json"), (CHAT, {"messages": USER, "json_schema": "{"}, 400, "json_schema"),
        (TEXT, {"prompt": [[5] * 3500] * 4, "n": 4, "echo": True, "logprobs": 20, "max_tokens": 1}, 400, "logprobs"),
        (CHAT, {"messages": USER, "tool_choice": "required"}, 400, "tool_choice"),
        (CHAT, {"messages": [{"role": "assistant", "tool_calls": [{}]}]}, 400, "messages"),
        ("/v1/responses", {"input": []}, 400, "input"), ("/v1/responses", {"input": "x", "previous_response_id": "r"}, 400, "previous_response_id"),
        ("/v1/messages", {"messages": USER}, 400, "max_tokens"), ("/v1/messages", {"messages": USER, "max_tokens": 0}, 400, "max_tokens"),
        ("/v1/messages/count_tokens", {"messages": []}, 400, "messages"),
        (CHAT, {"messages": USER, "top_logprobs": 2}, 400, "top_logprobs"), (CHAT, {"messages": USER, "max_tokens": 0}, 400, "max_tokens"),
        (CHAT, {"messages": [{"role": "user", "content": "x" * 100_000}]}, 400, None),
        ("/detokenize", {"tokens": [8192]}, 400, "tokens"), ("/detokenize", {}, 400, "tokens"), ("/tokenize", {}, 400, "prompt"),
        ("/nope", {}, 404, None), ("/v1/models", {}, 405, None), ("/v1/embeddings", {}, 501, None), ("/v1/rerank", {}, 501, None), ("/score", {}, 501, None),
        ("/v1/score", {}, 501, None), ("//v1/models", {}, 404, None),
    ]
    RAW = [
        ("GET / HTTP/9.9\r\n\r\n", 400), ("nonsense\r\n\r\n", 400), ("GET  HTTP/1.1\r\n\r\n", 400), (b"\x16\x03\x01\x02\x00", 400),
        ("GET /health HTTP/1.1\r\n\r\n", 400), ("GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        ("GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        ("GET /health HTTP/1.1\r\nHost: localhost\r\n" + "".join(f"A{i}: 1\r\n" for i in range(101)) + "\r\n", 431),
        ("GET /health HTTP/1.1\r\nHost: localhost\r\nA: " + "x" * 40_000 + "\r\n\r\n", 431), ("GET /" + "x" * 40_000, 431),
        (HEAD + "Content-Length: 9999999999\r\n\r\n", 413), (HEAD + "Content-Length: 300000\r\n\r\n", 413),
        (HEAD + "Content-Length: -2\r\n\r\n", 400), (HEAD + "Content-Length: 2, 3\r\n\r\n{}", 400),
        (HEAD + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        (HEAD + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n", 400),
        (HEAD + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n", 400),
        (HEAD + "Transfer-Encoding: chunked\r\n\r\n50000\r\n" + "x" * 0x50000, 413),
        (HEAD + "Content-Length: 10\r\n\r\n{", 408), ("GET /hea", 408),
        ("OPTIONS /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", 204), ("GET /health HTTP/1.0\r\n\r\n", 200),
        (HEAD + "Origin: http://evil.example\r\nContent-Length: 2\r\n\r\n{}", 403),
    ]

    def test_each_gets_its_status_while_a_stream_goes_on_unchanged(self):
        body = {**LONG, "max_tokens": 1500, "return_token_ids": True}
        alone = self.server.post(TEXT, body)["choices"][0]["token_ids"]
        response, connection = self.server.send("POST", TEXT, {**body, "stream": True})
        first = response.read(100)
        for path, sent, status, param in self.BODIES:
            with self.subTest(path=path, body=str(sent)[:80]):
                got, headers, text = self.server.request("POST", path, sent)
                self.assertEqual(got, status, text)
                error = json.loads(text)["error"]
                self.assertTrue(error["message"] and error["type"])
                if param:
                    self.assertEqual(error["param"], param)
                self.assertTrue(headers["X-Request-Id"])
        events = events_of((first + response.read()).decode())
        connection.close()
        self.assertEqual([i for e in events for c in e["choices"] for i in c["token_ids"]], alone)

    def test_405_is_the_requests_fault(self):
        status, headers, text = self.server.request("POST", "/v1/models", {})
        self.assertEqual((status, headers["Allow"], json.loads(text)["error"]["type"]), (405, "GET", "invalid_request_error"))

    def test_raw_requests_get_their_status(self):
        found = in_threads([lambda data=data: status_of(self.server, data) for data, _ in self.RAW])
        for (data, status), got in zip(self.RAW, found):
            with self.subTest(data=data[:90]):
                self.assertEqual(got, status)

    def test_errors_before_the_route_have_its_protocols_form(self):
        for path, sent, status in (("/v1/messages", b"{", 400), ("/v1/messages/count_tokens", b"[]", 400), ("/v1/messages", "x" * 300_000, 413)):
            with self.subTest(path=path, status=status):
                got, _, text = self.server.request("POST", path, sent)
                self.assertEqual((got, json.loads(text)["type"]), (status, "error"), text)
                self.assertEqual(set(json.loads(text)["error"]), {"type", "message"})
        status, headers, text = self.server.request("GET", "/v1/messages")
        self.assertEqual((status, headers["Allow"], json.loads(text)["type"]), (405, "POST", "error"))
        status, _, text = self.server.request("POST", "/generate", "x" * 300_000)
        self.assertEqual((status, set(json.loads(text))), (413, {"error", "error_type"}))

    def test_a_constraint_over_a_limit_at_run_time_is_its_requests_own_fault(self):
        """Each "a" may be followed by either rule: 2^n ways to read n of them."""
        ways = ('root ::= x | y\nx ::= "a" x "c" | "a" y "d" | "b"\ny ::= "a" x "e" | "a" y "f" | "b"')
        a, = self.server.post("/tokenize", {"prompt": "a", "add_special_tokens": False})["tokens"]
        b, = self.server.post("/tokenize", {"prompt": "b", "add_special_tokens": False})["tokens"]
        body = {"prompt": "x", "max_tokens": 60, "guided_grammar": ways, "temperature": 0}
        for _ in range(2):
            status, _, text = self.server.request("POST", TEXT, {**body, "logit_bias": {str(a): 100}})
            self.assertEqual((status, json.loads(text)["error"]["type"]), (400, "invalid_request_error"), text)
            self.assertIn("limit of 128 ways", text)
        self.assertEqual(self.server.stream(TEXT, {**body, "logit_bias": {str(a): 100}})[-1]["error"]["type"], "invalid_request_error")
        self.assertEqual(self.server.post(TEXT, {**body, "logit_bias": {str(b): 100}})["choices"][0]["text"], "b")

    def test_context_overflow_says_by_how_much(self):
        error = json.loads(self.server.request("POST", TEXT, {"prompt": [5] * 4000, "max_tokens": 200})[2])["error"]
        self.assertEqual((error["code"], error["n_prompt_tokens"], error["n_ctx"]), ("context_length_exceeded", 4000, 4096))
        status, _, text = self.server.request("POST", TEXT, {"prompt": [5] * 4090, "max_tokens": 6, "ignore_eos": True})
        self.assertEqual(status, 200, text)

    def test_body_at_the_limit(self):
        filler = "x" * ((256 << 10) - len('{"u":""}'))
        self.assertEqual(self.server.request("POST", TEXT, '{"u":"%s"}' % filler)[0], 400)
        self.assertEqual(self.server.request("POST", TEXT, '{"u":"%sx"}' % filler)[0], 413)

    def test_keep_alive_pipelining_and_continue(self):
        with self.server.connect() as sock:
            sock.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
            got = b""
            while got.count(b"HTTP/1.1 200") < 3:
                got += sock.recv(4096)
            sock.sendall((HEAD + "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n").encode())
            self.assertTrue(sock.recv(4096).startswith(b"HTTP/1.1 100 Continue"))
            sock.sendall(b"{}")
            self.assertTrue(sock.recv(4096).startswith(b"HTTP/1.1 400"))

    def test_request_ids(self):
        self.assertEqual(self.server.request("GET", "/ping", headers={"X-Request-Id": "abc-1"})[1]["X-Request-Id"], "abc-1")
        odd = self.server.request("GET", "/ping", headers={"X-Request-Id": "a b\x7f"})[1]["X-Request-Id"]
        self.assertEqual(len(odd), 32)

    def test_unknown_fields_are_ignored(self):
        self.server.post(TEXT, {"prompt": "x", "max_tokens": 1, "no_such_field\n": {"a": [1]}, "user": "me", "seed": None})


class Leaving(OneServer):
    ADMIN_PORT = free_port()
    FLAGS = (*OneServer.FLAGS, "--admin-port", ADMIN_PORT)

    def leave(self, body, when):
        response, connection = None, None
        if body.get("stream"):
            response, connection = self.server.send("POST", TEXT, body)
            response.read(200)
        else:
            data = json.dumps(body)
            sock = self.server.connect()
            sock.sendall((HEAD + f"Content-Length: {len(data)}\r\n\r\n{data}").encode())
        when()
        if response:
            response.close()
            connection.close()
        else:
            sock.close()

    def test_stream_prompt_queue_and_whole(self):
        for body in ({**LONG, "stream": True}, LONG, {**LONG, "prompt": [5] * 4000, "max_tokens": 90}):
            with self.subTest(body=str(body)[:60]):
                self.leave(body, lambda: self.server.wait_for_load(server_load=1))
                self.server.wait_for_load(server_load=0, cache_pages_used=0)
        holders = [self.server.send("POST", TEXT, {**LONG, "stream": True}) for _ in range(4)]
        self.leave(LONG, lambda: self.server.wait_for_load(server_load=5, waiting=1))
        self.server.wait_for_load(server_load=4)
        for _, connection in holders:
            connection.sock.close() if connection.sock else None
        for response, connection in holders:
            response.close()
            connection.close()
        self.server.wait_for_load(server_load=0, cache_pages_used=0)

    def test_slots_and_requests_that_are_aborted(self):
        def slots():
            return json.loads(self.server.request("GET", "/slots")[2])

        self.assertEqual([slot["is_processing"] for slot in slots()], [False] * 4)
        held = [self.server.send("POST", TEXT, {**LONG, "stream": True}, {"X-Request-Id": f"held-{i}"}) for i in range(5)]
        whole = []
        asker = threading.Thread(target=lambda: whole.append(self.server.request("POST", CHAT, {
            "messages": [{"role": "user", "content": "x"}], "max_tokens": 3000, "ignore_eos": True}, {"X-Request-Id": "whole"})))
        asker.start()
        self.server.wait_for_load(running=4, waiting=2)
        self.assertEqual([slot["is_processing"] for slot in slots()], [True] * 4)
        self.assertEqual(self.server.request("GET", "/slots?fail_on_no_slot=1")[0], 503)
        wait_until(lambda: slots()[0]["next_token"]["n_decoded"] > 3, "tokens")
        self.assertEqual(slots()[0]["n_prompt_tokens"], 4)

        body = {"request_ids": ["whole", "held-0", "held-4", "nobody"]}
        self.assertEqual(self.server.request("POST", "/abort_requests", body)[0], 404)  # at the management port only
        admin = at(self.server, self.ADMIN_PORT)
        self.assertEqual(admin.request("POST", "/abort_requests", {"request_ids": []})[0], 400)
        self.assertEqual(admin.request("POST", "/abort_requests", "x" * 20_000)[0], 413)
        self.assertEqual(admin.post("/abort_requests", body), {"aborted": 3})
        self.assertEqual(admin.post("/abort_requests", body), {"aborted": 0})
        asker.join(PATIENCE)
        self.assertEqual((whole[0][0], json.loads(whole[0][2])["error"]["code"]), (503, "aborted"))
        for i in (0, 4):
            text = held[i][0].read().decode()
            self.assertTrue(text.endswith("data: [DONE]\n\n"), text[-200:])
            self.assertEqual(events_of(text)[-1]["error"]["code"], "aborted")
        self.server.wait_for_load(running=3, waiting=0)
        for _, connection in held:
            connection.close()
        self.server.wait_for_load(server_load=0, cache_pages_used=0)

    def test_full_queue(self):
        holders = [self.server.send("POST", TEXT, {**LONG, "stream": True}) for _ in range(8)]
        self.server.wait_for_load(server_load=8)
        status, headers, text = self.server.request("POST", TEXT, {"prompt": "x", "max_tokens": 1})
        self.assertEqual((status, headers["Retry-After"]), (429, "1"), text)
        self.assertEqual(json.loads(text)["error"]["type"], "rate_limit_error")
        self.assertEqual(self.server.request("GET", "/health/deep")[0], 200)  # busy, and well
        for response, connection in holders:
            response.close()
            connection.close()
        self.server.wait_for_load(server_load=0)
        self.server.post(TEXT, {"prompt": "x", "max_tokens": 1})

    def test_half_closed_clients_get_what_is_ready(self):
        self.assertEqual(status_of(self.server, "GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n", hold_open=False), 200)

    def test_slow_readers_lose_their_stream(self):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", self.server.port))
        data = json.dumps({**LONG, "n": 4, "logprobs": 20, "stream": True})
        sock.sendall((HEAD + f"Content-Length: {len(data)}\r\n\r\n{data}").encode())
        self.server.wait_for_load(server_load=4)
        left = self.server.metric("fathom:clients_left_total")
        self.server.wait_for_load(server_load=0)
        self.assertEqual(self.server.metric("fathom:clients_left_total"), left + 1)
        sock.close()

    def test_hundreds_of_silent_connections(self):
        idle = [self.server.connect() for _ in range(300)]
        start = time.monotonic()
        self.server.post(TEXT, {"prompt": "x", "max_tokens": 2})
        self.assertLess(time.monotonic() - start, PATIENCE)
        for sock in idle:
            self.assertEqual(sock.recv(1), b"")  # closed by the server: nothing came in --head-timeout
            sock.close()


def changed_model(folder, **changes):
    """A folder like the demo model's, with other bytes for some of its files."""
    for file in DEMO.iterdir():
        if file.name not in changes:
            pathlib.Path(folder, file.name).symlink_to(file)
    for name, data in changes.items():
        pathlib.Path(folder, name).write_bytes(data)
    return pathlib.Path(folder)


class Silence(unittest.TestCase):
    """What neither a client nor the log is told."""

    def test_a_failures_cause_is_in_the_log_only(self):
        weights = bytearray((DEMO / "model.safetensors").read_bytes())
        size = int.from_bytes(weights[:8], "little")
        begin, end = json.loads(weights[8:8 + size])["model.norm.weight"]["data_offsets"]
        weights[8 + size + begin:8 + size + end] = b"\xc0\x7f" * ((end - begin) // 2)  # not numbers, in bfloat16
        with tempfile.TemporaryDirectory() as folder:
            with Server(BINARY, model=changed_model(folder, **{"model.safetensors": bytes(weights)})) as server:
                status, _, text = server.request("POST", TEXT, {"prompt": "x"}, {"X-Request-Id": "the-one"})
                self.assertEqual((status, json.loads(text)["error"]["type"]), (500, "server_error"), text)
                self.assertNotIn("nan", text)
            line, = (line for line in server.log.splitlines() if " the-one " in line)
            self.assertIn("is nan", line)

    def test_the_log_holds_no_prompt_and_no_line_of_a_clients(self):
        forged = "\n00:00:00 info forged"
        with Server(BINARY) as server:
            server.post(CHAT, {"messages": [{"role": "user", "content": "SECRET"}], "max_tokens": 2, "user": "SECRET", "new" + forged: "SECRET"})
            self.assertEqual(server.request("POST", TEXT, {"model": "SECRET" + forged, "prompt": "x"})[0], 404)
            self.assertEqual(server.request("POST", TEXT, '{"prompt": "SECRET')[0], 400)
            self.assertEqual(server.request("GET", "/v1/models/a%0a00:00:00%20forged?key=SECRET")[0], 404)
            self.assertEqual(status_of(server, "GET /\x1b[31m\rforged HTTP/1.1\r\nHost: localhost\r\n\r\n"), 400)
        self.assertNotIn("SECRET", server.log)
        self.assertNotIn("\x1b", server.log)
        self.assertFalse([line for line in server.log.splitlines() if line.startswith("00:00:00")], server.log)

    def test_errors_do_not_repeat_long_input(self):
        much = "x" * 100_000
        with Server(BINARY) as server:
            for body in ('{"' + much, '{"%s":1,"%s":2}' % (much, much), '{"a":' + "9" * 100_000 + "}", {"prompt": "x", "model": much}):
                status, _, text = server.request("POST", TEXT, body)
                self.assertIn(status, (400, 404))
                self.assertLess(len(text), 1000)

    def test_no_route_shows_keys_or_folders(self):
        with Server(BINARY, "--api-key", "SECRET") as server:
            for path in ("/v1/models", "/v1/config", "/info", "/v2", "/v2/models/demo/config", "/v1/status", "/load", "/metrics", "/tokenizer_info", "/version"):
                status, _, text = server.request("GET", path, headers={"X-API-Key": "SECRET"})
                self.assertEqual(status, 200, path)
                self.assertNotIn("SECRET", text)
                self.assertNotIn(str(DEMO), text)


class Bombs(unittest.TestCase):
    """Small input that stands for much work."""

    def test_templates(self):
        config = json.loads((DEMO / "tokenizer_config.json").read_text())
        for template, message in (
                ("{% for a in range(1000000000) %}{{ a }}{% endfor %}", "over the limit"),
                ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "steps"),
                ("{% set s = namespace(t='x' * 999) %}{% for i in range(60) %}{% set s.t = s.t + s.t %}{% endfor %}{{ s.t }}", "bytes"),
                ("{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}", "deeper")):
            with self.subTest(template=template), tempfile.TemporaryDirectory() as folder:
                file = json.dumps({**config, "chat_template": template}).encode()
                with Server(BINARY, model=changed_model(folder, **{"tokenizer_config.json": file})) as server:
                    status, _, text = server.request("POST", CHAT, {"messages": [{"role": "user", "content": "x"}]})
                    self.assertEqual(status, 400, text)
                    self.assertIn(message, json.loads(text)["error"]["message"])
                    server.post(TEXT, {"prompt": "x", "max_tokens": 1})
        with Server(BINARY) as server:  # a template of a client's own is never rendered
            status, _, text = server.request("POST", CHAT, {"messages": [{"role": "user", "content": "x"}], "chat_template": "{{ 7 * 7 }}"})
            self.assertEqual((status, json.loads(text)["error"]["param"]), (400, "chat_template"))

    def test_time_is_in_proportion_to_the_body(self):
        def cpu_seconds(body):
            def used():
                fields = pathlib.Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
                return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            begin = used()
            self.assertEqual(server.request("POST", CHAT, body)[0], 400)
            return used() - begin
        with Server(BINARY) as server:
            for name, body in (("objects", '{"messages":[' + "{}," * 2_000_000 + "{}]}"),
                               ("messages", '{"messages":[' + '{"role":"user","content":"x"},' * 200_000 + "{}]}"),
                               ("Z", json.dumps({"messages": [{"role": "user", "content": "Z" * 131_072}]})),
                               ("empty lines", json.dumps({"messages": [{"role": "user", "content": "\n" * 400_000}]}))):
                self.assertLess(cpu_seconds(body), 2 + len(body) / (1 << 20), name)  # a second for each MiB


if __name__ == "__main__":
    BINARY = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=1)

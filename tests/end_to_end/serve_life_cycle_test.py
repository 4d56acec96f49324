#!/usr/bin/env python3
"""How `fathom serve` is come to (keys, origins, TLS, sockets) and how it begins and ends. Standard library only.

usage: serve_life_cycle_test.py FATHOM_BINARY"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

from serving import PATIENCE, Server, events_of, wait_until

BINARY = ""
TEXT = "/v1/completions"
LONG = {"prompt": "The old house", "max_tokens": 4000, "ignore_eos": True, "seed": 1}


class Doors(unittest.TestCase):
    def test_api_keys(self):
        with tempfile.TemporaryDirectory() as folder:
            keys = pathlib.Path(folder, "keys")
            keys.write_text("# team\n key-b \n")
            with Server(BINARY, "--api-key", "key-a", "--api-key-file", keys, env={"FATHOM_API_KEY": "key-c"}) as server:
                for path in ("/v1/models", "/metrics", "/version", "/nope", "/v1//models"):
                    self.assertEqual(server.request("GET", path)[0], 401, path)
                for path in ("/health", "/ping", "/health/live", "/health/ready"):
                    self.assertEqual(server.request("GET", path)[0], 200, path)
                for header in ({"Authorization": "Bearer key-a"}, {"X-API-Key": "key-b"}, {"authorization": "bearer key-c"}):
                    self.assertEqual(server.request("GET", "/v1/models", headers=header)[0], 200, header)
                for header in ({"Authorization": "Bearer key"}, {"Authorization": "key-a"}, {"X-API-Key": ""}, {"X-API-Key": "key-a "*9}):
                    self.assertEqual(server.request("GET", "/v1/models", headers=header)[0], 401, header)
                self.assertEqual(server.request("POST", TEXT, LONG)[0], 401)
                status, _, text = server.request("POST", "/v1/messages", {})
                self.assertEqual((status, json.loads(text)["type"], json.loads(text)["error"]["type"]), (401, "error", "authentication_error"))
                self.assertEqual(set(json.loads(server.request("POST", "/generate", {})[2])), {"error", "error_type"})
            self.assertNotIn("key-", server.log)

    def test_origins(self):
        with Server(BINARY, "--allowed-origins", "https://page.example") as server:
            ours, theirs = {"Origin": "https://page.example"}, {"Origin": "https://evil.example"}
            status, headers, _ = server.request("POST", TEXT, {"prompt": "x", "max_tokens": 1}, ours)
            self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (200, "https://page.example"))
            status, headers, _ = server.request("OPTIONS", TEXT, headers=ours)
            self.assertEqual((status, headers["Access-Control-Allow-Methods"]), (204, "POST"))
            self.assertIsNone(server.request("GET", "/ping", headers=theirs)[1]["Access-Control-Allow-Origin"])
            self.assertEqual(server.request("POST", TEXT, {}, theirs)[0], 403)
            own = {"Origin": f"http://127.0.0.1:{server.port}", "Host": f"127.0.0.1:{server.port}"}
            self.assertEqual(server.request("POST", TEXT, {"prompt": "x", "max_tokens": 1}, own)[0], 200)

    def test_tls(self):
        with tempfile.TemporaryDirectory() as folder:
            key, certificate = os.path.join(folder, "key.pem"), os.path.join(folder, "cert.pem")
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
                            "-keyout", key, "-out", certificate], capture_output=True, check=True)
            with Server(BINARY, "--ssl-keyfile", key, "--ssl-certfile", certificate, "--head-timeout", 1) as server:
                self.assertTrue(server.url.startswith("https://"))
                self.assertEqual(len(server.stream(TEXT, {"prompt": "The", "max_tokens": 20, "ignore_eos": True})), 21)
                response, connection = server.send("POST", TEXT, {**LONG, "stream": True})
                response.read(100)
                connection.sock.close() if connection.sock else None
                response.close()
                connection.close()
                server.wait_for_load(server_load=0)
                with socket.create_connection(("127.0.0.1", server.port)) as plain:  # no handshake
                    plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
                    plain.settimeout(PATIENCE)
                    while plain.recv(100):
                        pass
            self.assertEqual(server.status, 0)
            done = subprocess.run([BINARY, "serve", "x", "--port", "0", "--ssl-keyfile", key], capture_output=True, check=False)
            self.assertEqual((done.returncode, b"--ssl-certfile" in done.stderr), (1, True))

    def test_unix_socket(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "socket")
            stale = socket.socket(socket.AF_UNIX)
            stale.bind(path)
            stale.close()
            with Server(BINARY, "--uds", path) as server:
                self.assertEqual(server.request("GET", "/health", headers={"Host": "anything"})[0], 200)
                done = subprocess.run([BINARY, "serve", "x", "--uds", path], capture_output=True, check=False)
                self.assertEqual((done.returncode, b"in use" in done.stderr), (1, True), done.stderr)
            self.assertFalse(os.path.exists(path))

    def test_refuses_to_start(self):
        with Server(BINARY) as server:
            done = subprocess.run([BINARY, "serve", "x", "--port", str(server.port)], capture_output=True, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"in use", done.stderr)
        done = subprocess.run([BINARY, "serve", "/no/such", "--port", "0"], capture_output=True, check=False, timeout=PATIENCE)
        self.assertEqual((done.returncode, b"/no/such" in done.stderr), (1, True), done.stderr)


class LifeCycle(unittest.TestCase):
    def test_drain(self):
        with Server(BINARY) as server:
            whole = server.post(TEXT, {**LONG, "max_tokens": 800})["choices"][0]["text"]
            response, connection = server.send("POST", TEXT, {**LONG, "max_tokens": 800, "stream": True})
            first = response.read(100)
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: server.request("GET", "/health")[0] == 503, "health turns 503")
            status, headers, _ = server.request("POST", TEXT, {"prompt": "x"})
            self.assertEqual((status, headers["Retry-After"]), (503, "1"))
            events = events_of((first + response.read()).decode())
            self.assertEqual("".join(c["text"] for e in events for c in e["choices"]), whole)
            connection.close()
        self.assertEqual(server.status, 0)

    def test_drain_has_an_end(self):
        with Server(BINARY, "--shutdown-timeout", 0) as server:
            response, _ = server.send("POST", TEXT, {**LONG, "n": 8, "stream": True})
            first = response.read(100)
            server.process.send_signal(signal.SIGTERM)
            events = events_of((first + response.read()).decode())
            self.assertEqual(events[-1]["error"]["type"], "unavailable_error")
        self.assertEqual(server.status, 0)

    def test_second_signal_ends_at_once(self):
        with Server(BINARY) as server:
            response, _ = server.send("POST", TEXT, {**LONG, "n": 8, "stream": True})
            response.read(100)
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: server.request("GET", "/health")[0] == 503, "health turns 503")
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(server.process.wait(PATIENCE), 1)

    def test_deadlines(self):
        with Server(BINARY, "--request-timeout", 0.2) as server:
            status, _, text = server.request("POST", TEXT, {**LONG, "n": 8})
            self.assertEqual((status, json.loads(text)["error"]["type"]), (504, "timeout_error"))
            self.assertEqual(server.stream(TEXT, {**LONG, "n": 8})[-1]["error"]["code"], "deadline_exceeded")
            server.wait_for_load(server_load=0, cache_pages_used=0)
        with Server(BINARY, "--max-num-seqs", 1, "--queue-timeout", 0.2) as server:
            response, connection = server.send("POST", TEXT, {**LONG, "stream": True})
            response.read(100)
            self.assertEqual(server.request("POST", TEXT, {"prompt": "x"})[0], 504)
            response.close()
            connection.close()

    def test_config_file(self):
        with tempfile.TemporaryDirectory() as folder:
            config = pathlib.Path(folder, "serve.json")
            config.write_text(json.dumps({"api-key": ["one", "two"], "served-model-name": "m", "metrics-prefix": "vllm"}))
            with Server(BINARY, "--config", config) as server:
                for key in ("one", "two"):
                    listed = json.loads(server.request("GET", "/v1/models", headers={"X-API-Key": key})[2])
                    self.assertEqual([model["id"] for model in listed["data"]], ["m"])
                text = server.request("GET", "/metrics", headers={"X-API-Key": "one"})[2]
                self.assertIn('\nvllm:num_requests_running{model_name="m"} 0\n', text)


if __name__ == "__main__":
    BINARY = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=1)

#!/usr/bin/env python3
"""MindIE Service's management and config file on `fathom serve`. Standard library only.

usage: mindie_service_test.py FATHOM_BINARY"""
import http.client
import json
import os
import pathlib
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from serving import DEMO, PATIENCE, Server, at, free_port, in_threads, json_events, wait_until

BINARY = ""
PROMPT = "The old house stood at the end of the lane"
V2 = "/v2/models/demo"


def setUpModule():
    global server
    server = Server(BINARY)
    server.__enter__()


def tearDownModule():
    server.__exit__()


class Stopping(unittest.TestCase):
    LONG = {"max_new_tokens": 3000, "ignore_eos": True, "details": True, "seed": 1, "do_sample": False}

    def test_stop_one_of_several(self):
        others = [{"prompt": "She said " * i, "max_tokens": 60, "seed": i, "temperature": 1, "ignore_eos": True}
                  for i in range(1, 4)]
        alone = [server.post("/v1/completions", body)["choices"] for body in others]
        whole = {}

        def run_whole():
            whole["reply"] = server.post(V2 + "/generate", {"id": "whole", "text_input": PROMPT, "parameters": self.LONG})

        thread = threading.Thread(target=run_whole)
        thread.start()
        response, connection = server.send("POST", V2 + "/generate_stream", {"id": "stream", "text_input": PROMPT,
                                                                              "parameters": self.LONG})
        response.readline()
        wait_until(self.both_generate, "a token of each", PATIENCE)
        together = [lambda body=body: server.post("/v1/completions", body)["choices"] for body in others]

        def stop():
            time.sleep(0.05)
            return [self.stop("stream"), self.stop("whole")]

        results = in_threads([*together, stop])
        self.assertEqual(results[:3], alone)
        found = json_events("data: " + response.read().decode().split("data: ", 1)[1])
        connection.close()
        thread.join()
        self.assertEqual(found[-1]["details"]["finish_reason"], "cancelled")
        self.assertEqual(whole["reply"]["details"]["finish_reason"], "cancelled")
        self.assertTrue(0 < whole["reply"]["details"]["generated_tokens"] < 3000)
        server.wait_for_load(running=0, waiting=0)
        self.assertEqual(server.request("POST", V2 + "/stopInfer", {"id": "stream"})[0], 404)

    def both_generate(self):
        slots = [slot for slot in json.loads(server.request("GET", "/slots")[2]) if slot["is_processing"]]
        return len(slots) == 2 and all(slot["next_token"]["n_decoded"] > 0 for slot in slots)

    def stop(self, name):
        wait_until(lambda: server.request("POST", V2 + "/stopInfer", {"id": name})[0] == 200, "stop of " + name, 20)

    def test_client_that_leaves(self):
        response, connection = server.send("POST", "/infer", {"inputs": PROMPT, "stream": True, "parameters": self.LONG})
        response.readline()
        connection.close()
        server.wait_for_load(running=0, waiting=0)

    def test_service(self):
        """stopService waits for what is under way, which ends whole, and refuses what comes."""
        with Server(BINARY, "--admin-port", free_port()) as stopped:
            port = int(stopped.arguments[stopped.arguments.index("--admin-port") + 1])
            admin = at(stopped, port)
            self.assertEqual(admin.request("GET", "/health")[0], 200)
            self.assertIn("fathom:num_requests_running", admin.request("GET", "/metrics")[2])
            self.assertEqual(json.loads(admin.request("GET", "/metrics-json")[2])["result"][0]["metric"][0]["instance"],
                             f"127.0.0.1:{port}")
            self.assertEqual(admin.request("POST", "/generate", {"inputs": "x"})[0], 404)
            self.assertEqual(admin.request("GET", "/")[0], 405)
            self.assertEqual(stopped.request("GET", "/stopService")[0], 404)
            for headers in ({"Origin": "http://elsewhere"}, {"Sec-Fetch-Site": "cross-site"}):
                self.assertEqual(admin.request("GET", "/stopService", None, headers)[0], 403)
            self.assertEqual(admin.request("GET", "/stopService?mode=force")[0], 422)
            status, headers, _ = admin.request("HEAD", "/stopService")
            self.assertEqual((status, headers["Allow"]), (405, "GET"))
            self.assertEqual(admin.request("HEAD", "/metrics")[0], 200)
            body = {"text_input": PROMPT, "parameters": {**self.LONG, "max_new_tokens": 400}}
            response, connection = stopped.send("POST", V2 + "/generate_stream", body)
            first = response.readline()
            results = {}
            thread = threading.Thread(target=lambda: results.update(reply=admin.request("GET", "/stopService")))
            thread.start()
            wait_until(lambda: stopped.request("GET", "/health")[0] == 503, "draining")
            self.assertEqual(admin.request("GET", "/stopService")[0], 500)  # already
            status, _, text = stopped.request("POST", "/generate", {"inputs": "x"})
            self.assertEqual((status, json.loads(text)["error_type"]), (503, "Service Unavailable"))
            self.assertNotIn("reply", results)
            found = json_events((first + response.read()).decode())
            connection.close()
            self.assertEqual(found[-1]["details"]["generated_tokens"], 400)
            self.assertEqual(found[-1]["details"]["finish_reason"], "length")
            thread.join(PATIENCE)
            self.assertEqual((results["reply"][0], results["reply"][2]), (200, ""))
            self.assertEqual(stopped.process.wait(PATIENCE), 0)

    def test_idle_service(self):
        with Server(BINARY, "--admin-port", free_port()) as stopped:
            admin = at(stopped, int(stopped.arguments[stopped.arguments.index("--admin-port") + 1]))
            self.assertEqual(admin.request("GET", "/stopService")[0], 200)
            self.assertEqual(stopped.process.wait(PATIENCE), 0)

    def test_force(self):
        with Server(BINARY, "--admin-port", free_port()) as stopped:
            admin = at(stopped, int(stopped.arguments[stopped.arguments.index("--admin-port") + 1]))
            held = [stopped.send("POST", "/generate_stream", {"inputs": PROMPT, "parameters": {
                **self.LONG, "max_new_tokens": 4000}}) for _ in range(24)]
            self.assertEqual(admin.request("GET", "/stopService?mode=Force")[0], 200)
            self.assertIn(stopped.process.wait(30), (0, 1))
            for _, connection in held:
                connection.close()


class ConfigFile(unittest.TestCase):
    def write(self, folder, **changes):
        config = {
            "Version": "1.0.0",
            "ServerConfig": {"ipAddress": "127.0.0.1", "managementIpAddress": "127.0.0.1", "port": free_port(),
                             "managementPort": free_port(), "metricsPort": free_port(), "httpsEnabled": False,
                             "maxLinkNum": 10, "fullTextEnabled": True, "inferMode": "standard", "e2eTimeout": 600,
                             "tokenTimeout": 600, "openAiSupport": "vllm"},
            "BackendConfig": {
                "backendName": "mindieservice_llm_engine", "modelInstanceNumber": 1, "npuDeviceIds": [[0]],
                "ModelDeployConfig": {"maxSeqLen": 512, "maxInputTokenLen": 32, "truncation": 0, "ModelConfig": [
                    {"modelName": "deepseek", "modelWeightPath": str(DEMO), "worldSize": 1, "npuMemSize": -1}]},
                "ScheduleConfig": {"cacheBlockSize": 16, "maxPrefillBatchSize": 4, "maxPrefillTokens": 256, "maxBatchSize": 8,
                                   "maxIterTimes": 6, "maxQueueDelayMicroseconds": 5000}}}
        config["ServerConfig"].update(changes)
        path = pathlib.Path(folder) / "config.json"
        path.write_text(json.dumps(config))
        return path, config["ServerConfig"]

    def test_service(self):
        with tempfile.TemporaryDirectory() as folder:
            path, ports = self.write(folder)
            configured = Server(BINARY)
            configured.arguments = [BINARY, "serve", "--mindie-config", str(path), "--threads", "2"]
            with configured:
                self.assertEqual(configured.port, ports["port"])
                self.check(configured, ports)
            self.assertEqual(configured.status, 0)
            self.assertEqual(configured.log.count("have no meaning here"), 1)
            for key in ("BackendConfig.npuDeviceIds", "ServerConfig.openAiSupport"):
                self.assertIn(key, configured.log)

    def check(self, configured, ports):
        self.assertEqual([model["id"] for model in json.loads(configured.request("GET", "/v1/models")[2])["data"]], ["deepseek"])
        reply = configured.post("/generate", {"inputs": "She", "parameters": {"details": True, "max_new_tokens": 50,
                                                                               "ignore_eos": True}})
        self.assertEqual(reply["details"]["generated_tokens"], 6)
        found = json_events(configured.event_text("/generate_stream", {"inputs": "She", "parameters": {"ignore_eos": True}}))
        self.assertEqual(found[-1]["token"]["text"], found[-1]["generated_text"])  # fullTextEnabled
        self.assertTrue(found[3]["token"]["text"].startswith(found[2]["token"]["text"]))
        status, _, text = configured.request("POST", "/generate", {"inputs": "word " * 100})
        self.assertEqual(status, 422)
        self.assertIn("at most 32", text)
        info = json.loads(configured.request("GET", "/info")[2])
        self.assertEqual((info["max_concurrent_requests"], info["max_input_length"], info["max_batch_total_tokens"]),
                         (8, 32, 256))
        chat = configured.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}]})
        self.assertLessEqual(chat["usage"]["completion_tokens"], 6)
        for port in (ports["managementPort"], ports["metricsPort"]):
            self.assertEqual(at(configured, port).request("GET", "/metrics")[0], 200)

    def test_client_certificates(self):
        with tempfile.TemporaryDirectory() as folder:
            key, certificate = os.path.join(folder, "key.pem"), os.path.join(folder, "cert.pem")
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
                            "-keyout", key, "-out", certificate], check=True, capture_output=True)
            path, ports = self.write(folder, httpsEnabled=True, tlsCert="cert.pem", tlsPk="key.pem", tlsCaPath=".",
                                     tlsCaFile=["cert.pem"])
            closed = Server(BINARY)
            closed.arguments = [BINARY, "serve", "--mindie-config", str(path), "--threads", "2"]
            with closed:
                for port in (ports["port"], ports["managementPort"]):
                    with self.assertRaises((ssl.SSLError, OSError, http.client.HTTPException)):
                        at(closed, port).request("GET", "/health")
                    context = ssl.create_default_context(cafile=certificate)
                    context.load_cert_chain(certificate, key)
                    connection = http.client.HTTPSConnection("localhost", port, timeout=PATIENCE, context=context)
                    connection.request("GET", "/health")
                    self.assertEqual(connection.getresponse().status, 200)
                    connection.close()

    def test_refusals(self):
        with tempfile.TemporaryDirectory() as folder:
            path, _ = self.write(folder, inferMode="dmi")
            done = subprocess.run([BINARY, "serve", "--mindie-config", path], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 1)
            self.assertIn("ServerConfig.inferMode", done.stderr)
            path, _ = self.write(folder, httpsEnabled=True)
            done = subprocess.run([BINARY, "serve", "--mindie-config", path], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 1)
            self.assertIn("security/certs/server.pem", done.stderr)


if __name__ == "__main__":
    BINARY = sys.argv.pop(1)
    unittest.main()

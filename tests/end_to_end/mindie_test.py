#!/usr/bin/env python3
"""MindIE Service's protocols and information on `fathom serve`. Standard library only.

usage: mindie_test.py FATHOM_BINARY"""
import http.client
import json
import sys
import unittest

from serving import Server, in_threads, json_events

BINARY = ""
PROMPT = "The old house stood at the end of the lane"
V2 = "/v2/models/demo"


def setUpModule():
    global server
    server = Server(BINARY)
    server.__enter__()


def tearDownModule():
    server.__exit__()


def stream(path, body):
    return json_events(server.event_text(path, body))


def truth(max_tokens=24, **fields):
    """(text, ids) by OpenAI's interface, greedy."""
    choice = server.post("/v1/completions", {"prompt": PROMPT, "max_tokens": max_tokens, "temperature": 0,
                                             "return_token_ids": True, **fields})["choices"][0]
    return choice["text"], choice["token_ids"]


def prompt_ids():
    return server.post("/tokenize", {"prompt": PROMPT})["tokens"]


def parameters(**more):
    return {"max_new_tokens": 24, "details": True, "seed": 1, "do_sample": False, **more}


class Tgi(unittest.TestCase):
    def test_generate(self):
        text, ids = truth()
        reply = server.post("/generate", {"inputs": PROMPT, "parameters": parameters(decoder_input_details=True)})
        self.assertEqual(list(reply), ["generated_text", "details"])
        self.assertEqual(reply["generated_text"], text)
        details = reply["details"]
        self.assertEqual((details["finish_reason"], details["generated_tokens"], details["seed"]), ("length", 24, 1))
        self.assertEqual(details["prompt_tokens"], len(prompt_ids()))
        self.assertEqual([token["id"] for token in details["prefill"]], prompt_ids())
        self.assertEqual([token["id"] for token in details["tokens"]], ids)
        self.assertTrue(all(token["logprob"] <= 0 for token in details["tokens"]))

    def test_root_is_a_list(self):
        text, _ = truth(20)
        self.assertEqual(server.post("/", {"inputs": PROMPT}), [{"generated_text": text}])
        full = server.post("/", {"inputs": PROMPT, "parameters": {"return_full_text": True}})
        self.assertEqual(full, [{"generated_text": PROMPT + text}])
        self.assertEqual(stream("/", {"inputs": PROMPT, "stream": True})[-1]["generated_text"], text)
        self.assertIn("<html", server.request("GET", "/")[2])  # the chat page stays

    def test_stream(self):
        text, ids = truth()
        found = stream("/generate_stream", {"inputs": PROMPT, "parameters": parameters()})
        self.assertEqual("".join(event["token"]["text"] for event in found), text)
        self.assertEqual([event["token"]["id"] for event in found], ids)
        for event in found[:-1]:
            self.assertEqual((event["generated_text"], event["details"]), (None, None))
        self.assertEqual(found[-1]["generated_text"], text)
        self.assertEqual(found[-1]["details"]["generated_tokens"], 24)
        self.assertEqual(set(found[0]["token"]), {"id", "text", "logprob", "special"})

    def test_stops(self):
        text, _ = truth(60)
        stop = text[10:14]
        reply = server.post("/generate", {"inputs": PROMPT, "parameters": parameters(max_new_tokens=60, stop=[stop])})
        self.assertEqual(reply["generated_text"], text[:text.index(stop)])
        self.assertEqual(reply["details"]["finish_reason"], "stop_sequence")

    def test_truncate(self):
        last = prompt_ids()[-3:]
        cut = server.post("/generate", {"inputs": PROMPT, "parameters": parameters(truncate=3)})
        self.assertEqual(cut["details"]["prompt_tokens"], 3)
        whole = server.post("/infer_token", {"input_id": last, "parameters": parameters()})
        self.assertEqual(cut["generated_text"], whole["generated_text"])

    def test_sampling_is_that_of_openai(self):
        want = server.post("/v1/completions", {"prompt": PROMPT, "max_tokens": 20, "temperature": 0.9, "top_p": 0.8, "seed": 5})
        reply = server.post("/generate", {"inputs": PROMPT, "parameters": {"temperature": 0.9, "top_p": 0.8, "seed": 5}})
        self.assertEqual(reply["generated_text"], want["choices"][0]["text"])


class Vllm(unittest.TestCase):
    def test_generate(self):
        text, _ = truth(16)
        self.assertEqual(server.post("/generate", {"prompt": PROMPT, "temperature": 0}), {"text": [PROMPT + text]})

    def test_choices(self):
        body = {"prompt": PROMPT, "n": 3, "temperature": 1, "seed": 4, "max_tokens": 10}
        want = [choice["text"] for choice in server.post("/v1/completions", body)["choices"]]
        self.assertEqual(server.post("/generate", body)["text"], [PROMPT + text for text in want])
        joined = [""] * 3
        for event in self.stream(body):
            joined = [have + new for have, new in zip(joined, event["text"], strict=True)]
        self.assertEqual(joined, want)

    def stream(self, body):
        status, headers, text = server.request("POST", "/generate", {**body, "stream": True})
        self.assertEqual((status, headers["Content-Type"]), (200, "application/octet-stream"))
        self.assertTrue(text.endswith("\0"))
        return [json.loads(part) for part in text[:-1].split("\0")]

    def test_stream(self):
        text, _ = truth(30)
        found = self.stream({"prompt": PROMPT, "temperature": 0, "max_tokens": 30})
        self.assertEqual("".join(event["text"][0] for event in found), text)
        self.assertGreater(len(found), 5)


class Triton(unittest.TestCase):
    def test_text(self):
        text, _ = truth()
        body = {"id": "a_1-B", "text_input": PROMPT, "parameters": parameters()}
        for path in (V2, V2 + "/versions/1"):
            reply = server.post(path + "/generate", body)
            self.assertEqual(reply, {"id": "a_1-B", "model_name": "demo", "model_version": None, "text_output": text,
                                     "details": {"finish_reason": "length", "generated_tokens": 24, "seed": 1}})

    def test_stream(self):
        text, _ = truth()
        found = stream(V2 + "/generate_stream", {"id": "s", "text_input": PROMPT, "parameters": parameters()})
        self.assertEqual("".join(event["text_output"] for event in found), text)
        self.assertEqual([event["details"]["generated_tokens"] for event in found], list(range(1, 25)))
        self.assertGreater(found[0]["prefill_time"], 0)
        self.assertGreater(found[1]["decode_time"], 0)
        self.assertEqual([event["details"].get("finish_reason") for event in found], [None] * 23 + ["length"])
        self.assertTrue(all(event["id"] == "s" for event in found))

    def test_tokens(self):
        _, ids = truth()
        given = prompt_ids()
        tensor = {"name": "input0", "shape": [1, len(given)], "datatype": "UINT32", "data": given}
        reply = server.post(V2 + "/infer", {"id": "42", "inputs": [tensor], "outputs": [{"name": "out"}],
                                            "parameters": parameters()})
        self.assertEqual(reply["outputs"], [{"name": "out", "shape": [1, 24], "datatype": "UINT32", "data": ids}])
        self.assertEqual(reply["id"], "42")


class Native(unittest.TestCase):
    def test_texts_and_ids(self):
        text, ids = truth()
        want = {"generated_text": text, "details": {"finish_reason": "length", "generated_tokens": 24, "seed": 1,
                                                    "generated_token_ids": ids}}
        for path in ("/infer", "/infer_token"):
            self.assertEqual(server.post(path, {"inputs": PROMPT, "parameters": parameters()}), want)
            self.assertEqual(server.post(path, {"input_id": prompt_ids(), "parameters": parameters()}), want)
        self.assertEqual(server.post("/infer", {"inputs": PROMPT}), {"generated_text": truth(20)[0]})

    def test_stream(self):
        text, ids = truth()
        found = stream("/infer", {"inputs": PROMPT, "stream": True, "parameters": parameters()})
        self.assertEqual("".join(event["token"]["text"] or "" for event in found), text)
        self.assertEqual([event["token"]["id"] for event in found], [[token] for token in ids])
        self.assertGreater(found[0]["prefill_time"], 0)
        self.assertIsNone(found[0]["decode_time"])
        self.assertIsNone(found[1]["prefill_time"])
        self.assertEqual([("generated_text" in event) for event in found], [False] * 23 + [True])
        self.assertEqual(found[-1]["details"], {"finish_reason": "length", "generated_tokens": 24, "seed": 1})

    def test_end_of_the_model(self):
        """With the end's token made certain."""
        reply = server.post("/infer", {"inputs": PROMPT, "parameters": parameters(logit_bias={self.end(): 100})})
        self.assertEqual((reply["generated_text"], reply["details"]["finish_reason"]), ("", "eos_token"))

    def end(self):
        spelling = json.loads(server.request("GET", "/tokenizer_info")[2])["eos_token"]
        (ids,) = [server.post("/tokenize", {"prompt": spelling, "add_special_tokens": False})["tokens"]]
        self.assertEqual(len(ids), 1)
        return str(ids[0])

    def test_timeout(self):
        status, _, text = server.request("POST", "/infer", {"inputs": PROMPT, "parameters": {
            "timeout": 0.001, "max_new_tokens": 4000}})
        self.assertEqual((status, json.loads(text)["error_type"]), (500, "Incomplete Generation"))

    def test_tokenizer(self):
        reply = server.post("/v1/tokenizer", {"inputs": "It was a cold evening"})
        ids = server.post("/tokenize", {"prompt": "It was a cold evening", "return_token_strs": True})
        self.assertEqual(reply, {"token_number": ids["count"], "tokens": ids["token_strs"]})
        self.assertEqual(server.post("/v1/tokenizer", {"inputs": "It", "do_decode": False})["tokens"], [])


class Errors(unittest.TestCase):
    def expect(self, want, error_type, path, body, method="POST"):
        status, headers, text = server.request(method, path, body)
        self.assertEqual(status, want, (path, body, text))
        reply = json.loads(text)
        self.assertEqual(set(reply), {"error", "error_type"}, text)
        self.assertEqual(reply["error_type"], error_type)
        self.assertEqual(headers["Content-Type"], "application/json")
        return reply["error"]

    def test_validation(self):
        wrong = "Input Validation Error"
        for path, body in [("/generate", {}), ("/generate", {"inputs": ""}), ("/generate", "{"), ("/generate", "[1]"),
                           ("/generate", {"prompt": 3}), ("/", {"inputs": None}), ("/", {"inputs": "x", "stream": 1}),
                           ("/generate_stream", {"inputs": "x", "parameters": {"top_p": 1.5}}),
                           ("/infer", {}), ("/infer", {"inputs": "x", "input_id": [1]}), ("/infer_token", {"input_id": "x"}),
                           (V2 + "/generate", {"text_input": "x", "id": "/"}), (V2 + "/infer", {"inputs": []}),
                           (V2 + "/generate_stream", {}), (V2 + "/stopInfer", {}), ("/v1/tokenizer", {"inputs": ""})]:
            self.expect(422, wrong, path, body)
        self.assertIn("parameters.temperature", self.expect(
            422, wrong, "/generate", {"inputs": "x", "parameters": {"temperature": 9}}))
        self.assertIn("context", self.expect(422, wrong, "/generate", {"inputs": "word " * 5000}))

    def test_unknown_names(self):
        missing = "NotFoundError"
        self.expect(404, missing, "/v2/models/other/generate", {"text_input": "x"})
        self.expect(404, missing, "/v2/models/other/infer", {})
        self.expect(404, missing, "/v2/models/other", None, "GET")
        self.expect(404, missing, "/v2/models/other/ready", None, "GET")
        self.expect(404, missing, V2 + "/stopInfer", {"id": "nobody"})
        self.expect(404, missing, "/generate", {"prompt": "x", "model": "other"})
        for path in ("/health/timed-0", "/health/timed-601", "/health/timed-x", "/health/timed-9999"):
            self.expect(404, missing, path, None, "GET")
        self.expect(404, missing, "/stopService", None, "GET")  # no management port
        self.assertEqual(server.request("GET", "/infer")[0], 405)
        self.assertEqual(server.request("GET", V2 + "/versions/2")[0], 404)

    def test_too_large(self):
        with Server(BINARY, "--max-body-size", "1k") as small:
            self.assertEqual(small.request("POST", "/generate", {"inputs": "x" * 2000})[0], 413)

    def test_full_queue(self):
        with Server(BINARY, "--max-num-seqs", 1, "--max-queue", 0) as small:
            response, connection = small.send("POST", "/generate_stream", {"inputs": PROMPT, "parameters": {
                "max_new_tokens": 3000, "ignore_eos": True}})
            response.readline()
            status, headers, text = small.request("POST", "/generate", {"inputs": "x"})
            self.assertEqual((status, json.loads(text)["error_type"]), (429, "Generation Error"))
            self.assertIn("Retry-After", headers)
            status, _, text = small.request("GET", "/v2/health/ready")
            self.assertEqual(status, 503)
            self.assertIn("busy", json.loads(text)["message"])
            self.assertEqual(small.request("GET", "/v2/health/live")[0], 200)
            self.assertEqual(small.request("GET", "/health/timed-5")[0], 200)  # busy is healthy
            self.assertEqual(small.request("GET", "/health/deep")[0], 200)
            connection.close()
            small.wait_for_load(running=0, waiting=0)
            self.assertEqual(small.request("GET", "/v2/health/ready")[0], 200)


class Information(unittest.TestCase):
    def get(self, path, where=None):
        status, _, text = (where or server).request("GET", path)
        self.assertEqual(status, 200, text)
        return json.loads(text) if text else None

    def test_information(self):
        info = self.get("/info")
        self.assertEqual(info["models"][0]["model_id"], "demo")
        self.assertEqual(info["max_concurrent_requests"], 64)
        self.assertEqual(self.get("/v2")["extensions"]["max_prefill_tokens"], 512)
        for path in (V2, V2 + "/versions/1"):
            self.assertEqual(self.get(path)["inputs"], [{"name": "input0", "shape": [-1], "datatype": "UINT32"}])
        self.assertEqual(self.get(V2 + "/config")["max_seq_len"], info["models"][0]["max_total_tokens"])
        self.assertEqual(self.get("/v1/config")["cacheBlockSize"], 128)
        slots = self.get(V2 + "/getSlotCount")
        self.assertEqual((slots["total_slots"], slots["free_slots"]), (64, 64))
        for path in ("/v1/status", "/v2/status"):
            self.assertEqual(self.get(path)["resource"]["availSlotsNum"], 64)

    def test_metrics(self):
        truth(4)
        found = {entry["metric"][0]["__name__"]: entry["value"] for entry in self.get("/metrics-json")["result"]}
        self.assertEqual(set(found), {"TTFT", "TBT", "waitingInferRequestNum", "processingInferRequestNum", "remainBlocks"})
        self.assertGreater(float(found["TTFT"]), 0)
        self.assertEqual(found["processingInferRequestNum"], "0")
        lines = server.request("GET", "/metrics")[2]
        self.assertIn('handler="/v2/models/*/', lines)  # paths of clients are no labels

    def test_health(self):
        for path in ("/v2/health/live", "/v2/health/ready", V2 + "/ready", V2 + "/versions/1/ready"):
            self.assertIsNone(self.get(path))
        for path in ("/health/timed", "/health/timed-5"):
            self.assertEqual(self.get(path), {"status": "healthy"})
        for path in ("/health/deep", "/health?deep", "/health/ready?x=1&deep=1"):
            before = server.metric("fathom:generation_tokens_total")
            self.assertEqual(self.get(path), {"status": "ok"})
            self.assertEqual(server.metric("fathom:generation_tokens_total"), before + 1)  # a real token
        self.assertEqual(in_threads([lambda: self.get("/health/deep")] * 8), [{"status": "ok"}] * 8)

    def test_keys(self):
        with Server(BINARY, "--api-key", "secret") as closed:
            for path in ("/v2/health/live", "/v2/health/ready", "/health"):
                self.assertEqual(closed.request("GET", path)[0], 200)
            for path in ("/info", "/v2", "/health/timed", "/health/deep", "/health?deep", "/metrics-json", "/stopService"):
                self.assertEqual(closed.request("GET", path)[0], 401, path)
            for path in ("/", "/generate", "/infer", V2 + "/infer", V2 + "/stopInfer"):
                self.assertEqual(closed.request("POST", path, {"inputs": "x"})[0], 401, path)
            key = {"Authorization": "Bearer secret"}
            self.assertEqual(closed.request("POST", "/generate", {"inputs": "x"}, key)[0], 200)
            self.assertEqual(closed.request("GET", "/health?deep", None, key)[0], 200)


if __name__ == "__main__":
    BINARY = sys.argv.pop(1)
    unittest.main()

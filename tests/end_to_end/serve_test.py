#!/usr/bin/env python3
"""`fathom serve` as its clients see it, on the demo model: what answers hold. Standard library only.

usage: serve_test.py FATHOM_BINARY"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from serving import DEMO, ON_DEVICE, Server, in_threads

BINARY = ""
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"


def setUpModule():
    global server
    server = Server(BINARY)
    server.__enter__()


def tearDownModule():
    server.__exit__()


def run_command(*arguments):
    done = subprocess.run([BINARY, "run", DEMO, *map(str, arguments), *ON_DEVICE, "--threads", "2", "--json"], capture_output=True,
                          timeout=300, check=True)
    return json.loads(done.stdout)


def joined(events, index=0):
    """(text, ids, finish reason) of one choice of a stream."""
    text, ids, reason = "", [], None
    for event in events:
        for choice in event["choices"]:
            if choice["index"] != index:
                continue
            text += choice["text"] if "text" in choice else choice["delta"].get("content", "")
            ids += choice.get("token_ids", [])
            reason = choice["finish_reason"] or reason
    return text, ids, reason


class Answers(unittest.TestCase):
    def test_stream_equals_whole_equals_run(self):
        want = run_command("The old house", "--max-tokens", 24, "--temperature", 0.8, "--top-p", 0.95, "--seed", 7)
        body = {"prompt": "The old house", "max_tokens": 24, "temperature": 0.8, "top_p": 0.95, "seed": 7,
                "return_token_ids": True}
        choice = server.post(TEXT, body)["choices"][0]
        self.assertEqual((choice["text"], choice["token_ids"], choice["prompt_token_ids"]),
                         (want["text"], want["ids"], want["prompt_ids"]))
        self.assertEqual(choice["finish_reason"], want["finish_reason"])
        self.assertEqual(joined(server.stream(TEXT, body)), (want["text"], want["ids"], "length"))
        by_ids = {**body, "prompt": want["prompt_ids"]}
        self.assertEqual(server.post(TEXT, by_ids)["choices"][0]["token_ids"], want["ids"])

    def test_chat_equals_run(self):
        want = run_command("Hello", "--chat", "--max-tokens", 16, "--greedy")
        body = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16, "temperature": 0,
                "return_token_ids": True}
        reply = server.post(CHAT, body)
        self.assertEqual(reply["choices"][0]["message"]["content"], want["text"])
        self.assertEqual(reply["choices"][0]["token_ids"], want["ids"])
        self.assertEqual(reply["usage"]["completion_tokens"], 16)
        parts = {**body, "messages": [{"role": "user", "content": [{"type": "text", "text": "Hel"},
                                                                   {"type": "text", "text": "lo"}]}]}
        self.assertEqual(server.post(CHAT, parts)["choices"], reply["choices"])

    def test_shape_of_a_chat_stream(self):
        events = server.stream(CHAT, {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5, "n": 2,
                                      "stream_options": {"include_usage": True}})
        self.assertEqual([e["choices"][0]["delta"] for e in events[:2]], [{"role": "assistant", "content": ""}] * 2)
        self.assertEqual({e["object"] for e in events}, {"chat.completion.chunk"})
        self.assertEqual(len({e["id"] for e in events}), 1)
        self.assertEqual(events[-1]["choices"], [])
        self.assertEqual(events[-1]["usage"]["completion_tokens"], 10)
        for event in events[:-1]:
            self.assertIsNone(event["usage"])
        ends = [c for e in events[:-1] for c in e["choices"] if c["finish_reason"]]
        self.assertEqual([end["delta"] for end in ends], [{}, {}])
        self.assertEqual(sorted(end["index"] for end in ends), [0, 1])
        self.assertNotIn("usage", server.stream(CHAT, {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1})[0])

    def test_sixteen_streams_equal_each_alone(self):
        bodies = [{"prompt": "It was a cold evening, " + "and then " * i, "max_tokens": 20 + i, "seed": i, "temperature": 1,
                   "logprobs": 2, "return_token_ids": True} for i in range(16)]

        def events(body):
            found = server.stream(TEXT, body)
            for event in found:
                del event["id"], event["created"]
            return found

        alone = [events(body) for body in bodies]
        self.assertEqual(in_threads([lambda body=body: events(body) for body in bodies]), alone)

    def test_choices_and_seeds(self):
        body = {"prompt": "She", "max_tokens": 8, "temperature": 1, "seed": 3}
        one = server.post(TEXT, body)["choices"][0]["text"]
        three = [c["text"] for c in server.post(TEXT, {**body, "n": 3})["choices"]]
        self.assertEqual(three[0], one)
        self.assertEqual(len(set(three)), 3)
        self.assertEqual(three, [c["text"] for c in server.post(TEXT, {**body, "n": 3})["choices"]])
        two = server.post(TEXT, {**body, "prompt": ["She", "He"], "n": 2})
        self.assertEqual([c["index"] for c in two["choices"]], [0, 1, 2, 3])
        self.assertEqual(two["choices"][0]["text"], one)
        unseeded = {"prompt": "She", "max_tokens": 12, "temperature": 1}
        self.assertNotEqual(server.post(TEXT, unseeded)["choices"][0]["text"], server.post(TEXT, unseeded)["choices"][0]["text"])

    def test_the_best_of_several(self):
        body = {"prompt": "She", "max_tokens": 8, "temperature": 1, "seed": 3}
        four = server.post(TEXT, {**body, "n": 4, "logprobs": 0})["choices"]
        mean = lambda choice: sum(choice["logprobs"]["token_logprobs"]) / len(choice["logprobs"]["token_logprobs"])
        best = [choice["text"] for choice in sorted(four, key=mean, reverse=True)]
        reply = server.post(TEXT, {**body, "n": 2, "best_of": 4})
        self.assertEqual([choice["text"] for choice in reply["choices"]], best[:2])
        self.assertEqual([choice["index"] for choice in reply["choices"]], [0, 1])
        self.assertEqual(reply["usage"]["completion_tokens"], 32)
        self.assertIsNone(reply["choices"][0]["logprobs"])

    def test_a_prompt_is_cut_at_its_beginning(self):
        body = {"max_tokens": 6, "temperature": 0, "return_token_ids": True}
        ids = server.post("/tokenize", {"prompt": "The old house stood at the end of the lane"})["tokens"]
        cut = server.post(TEXT, {**body, "prompt": ids, "truncate_prompt_tokens": 4})
        self.assertEqual(cut["usage"]["prompt_tokens"], 4)
        self.assertEqual(cut["choices"], server.post(TEXT, {**body, "prompt": ids[-4:]})["choices"])
        long = server.post(TEXT, {**body, "prompt": [7] * 5000, "truncate_prompt_tokens": -1})
        self.assertEqual(long["usage"]["prompt_tokens"], 4090)

    def test_a_format_holds_an_answer_that_may_call_a_tool(self):
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
        body = {"messages": [{"role": "user", "content": "Go"}], "max_tokens": 200, "temperature": 0, "tools": [tool],
                "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"enum": ["yes", "no"]}}}}
        choice = server.post(CHAT, body)["choices"][0]
        self.assertIn(choice["message"]["content"], ('"yes"', '"no"'))
        angle, = server.post("/tokenize", {"prompt": "<", "add_special_tokens": False})["tokens"]
        begun = server.post(CHAT, {**body, "max_tokens": 12, "logit_bias": {str(angle): 100}, "logprobs": True})["choices"][0]
        self.assertTrue("".join(t["token"] for t in begun["logprobs"]["content"]).startswith("<tool_call>"), begun)

    def test_stops(self):
        body = {"prompt": "The old house", "max_tokens": 60, "temperature": 0}
        free = server.post(TEXT, {**body, "return_token_ids": True})["choices"][0]
        stop = free["text"][10:14]
        want = free["text"][:free["text"].index(stop)]
        for given in (stop, ["never there", stop]):
            choice = server.post(TEXT, {**body, "stop": given})["choices"][0]
            self.assertEqual((choice["text"], choice["finish_reason"]), (want, "stop"))
            self.assertEqual(joined(server.stream(TEXT, {**body, "stop": given}))[0], want)
        kept = server.post(TEXT, {**body, "stop": stop, "include_stop_str_in_output": True})["choices"][0]["text"]
        self.assertEqual(kept, want + stop)
        by_id = {**body, "stop_token_ids": [free["token_ids"][4]], "return_token_ids": True}
        first = free["token_ids"].index(free["token_ids"][4])
        self.assertEqual(server.post(TEXT, by_id)["choices"][0]["token_ids"], free["token_ids"][:first + 1])
        late = server.post(TEXT, {**by_id, "min_tokens": 30})["choices"][0]["token_ids"]
        self.assertGreater(len(late), 30)

    def test_logit_bias(self):
        body = {"prompt": "The", "max_tokens": 4, "temperature": 0, "logit_bias": {"17": 100}, "return_token_ids": True}
        self.assertEqual(server.post(TEXT, body)["choices"][0]["token_ids"], [17] * 4)

    def test_chat_logprobs(self):
        body = {"messages": [{"role": "user", "content": "话说"}], "max_tokens": 6, "temperature": 0, "logprobs": True,
                "top_logprobs": 3}
        choice = server.post(CHAT, body)["choices"][0]
        content = choice["logprobs"]["content"]
        self.assertEqual(len(content), 6)
        for entry in content:
            self.assertEqual(len(entry["top_logprobs"]), 3)
            self.assertEqual(entry["top_logprobs"][0]["token"], entry["token"])  # greedy
            self.assertLess(entry["logprob"], 0)
        spelled = b"".join(bytes(entry["bytes"]) for entry in content)
        self.assertTrue(spelled.decode(errors="replace").startswith(choice["message"]["content"].rstrip("\ufffd")))
        streamed = [c["logprobs"]["content"] for e in server.stream(CHAT, body) for c in e["choices"] if c["logprobs"]]
        self.assertEqual([entry for part in streamed for entry in part], content)

    def test_evaluation_harness(self):
        """What lm-evaluation-harness' local-completions sends and reads."""
        ids = server.post("/tokenize", {"prompt": "The old house stood at the end of the lane"})["tokens"]
        body = {"prompt": [ids, ids[:3]], "max_tokens": 1, "logprobs": 1, "echo": True, "temperature": 0, "seed": 1}
        choices = server.post(TEXT, body)["choices"]
        for choice, prompt in zip(choices, (ids, ids[:3])):
            logprobs = choice["logprobs"]
            self.assertEqual({len(logprobs[key]) for key in logprobs}, {len(prompt) + 1})
            self.assertIsNone(logprobs["token_logprobs"][0])
            self.assertIsNone(logprobs["top_logprobs"][0])
            for token, value, top in list(zip(logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"]))[1:]:
                self.assertEqual(top[token], value)
                self.assertGreaterEqual(max(top.values()), value)
            for token, offset in list(zip(logprobs["tokens"], logprobs["text_offset"]))[1:]:
                self.assertTrue(choice["text"][offset:].startswith(token), (token, offset))
        score = subprocess.run([BINARY, "score", DEMO, "--ids", ",".join(map(str, ids)), "--threads", "2", "--json"],
                               capture_output=True, check=True)
        nll = -sum(choices[0]["logprobs"]["token_logprobs"][1:len(ids)])
        self.assertAlmostEqual(nll, json.loads(score.stdout)["nll"], places=6)
        only = server.post(TEXT, {**body, "max_tokens": 0})["choices"][0]["logprobs"]
        self.assertEqual(only["token_logprobs"], choices[0]["logprobs"]["token_logprobs"][:-1])
        # One token drawn from the pass over the prompt, and the first of several drawn after it, are the same.
        longer = server.post(TEXT, {**body, "prompt": ids, "max_tokens": 3})["choices"][0]["logprobs"]
        self.assertEqual(longer["token_logprobs"][:len(ids) + 1], choices[0]["logprobs"]["token_logprobs"])
        self.assertEqual(joined(server.stream(TEXT, {**body, "prompt": ids}))[0], choices[0]["text"])
        info = json.loads(server.request("GET", "/tokenizer_info")[2])
        self.assertEqual(info["eos_token"], "<｜end▁of▁sentence｜>")

    def test_events_beyond_the_streams_buffer_reach_a_client_that_reads(self):
        body = {"prompt": [7] * 2400, "echo": True, "logprobs": 20, "n": 2, "max_tokens": 2, "temperature": 0}
        whole = server.post(TEXT, body)["choices"]
        self.assertGreater(len(json.dumps(whole[0])), 1 << 20)
        events = server.stream(TEXT, body)
        for choice in whole:
            parts = [c["logprobs"]["token_logprobs"] for e in events for c in e["choices"]
                     if c["index"] == choice["index"] and c["logprobs"]]
            self.assertEqual(sum(parts, []), choice["logprobs"]["token_logprobs"])

    def test_what_clients_of_llama_cpp_send(self):
        body = {"prompt": [7] * 4090, "max_tokens": -1, "seed": -1, "ignore_eos": True}
        self.assertEqual(server.post(TEXT, body)["usage"]["completion_tokens"], 6)
        del body["max_tokens"]
        self.assertEqual(server.post(TEXT, body)["usage"]["completion_tokens"], 6)

    def test_echo_without_logprobs(self):
        body = {"prompt": "The old house", "max_tokens": 3, "temperature": 0}
        plain = server.post(TEXT, body)["choices"][0]["text"]
        self.assertEqual(server.post(TEXT, {**body, "echo": True})["choices"][0]["text"], "The old house" + plain)
        self.assertEqual(joined(server.stream(TEXT, {**body, "echo": True}))[0], "The old house" + plain)


class PaddedVocabulary(unittest.TestCase):
    def test_ids_without_a_token_are_never_drawn(self):
        with tempfile.TemporaryDirectory() as folder:
            config = json.loads((DEMO / "config.json").read_text())
            config.update(vocab_size=8200, num_hidden_layers=2)
            source, made = pathlib.Path(folder, "config.json"), pathlib.Path(folder, "padded")
            source.write_text(json.dumps(config))
            subprocess.run([BINARY, "synth", source, made, "--tokenizer", DEMO], check=True, capture_output=True)
            with Server(BINARY, model=made) as padded:
                body = {"prompt": "x", "max_tokens": 20, "ignore_eos": True, "return_token_ids": True, "logit_bias": {"8195": 100}}
                for more in ({"temperature": 0}, {"temperature": 2, "seed": 1}, {"guided_regex": "[a-z]{20}"}):
                    ids = padded.post(TEXT, {**body, **more})["choices"][0]["token_ids"]
                    self.assertLess(max(ids), 8192, more)
                self.assertEqual(padded.post("/detokenize", {"tokens": [8195]})["prompt"], "")


class Text(unittest.TestCase):
    def test_tokens_and_back(self):
        text = "It was — 话说宋江 🙂"
        tokens = server.post("/tokenize", {"prompt": text, "add_special_tokens": False, "return_token_strs": True})
        self.assertEqual(tokens["count"], len(tokens["tokens"]))
        self.assertEqual(len(tokens["token_strs"]), tokens["count"])
        self.assertEqual(server.post("/detokenize", {"tokens": tokens["tokens"]})["prompt"], text)
        self.assertEqual(server.post("/tokenize", {"prompt": text})["tokens"], [8190, *tokens["tokens"]])

    def test_template(self):
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
        prompt = server.post("/apply-template", {"messages": messages})["prompt"]
        self.assertEqual(prompt, "<｜begin▁of▁sentence｜>Be brief.\n\nUser: Hi\n\nAssistant:")
        closed = server.post("/apply-template", {"messages": messages, "add_generation_prompt": False})["prompt"]
        self.assertTrue(closed.endswith("User: Hi\n\n"))

    def test_special_tokens_of_users_stay_text(self):
        spelled = "a<｜end▁of▁sentence｜>b"
        ids = server.post("/tokenize", {"messages": [{"role": "user", "content": spelled}]})["tokens"]
        self.assertEqual(ids[0], 8190)
        self.assertNotIn(8191, ids)
        back = server.post("/detokenize", {"tokens": ids})["prompt"]
        self.assertEqual(back, "<｜begin▁of▁sentence｜>User: " + spelled + "\n\nAssistant:")
        answer = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}, {"role": "user", "content": spelled}]
        self.assertEqual(server.post("/tokenize", {"messages": answer})["tokens"].count(8191), 1)  # the template's

    def test_models_and_version(self):
        listed = json.loads(server.request("GET", "/v1/models")[2])["data"]
        self.assertEqual([model["id"] for model in listed], ["demo"])  # not where it lies on this machine
        self.assertEqual(server.request("GET", f"/v1/models/{DEMO}")[0], 200)
        self.assertEqual(listed[0]["max_model_len"], 4096)
        self.assertEqual(json.loads(server.request("GET", "/v1/models/demo")[2])["id"], "demo")
        self.assertEqual(server.request("GET", "/v1/models/other")[0], 404)
        self.assertEqual(json.loads(server.request("GET", "/v1/models/d%65mo")[2])["id"], "demo")
        self.assertEqual(server.request("GET", "/v2/models/d%65mo")[0], 200)
        self.assertIn("version", json.loads(server.request("GET", "/version")[2]))

    def test_metrics(self):
        before = server.metric("fathom:generation_tokens_total")
        server.post(TEXT, {"prompt": "The", "max_tokens": 5, "ignore_eos": True})
        self.assertEqual(server.metric("fathom:generation_tokens_total"), before + 5)
        status, headers, text = server.request("GET", "/metrics")
        self.assertEqual((status, headers["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        for name in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "prompt_tokens_total",
                     "request_success_total", "time_to_first_token_seconds_bucket", "inter_token_latency_seconds_sum",
                     "e2e_request_latency_seconds_count", "request_queue_time_seconds_bucket", "num_preemptions_total",
                     "prefix_cache_hits_total", "spec_decode_num_draft_model_tokens_total", "http_requests_total",
                     "first_byte_delay_seconds_bucket", "step_roof_share_bucket"):
            self.assertIn(f"\nfathom:{name}{{model_name=\"demo\"", text)
        before = server.metric("fathom:first_byte_delay_seconds_count")
        server.stream(TEXT, {"prompt": "The", "max_tokens": 5})
        self.assertEqual(server.metric("fathom:first_byte_delay_seconds_count"), before + 1)

    def test_steps_are_held_against_the_machine(self):
        with Server(BINARY, "--metrics-prefix", "vllm", "--roof-seconds", 0.1) as measured:
            measured.post(TEXT, {"prompt": "The", "max_tokens": 20, "ignore_eos": True})
            steps = measured.metric("vllm:engine_steps_total")
            self.assertEqual(measured.metric("vllm:step_roof_share_count"), steps)
            self.assertGreater(measured.metric("vllm:step_roof_share_sum"), 0)


if __name__ == "__main__":
    BINARY = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=1)

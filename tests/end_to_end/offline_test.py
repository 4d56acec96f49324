#!/usr/bin/env python3
"""`fathom run --file --out`: files of prompts, killed and gone on with. Standard library only.

usage: offline_test.py FATHOM_BINARY"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from serving import Server

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "models" / "demo"
BINARY = ""


def batch_line(custom_id, body, url="/v1/chat/completions"):
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


def without_what_differs(body):
    """A reply without its name, times and what the cache happened to have."""
    body = {key: value for key, value in body.items() if key not in ("id", "created")}
    if "usage" in body:
        body["usage"] = {**body["usage"], "prompt_tokens_details": None}
    if "timings" in body:
        body["timings"] = sorted(body["timings"])
    return json.loads(re.sub(r"call_[^\"]*?(_\d+_\d+)\"", r'call\1"', json.dumps(body)))


class Offline(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temporary.name)
        self.prompts = self.folder / "prompts.jsonl"

    def tearDown(self):
        self.temporary.cleanup()

    def command(self, out, *options, model=DEMO):
        return [BINARY, "run", str(model), "--file", str(self.prompts), "--out", str(out), *map(str, options)]

    def run_to(self, name, *options, status=0):
        """The answers' lines as text, and what was said on stderr."""
        out = self.folder / name
        done = subprocess.run(self.command(out, *options), capture_output=True, text=True, timeout=600, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return (out.read_text(encoding="utf-8").splitlines() if out.exists() else []), done

    def write(self, lines):
        self.prompts.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")

    def test_killed_again_and_again_it_gives_what_it_gives_at_once(self):
        self.write([{"prompt": f"Chapter {i}. It was", "id": i, "temperature": 0.8} for i in range(120)])
        options = ["--max-tokens", 40, "--seed", 5]
        whole, _ = self.run_to("whole.jsonl", *options)
        self.assertEqual([json.loads(line)["id"] for line in whole], list(range(120)))
        out = self.folder / "killed.jsonl"
        unfinished = self.folder / "killed.jsonl.unfinished"
        kills = 0
        for wanted in (5, 40, 90):
            process = subprocess.Popen(self.command(out, *options), stderr=subprocess.DEVNULL)
            while process.poll() is None:
                if unfinished.exists() and unfinished.read_bytes().count(b"\n") > wanted:
                    process.send_signal(signal.SIGKILL)
                    break
                time.sleep(0.002)
            if process.wait() == -signal.SIGKILL and not out.exists():
                kills += 1
        self.assertGreater(kills, 0)
        with open(unfinished, "ab") as file:
            file.write(b'{"line":3,"fai')
        again, done = self.run_to("killed.jsonl", *options, "--json")
        self.assertEqual(again, whole)
        self.assertGreater(json.loads(done.stdout)["resumed"], 5)
        self.assertFalse(unfinished.exists())

    def test_another_setup_does_not_go_on(self):
        self.write([{"prompt": "It was"}] * 3)
        out = self.folder / "out.jsonl"
        (self.folder / "out.jsonl.unfinished").write_text('{"fathom_run_setup":{"file":"x"}}\n')
        lines, done = self.run_to("out.jsonl", status=1)
        self.assertEqual(lines, [])
        self.assertIn("out.jsonl.unfinished is of a run with file", done.stderr)
        (self.folder / "out.jsonl.unfinished").unlink()
        self.run_to("out.jsonl", "--max-tokens", 2)
        before = out.read_bytes()
        self.assertIn("is there already", self.run_to("out.jsonl", "--max-tokens", 2, status=1)[1].stderr)
        self.assertEqual(out.read_bytes(), before)

    def test_answers_equal_those_to_stdout(self):
        lines = [{"prompt": "The"}, {"ids": [5, 6, 7], "max_tokens": 3}, {"messages": [{"role": "user", "content": "Hi"}]}]
        self.write(lines)
        options = ["--max-tokens", 9, "--temperature", 0.9, "--seed", 7]
        answers = [json.loads(line) for line in self.run_to("out.jsonl", *options)[0]]
        plain = subprocess.run([BINARY, "run", str(DEMO), "--file", str(self.prompts), *map(str, options), "--json"],
                               capture_output=True, text=True, check=True)
        self.assertEqual([(one["ids"], one["text"]) for one in answers],
                         [(one["ids"], one["text"]) for one in json.loads(plain.stdout)])
        self.assertEqual(len(answers[1]["ids"]), 3)

    def test_a_bad_line_of_a_batch_costs_itself_alone(self):
        chat = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
        self.prompts.write_text("\n".join([json.dumps(batch_line("a", chat)), "{", json.dumps(batch_line("b", {"messages": []})),
                                           json.dumps(batch_line("c", {"prompt": "It"}, "/v1/completions"))]))
        lines, done = self.run_to("out.jsonl", status=1)
        self.assertIn("2 of 4 lines failed", done.stderr)
        self.assertIn(f"{self.prompts} line 2", done.stderr)
        answers = [json.loads(line) for line in lines]
        self.assertEqual([one["custom_id"] for one in answers], ["a", None, "b", "c"])
        self.assertEqual([one["response"] and one["response"]["status_code"] for one in answers], [200, None, 400, 200])
        for one in answers:
            self.assertEqual(set(one), {"id", "custom_id", "response", "error"})
        body = answers[0]["response"]["body"]
        self.assertEqual(body["choices"][0]["finish_reason"], "length")
        self.assertEqual(body["usage"]["completion_tokens"], 4)

    def test_a_batch_is_answered_as_a_server_answers(self):
        say = {"messages": [{"role": "user", "content": "Go"}], "temperature": 0, "max_tokens": 12}
        tell = {"prompt": "The old house", "temperature": 0, "max_tokens": 12}
        parameters = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        tools = [{"type": "function", "function": {"name": name, "parameters": parameters}} for name in ("f", "g")]
        schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
        chats = [say, {**say, "prompt_logprobs": 2}, {**say, "logprobs": True, "top_logprobs": 2, "n": 2},
                 {**say, "tools": tools, "tool_choice": "required", "max_tokens": 200},
                 {**say, "tools": tools, "tool_choice": {"type": "function", "function": {"name": "g"}}, "max_tokens": 200},
                 {**say, "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}},
                 {**say, "guided_json": {"type": "nothing"}}, {**say, "guided_regex": "(a"},
                 {**say, "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}],
                  "tool_choice": "required"}]
        texts = [tell, {**tell, "guided_regex": "(yes|no)!"}, {**tell, "guided_choice": []}, {**tell, "prompt_logprobs": 1, "n": 2},
                 {**tell, "prompt": ["It", "She was"], "echo": True, "prompt_logprobs": 0}, {**tell, "echo": True, "logprobs": 1},
                 {**tell, "echo": True, "logprobs": 0, "max_tokens": 0}, {**tell, "logit_bias": {"262": 100}, "stop_token_ids": [262]},
                 {**tell, "stop": [" "]}, {**tell, "stop": " ", "include_stop_str_in_output": True},
                 {**tell, "timings_per_token": True}, {**tell, "return_token_ids": True}, {**tell, "best_of": 3, "seed": 5, "temperature": 1}]
        requests = [("/v1/chat/completions", body) for body in chats] + [("/v1/completions", body) for body in texts]
        self.write([batch_line(str(i), body, url) for i, (url, body) in enumerate(requests)])
        lines, _ = self.run_to("out.jsonl", status=1)
        with Server(BINARY) as server:
            replies = [server.request("POST", url, body) for url, body in requests]
        calls = 0
        for line, (status, _, text), request in zip(map(json.loads, lines), replies, requests):
            self.assertEqual(line["response"]["status_code"], status, (request, text))
            body, want = line["response"]["body"], json.loads(text)
            self.assertEqual(without_what_differs(body), without_what_differs(want), request)
            calls += sum(len(choice.get("message", {}).get("tool_calls", [])) for choice in body.get("choices", []))
        self.assertGreaterEqual(calls, 2)
        self.assertEqual(sum(status == 400 for status, _, _ in replies), 4)

    def start_and_kill(self, out, model, *options):
        """A run that has answered something."""
        unfinished = pathlib.Path(f"{out}.unfinished")
        process = subprocess.Popen(self.command(out, *options, model=model), stderr=subprocess.DEVNULL)
        while process.poll() is None and not (unfinished.exists() and unfinished.read_bytes().count(b"\n") > 3):
            time.sleep(0.002)
        process.kill()
        process.wait()
        self.assertFalse(out.exists())

    def test_a_run_of_another_model_or_other_options_does_not_go_on(self):
        model = self.folder / "model"
        shutil.copytree(DEMO, model)
        self.write([{"prompt": f"Chapter {i}. It was", "max_tokens": 40} for i in range(40)])
        out = self.folder / "out.jsonl"
        self.start_and_kill(out, model, "--max-model-len", 300, "--max-num-seqs", 4)
        unfinished = pathlib.Path(f"{out}.unfinished")
        before = unfinished.read_bytes()

        def refused(what, *options, isa=None):
            options = options if "--max-model-len" in options else (*options, "--max-model-len", 300)
            env = {**os.environ, **({"FATHOM_ISA": isa} if isa else {})}
            done = subprocess.run(self.command(out, *options, model=model), capture_output=True, text=True, env=env, check=False)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
            self.assertIn(f"unfinished is of a run with {what} ", done.stderr)
            self.assertEqual(unfinished.read_bytes(), before)

        refused("dtype", "--dtype", "fp32")
        refused("kv_cache_dtype", "--kv-cache-dtype", "int8")
        refused("isa", isa="reference")
        refused("max_model_len", "--max-model-len", 301)
        refused("slices", "--slices", 2)
        refused("defaults", "--max-tokens", 3)
        config = json.loads((model / "generation_config.json").read_text())
        shutil.copy(model / "generation_config.json", self.folder / "kept")
        (model / "generation_config.json").write_text(json.dumps({**config, "temperature": 0.5}))
        refused("settings")
        shutil.copy(self.folder / "kept", model / "generation_config.json")
        with open(model / "model.safetensors", "r+b") as file:
            first = 8 + int.from_bytes(file.read(8), "little")
            file.seek(first)
            value = file.read(1)
            file.seek(first)
            file.write(bytes([value[0] ^ 1]))
        refused("weights")
        with open(model / "model.safetensors", "r+b") as file:
            file.seek(first)
            file.write(value)
        done = subprocess.run(self.command(out, "--max-model-len", 300, "--threads", 1, "--max-num-seqs", 5, "--json", model=model),
                              capture_output=True, text=True, check=True)  # what only speed depends on
        self.assertGreater(json.loads(done.stdout)["resumed"], 2)

    def test_null_stands_for_what_is_left_out(self):
        self.write([{"prompt": "It was", "max_tokens": None, "ignore_eos": True}])
        lines, _ = self.run_to("out.jsonl")
        self.assertEqual(len(json.loads(lines[0])["ids"]), 256)

    def test_no_two_records_have_one_id(self):
        body = {"prompt": "x", "max_tokens": 1}
        self.write([batch_line("same", body, "/v1/completions")] * 2)
        lines, _ = self.run_to("out.jsonl", status=1)
        first, second = map(json.loads, lines)
        self.assertEqual([first["custom_id"], second["custom_id"]], ["same", "same"])
        self.assertNotEqual(first["id"], second["id"])

    def test_usage_errors_have_one_line(self):
        for arguments, part in ((["--out", "x"], "--file"), (["--file", "/nowhere.jsonl", "--out", "x"], "/nowhere.jsonl")):
            done = subprocess.run([BINARY, "run", str(DEMO), *arguments], capture_output=True, text=True, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(part, done.stderr)
        self.write([batch_line("a", {"prompt": "x"}, "/v1/completions")])
        done = subprocess.run([BINARY, "run", str(DEMO), "--file", str(self.prompts)], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("--out", done.stderr)


if __name__ == "__main__":
    BINARY = sys.argv.pop(1)
    unittest.main(verbosity=2)

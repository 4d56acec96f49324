#!/usr/bin/env python3
"""The commands that talk to a server (`chat --url`, `bench serve`, `eval --url`) against `fathom serve` with the demo model,
and against servers that fail in all the ways servers do. Standard library only.

usage: clients_test.py FATHOM_BINARY"""
import contextlib
import html.parser
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import unittest

from client_support import MODELS, Script, Terminal, http_reply, make_certificate
from serving import DEMO, PATIENCE, Server, wait_until

BINARY = ""
DATA = pathlib.Path(__file__).resolve().parent / "eval_data"
RESULT_KEYS = {"date", "endpoint_type", "backend", "label", "model_id", "tokenizer_id", "num_prompts", "request_rate", "burstiness",
               "max_concurrency", "duration", "completed", "failed", "total_input_tokens", "total_output_tokens", "request_throughput",
               "request_goodput", "output_throughput", "total_token_throughput", "max_output_tokens_per_s", "max_concurrent_requests"}
DETAIL_KEYS = {"input_lens", "output_lens", "ttfts", "itls", "latencies", "start_times", "queue_times", "generated_texts", "errors"}


def setUpModule():
    global server
    server = Server(BINARY, "--max-num-seqs", 16)
    server.__enter__()


def tearDownModule():
    server.__exit__()


def run(*arguments, stdin="", env=None):
    return subprocess.run([BINARY, *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=300, check=False,
                          env={**os.environ, **(env or {})})


class Case(unittest.TestCase):
    def succeed(self, *arguments, **more):
        done = run(*arguments, **more)
        self.assertEqual(done.returncode, 0, (arguments, done.stderr))
        return done

    def fail_with(self, *parts, arguments, **more):
        """Status 1 and one line that has all parts."""
        done = run(*arguments, **more)
        self.assertEqual(done.returncode, 1, (arguments, done.stdout, done.stderr))
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        for part in parts:
            self.assertIn(part, lines[0])
        return done

    @contextlib.contextmanager
    def folder(self):
        with tempfile.TemporaryDirectory() as name:
            yield pathlib.Path(name)


class Bench(Case):
    SMALL = ("--num-prompts", 12, "--random-input-len", 20, "--random-output-len", 6)

    def bench(self, *arguments, url=None):
        return self.succeed("bench", "serve", "--url", url or server.url, *arguments)

    def test_random_prompts_and_the_result_file(self):
        with self.folder() as folder:
            done = self.bench(*self.SMALL, "--random-range-ratio", 0.5, "--random-prefix-len", 5, "--max-concurrency", 4, "--save-detailed",
                              "--result-dir", folder / "a", "--metadata", "host=here", "--metric-percentiles", "50,99.9",
                              "--percentile-metrics", "ttft,tpot,itl,e2el", "--goodput", "ttft:60000", "e2el:60000", "--html", folder / "p.html")
            (path,) = (folder / "a").iterdir()
            self.assertRegex(path.name, r"^openai-infqps-concurrency4-demo-\d{8}-\d{6}\.json$")
            result = json.loads(path.read_text())
            self.check_page((folder / "p.html").read_text())
        self.assertLessEqual(RESULT_KEYS | DETAIL_KEYS | {"host"}, result.keys())
        for metric in ("ttft", "tpot", "itl", "e2el", "client_queue_time"):
            self.assertLessEqual({f"{kind}_{metric}_ms" for kind in ("mean", "median", "std", "p50", "p99.9")}, result.keys())
        self.assertEqual((result["completed"], result["failed"], result["max_concurrency"]), (12, 0, 4))
        self.assertEqual(result["request_rate"], "inf")
        self.assertLessEqual(result["max_concurrent_requests"], 4)
        self.assertEqual(result["request_goodput"], result["request_throughput"])
        # What the server counted is what was asked for: 5 shared tokens, then 10 to 30; 3 to 9 in the answers.
        self.assertTrue(all(15 <= n <= 35 for n in result["input_lens"]), result["input_lens"])
        self.assertTrue(all(3 <= n <= 9 for n in result["output_lens"]), result["output_lens"])
        self.assertEqual(sum(result["input_lens"]), result["total_input_tokens"])
        self.assertEqual(sum(result["output_lens"]), result["total_output_tokens"])
        # Figures and lists say the same.
        ttfts = sorted(result["ttfts"])
        self.assertAlmostEqual(result["median_ttft_ms"], (ttfts[5] + ttfts[6]) / 2 * 1e3, places=6)
        self.assertAlmostEqual(result["p50_ttft_ms"], result["median_ttft_ms"], places=9)
        self.assertAlmostEqual(result["mean_ttft_ms"], sum(ttfts) / 12 * 1e3, places=6)
        for ttft, itls, latency in zip(result["ttfts"], result["itls"], result["latencies"]):
            self.assertAlmostEqual(ttft + sum(itls), latency, places=6)
        tpots = [(latency - ttft) / (n - 1) for latency, ttft, n in zip(result["latencies"], result["ttfts"], result["output_lens"])]
        self.assertAlmostEqual(result["mean_tpot_ms"], sum(tpots) / 12 * 1e3, places=6)
        self.assertRegex(done.stdout, r"^={12} Serving Benchmark Result ={12}\nSuccessful requests: +12 +\n")
        for line in (r"Maximum request concurrency: +4", r"Total input tokens: +%d" % result["total_input_tokens"],
                     r"Output token throughput \(tok/s\): +\d", r"-{15}Time to First Token-{16}", r"P99\.9 E2EL \(ms\): +\d"):
            self.assertRegex(done.stdout, line)

    def check_page(self, text):
        tags = []

        class Page(html.parser.HTMLParser):
            def handle_starttag(self, tag, attrs):
                tags.append((tag, dict(attrs)))

        Page().feed(text)
        self.assertEqual(sum(tag == "svg" for tag, _ in tags), 4)
        self.assertFalse({"script", "link", "img", "iframe"} & {tag for tag, _ in tags})
        for _, attributes in tags:
            self.assertFalse({"src", "href", "onload"} & attributes.keys())

    def test_a_rate_is_kept(self):
        result = json.loads(self.bench(*self.SMALL, "--request-rate", 40, "--burstiness", 0.5, "--seed", 3, "--save-detailed", "--json",
                                       "--result-filename", self.scratch("r.json")).stdout)
        starts = result["start_times"]
        self.assertEqual(starts, sorted(starts))
        self.assertAlmostEqual(starts[-1], 12 / 40, places=9)
        self.assertEqual(result["request_rate"], 40)
        self.assertEqual(set(result["queue_times"]), {0})

    def scratch(self, name):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return pathlib.Path(folder.name) / name

    def test_chat_with_local_tokenizer(self):
        result = json.loads(self.bench(*self.SMALL, "--backend", "openai-chat", "--tokenizer", DEMO, "--temperature", 0, "--json").stdout)
        self.assertEqual((result["completed"], result["backend"]), (12, "openai-chat"))
        self.assertEqual(result["total_output_tokens"], 12 * 6)

    def test_custom_and_sharegpt_files(self):
        with self.folder() as folder:
            custom = folder / "c.jsonl"
            custom.write_text("".join(json.dumps({"prompt": f"Tell me about {i}", "output_tokens": 2 + i}) + "\n" for i in range(4)))
            arguments = ("--dataset-name", "custom", "--dataset-path", custom, "--num-prompts", 8, "--custom-output-len", -1, "--ignore-eos")
            result = json.loads(self.bench(*arguments, "--disable-shuffle", "--json").stdout)
            self.assertEqual(result["total_output_tokens"], 2 * (2 + 3 + 4 + 5))
            sharegpt = folder / "s.json"
            turn = {"conversations": [{"from": "human", "value": "What is a house made of, and who built it?"},
                                      {"from": "gpt", "value": "Of stone and wood, by those who lived there."}]}
            sharegpt.write_text(json.dumps([turn, {"conversations": []}]))
            for tokenizer in ((), ("--tokenizer", DEMO)):
                result = json.loads(self.bench("--dataset-name", "sharegpt", "--dataset-path", sharegpt, "--num-prompts", 3, "--ignore-eos",
                                               "--endpoint", "/v1/chat/completions", "--json", *tokenizer).stdout)
                count = len(server.post("/tokenize", {"prompt": turn["conversations"][1]["value"], "add_special_tokens": False})["tokens"])
                self.assertEqual(result["total_output_tokens"], 3 * count)
            self.fail_with("c.jsonl", "JSON", arguments=("bench", "serve", "--url", server.url, "--dataset-name", "sharegpt", "--dataset-path", custom))

    def test_many_connections(self):
        with Server(BINARY, "--max-queue", 2000, "--max-connections", 1000) as many:
            result = json.loads(self.bench("--num-prompts", 600, "--random-input-len", 4, "--random-output-len", 2, "--json", url=many.url).stdout)
        self.assertEqual((result["completed"], result["max_concurrent_requests"]), (600, 600))

    def test_wrong_options(self):
        bench = ("bench", "serve", "--url", server.url)
        self.fail_with("--request-rate", "-1", arguments=(*bench, "--request-rate=-1"))
        self.fail_with("--goodput", "itl", arguments=(*bench, "--goodput", "itl:3"))
        self.fail_with("--metric-percentiles", "101", arguments=(*bench, "--metric-percentiles", "101"))
        self.fail_with("--percentile-metrics", "speed", arguments=(*bench, "--percentile-metrics", "speed"))
        self.fail_with("--dataset-path", arguments=(*bench, "--dataset-name", "custom"))
        self.fail_with("serves no model other", "demo", arguments=(*bench, "--model", "other"))
        self.assertEqual(run("bench", "serve").returncode, 2)

    def test_a_server_that_dies_half_way(self):
        with Server(BINARY) as dying, self.folder() as folder:
            process = subprocess.Popen([BINARY, "bench", "serve", "--url", dying.url, "--num-prompts", "400", "--max-concurrency", "4",
                                        "--random-input-len", "8", "--random-output-len", "200", "--save-result", "--result-filename",
                                        str(folder / "r.json")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            wait_until(lambda: dying.metric("fathom:request_success_total") >= 8, "some answers")
            dying.process.kill()
            out, err = process.communicate(timeout=PATIENCE)
            result = json.loads((folder / "r.json").read_text())
        self.assertEqual(process.returncode, 1)
        self.assertEqual(len(err.splitlines()), 1, err)
        self.assertRegex(err, r"\d+ of 400 requests failed, the first with: http://127\.0\.0\.1:\d+: ")
        self.assertGreaterEqual(result["completed"], 7)
        self.assertEqual(result["completed"] + result["failed"], 400)
        self.assertIn("Failed requests:", out)


class Chat(Case):
    def chat(self, *arguments, **more):
        return self.succeed("chat", "--url", server.url, "--greedy", "--max-tokens", 12, *arguments, **more)

    def want(self, *messages):
        roles = ["user", "assistant"]
        body = {"messages": [{"role": roles[i % 2], "content": text} for i, text in enumerate(messages)], "max_tokens": 12, "temperature": 0}
        return server.post("/v1/chat/completions", body)["choices"][0]["message"]["content"]

    def test_one_question(self):
        want = self.want("The old house")
        self.assertEqual(self.chat("The old house").stdout, want if want.endswith("\n") else want + "\n")
        self.assertEqual(self.chat(stdin="The old house").stdout, self.chat("The old house").stdout)
        answer = json.loads(self.chat("The old house", "--json").stdout)
        self.assertEqual((answer["text"], answer["completion_tokens"]), (want, 12))
        self.assertRegex(self.chat("x", "--stats").stderr, r"answer \d+ tokens")
        self.fail_with("empty", arguments=("chat", "--url", server.url))

    def test_local_equals_server(self):
        local = self.succeed("chat", DEMO, "The old house", "--greedy", "--max-tokens", 12, "--threads", 2)
        self.assertEqual(local.stdout, self.chat("The old house").stdout)

    def test_lines_are_one_conversation(self):
        with self.folder() as folder:
            save = folder / "c.json"
            text = f"First\n/system Be brief\n\nSecond\n/undo\n//third\n/save {save}\n/reset\nFourth\n/load {save}\n/retry\n/quit\nnever\n"
            self.chat("--lines", stdin=text)
            messages = json.loads(save.read_text())["messages"]
        self.assertEqual([m["role"] for m in messages], ["system", "user", "assistant", "user", "assistant"])
        self.assertEqual([m["content"] for m in messages if m["role"] == "user"], ["First", "/third"])
        self.assertEqual(messages[2]["content"], self.want("First"))
        self.fail_with("/nonsense", arguments=("chat", "--url", server.url, "--lines"), stdin="/nonsense\nHello\n")

    def test_terminal(self):
        """A person at a terminal: an answer, Ctrl-C in the next one, and the conversation goes on."""
        with self.folder() as folder, Terminal(BINARY, "chat", "--url", server.url, "--greedy", "--ignore-eos", "--max-tokens", 2000) as terminal:
            terminal.read_until("> ")
            terminal.write("The old house\n")
            wait_until(lambda: server.load()["running"] > 0, "the answer under way")
            terminal.write("\x03")
            terminal.read_until("(stopped)")
            server.wait_for_load(running=0)
            terminal.read_until("> ")
            terminal.write("\x03")  # gives up a line, no more
            terminal.read_until("> ")
            terminal.write('"""two\nlines"""\n')
            wait_until(lambda: server.load()["running"] > 0, "the second answer")
            terminal.write("\x03")
            terminal.read_until("(stopped)")
            terminal.write(f"/save {folder / 's.json'}\n/nonsense\n")
            terminal.read_until("no such command")
            terminal.write("/quit\n")
            self.assertEqual(terminal.wait(), 0)
            messages = json.loads((folder / "s.json").read_text())["messages"]
        self.assertEqual([m["content"] for m in messages if m["role"] == "user"], ["The old house", "two\nlines"])
        self.assertEqual(len(messages), 4)

    def test_local_terminal(self):
        with Terminal(BINARY, "run", DEMO, "--greedy", "--ignore-eos", "--max-tokens", 3000, "--threads", 2) as terminal:
            terminal.read_until("> ")
            terminal.write("The old house\n")
            terminal.read_until("The old house")  # the echo
            terminal.read_some(40)
            terminal.write("\x03")
            terminal.read_until("(stopped)")
            terminal.write("\x04")
            self.assertEqual(terminal.wait(), 0)

    def test_unix_socket_tls_and_keys(self):
        with self.folder() as folder:
            with Server(BINARY, "--uds", folder / "s.sock", "--api-key", "sesame") as unix:
                chat = ("chat", "--url", unix.url, "Hi", "--max-tokens", 2)
                self.succeed(*chat, "--api-key", "sesame")
                self.succeed(*chat, env={"FATHOM_API_KEY": "sesame"})
                for wrong in ("", "open"):
                    done = self.fail_with("status 401", "--api-key", arguments=chat, env={"FATHOM_API_KEY": wrong, "OPENAI_API_KEY": ""})
                self.assertNotIn("open", done.stderr.replace("OpenAI", ""))
            certificate = make_certificate(folder)
            if certificate is None:
                self.skipTest("no openssl command")
            cert, key = certificate
            with Server(BINARY, "--ssl-certfile", cert, "--ssl-keyfile", key) as tls:
                chat = ("chat", "--url", tls.url.replace("127.0.0.1", "localhost"), "Hi", "--max-tokens", 2)
                self.succeed(*chat, "--cacert", cert)
                self.succeed(*chat, "--insecure")
                self.fail_with("certificate", arguments=chat)
                self.fail_with("certificate", arguments=("chat", "--url", tls.url, "Hi", "--cacert", cert))  # another name


class Eval(Case):
    def both(self, tasks, *more):
        """The samples of every task, asked here and of the server."""
        found = []
        for source in (("--threads", 2), ("--url", server.url)):
            with self.folder() as out:
                self.succeed("eval", DEMO, "--tasks", tasks, "--data", DATA, "--out", out, *more, *source)
                found.append({path.name.split("_20")[0]: [json.loads(line) for line in path.read_text().splitlines()]
                              for path in sorted(out.glob("*/samples_*"))})
        return found

    def test_log_likelihoods(self):
        local, remote = self.both("boolq,mmlu:abstract_algebra,truthfulqa_mc,perplexity", "--limit", 5)
        self.assertEqual(local.keys(), remote.keys())
        largest = 0
        for task, samples in local.items():
            for here, there in zip(samples, remote[task]):
                self.assertEqual(here["arguments"], there["arguments"])
                for a, b in zip(here["resps"], there["resps"]):
                    largest = max(largest, abs(a - b))
        print(f"largest difference of a log-likelihood: {largest:.2e}", file=sys.stderr)
        self.assertLess(largest, 1e-3)

    def test_generation_and_modeltest(self):
        for arguments in (("gsm8k", "--shots", 1, "--limit", 3), ("cmmlu:conceptual_physics", "--style", "modeltest", "--shots", 1, "--limit", 3),
                          ("ceval:college_physics", "--style", "modeltest", "--shots", 1, "--limit", 3)):
            local, remote = self.both(*arguments)
            for task, samples in local.items():
                for here, there in zip(samples, remote[task]):
                    if isinstance(here["resps"][0], float):
                        self.assertLess(max(abs(a - b) for a, b in zip(here["resps"], there["resps"])), 1e-3)
                    else:
                        self.assertEqual(here["resps"], there["resps"], task)

    def test_wrong_options(self):
        arguments = ("eval", DEMO, "--tasks", "boolq", "--data", DATA)
        self.fail_with("--dtype", "--url", arguments=(*arguments, "--url", server.url, "--dtype", "fp32"))
        self.fail_with("--api-key", "--url", arguments=(*arguments, "--api-key", "x"))

    def test_a_full_server_is_asked_again(self):
        with Server(BINARY, "--max-num-seqs", 1, "--max-queue", 1) as small:
            self.succeed("eval", DEMO, "--tasks", "gsm8k", "--shots", 0, "--limit", 6, "--data", DATA, "--url", small.url, "--batch", 6)


class Failures(Case):
    """Each way a server can fail is one clear line."""

    def each(self, url, *parts):
        chat = ("chat", "--url", url, "--model", "m", "--timeout", 1, "Hi")
        bench = ("bench", "serve", "--url", url, "--model", "m", "--timeout", 1, "--tokenizer", DEMO, "--num-prompts", 1)
        evaluation = ("eval", DEMO, "--tasks", "boolq", "--data", DATA, "--limit", 1, "--url", url, "--model", "m", "--timeout", 1)
        for arguments in (chat, bench, evaluation):
            self.fail_with(*parts, arguments=arguments)

    def test_nobody_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        self.each(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}: cannot connect", "refused")
        self.each("unix:/nonexistent.sock", "cannot connect")
        self.each("http://no-such-host.invalid", "host is not known")
        self.each("ftp://x", "--url", "scheme")

    def test_no_http_and_silence(self):
        with Script(b"SSH-2.0-x\r\n\r\n") as url:
            self.each(url, "no HTTP server")
        with Script(None) as url:
            self.each(url, "silent for 1 s")
        with Script(b"") as url:
            self.each(url, "closed the connection without a reply")

    def test_not_an_openai_server(self):
        page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
        with Script(page) as url:
            self.each(url, "no OpenAI-compatible server", "text/html")
        with Script(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope") as url:
            self.each(url, "status 404", "nope")

    # What comes after a list of models.
    def after_models(self, reply, *parts, commands=("chat", "bench")):
        with Script(MODELS, reply) as url:
            if "chat" in commands:
                self.fail_with(*parts, arguments=("chat", "--url", url, "Hi"))
            if "bench" in commands:
                self.fail_with(*parts, arguments=("bench", "serve", "--url", url, "--tokenizer", DEMO, "--num-prompts", 1))

    def test_answers_that_fail(self):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        piece = b'data: {"choices": [{"text": "a", "delta": {"content": "a"}}]}\n\n'
        self.after_models(http_reply(429, {"error": {"message": "queue full"}}, "Retry-After: 7\r\n"), "status 429", "queue full", "again in 7 s")
        self.after_models(http_reply(200, {"choices": []}), "no event stream", "application/json")
        self.after_models(head + piece, "ended before the answer")
        self.after_models(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 1000\r\n\r\n" + piece, "in the middle of its reply")
        self.after_models(head + piece + b'data: {"error": {"message": "engine died"}}\n\n', "broke off", "engine died")
        self.after_models(head + b"data: hello\n\n", "no JSON", "hello")

    def test_a_server_without_prompt_logprobs(self):
        with Script(MODELS, http_reply(200, {"choices": [{"text": "x", "logprobs": None}]})) as url:
            self.fail_with("no log-probabilities of prompts", arguments=("eval", DEMO, "--tasks", "boolq", "--data", DATA, "--limit", 1, "--url", url))


if __name__ == "__main__":
    BINARY = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=1)

#!/usr/bin/env python3
"""`fathom run --file --out`: files of prompts, killed and gone on with. Standard library only.

usage: offline_test.py FATHOM_BINARY"""
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "models" / "demo"
BINARY = ""


def batch_line(custom_id, body, url="/v1/chat/completions"):
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


class Offline(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temporary.name)
        self.prompts = self.folder / "prompts.jsonl"

    def tearDown(self):
        self.temporary.cleanup()

    def command(self, out, *options):
        return [BINARY, "run", str(DEMO), "--file", str(self.prompts), "--out", str(out), *map(str, options)]

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

#!/usr/bin/env python3
"""lm-evaluation-harness through `fathom serve` (its model type local-completions) against `fathom eval` on the same checkpoint
and questions: the same accuracies and the same log-likelihoods. Part of the tests with -DFATHOM_LM_EVAL=ON only: it installs
lm_eval into a virtual environment.

usage: lm_eval_server_test.py FATHOM_BINARY VENV_FOLDER [QUESTIONS]

QUESTIONS, default 20, are made up. Exit status 77 (skipped), with the reason, where packages cannot be had."""
import json
import pathlib
import sys
import tempfile

from lm_eval_test import Comparison, SKIPPED, write_boolq, write_perplexity
from package_venv import install
from serving import Server

PACKAGES = ("lm_eval[api]==0.4.13",)
# Sums of the same numbers in another order.
TOLERANCE = 1e-9

# Runs in the virtual environment: lm_eval over a folder of task files, results and samples to a file.
HARNESS = '''
import json, sys
import requests
from lm_eval import simple_evaluate
from lm_eval.models.openai_completions import LocalCompletionsAPI
from lm_eval.tasks import TaskManager

url, task_dir, out, task = sys.argv[1:]
(bos,) = requests.post(url + "/tokenize", json={"prompt": ""}).json()["tokens"]


class Model(LocalCompletionsAPI):
    """The harness leaves BOS out where the server tokenises; fathom eval has it, as the harness has beside a model of its own."""

    def tok_encode(self, string, *arguments, **more):
        ids = super().tok_encode(string, *arguments, **more)
        return [bos] + ids if isinstance(string, str) else [[bos] + one for one in ids]


model = Model(base_url=url + "/v1/completions", model="demo", tokenizer_backend="remote", batch_size=2,
                            num_concurrent=2, max_length=4095, custom_prefix_token_id=bos)
done = simple_evaluate(model, tasks=[task], task_manager=TaskManager(include_path=task_dir), bootstrap_iters=0, log_samples=True)
keep = {"results": done["results"]}
keep["samples"] = {name: [{"arguments": s["arguments"], "resps": s["resps"], "doc_id": s["doc_id"]} for s in samples]
                   for name, samples in done["samples"].items()}
json.dump(keep, open(out, "w"), ensure_ascii=False, default=str)
'''


def made_up_questions(folder, count):
    """A file of BoolQ's form."""
    places = ("the harbour", "an old mill", "the north road", "a stone bridge", "the market")
    lines = [{"passage": f"In the year {1800 + 7 * i} {places[i % 5]} was {'closed' if i % 3 else 'opened'} for {i + 2} days.",
              "question": f"was {places[(i * 2) % 5]} open in {1800 + 7 * i}", "answer": i % 2 == 0, "title": f"Place {i}"} for i in range(count)]
    (folder / "boolq_dev.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return folder


class ServerComparison(Comparison):
    def __init__(self, binary, python, folder, url):
        super().__init__(binary, python, folder)
        self.url = url

    def through_server(self, task):
        return self.harness(HARNESS, self.url, str(self.folder / "tasks"), task=task)

    def boolq(self):
        theirs = self.through_server("boolq_local")
        results, samples = self.run_fathom("boolq")
        differences = self.samples("boolq", samples, theirs["samples"]["boolq_local"])
        self.metrics("boolq", results["results"]["boolq"], {"acc,none": theirs["results"]["boolq_local"]["acc,none"]})
        self.expect(max(differences) <= TOLERANCE, f"boolq: log-likelihoods differ by {max(differences)}")
        print(f"boolq: {len(samples)} questions, {len(differences)} log-likelihoods differ by at most {max(differences):.1e}")

    def perplexity(self):
        theirs = self.through_server("perplexity")
        _, samples = self.run_fathom("perplexity")
        other = [float(str(s["resps"][0][0] if isinstance(s["resps"][0], list) else s["resps"][0]).strip("()[],"))
                 for s in theirs["samples"]["perplexity"]]
        largest = max(abs(s["resps"][0] / o - 1) for s, o in zip(sorted(samples, key=lambda s: s["target"]), other))
        self.expect(largest <= TOLERANCE, f"perplexity: log-likelihoods differ by {largest}, relative")
        print(f"perplexity: {len(samples)} texts, log-likelihoods differ by at most {largest:.1e}, relative")


def main():
    binary, venv = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 20
    python = install(venv, PACKAGES, ("lm_eval.models.openai_completions", "tenacity"))
    if python is None:
        print(f"skipped: {', '.join(PACKAGES)} cannot be installed into {venv}")
        return SKIPPED
    with tempfile.TemporaryDirectory() as temporary, Server(str(binary), "--dtype", "fp32", "--kv-cache-dtype", "fp32") as server:
        folder = pathlib.Path(temporary)
        for name in ("data", "tasks"):
            (folder / name).mkdir()
        write_boolq(made_up_questions(folder, count), folder / "data", folder / "tasks", count)
        # One window for each text: theirs and ours are of different lengths.
        write_perplexity(folder / "data", folder / "tasks", 2000)
        comparison = ServerComparison(binary, python, folder, server.url)
        comparison.boolq()
        comparison.perplexity()
    print(f"{len(comparison.failures)} failures")
    return 1 if comparison.failures else 0


if __name__ == "__main__":
    sys.exit(main())

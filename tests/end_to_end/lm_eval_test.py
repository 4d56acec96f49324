#!/usr/bin/env python3
"""`fathom eval` against lm-evaluation-harness on the same checkpoint, prompts and questions: the same prompts to the byte,
the same accuracies, log-likelihoods within 1e-3. Part of the tests with -DFATHOM_LM_EVAL=ON only: it installs lm_eval and
torch (2 GB) into a virtual environment and takes some minutes.

usage: lm_eval_test.py FATHOM_BINARY VENV_FOLDER [QUESTIONS [DATA_FOLDER]]

QUESTIONS, default 200, are taken of BoolQ; CMMLU gives as many, rounded up to the same number of each subject, twice:
without and with examples. Exit status 77 (skipped), with the reason, where packages or data cannot be had."""
import csv
import json
import pathlib
import subprocess
import sys
import tempfile

from package_venv import SKIPPED, install

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "models" / "demo"
PACKAGES = ("lm_eval[hf]==0.4.13", "torch==2.13.0", "transformers==5.24.0")
PATIENCE = 1800  # seconds, of the installation
TOLERANCE = 1e-3
CMMLU_SHOTS = 2

# Runs in the virtual environment: lm_eval over a folder of task files, results and samples to a file.
HARNESS = '''
import json, sys
import torch
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

model_dir, task_dir, out, task, shots = sys.argv[1:]
torch.set_num_threads(2)
config = json.load(open(model_dir + "/tokenizer_config.json"))
bos, eos = config["bos_token"]["content"], config["eos_token"]["content"]
tokenizer = PreTrainedTokenizerFast(tokenizer_file=model_dir + "/tokenizer.json", bos_token=bos, eos_token=eos, pad_token=eos)
# transformers 5 drops add_bos_token of this kind of tokenizer_config.json.
assert config["add_bos_token"]
tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
    single=bos + " $A", special_tokens=[(bos, tokenizer.bos_token_id)])
assert tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id
model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()
harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4, device="cpu",
               max_length=model.config.max_position_embeddings - 1)  # a prompt of fathom leaves one place
done = simple_evaluate(harness, tasks=[task], num_fewshot=int(shots), task_manager=TaskManager(include_path=task_dir),
                       bootstrap_iters=0 if task == "perplexity" else 100000, log_samples=True)
keep = {"results": done["results"], "groups": done.get("groups", {})}
keep["samples"] = {name: [{"arguments": s["arguments"], "resps": s["resps"]} for s in samples]
                   for name, samples in done["samples"].items()}
json.dump(keep, open(out, "w"), ensure_ascii=False, default=str)
'''


def write_boolq(data, folder, tasks, count):
    lines = [json.loads(line) for line in (data / "boolq_dev.jsonl").read_text(encoding="utf-8").splitlines()[:count]]
    (folder / "boolq").mkdir()
    (folder / "boolq" / "dev.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    docs = [{"passage": x["passage"], "question": x["question"], "label": int(x["answer"])} for x in lines]
    (tasks / "boolq.json").write_text("\n".join(map(json.dumps, docs)), encoding="utf-8")
    (tasks / "boolq_local.yaml").write_text(json.dumps({
        "task": "boolq_local", "dataset_path": "json", "dataset_kwargs": {"data_files": {"validation": str(tasks / "boolq.json")}},
        "output_type": "multiple_choice", "validation_split": "validation",
        "doc_to_text": "{{passage}}\nQuestion: {{question}}?\nAnswer:", "doc_to_target": "label", "doc_to_choice": ["no", "yes"],
        "metric_list": [{"metric": "acc"}], "metadata": {"version": 2.0}}), encoding="utf-8")


def read_csv(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def subject_descriptions(python):
    """Prompt headers of lm_eval's own CMMLU tasks."""
    code = ("import glob, json, os, yaml, lm_eval.tasks as t\n"
            "docs = [yaml.load(open(p), yaml.BaseLoader) for p in glob.glob(os.path.dirname(t.__file__) + '/cmmlu/cmmlu_*.yaml')]\n"
            "print(json.dumps({d['dataset_name']: d['description'] for d in docs if 'dataset_name' in d}))")
    return json.loads(subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def write_cmmlu(data, folder, tasks, count, descriptions):
    names = []
    per_subject = -(-count // len(descriptions))
    for subject, description in sorted(descriptions.items()):
        files = {}
        for split in ("dev", "test"):
            rows = read_csv(data / "cmmlu" / split / f"{subject}.csv")
            (folder / "cmmlu" / split).mkdir(parents=True, exist_ok=True)
            with (folder / "cmmlu" / split / f"{subject}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, rows[0].keys())
                writer.writeheader()
                writer.writerows(rows)
            files[split] = str(tasks / f"{subject}_{split}.json")
            kept = rows[:per_subject] if split == "test" else rows
            keys = ("Question", "A", "B", "C", "D", "Answer")
            pathlib.Path(files[split]).write_text("\n".join(json.dumps({k: r[k] for k in keys}) for r in kept), encoding="utf-8")
        names.append(f"cmmlulocal_{subject}")
        (tasks / f"{names[-1]}.yaml").write_text(json.dumps({
            "task": names[-1], "dataset_path": "json", "dataset_kwargs": {"data_files": files}, "test_split": "test",
            "fewshot_split": "dev", "fewshot_config": {"sampler": "first_n"}, "output_type": "multiple_choice",
            "description": description, "doc_to_text": "{{Question.strip()}}\nA. {{A}}\nB. {{B}}\nC. {{C}}\nD. {{D}}\n答案：",
            "doc_to_choice": ["A", "B", "C", "D"], "doc_to_target": "{{['A', 'B', 'C', 'D'].index(Answer)}}",
            "metric_list": [{"metric": m, "aggregation": "mean", "higher_is_better": True} for m in ("acc", "acc_norm")],
            "metadata": {"version": 1.0}}), encoding="utf-8")
    (tasks / "cmmlulocal.yaml").write_text(json.dumps({
        "group": "cmmlulocal", "task": names, "aggregate_metric_list": [
            {"aggregation": "mean", "metric": m, "weight_by_size": True} for m in ("acc", "acc_norm")],
        "metadata": {"version": 1.0}}), encoding="utf-8")
    return per_subject


def write_perplexity(folder, tasks, characters=9000):
    (folder / "perplexity").mkdir()
    texts = []
    for name in ("held_out_en.txt", "held_out_zh.txt"):
        texts.append((DEMO / name).read_text(encoding="utf-8")[:characters])
        (folder / "perplexity" / name).write_text(texts[-1], encoding="utf-8", newline="")
    (tasks / "perplexity.json").write_text("\n".join(json.dumps({"page": t}) for t in texts), encoding="utf-8")
    (tasks / "perplexity.yaml").write_text(json.dumps({
        "task": "perplexity", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(tasks / "perplexity.json")}},
        "output_type": "loglikelihood_rolling", "test_split": "test", "doc_to_text": "", "doc_to_target": "{{page}}",
        "metric_list": [{"metric": m} for m in ("word_perplexity", "byte_perplexity", "bits_per_byte")],
        "metadata": {"version": 2.0}}), encoding="utf-8")


class Comparison:
    def __init__(self, binary, python, folder):
        self.binary, self.python, self.folder = binary, python, folder
        self.failures = []

    def run_harness(self, task, shots):
        return self.harness(HARNESS, str(DEMO), str(self.folder / "tasks"), task=task, shots=str(shots))

    def harness(self, code, *arguments, **more):
        """Runs the code in the virtual environment with the arguments, the name of its result file, and more; the result."""
        out = self.folder / "harness.json"
        script = self.folder / "harness.py"
        script.write_text(code, encoding="utf-8")
        environment = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PATH": "/usr/bin:/bin",
                       "HOME": str(self.folder), "TOKENIZERS_PARALLELISM": "false"}
        done = subprocess.run([str(self.python), str(script), *arguments, str(out), *more.values()],
                              env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"lm_eval failed:\n{done.stderr[-4000:]}")
        return json.loads(out.read_text(encoding="utf-8"))

    def run_fathom(self, task, *options):
        out = self.folder / f"out_{task}_{len(list(self.folder.glob('out_*')))}"
        command = [str(self.binary), "eval", str(DEMO), "--tasks", task, "--data", str(self.folder / "data"), "--dtype", "fp32",
                   "--kv-cache-dtype", "fp32", "--out", str(out), *map(str, options)]
        subprocess.run(command, check=True, capture_output=True)
        (results,) = out.glob("*/results_*.json")
        (samples,) = out.glob("*/samples_*.jsonl")
        return json.loads(results.read_text(encoding="utf-8")), list(map(json.loads, samples.read_text(encoding="utf-8").splitlines()))

    def expect(self, condition, message):
        if not condition:
            self.failures.append(message)
            print("FAILED:", message)

    def samples(self, name, ours, theirs):
        """Prompts and log-likelihoods question by question; returns all differences."""
        differences = []
        self.expect(len(ours) == len(theirs), f"{name}: {len(ours)} questions, the harness has {len(theirs)}")
        for ours_one, theirs_one in zip(ours, theirs):
            self.expect([list(a) for a in theirs_one["arguments"]] == ours_one["arguments"],
                        f"{name}: prompt of question {ours_one['doc_id']} differs")
            for mine, other in zip(ours_one["resps"], theirs_one["resps"]):
                while isinstance(other, list):
                    other = other[0]
                differences.append(abs(mine - float(other)))
        return differences

    def log_likelihoods(self, name, differences):
        """Judges and describes them."""
        largest = max(differences)
        self.expect(largest <= TOLERANCE, f"{name}: log-likelihoods differ by {largest}")
        return (f"{len(differences)} log-likelihoods differ by at most {largest:.2e}, {sum(d > 1e-4 for d in differences)} by more "
                f"than 1e-4, half of them by less than {sorted(differences)[len(differences) // 2]:.1e}")

    def metrics(self, name, ours, theirs):
        for key, value in theirs.items():
            if "," not in key or value == "N/A" or not isinstance(value, (int, float)):
                continue
            self.expect(abs(ours[key] - value) <= 1e-12 if "perplexity" not in key and "bits" not in key else
                        abs(ours[key] - value) <= TOLERANCE * value, f"{name} {key}: {ours[key]}, the harness has {value}")

    def boolq(self):
        theirs = self.run_harness("boolq_local", 0)
        results, samples = self.run_fathom("boolq")
        differences = self.samples("boolq", samples, theirs["samples"]["boolq_local"])
        self.metrics("boolq", results["results"]["boolq"], theirs["results"]["boolq_local"])
        print(f"boolq: {len(samples)} questions, acc {results['results']['boolq']['acc,none']}, "
              f"{self.log_likelihoods('boolq', differences)}")

    def cmmlu(self, per_subject, shots):
        theirs = self.run_harness("cmmlulocal", shots)
        results, samples = self.run_fathom("cmmlu", "--shots", shots, "--limit", per_subject)
        differences = []
        for name, other in theirs["samples"].items():
            own_name = name.replace("cmmlulocal", "cmmlu")
            differences += self.samples(own_name, [s for s in samples if s["task"] == own_name], other)
            self.metrics(own_name, results["results"][own_name], theirs["results"][name])
        self.metrics("cmmlu", results["groups"]["cmmlu"], theirs["groups"]["cmmlulocal"])
        print(f"cmmlu, {shots} shots: {len(samples)} questions, acc {results['groups']['cmmlu']['acc,none']}, "
              f"{self.log_likelihoods('cmmlu', differences)}")

    def perplexity(self):
        theirs = self.run_harness("perplexity", 0)
        results, samples = self.run_fathom("perplexity")
        other = [float(str(s["resps"][0][0] if isinstance(s["resps"][0], list) else s["resps"][0]).strip("()[],"))
                 for s in theirs["samples"]["perplexity"]]
        largest = max(abs(s["resps"][0] / o - 1) for s, o in zip(sorted(samples, key=lambda s: s["target"]), other))
        self.expect(largest <= 1e-5, f"perplexity: log-likelihoods differ by {largest}, relative")
        self.metrics("perplexity", results["results"]["perplexity"], theirs["results"]["perplexity"])
        print(f"perplexity: {len(samples)} texts, byte_perplexity {results['results']['perplexity']['byte_perplexity,none']:.6f}, "
              f"log-likelihoods differ by at most {largest:.2e}, relative")


def main():
    binary, venv = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 200
    data = pathlib.Path(sys.argv[4]) if len(sys.argv) > 4 else ROOT.parent / "shared" / "data" / "eval"
    if not (data / "cmmlu").is_dir():
        print(f"skipped: {data} is not there")
        return SKIPPED
    python = install(venv, PACKAGES, ("lm_eval.models.huggingface", "torch"), PATIENCE)
    if python is None:
        print(f"skipped: {', '.join(PACKAGES)} cannot be installed into {venv}")
        return SKIPPED
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for name in ("data", "tasks"):
            (folder / name).mkdir()
        write_boolq(data, folder / "data", folder / "tasks", count)
        write_perplexity(folder / "data", folder / "tasks")
        per_subject = write_cmmlu(data, folder / "data", folder / "tasks", count, subject_descriptions(python))
        comparison = Comparison(binary, python, folder)
        comparison.boolq()
        comparison.perplexity()
        for shots in (0, CMMLU_SHOTS):
            comparison.cmmlu(per_subject, shots)
    print(f"{len(comparison.failures)} failures")
    return 1 if comparison.failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""What the tests of compat/atb_models share: a copy of it with data sets, and checkpoints edited as the seed asks."""
import csv
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import cli_test
from cli_test import DEMO, ROOT

EVAL_DATA = pathlib.Path(__file__).resolve().parent / "eval_data"
MASTER = "127.0.0.1"
LONGBENCH = ("narrativeqa qasper multifieldqa_en multifieldqa_zh hotpotqa 2wikimqa musique dureader gov_report qmsum multi_news vcsum trec "
             "triviaqa samsum lsht passage_count passage_retrieval_en passage_retrieval_zh lcc repobench-p").split()
LONGBENCH_E = ("qasper multifieldqa_en hotpotqa 2wikimqa gov_report multi_news trec triviaqa samsum passage_count passage_retrieval_en lcc "
               "repobench-p").split()


def edited_demo(folder, **changes):
    """The demo model with other keys in its config.json."""
    folder.mkdir()
    for path in DEMO.iterdir():
        if path.name != "config.json":
            os.symlink(path, folder / path.name)
    config = json.loads((DEMO / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


def exam_subjects(name):
    """Keys of a task's subjects, from the one list of them."""
    text = (ROOT / "src" / "evaluate" / "tasks" / "subjects.cc").read_text(encoding="utf-8")
    block = text[text.index(f"SubjectName k{name}[]"):]
    return re.findall(r'\{"(\w+)"', block[:block.index("};")])


def write_exam(data, name, files):
    """Five examples and one question of each subject, those of a subject that eval_data has. files: {folder: file name}."""
    for folder, pattern in files.items():
        (target := data / name.lower() / folder).mkdir(parents=True, exist_ok=True)
        lines = sorted((EVAL_DATA / name.lower() / folder).glob("*.csv"))[0].read_text(encoding="utf-8").splitlines(keepends=True)
        header = [] if name == "Mmlu" else [lines.pop(0)]
        text = "".join(header + (lines * 5)[:5 if folder == "dev" else 1])
        for key in exam_subjects(name):
            (target / pattern.format(key)).write_text(text, encoding="utf-8")


def write_longbench(data):
    folder = data / "longbench"
    (folder / "data").mkdir(parents=True)
    (folder / "config").mkdir()
    prompts = {key: "Read this.\n{context}\nQuestion: {input}\nAnswer:" for key in LONGBENCH}
    (folder / "config" / "dataset2prompt.json").write_text(json.dumps(prompts))
    (folder / "config" / "dataset2maxlen.json").write_text(json.dumps({key: 32 for key in LONGBENCH}))
    for keys, ending, lengths in ((LONGBENCH, "", (100,)), (LONGBENCH_E, "_e", (100, 5000))):
        for key in keys:
            answer = {"passage_count": "3", "passage_retrieval_en": "Paragraph 3", "passage_retrieval_zh": "段落3"}.get(key, "the sea")
            lines = [{"input": "What is wide?", "context": "The sea is wide. " * 20, "answers": [answer], "all_classes": ["the sea"],
                      "length": length} for length in lengths]
            (folder / "data" / f"{key}{ending}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_data(data):
    """eval_data, cut to a few questions where a mode asks all of them, and made complete where it is a part."""
    shutil.copytree(EVAL_DATA, data, ignore=shutil.ignore_patterns("ceval", "cmmlu", "mmlu"))
    for path, count in ((data / "boolq" / "dev.jsonl", 8), (data / "gsm8k" / "test.jsonl", 2), (data / "humaneval" / "HumanEval.jsonl", 4)):
        path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:count]), encoding="utf-8")
    mc = data / "truthfulqa" / "mc_task.json"
    mc.write_text(json.dumps(json.loads(mc.read_text(encoding="utf-8"))[:4]), encoding="utf-8")
    write_exam(data, "Ceval", {"dev": "{}_dev.csv", "val": "{}_val.csv"})
    write_exam(data, "Cmmlu", {"dev": "{}.csv", "test": "{}.csv"})
    write_exam(data, "Mmlu", {"dev": "{}_dev.csv", "test": "{}_test.csv"})
    (data / "customize").mkdir()
    (data / "customize" / "customize.jsonl").write_text('{"question": "What is a sea?"}\n{"question": "Why?"}\n')
    write_longbench(data)


def write_rank_table(path, devices=8):
    """Two servers."""
    servers = [{"server_id": address, "container_ip": address,
                "device": [{"device_id": str(i), "device_ip": f"10.0.{node}.{i + 1}", "rank_id": str(devices * node + i)}
                           for i in range(devices)]}
               for node, address in enumerate((MASTER, "127.0.0.2"))]
    path.write_text(json.dumps({"version": "1.0", "status": "completed", "server_count": "2", "server_list": servers}))
    path.chmod(0o640)


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.llm = cls.folder / "llm"
        shutil.copytree(ROOT / "compat" / "atb_models", cls.llm, ignore=shutil.ignore_patterns("outputs", "result", "data", "__pycache__"))
        cls.modeltest = cls.llm / "tests" / "modeltest"
        write_data(cls.modeltest / "data")
        cls.fp16 = edited_demo(cls.folder / "fp16", model_type="deepseekv2", torch_dtype="float16")
        cls.bf16 = edited_demo(cls.folder / "bf16", model_type="deepseekv2")
        cls.table = cls.folder / "ranks.json"
        write_rank_table(cls.table)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def environment(self, **more):
        """The seed's path variables, one rank, and nothing left over from the surroundings."""
        kept = {name: value for name, value in os.environ.items() if not re.match("ASCEND|ATB_|HCCL|MASTER_|FATHOM_|MODELTEST", name)}
        return {**kept, "FATHOM_BIN": cli_test.BINARY, "FATHOM_RANKS": "1", "llm_path": str(self.llm), "weight_path": str(self.fp16),
                "script_path": str(self.llm / "examples/models/deepseekv2"), "rank_table_path": str(self.table),
                "float_path": str(DEMO), "quant_path": str(self.folder / "quantised"), **more}

    def bash(self, script, cwd=None, **variables):
        done = subprocess.run(["bash", "-e", "-c", script], capture_output=True, text=True, timeout=600, check=False,
                              cwd=cwd or self.folder, env={k: v for k, v in self.environment(**variables).items() if v is not None})
        return done

    def succeed(self, script, **keywords):
        done = self.bash(script, **keywords)
        self.assertEqual(done.returncode, 0, (script, done.stdout[-2000:], done.stderr[-2000:]))
        return done

    def refuse(self, script, *parts, status=1, **keywords):
        """One line on stderr that holds every part."""
        done = self.bash(script, **keywords)
        self.assertEqual(done.returncode, status, (script, done.stdout, done.stderr))
        lines = done.stderr.strip().splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        for part in parts:
            self.assertIn(part, lines[0])

    def rows(self, pattern):
        """The only file of the pattern below the modeltest folder, as dicts."""
        (path,) = self.modeltest.glob(pattern)
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

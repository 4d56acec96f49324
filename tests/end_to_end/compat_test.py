#!/usr/bin/env python3
"""The commands of the seed document, as docs/from-the-seed.md has them, on the demo model: they run, and their files hold what the
document says. Standard library only.

usage: compat_test.py FATHOM_BINARY"""
import array
import csv
import importlib.util
import json
import os
import re
import subprocess
import sys
import unittest

import cli_test
import compat_case
from cli_test import DEMO, ROOT

DOCUMENT = ROOT / "docs" / "from-the-seed.md"
BENCHMARK_COLUMNS = ["batch_size", "input_seq_len", "output_seq_len", "e2e_time(ms)", "prefill_time(ms)", "decoder_token_time(ms)",
                     "prefill_count", "prefill_token_times", "decode_token_times", "prefill_average_time(ms)"]
SPEED_COLUMNS = ["Model", "Batchsize", "In_seq", "Out_seq", "Total time(s)", "Prefill all time(ms)", "Prefill average time(ms)",
                 "Non-first token time(ms)", "Non-first token Throughput(Tokens/s)", "E2E Throughput(Tokens/s)",
                 "Non-first token Throughput Average(Tokens/s)", "E2E Throughput Average(Tokens/s)"]

RUN_PA_DEFAULTS = {
    "input_texts": ["What's deep learning?"], "max_batch_size": 1, "max_input_length": 1024, "max_output_length": 20, "max_prefill_tokens": -1,
    "block_size": 128, "load_tokenizer": True, **dict.fromkeys(("dp", "tp", "sp", "cp", "moe_tp", "moe_ep", "pp", "microbatch_size"), -1),
    **dict.fromkeys((
        "model_path", "input_ids", "input_file", "input_dict", "max_prefill_batch_size", "max_position_embeddings", "chat_template", "ignore_eos",
        "is_chat_model", "is_embedding_model", "enable_atb_torch", "trust_remote_code", "kw_args", "lora_modules", "max_loras", "max_lora_rank",
        "distributed_enable"))}
QUANTIFIER_DEFAULTS = {
    "w_bit": 8, "a_bit": 8, "disable_level": "L0", "disable_last_linear": True, "device_type": "cpu", "act_method": 1, "w_sym": True,
    "mm_tensor": True, "fraction": "0.01", "sigma_factor": "3.0", "group_size": 64, "tp_size": 1, **dict.fromkeys((
        "model_path", "save_directory", "part_file_size", "calib_texts", "calib_file", "disable_names", "anti_method", "is_dynamic", "co_sparse",
        "is_lowbit", "do_smooth", "use_sigma", "open_outlier", "use_kvcache_quant", "use_fa_quant", "fa_amp", "use_reduce_quant",
        "tokenizer_args", "input_ids_name", "attention_mask_name", "trust_remote_code"))}


def document_blocks():
    """Blocks of shell commands, with the document's own placeholder filled in."""
    text = DOCUMENT.read_text(encoding="utf-8").replace("[master_address]", compat_case.MASTER)
    return re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


class Document(compat_case.Case):
    def test_every_block_runs_as_it_stands(self):
        blocks = document_blocks()
        self.assertGreaterEqual(len(blocks), 7)
        for block in blocks:
            with self.subTest(block=block):
                self.succeed(block)
        self.assertEqual({path.name for path in (self.folder / "quantised").iterdir()}, {"w8a16", "w8a8_dynamic"})
        names = {path.name for path in (self.modeltest / "outputs" / "results").glob("**/*.csv")}
        for name in ("full_BoolQ_pa_batch1_tp8_result.csv", "full_BoolQ_pa_batch1_tp8_formatted_result.csv",
                     "BoolQ_pa_batch1_tp8_full_result.csv", "CEval_pa_batch1_tp8_full_result.csv", "performance_pa_batch1_tp8_result.csv",
                     "BoolQ_pa_batch1_tp16_full_result.csv", "performance_pa_batch1_tp16_result.csv"):
            self.assertIn(name, names)

    def test_the_tests_that_the_feature_matrix_cites_are_there(self):
        text = DOCUMENT.read_text(encoding="utf-8")
        matrix = text[text.index("## Features"):text.index("## Defects")]
        rows = [line for line in matrix.splitlines() if line.startswith("| ")][2:]
        self.assertGreaterEqual(len(rows), 15)
        for row in rows:
            feature, _, ours, proof = [cell.strip() for cell in row.strip("|").split("|")]
            self.assertTrue(proof or not ours.startswith("√"), feature)
            for path in re.findall(r"(?:src|tests)/[\w/]+\.(?:cc|py)", proof):
                self.assertTrue((ROOT / path).is_file(), path)
            for case in re.findall(r"golden_test\.cc \((\w+)\)", proof):
                golden = ROOT / "tests" / "golden"
                self.assertTrue((golden / case).is_dir() or (golden / "quantized" / "odd_sizes" / case).is_dir(), case)

    def test_options_of_the_scripts_are_in_the_document(self):
        text = DOCUMENT.read_text(encoding="utf-8")
        for script in ("examples/run_pa.py", "examples/convert/model_slim/quantifier.py"):
            done = self.succeed(f"python3 {self.llm / script} --help")
            for option in set(re.findall(r"^  (?:-h, )?--(\w+)", done.stdout, re.MULTILINE)) - {"help"}:
                self.assertRegex(text, rf"`(--)?{option}\b", script)


    def test_variables_of_the_scripts_are_in_the_document(self):
        text = DOCUMENT.read_text(encoding="utf-8")
        sources = [path.read_text(encoding="utf-8") for path in (ROOT / "compat").glob("**/*.py")]
        names = {name for source in sources for name in re.findall(r'"((?:ATB|ASCEND|MASTER|MODELTEST|FATHOM|INF|BIND|WORLD)_\w+)"', source)}
        self.assertGreater(len(names), 10)
        for name in names - {"MODELTEST_DIR", "FATHOM_MEETING"}:
            self.assertIn(f"`{name}`", text)


class Dialogue(compat_case.Case):
    RUN = "bash ${script_path}/run_pa.sh"

    def test_flag_in_any_place_with_one_dash_or_two(self):
        want = json.loads(cli_test.fathom("run", self.fp16, "What's deep learning?", "--chat", "--greedy", "--max-tokens", 20,
                                          "--json").stdout)
        outputs = {self.succeed(f"{self.RUN} {words}").stdout for words in (
            "${weight_path} -trust_remote_code", "--trust_remote_code ${weight_path}", "${weight_path}", "-trust_remote_code ${weight_path} 1 1")}
        self.assertEqual(outputs, {f"Answer[0]: {want['text']}\nGenerate[0] token num: (0, {len(want['ids'])})\n"})

    def test_wrong_words(self):
        self.refuse(f"{self.RUN} ${{weight_path}} --verbose", "--verbose", "usage")
        self.refuse(self.RUN, "usage")
        self.refuse(f"{self.RUN} ${{weight_path}} one", "dp", "one")
        self.refuse(f"{self.RUN} ${{weight_path}} 2 1", "dp", "data parallel")
        self.refuse(f"{self.RUN} ${{weight_path}} 1 2", "tp", "world size 1")
        self.refuse(f"{self.RUN} /no/such", "/no/such/config.json")
        self.refuse(f"{self.RUN} ${{weight_path}}", "MASTER_PORT", "70000", MASTER_PORT="70000")
        self.refuse(f"{self.RUN} ${{weight_path}}", "ASCEND_RT_VISIBLE_DEVICES", "0,0", ASCEND_RT_VISIBLE_DEVICES="0,0")
        self.refuse(f"{self.RUN} ${{weight_path}}", "INF_NAN_MODE_ENABLE", "neither 0 nor 1", INF_NAN_MODE_ENABLE="yes")
        self.refuse(f"{self.RUN} ${{weight_path}}", "FATHOM_RANKS", "none", FATHOM_RANKS="none")
        self.refuse(f"{self.RUN} ${{weight_path}}", "FATHOM_BIN", "/no/such", FATHOM_BIN="/no/such")
        other = compat_case.edited_demo(self.folder / "llama", model_type="llama")
        self.refuse(f"{self.RUN} {other}", "model_type", "llama", "deepseekv2")

    def test_ranks(self):
        """Several devices are several ranks of one answer."""
        devices = {"FATHOM_RANKS": None, "ASCEND_RT_VISIBLE_DEVICES": "0,1", "MASTER_PORT": "20031"}
        command = f"{self.RUN} ${{weight_path}} -trust_remote_code"
        want = self.succeed(command).stdout
        for degrees in ("", "2 1"):
            self.assertEqual(self.succeed(f"{command} {degrees}", **devices).stdout, want)
        self.succeed(command, FATHOM_RANKS=None)

    def test_two_jobs_on_two_ports(self):
        jobs = [subprocess.Popen(["bash", "-c", f"{self.RUN} $weight_path"], env=self.environment(MASTER_PORT=port), stdout=subprocess.PIPE)
                for port in ("20032", "20033")]
        self.assertEqual(*[job.communicate(timeout=300)[0] for job in jobs])
        self.assertEqual([job.returncode for job in jobs], [0, 0])


class RunPa(compat_case.Case):
    def run_pa(self, *words, script="run_pa.py", **variables):
        return self.succeed(f"python3 {self.llm}/examples/{script} --model_path ${{weight_path}} {' '.join(words)}", **variables).stdout

    def refuse_pa(self, words, *parts, **keywords):
        self.refuse(f"python3 {self.llm}/examples/run_pa.py --model_path ${{weight_path}} {words}", *parts, **keywords)

    def test_ids_in_ids_out(self):
        out = self.run_pa("--input_ids 5,6,7 8,9", "--load_tokenizer false", "--max_output_length 4", "--ignore_eos", "--max_batch_size 2")
        for i, ids in enumerate(("5,6,7", "8,9")):
            want = json.loads(cli_test.fathom("run", self.fp16, "--ids", ids, "--greedy", "--ignore-eos", "--max-tokens", 4, "--json").stdout)
            self.assertIn(f"Answer[{i}]: {want['ids']}\nGenerate[{i}] token num: ({i}, 4)\n", out)

    def test_texts_files_and_conversations(self):
        (self.folder / "text.txt").write_text("The old house")
        texts = self.run_pa("--input_texts 'The old house' 'It was'", "--max_output_length 6")
        one = self.run_pa("--input_texts text.txt", "--max_output_length 6", "--block_size 16 --max_prefill_tokens 8")
        self.assertTrue(texts.startswith(one))
        self.assertIn("Answer[1]:", texts)
        self.assertEqual(self.run_pa("--input_texts text.txt", "--max_output_length 6 --max_batch_size 3").count("Answer["), 3)
        (self.folder / "turns.jsonl").write_text('[{"role": "user", "content": "What\'s deep learning?"}]\n')
        self.assertEqual(self.run_pa("--input_file turns.jsonl --is_chat_model"), self.run_pa("--is_chat_model"))
        own = self.run_pa("--is_chat_model --chat_template '{{ messages[0].content }}' --max_output_length 6 --input_texts 'The old house'")
        self.assertEqual(own, self.run_pa("--input_ids", ",".join(map(str, json.loads(cli_test.fathom(
            "tokenize", self.fp16, "The old house", "--no-bos", "--json").stdout)["ids"])), "--max_output_length 6"))

    def test_contiguous_cache_answers_alike(self):
        words = ("--input_texts 'The old house' 'It was'", "--max_output_length 12", "--ignore_eos")
        self.assertEqual(self.run_pa(*words, "--batch_size 2", script="run_fa.py"), self.run_pa(*words, "--max_batch_size 2"))
        sampled = [self.run_pa(*words, f"--do_sample --temperature 1.2 --seed {seed}", script="run_fa.py") for seed in (1, 1, 2)]
        self.assertEqual(sampled[0], sampled[1])
        self.assertNotEqual(sampled[0], sampled[2])
        self.refuse(f"python3 {self.llm}/examples/run_fa.py --model_path ${{weight_path}} --num_beams 2", "--num_beams", "beam search")

    def test_benchmark_csv(self):
        path = self.folder / "times" / "benchmark.csv"
        for _ in range(2):
            out = self.run_pa("--input_texts 'The old house' 'It was'", "--max_output_length 9 --ignore_eos --max_batch_size 2",
                              ATB_LLM_BENCHMARK_ENABLE="1", ATB_LLM_BENCHMARK_FILEPATH=str(path))
        self.assertIn("| batch_size | input_seq_len |", out)
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual((len(rows), list(rows[0])), (2, BENCHMARK_COLUMNS))
        for row in rows:
            prefill, decode = ([float(time) for time in row[f"{phase}_token_times"].split(",")] for phase in ("prefill", "decode"))
            self.assertEqual((row["batch_size"], row["output_seq_len"], len(decode)), ("2", "9", 8))
            # Times are printed to a thousandth of a millisecond, each up to half of one off.
            delta = 0.0005 * (len(prefill) + len(decode) + 1)
            self.assertAlmostEqual(float(row["prefill_time(ms)"]), sum(prefill), delta=delta)
            self.assertAlmostEqual(float(row["e2e_time(ms)"]), sum(prefill) + sum(decode), delta=delta)
            self.assertAlmostEqual(float(row["decoder_token_time(ms)"]), sum(decode) / 8, delta=delta)
            self.assertAlmostEqual(float(row["prefill_average_time(ms)"]), sum(prefill) / len(prefill), delta=delta)
            self.assertEqual(int(row["prefill_count"]), len(prefill))
        self.run_pa(ATB_LLM_BENCHMARK_ENABLE="1")
        self.assertTrue((self.folder / "benchmark_result" / "benchmark.csv").exists())

    def test_dumps(self):
        out = self.folder / "dumps"
        self.run_pa("--input_ids 5,6,7 8", "--max_output_length 3 --ignore_eos", ATB_LLM_LOGITS_SAVE_ENABLE="1",
                    ATB_LLM_LOGITS_SAVE_FOLDER=str(out), ATB_LLM_TOKEN_IDS_SAVE_ENABLE="1", ATB_LLM_TOKEN_IDS_SAVE_FOLDER=str(out))
        self.assertEqual(sorted(path.name for path in out.iterdir()), [
            "input_ids_0.npy", "input_ids_1.npy", "logits_0.npy", "logits_1.npy", "logits_2.npy", "output_ids_0.txt", "output_ids_1.txt"])
        answers = [list(map(int, (out / f"output_ids_{i}.txt").read_text().split(","))) for i in range(2)]
        vocabulary = json.loads((DEMO / "config.json").read_text())["vocab_size"]
        for step in range(3):
            data = (out / f"logits_{step}.npy").read_bytes()
            begin = 10 + int.from_bytes(data[8:10], "little")
            self.assertIn(f"'shape': (2, {vocabulary})".encode(), data[:begin])
            logits = array.array("f", data[begin:])
            for i in range(2):
                row = logits[i * vocabulary:(i + 1) * vocabulary]
                # Computed once more, in another form of attention perhaps: float16 activations, so a near tie may flip.
                self.assertLess(max(row) - row[answers[i][step]], 0.05)
        data = (out / "input_ids_0.npy").read_bytes()
        self.assertEqual(array.array("q", data[10 + int.from_bytes(data[8:10], "little"):]).tolist(), [5, 6, 7])

    def test_defaults_are_the_seeds(self):
        """Those of docs/from-the-seed.md; what is empty or off there is empty or off here."""
        for script, defaults in (("examples/run_pa.py", RUN_PA_DEFAULTS), ("examples/convert/model_slim/quantifier.py", QUANTIFIER_DEFAULTS)):
            path = self.llm / script
            spec = importlib.util.spec_from_file_location(path.stem, path)
            spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
            options = {action.dest: action.default for action in module.make_parser()._actions if action.dest != "help"}
            self.assertEqual({name: value or None for name, value in options.items()}, {name: value or None for name, value in defaults.items()})

    def test_what_is_refused(self):
        for words, parts in (("--lora_modules x", ("--lora_modules", "LoRA")), ("--input_dict x", ("--input_dict", "LoRA")),
                             ("--is_embedding_model", ("--is_embedding_model",)), ("--kw_args '{\"a\": 1}'", ("--kw_args", "\"a\"")),
                             ("--kw_args x", ("--kw_args", "JSON")), (f"--kw_args '{'x' * 4097}'", ("4097", "4096")),
                             ("--input_file x.jsonl", ("--is_chat_model",)), ("--load_tokenizer false", ("--input_ids",)),
                             ("--input_ids 1,x", ("--input_ids", "1,x")), ("--dp 2", ("dp", "2")), ("--cp 2", ("cp", "context")),
                             ("--pp 2", ("pp", "pipeline")), ("--moe_ep 2", ("moe_tp x moe_ep", "world size 1")), ("--tp 0", ("tp", "0")),
                             ("--max_prefill_tokens 0", ("--max_prefill_tokens", "0")), ("--is_chat_model --input_file /no/such", ("/no/such",)),
                             ("--max_position_embeddings 5000", ("5000", "4096"))):
            self.refuse_pa(words, *parts)
        for words in ("--no_such_option", "--max_batch_size 0", "--load_tokenizer maybe", "--max_output x"):
            self.assertEqual(self.bash(f"python3 {self.llm}/examples/run_pa.py --model_path ${{weight_path}} {words}").returncode, 2, words)


class Quantised(compat_case.Case):
    def quantise(self, name, type_, *flags):
        target = self.folder / name
        self.succeed(f"bash ${{script_path}}/generate_quant_weight.sh -src {DEMO} -dst {target} -type {type_} {' '.join(flags)}")
        return target

    def ids(self, model):
        return json.loads(cli_test.fathom("run", model, "The old house", "--greedy", "--max-tokens", 16, "--json").stdout)["ids"]

    def test_edited_by_hand_equals_one_command(self):
        edited = self.quantise("edited", "deepseekv2_w8a8_dynamic", "-trust_remote_code")
        config = json.loads((edited / "config.json").read_text())
        self.assertEqual(config["quantize"], "w8a8_dynamic")
        (edited / "config.json").write_text(json.dumps({**config, "mla_quantize": "w8a16"}))
        path = edited / "quant_model_description_w8a8_dynamic.json"
        description = json.loads(path.read_text())
        path.write_text(json.dumps({key: "W8A16" if "self_attn" in key and value == "W8A8_DYNAMIC" else value
                                    for key, value in description.items()}))
        mixed = self.folder / "mixed"
        self.assertEqual(cli_test.fathom("quantize", DEMO, mixed, "--mix", "self_attn=w8a16").returncode, 0)
        self.assertEqual(self.ids(edited), self.ids(mixed))

    def test_names_of_both_models_give_the_same(self):
        for kind in ("w8a16", "w8a8_dynamic"):
            both = [self.quantise(f"{name}_{kind}", f"{name}_{kind}") for name in ("deepseekv2", "deepseekv2_lite")]
            files = [{path.name for path in folder.iterdir()} for folder in both]
            self.assertEqual(files[0], files[1])
            self.assertIn(f"quant_model_description_{kind}.json", files[0])
            (weights,) = both[0].glob("quant_model_weight_*.safetensors")
            self.assertEqual(weights.read_bytes(), (both[1] / weights.name).read_bytes())

    def test_quantifier(self):
        script = f"python3 {self.llm}/examples/convert/model_slim/quantifier.py"
        words = f"{script} --model_path {DEMO} --save_directory"
        for name, more, kind in (("q1", "--w_bit 8 --a_bit 16 --calib_file '' --trust_remote_code", "W8A16"),
                                 ("q2", "--is_dynamic true --part_file_size 5 --act_method 2", "W8A8_DYNAMIC"),
                                 ("q3", "--w_bit 4 --a_bit 16 --group_size 32", "W4A16")):
            self.succeed(f"{words} {name} {more} --disable_names model.layers.1.self_attn.o_proj model.layers.0.self_attn.kv_b_proj lm_head")
            (path,) = (self.folder / name).glob("quant_model_description*.json")
            description = json.loads(path.read_text())
            self.assertEqual(description["model.layers.0.self_attn.o_proj.weight"], kind)
            self.assertEqual(description["model.layers.1.self_attn.o_proj.weight"], "FLOAT")
        for more, parts in (("", ("static", "calibration")), ("--a_bit 16 --is_dynamic", ("16 bits",)), ("--anti_method m1", ("--anti_method",)),
                            ("--calib_file x", ("--calib_file",)), ("--co_sparse", ("--co_sparse", "sparse")), ("--w_sym false", ("--w_sym",)),
                            ("--disable_level L3", ("L3", "--disable_names")), ("--device_type npu", ("npu",)),
                            ("--use_kvcache_quant", ("--kv-cache-dtype int8",))):
            self.refuse(f"{words} q9 {more}", *parts)
        self.assertFalse((self.folder / "q9").exists())
        self.assertEqual(self.bash(f"{words} q9 --w_bit 3").returncode, 2)

    def test_wrong_words(self):
        command = "bash ${script_path}/generate_quant_weight.sh"
        self.assertEqual(self.bash(f"{command} -src {DEMO} -dst x").returncode, 2)
        self.assertEqual(self.bash(f"{command} -src {DEMO} -dst x -type deepseekv3_w8a8").returncode, 2)
        self.refuse(f"{command} -src /no/such -dst x -type deepseekv2_w8a16", "/no/such/config.json")
        self.refuse(f"{command} -src {DEMO} -dst {self.bf16} -type deepseekv2_w8a16", str(self.bf16))


if __name__ == "__main__":
    cli_test.BINARY = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=1)

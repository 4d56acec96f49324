#!/usr/bin/env python3
"""The commands as a user runs them, on the demo model and on broken folders. Standard library only.

usage: cli_test.py FATHOM_BINARY"""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "models" / "demo"
GOLDEN = ROOT / "tests" / "golden"
TINY = GOLDEN / "lite_like"
BINARY = ""


def fathom(*arguments, stdin="", env=None):
    """Runs a command; stdout and stderr come back as text, line ends untouched."""
    done = subprocess.run([BINARY, *map(str, arguments)], input=stdin.encode(), capture_output=True,
                          env={**os.environ, **(env or {})}, timeout=300, check=False)
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


def read_safetensors(path):
    """{name: (dtype, shape, bytes)}"""
    data = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        tensors[name] = (entry["dtype"], entry["shape"], data[8 + length + begin:8 + length + end])
    return tensors


def int64_list(tensor):
    return list(struct.unpack(f"<{len(tensor[2]) // 8}q", tensor[2]))


class Case(unittest.TestCase):
    def succeed(self, *arguments, **keywords):
        done = fathom(*arguments, **keywords)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def fail_with(self, *parts, arguments, stdin="", status=1):
        """The command fails with one line on stderr that holds every part, and prints nothing."""
        done = fathom(*arguments, stdin=stdin)
        self.assertEqual(done.returncode, status, (arguments, done.stdout, done.stderr))
        lines = done.stderr.strip().splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        for part in parts:
            self.assertIn(part, lines[0])
        self.assertEqual(done.stdout, "")


class Run(Case):
    def test_text_streams_and_statistics_come_last(self):
        done = self.succeed("run", DEMO, "The old house", "--max-tokens", 24, "--greedy", "--stats")
        self.assertGreater(len(done.stdout), 20)
        self.assertIn("answer 24 tokens", done.stderr.strip().splitlines()[-1])

    def test_json_has_the_promised_fields(self):
        out = json.loads(self.succeed("run", DEMO, "It was", "--max-tokens", 5, "--json").stdout)
        self.assertEqual(set(out), {"prompt_ids", "ids", "text", "finish_reason", "prefill_seconds", "decode_seconds",
                                    "prefill_tokens_per_second", "decode_tokens_per_second"})
        self.assertEqual(len(out["ids"]), 5)
        self.assertEqual(out["finish_reason"], "length")

    def test_greedy_continuations_equal_the_training_framework(self):
        golden = read_safetensors(GOLDEN / "demo" / "golden.safetensors")
        for k in range(3):
            ids = int64_list(golden[f"prompt{k}.ids"])
            want = int64_list(golden[f"prompt{k}.greedy"])
            out = json.loads(self.succeed("run", DEMO, "--ids", ",".join(map(str, ids)), "--greedy", "--ignore-eos", "--dtype",
                                          "fp32", "--max-tokens", len(want), "--json").stdout)
            self.assertEqual(out["ids"], want)

    def test_many_prompts_equal_single_ones_bit_for_bit(self):
        prompts = [{"prompt": "The"}, {"text": "She looked at him and"}, {"ids": [5, 6, 7]}, {"prompt": "话说"}]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "prompts.jsonl"
            path.write_text("\n".join(map(json.dumps, prompts)), encoding="utf-8")
            common = ["--max-tokens", 12, "--temperature", 0.9, "--seed", 7, "--json"]
            together = json.loads(self.succeed("run", DEMO, "--file", path, *common).stdout)
            for i, prompt in enumerate(prompts):
                path.write_text(json.dumps(prompt), encoding="utf-8")
                alone = json.loads(self.succeed("run", DEMO, "--file", path, *common).stdout)
                self.assertEqual(alone["ids"], together[i]["ids"])
                self.assertEqual(alone["text"], together[i]["text"])

    def test_more_prompts_than_the_line_holds(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "prompts.jsonl"
            path.write_text('{"ids": [1, 2]}\n' * 600)
            out = json.loads(self.succeed("run", TINY, "--file", path, "--max-tokens", 1, "--ignore-eos", "--json").stdout)
        self.assertEqual([len(one["ids"]) for one in out], [1] * 600)

    def test_draft_model_changes_no_answer(self):
        common = [DEMO, "It was a dark night", "--max-tokens", 40, "--temperature", 0.8, "--seed", 3, "--ignore-eos", "--json"]
        plain = json.loads(self.succeed("run", *common, "--speculation", "off").stdout)
        drafted = json.loads(self.succeed("run", *common, "--draft-model", DEMO, "--no-enable-prefix-caching").stdout)
        self.assertEqual(drafted["ids"], plain["ids"])

    def test_draft_models_that_cannot_be(self):
        run = ["run", DEMO, "It", "--max-tokens", 2]
        self.fail_with(str(TINY), str(DEMO), "vocab_size", arguments=[*run, "--draft-model", TINY])
        self.fail_with("nowhere", "no such folder", arguments=[*run, "--draft-model", "nowhere"])
        self.fail_with("--draft-model", "--speculation off",
                       arguments=[*run, "--draft-model", DEMO, "--speculation", "off"])
        self.fail_with("--speculation", "ngram, off", arguments=[*run, "--speculation", "magic"])
        with tempfile.TemporaryDirectory() as folder:
            other = pathlib.Path(folder) / "other"
            shutil.copytree(DEMO, other)
            tokenizer = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
            vocabulary = tokenizer["model"]["vocab"]
            last, one_before = sorted(vocabulary, key=vocabulary.get)[-1:-3:-1]
            vocabulary[last], vocabulary[one_before] = vocabulary[one_before], vocabulary[last]
            (other / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
            self.fail_with(str(other), str(DEMO), f"token {vocabulary[last]}",
                           arguments=[*run, "--draft-model", other])

    def test_lost_output_is_a_failure(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([BINARY, "run", str(TINY), "--ids", "1", "--max-tokens", "1", "--json"], stdout=full,
                                  stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output", done.stderr)

    def test_standard_input_is_the_prompt(self):
        a = self.succeed("run", DEMO, "--max-tokens", 6, "--greedy", stdin="The old house").stdout
        b = self.succeed("run", DEMO, "The old house", "--max-tokens", 6, "--greedy").stdout
        self.assertEqual(a, b)

    def test_reference_kernels_continue_alike(self):
        arguments = ["run", DEMO, "The old house", "--max-tokens", 8, "--greedy", "--dtype", "fp32"]
        self.assertEqual(self.succeed(*arguments).stdout,
                         self.succeed(*arguments, env={"FATHOM_ISA": "reference"}).stdout)

    def test_wrong_prompts(self):
        self.fail_with("8192", "99999", arguments=["run", DEMO, "--ids", "99999"])
        self.fail_with("-1", arguments=["run", DEMO, "--ids=-1"])
        self.fail_with("--ids", "x", arguments=["run", DEMO, "--ids", "1,x"])
        self.fail_with("empty", arguments=["run", DEMO, "--ids", ","])
        self.fail_with("--max-model-len", "5000", "4096", arguments=["run", DEMO, "--ids", "1", "--max-model-len", "5000"])
        self.fail_with("32", arguments=["run", DEMO, "--ids", ",".join(["5"] * 40), "--max-model-len", "32"])
        self.fail_with("temperature", arguments=["run", DEMO, "x", "--temperature", "-1"])
        self.fail_with("--dtype", "int3", arguments=["run", DEMO, "x", "--dtype", "int3"])

    def test_wrong_usage_is_status_2(self):
        self.assertEqual(fathom("run").returncode, 2)
        self.fail_with("nonsense is no command of fathom", arguments=["nonsense"], status=2)
        self.fail_with("did you mean run?", arguments=["rum", DEMO, "x"], status=2)
        self.fail_with("did you mean --max-tokens?", arguments=["run", DEMO, "x", "--max-tokns", "5"], status=2)

    def test_invalid_utf8_prompt(self):
        done = subprocess.run([BINARY, "run", str(DEMO)], input=b"ab\xff\xfe", capture_output=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"UTF-8", done.stderr)


class Score(Case):
    def test_logits_equal_the_golden(self):
        golden = read_safetensors(TINY / "golden.safetensors")
        ids = int64_list(golden["ids"])
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "logits.npy"
            self.succeed("score", TINY, "--ids", ",".join(map(str, ids)), "--dtype", "fp32", "--out", out, "--json")
            data = out.read_bytes()
        self.assertEqual(data[:8], b"\x93NUMPY\x01\x00")
        (length,) = struct.unpack("<H", data[8:10])
        self.assertIn(b"'shape': (20, 256)", data[10:10 + length])
        want = golden["logits"][2]
        self.assertEqual(len(data) - 10 - length, len(want))
        a = struct.unpack(f"<{len(want) // 4}f", data[10 + length:])
        b = struct.unpack(f"<{len(want) // 4}f", want)
        difference = sum((x - y) ** 2 for x, y in zip(a, b)) ** 0.5
        self.assertLess(difference / sum(y * y for y in b) ** 0.5, 1e-5)

    def test_held_out_text(self):
        text = GOLDEN / "demo" / "held_out_en.txt"
        header = json.loads((lambda d: d[8:8 + struct.unpack("<Q", d[:8])[0]])((GOLDEN / "demo" / "golden.safetensors").read_bytes()))
        want = float(header["__metadata__"]["held_out_en.nll_nats"])
        out = json.loads(self.succeed("score", DEMO, "--text-file", text, "--dtype", "fp32", "--json").stdout)
        self.assertEqual(set(out), {"tokens", "nll", "perplexity", "bits_per_byte"})
        self.assertAlmostEqual(out["nll"] / want, 1, delta=1e-5)

    def test_out_appears_only_when_whole(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "x.npy"
            self.assertEqual(fathom("score", TINY, "--ids", "1,2,300", "--out", out).returncode, 1)
            self.assertEqual(os.listdir(folder), [])


class BrokenFolders(Case):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temporary.name) / "model"
        shutil.copytree(TINY, self.folder)
        (self.folder / "golden.safetensors").unlink()

    def tearDown(self):
        self.temporary.cleanup()

    def refuse(self, *parts):
        self.fail_with(*parts, arguments=["run", self.folder, "--ids", "1,2", "--max-tokens", "1"])

    def edit_config(self, **changes):
        path = self.folder / "config.json"
        config = json.loads(path.read_text())
        for key, value in changes.items():
            if value is None:
                config.pop(key, None)
            else:
                config[key] = value
        path.write_text(json.dumps(config))

    def test_the_copy_works(self):
        self.succeed("run", self.folder, "--ids", "1,2", "--max-tokens", "1")

    def test_folder(self):
        self.fail_with("/no/such/folder", arguments=["run", "/no/such/folder", "--ids", "1"])
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        self.refuse("config.json")

    def test_config_fields(self):
        for key, value in [("hidden_size", 0), ("num_hidden_layers", -3), ("vocab_size", 10 ** 12), ("kv_lora_rank", "x"),
                           ("num_attention_heads", None), ("model_type", "llama"), ("qk_rope_head_dim", 15),
                           ("num_experts_per_tok", 17)]:
            with self.subTest(key=key):
                original = (self.folder / "config.json").read_text()
                self.edit_config(**{key: value})
                self.refuse("config.json", key)
                (self.folder / "config.json").write_text(original)

    def test_config_that_disagrees_with_the_weights(self):
        self.edit_config(hidden_size=128)
        self.refuse("96", "128")

    def test_truncated_weights(self):
        path = self.folder / "model.safetensors"
        data = path.read_bytes()
        for size in (0, 4, 9, 1000, len(data) - 1):
            path.write_bytes(data[:size])
            self.refuse("model.safetensors")

    def test_lfs_pointer(self):
        (self.folder / "model.safetensors").write_text(
            "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 123\n")
        self.refuse("model.safetensors", "LFS")

    def test_header_longer_than_the_file(self):
        path = self.folder / "model.safetensors"
        path.write_bytes(struct.pack("<Q", 1 << 40) + path.read_bytes()[8:])
        self.refuse("model.safetensors")

    def test_index_with_paths(self):
        (self.folder / "model.safetensors").rename(self.folder / "inner.safetensors")
        for name in ("../model/inner.safetensors", "/etc/passwd", "a/b.safetensors"):
            (self.folder / "model.safetensors.index.json").write_text(
                json.dumps({"weight_map": {"model.embed_tokens.weight": name}}))
            self.refuse("model.safetensors.index.json", name)

    def test_fifo_as_weights(self):
        path = self.folder / "model.safetensors"
        path.unlink()
        os.mkfifo(path)
        self.refuse("model.safetensors")

    def test_deep_json(self):
        (self.folder / "config.json").write_text("[" * 100000)
        self.refuse("config.json")


class Tools(Case):
    def test_every_command_has_help_with_examples(self):
        for command in ("run", "score", "compare", "tokenize", "detokenize", "template", "show", "synth", "quantize", "verify", "env", "launch", "serve", "bench", "bench comm", "bench machine",
                        "bench maxbs", "bench model", "bench kernels"):
            with self.subTest(command=command):
                self.assertIn("Examples:", self.succeed(*command.split(), "--help").stdout)

    def test_tokens_round_trip(self):
        text = "It was a bright cold day.\r\n  话说天下大势 🙂"
        ids = json.loads(self.succeed("tokenize", DEMO, "--json", "--no-bos", text).stdout)["ids"]
        self.assertEqual(self.succeed("detokenize", DEMO, "--ids", ",".join(map(str, ids))).stdout, text)

    def test_show_reports_and_refuses_what_does_not_fit(self):
        self.assertIn("hidden size             256", self.succeed("show", DEMO).stdout)
        ranks = ("show", DEMO, "--tp", 4, "--max-num-seqs", 10)
        heads, own = (json.loads(self.succeed(*ranks, *flags, "--json").stdout)["plan"] for flags in ((), ("--dp-attention",)))
        self.assertEqual((heads["dp_attention"], own["dp_attention"]), (False, True))
        self.assertEqual(own["cache_bytes"] * 10, heads["cache_bytes"] * 3)
        self.assertGreater(own["weight_bytes"], heads["weight_bytes"])
        self.assertIn("memory of one rank of 4, 10 sequences of 4096 tokens, 3 of them its own",
                      self.succeed(*ranks, "--dp-attention").stdout)
        plan = fathom("show", DEMO, "--max-model-len", "4096", "--max-num-seqs", "65536", "--kv-cache-dtype", "fp32", "--json")
        json.loads(plan.stdout)
        self.assertEqual(plan.returncode, 1)

    def test_synth_makes_a_folder_that_runs(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "tiny"
            self.succeed("synth", TINY / "config.json", out, "--seed", 3)
            done = self.succeed("run", out, "--ids", "1,2,3", "--max-tokens", 4, "--ignore-eos", "--json")
            self.assertEqual(len(json.loads(done.stdout)["ids"]), 4)
            self.fail_with("num_hidden_layers", "0", arguments=["synth", TINY / "config.json", f"{out}_0", "--layers", 0])
            self.assertFalse(pathlib.Path(f"{out}_0").exists())

    def test_options_that_may_repeat_take_no_other_word(self):
        with self.subTest("serve"):  # a key's neighbour is no key
            done = fathom("serve", "--api-key", "secret", "--host", "256.0.0.1", DEMO)
            self.assertNotIn("required", done.stderr)
            self.assertEqual(fathom("serve", "--model", DEMO, "--api-key", "k", "extra").returncode, 2)
        done = self.succeed("compare", "--limit", 30, "--text-file", DEMO / "held_out_en.txt", DEMO, DEMO)
        self.assertIn("KL", done.stdout)

    def test_synth_and_show_know_quantised_folders(self):
        for kind, name in [("w8a16", "w8a16"), ("w8a8-dynamic", "w8a8_dynamic")]:
            with tempfile.TemporaryDirectory() as folder:
                out = pathlib.Path(folder) / "tiny"
                self.succeed("synth", TINY / "config.json", out, "--type", kind, "--layers", 2)
                self.assertEqual(json.loads((out / "config.json").read_text())["quantize"], name)
                tensors = read_safetensors(out / f"quant_model_weight_{name}.safetensors")
                labels = json.loads((out / f"quant_model_description_{name}.json").read_text())
                self.assertEqual(set(labels), set(tensors))
                query = "model.layers.0.self_attn.q_proj.weight"
                self.assertEqual(tensors[query][0], "I8")
                self.assertEqual(tensors[query + "_scale"][:2], ("F32", [tensors[query][1][0], 1]))
                self.assertIn(f"attention {name}", self.succeed("show", out).stdout)
                shown = json.loads(self.succeed("show", out, "--json").stdout)
                self.assertEqual(shown["quantization"][0], {"part": "attention", "type": name, "tensors": 6})
                for file in out.glob("quant_model_description*"):
                    file.unlink()
                self.fail_with(f"quant_model_description_{name}.json", arguments=["show", out])
        self.fail_with("--type", "w4a8", arguments=["synth", TINY / "config.json", "/no/such", "--type", "w4a8"])

    def test_environment(self):
        shown = json.loads(self.succeed("env", "--json").stdout)
        self.assertIn(shown["isa_in_use"], ("reference", "avx2", "avx512", "amx"))
        cpus = sorted(cpu for node in shown["numa"].values() for cpu in node)
        self.assertTrue(set(cpus) <= os.sched_getaffinity(0))
        threads = shown["threads"]
        self.assertEqual(threads["count"], shown["cpu"]["cpus"])
        if threads["pinned"]:
            self.assertEqual(len(threads["cpus"]), threads["count"])
            self.assertTrue(set(threads["cpus"]) <= set(cpus))
        self.assertEqual("amx" in shown, shown["cpu"]["best_isa"] != "amx")
        self.assertIn("huge_pages", self.succeed("env").stdout)
        done = fathom("env", env={"FATHOM_ISA": "mmx"})
        self.assertEqual(done.returncode, 1)
        self.assertIn("mmx", done.stderr)

    def test_memory_that_cannot_be_had_is_refused_before_loading(self):
        self.fail_with("out of memory foreseen", "GiB", arguments=["run", DEMO, "x", "--kv-memory", "2T"])


class Bench(Case):
    QUICK = ("--seconds", "0.001", "--threads", "2")

    def test_machine(self):
        out = json.loads(self.succeed("bench", "machine", "--seconds", "0.05", "--threads", "1,2", "--json").stdout)
        self.assertEqual([entry["threads"] for entry in out["ceilings"]], [1, 2])
        for entry in out["ceilings"]:
            self.assertGreater(entry["read_gb_per_s"]["best"], 0.1)
            self.assertEqual(len({probe["name"] for probe in entry["probes"]}), 7)
            for probe in entry["probes"]:
                if "missing" in probe:
                    self.assertIsNone(probe["best"])
                else:
                    self.assertGreaterEqual(probe["best"], probe["median"])
        table = self.succeed("bench", "machine", *self.QUICK).stdout
        self.assertIn("read from memory", table)

    def test_machine_refuses(self):
        self.fail_with("--threads", "1x", arguments=["bench", "machine", "--threads", "1x"])
        self.fail_with("--seconds", arguments=["bench", "machine", "--seconds", "0"])
        self.assertEqual(fathom("bench").returncode, 2)

    def test_model_keeps_the_contract(self):
        out = json.loads(self.succeed("bench", "model", DEMO, "--pairs", "24x6,8x1", "--batch", "1,3", "--repeat", "2", "--format", "json",
                                      "--read-memory", "1M", *self.QUICK).stdout)
        self.assertLessEqual({"read_gb_per_s", "int8_tops", "bf16_tflops", "threads", "isa"}, set(out["machine"]))
        self.assertEqual(out["machine"]["threads"], 2)
        self.assertEqual([(row["input"], row["output"], row["batch"]) for row in out["rows"]],
                         [(24, 6, 1), (24, 6, 3), (8, 1, 1), (8, 1, 3)])
        for row in out["rows"]:
            self.assertLessEqual({"batch", "input", "output", "prefill_tps", "decode_tps", "ttft_ms", "tpot_ms",
                                  "decode_bytes_per_step", "decode_gb_per_s", "prefill_tops", "roof_fraction_decode",
                                  "roof_fraction_prefill", "peak_rss_bytes", "read_gb_per_s"}, set(row))
            self.assertGreater(row["prefill_tps"], 0)
            self.assertGreater(row["peak_rss_bytes"], 1 << 20)
            for key in ("prefill_tps", "read_gb_per_s"):
                low, high = row["spread"][key]
                self.assertTrue(low <= row[key] <= high, key)
            decoded = row["output"] > 1
            for key in ("decode_tps", "tpot_ms", "decode_bytes_per_step", "decode_gb_per_s", "roof_fraction_decode",
                        "decode_weight_bytes_per_step", "decode_cache_bytes_per_step"):
                self.assertEqual(row[key] is not None, decoded, key)
        # By hand for one sequence: matrices that every token meets (attention, the dense layer, routers, shared experts), two of
        # sixteen experts in each of four layers, the head, the norms; in bf16. Then a cached row of 160 bf16 in five layers for
        # each key: queries at 25 to 29 tokens, 27 in the mean.
        attention = 5 * (256 * 8 * 64 + 256 * 160 + 8 * 64 * 128 + 256 * 256)
        network = 3 * 256 * 256
        dense = 3 * 256 * 768
        others = attention + dense + 4 * (16 * 256 + network) + 5 * (2 * 256 + 128) + 256
        weights, cache = 2 * (others + 4 * 2 * network + 8192 * 256), 27 * 5 * 160 * 2
        first = out["rows"][0]
        self.assertAlmostEqual(first["decode_weight_bytes_per_step"], weights, delta=1)
        self.assertAlmostEqual(first["decode_cache_bytes_per_step"], cache, delta=1)
        self.assertAlmostEqual(first["decode_bytes_per_step"], weights + cache, delta=2)

    def test_model_prints_tables(self):
        pair = ("--pairs", "8x3", *self.QUICK)
        table = self.succeed("bench", "model", DEMO, *pair).stdout
        for name in ("of roof", "read GB/s"):
            self.assertIn(name, table)
        pair += ("--read-memory", "1M")
        lines = self.succeed("bench", "model", DEMO, *pair, "--batch", "1,2", "--format", "csv").stdout.splitlines()
        self.assertEqual(len(lines), 3)
        self.assertTrue(lines[0].startswith("batch,input,output,prefill_tps,"))
        self.assertEqual({line.count(",") for line in lines}, {lines[0].count(",")})
        lines = self.succeed("bench", "model", DEMO, *pair, "--format", "seed-csv").stdout.splitlines()
        self.assertTrue(lines[0].startswith("Model,Batchsize,In_seq,Out_seq,Total time(s),"))
        self.assertTrue(lines[1].startswith("demo,1,8,3,"))

    KERNELS = ("bench", "kernels", "--model", DEMO, "--seconds", "0.001", "--threads", "2", "--tokens", "1,20", "--contexts", "64")

    def test_kernels(self):
        out = json.loads(self.succeed(*self.KERNELS, "--only", "attention", "--json").stdout)
        self.assertEqual([section["name"] for section in out["sections"]],
                         ["absorbed, bf16 cache", "expanded, bf16 cache", "absorbed, int8 cache", "expanded, int8 cache"])
        for section in out["sections"]:
            self.assertGreater(section["read_gb_per_s"], 0)
            for row in section["rows"]:
                self.assertLessEqual(row["seconds"]["best"], row["seconds"]["median"])
                self.assertGreater(row["bytes"], 0)
                self.assertGreater(row["operations"], 0)
        forms = out["attention_forms"]
        self.assertEqual(forms["context"], 64)
        self.assertEqual([row["tokens"] for row in forms["rows"]], [16, 32, 64, 96, 128, 171, 256, 512])
        table = self.succeed(*self.KERNELS, "--only", "experts").stdout
        for name in ("experts w8a16:", "expert gate_up", "2 x 256 x 256", "of roof"):
            self.assertIn(name, table)
        self.assertIn("merge splits", self.succeed(*self.KERNELS, "--only", "small").stdout)

    def test_kernels_refuse(self):
        self.fail_with("/no/such", "deepseek-v2-lite", arguments=["bench", "kernels", "--model", "/no/such"])
        self.fail_with("--tokens", "0", arguments=["bench", "kernels", "--tokens", "0"])
        self.fail_with("--seconds", arguments=["bench", "kernels", "--seconds", "0"])
        self.assertEqual(fathom("bench", "kernels", "--only", "all").returncode, 2)

    def test_model_refuses(self):
        self.fail_with("--pairs", "12", arguments=["bench", "model", DEMO, "--pairs", "12"])
        self.fail_with("--batch", "600", arguments=["bench", "model", DEMO, "--batch", "600"])
        self.fail_with("--repeat", arguments=["bench", "model", DEMO, "--repeat", "0"])
        self.fail_with("4096", arguments=["bench", "model", DEMO, "--pairs", "4096x32", *self.QUICK])


if __name__ == "__main__":
    BINARY = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=1)

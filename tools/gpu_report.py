#!/usr/bin/env python3
"""The table of tools/gpu_check.sh: what its phases measured, beside the targets and the same run's ceilings.

usage: gpu_report.py FOLDER

Reads the phases' JSON in FOLDER, prints the table and writes it to table.txt and table.json. What is missing there was not
measured: its row says so."""
import json
import pathlib
import sys


def load(folder, name):
    try:
        return json.loads((folder / name).read_text())
    except (OSError, ValueError):
        return None


class Results:
    def __init__(self, folder):
        self.machine = load(folder, "machine.json")
        self.models = {name: load(folder, f"model_{name}.json") for name in ("w8a8", "w8a8_batches", "bf16", "w4a8", "demo")}
        self.kernels = {name: load(folder, f"{name}.json") for name in ("attention_lite", "attention_v2", "products", "experts", "small")}
        self.plan = load(folder, "plan_v2.json")
        try:
            lines = (folder / "phases.tsv").read_text().splitlines()
        except OSError:
            lines = []
        self.phases = [dict(zip(("phase", "seconds", "result"), line.split("\t"))) for line in lines]

    def model_row(self, name, batch):
        rows = [row for row in (self.models[name] or {"rows": []})["rows"] if row["batch"] == batch]
        return rows[0] if rows else None

    def attention_rows(self, name, kernel):
        sections = [s for s in (self.kernels[name] or {"sections": []})["sections"] if s["group"] == "attention"]
        return [(section, row) for section in sections for row in section["rows"] if row["name"] == kernel]


def percent(fraction):
    return "?" if fraction is None else f"{fraction * 100:.0f} %"


def row(what, target, reached, is_met):
    """is_met: None where it could not be judged."""
    return {"what": what, "target": target, "reached": reached, "met": is_met}


def missing(what, target):
    return row(what, target, "not measured", None)


def decode_row(results, name, batch, what, least_speed, least_share):
    speed_text = f">= {least_speed:,} tokens/s, " if least_speed else ""
    target = f"{speed_text}>= {percent(least_share)} of the roof"
    found = results.model_row(name, batch)
    if found is None or found["decode_tps"] is None:
        return missing(what, target)
    speed, share = found["decode_tps"], found["roof_fraction_decode"]
    reached = (f"{speed:,.0f} tokens/s, {found['tpot_ms']:.3f} ms a step, {found['decode_gb_per_s']:,.0f} of "
               f"{found['read_gb_per_s']:,.0f} GB/s: {percent(share)}")
    return row(what, target, reached, speed >= (least_speed or 0) and share is not None and share >= least_share)


def prefill_rows(results):
    whats = ("prefill 2,048 tokens, bf16", "prefill 2,048 tokens, W8A8")
    targets = (">= 60 % of the bf16 product", ">= 1.5 x bf16")
    bf16, int8 = results.model_row("bf16", 1), results.model_row("w8a8", 1)
    rows = [missing(what, target) for what, target in zip(whats, targets)]
    if bf16 is not None:
        product = results.models["bf16"]["machine"]["bf16_tflops"]
        share = bf16["prefill_tops"] / product if product else None
        rows[0] = row(whats[0], targets[0], f"{bf16['prefill_tps']:,.0f} tokens/s, {bf16['prefill_tops']:.0f} TFLOP/s: {percent(share)}",
                      None if share is None else share >= 0.6)
    if int8 is not None:
        factor = int8["prefill_tps"] / bf16["prefill_tps"] if bf16 is not None else None
        beside = "" if factor is None else f": {factor:.2f} x"
        rows[1] = row(whats[1], targets[1], f"{int8['prefill_tps']:,.0f} tokens/s, {int8['prefill_tops']:.0f} TOPS{beside}",
                      None if factor is None else factor >= 1.5)
    return rows


def attention_rows(results):
    targets = (("attention_lite", "MLA decode kernel, 16 heads, 32 x 8,192 keys", ">= 80 % of the copy bandwidth"),
               ("attention_v2", "MLA decode kernel, 128 heads, 32 x 8,192 keys", ">= 550 TFLOP/s"))
    rows = []
    for name, what, target in targets:
        found = [pair for pair in results.attention_rows(name, "absorbed") if pair[1]["shape"].startswith("32 x 8192 keys")]
        if not found:
            rows.append(missing(what, target))
        for section, entry in found:
            share, speed = entry["gb_per_s"] / section["read_gb_per_s"], entry["tops"]
            rows.append(row(f"{what}, {section['name'].removeprefix('absorbed, ')}", target,
                            f"{entry['gb_per_s']:,.0f} GB/s: {percent(share)}, {speed:.0f} TFLOP/s",
                            share >= 0.8 if name == "attention_lite" else speed >= 550))
    return rows


def host_row(results):
    what, target = "a whole step of the demo model (host and launches)", "host below 50 us"
    found = results.model_row("demo", 1)
    if found is None or found["tpot_ms"] is None:
        return missing(what, target)
    # More than the host's part: the device's kernels are in it.
    microseconds = found["tpot_ms"] * 1000
    return row(what, target, f"{microseconds:.0f} us", True if microseconds < 50 else None)


def plan_row(results):
    what, target = "V2-236B W4, int8 cache", "fits, or the plan says what is missing"
    if results.plan is None:
        return missing(what, target)
    needed, there = results.plan["plan"]["total_bytes"], results.plan["available"]["bytes"]
    reached = f"needs {needed / 1e9:.1f} GB" + ("" if there is None else f" of {there / 1e9:.1f}")
    return row(what, target, reached, None if there is None else needed <= there)


def table_of(results):
    return [
        decode_row(results, "bf16", 1, "V2-Lite decode, batch 1, bf16", 700, 0.80),
        decode_row(results, "w8a8", 1, "V2-Lite decode, batch 1, W8A8", 1150, 0.66),
        decode_row(results, "w4a8", 1, "V2-Lite decode, batch 1, W4A8", 1500, 0.50),
        decode_row(results, "w8a8_batches", 64, "decode, batch 64 at 1,024 tokens, W8A8", None, 0.70),
        decode_row(results, "w8a8_batches", 256, "decode, batch 256 at 1,024 tokens, W8A8", None, 0.70),
        *attention_rows(results),
        *prefill_rows(results),
        host_row(results),
        plan_row(results),
    ]


def ceilings_text(machine):
    if machine is None:
        return "the device's ceilings were not measured\n"
    products = ", ".join(f"{p['name']} product {p['tops']:.0f} T/s ({p['by']})" for p in machine["products"])
    return f"{machine['device']}: copy {machine['copy_gb_per_s']['best']:,.0f} GB/s (read and written), {products}\n"


def kernels_text(results):
    """Every kernel that was timed."""
    text = ""
    for name, report in results.kernels.items():
        for section in (report or {"sections": []})["sections"]:
            text += f"\n{name}: {section['group']} {section['name']}\n"
            for found in section["rows"]:
                text += (f"  {found['name']:<18}{found['shape']:<26}{found['tokens']:>6}{found['seconds']['best'] * 1e6:>10.1f} us"
                         f"{found['gb_per_s']:>9.0f} GB/s{found['tops']:>9.1f} T/s  {percent(found['roof_fraction']):>6} of {found['limit']}\n")
    return text


def to_text(results, table):
    text = "\n" + ceilings_text(results.machine) + "\n"
    words = {True: "met", False: "MISSED", None: ""}
    for entry in table:
        text += f"{entry['what']:<60}{entry['target']:<44}{entry['reached']}  {words[entry['met']]}".rstrip() + "\n"
    text += kernels_text(results)
    failed = [p for p in results.phases if p["result"] != "ok"]
    text += "\nall phases passed\n" if not failed else "\nphases that did not pass:\n"
    for phase in failed:
        text += f"  {phase['phase']}: {phase['result']}\n"
    return text


def main():
    folder = pathlib.Path(sys.argv[1])
    results = Results(folder)
    table = table_of(results)
    text = to_text(results, table)
    print(text, end="")
    (folder / "table.txt").write_text(text)
    whole = {"table": table, "phases": results.phases, "machine": results.machine, "models": results.models, "kernels": results.kernels,
             "plan": results.plan}
    (folder / "table.json").write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""LongBench's scores against the packages its own scorer is made of: rouge, jieba and fuzzywuzzy (with difflib beneath it).
Skipped where PyPI cannot be reached. Texts are those held out from the demo model, changed at random.

usage: longbench_package_test.py FATHOM_BINARY VENV_FOLDER"""
import collections
import json
import pathlib
import random
import re
import string
import subprocess
import sys
import warnings

import package_venv

PACKAGES = ["rouge==1.0.1", "jieba==0.42.1", "fuzzywuzzy==0.18.0", "setuptools==80.9.0"]
MODULES = ["rouge", "jieba", "fuzzywuzzy"]
DEMO = pathlib.Path(__file__).resolve().parents[2] / "models" / "demo"
WIDE = "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏."
CASES = 150  # of each metric
SPICE = [" the ", " A ", "an", ". ", "\n", "“", "”", "—", "É", "Ś", "Ж", "Ａ", "7", "３.5%", "3.5%", "  ", "C++", "#", "//", "，", "《", "AT&T", "彧", "龘"]


def f1(answer, truth):
    same = sum((collections.Counter(answer) & collections.Counter(truth)).values())
    return 2 * same / (len(answer) + len(truth)) if same else 0.0


def english(text):
    kept = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", kept).split()


def originals():
    """What metrics.py of LongBench says, by metric: answer, truth, classes -> score."""
    import jieba
    import rouge
    warnings.simplefilter("ignore")  # that difflib is slow
    from fuzzywuzzy import fuzz
    jieba.setLogLevel(60)
    scorer = rouge.Rouge()

    def rouge_l(answer, truth, _=None):
        try:
            return scorer.get_scores([answer], [truth], avg=True)["rouge-l"]["f"]
        except (ValueError, AssertionError):
            return 0.0

    def words(text):
        kept = ["".join("".join(c for c in word.lower() if c not in string.punctuation + WIDE).split()) for word in jieba.cut(text)]
        return [word for word in kept if word]

    def classes(answer, truth, names):
        named = [name for name in names if name in answer]
        for name in named:
            if name in truth and name != truth:
                named.remove(name)
        return 1 / len(named) if truth in named else 0.0

    def number(answer, truth, _):
        numbers = re.findall(r"\d+", answer)
        return sum(one == truth for one in numbers) / len(numbers) if numbers else 0.0

    def code(answer, truth, _):
        lines = [line for line in answer.lstrip("\n").split("\n") if "`" not in line and "#" not in line and "//" not in line]
        return fuzz.ratio(lines[0] if lines else "", truth) / 100

    return {"f1": lambda a, t, _: f1(english(a), english(t)), "f1_zh": lambda a, t, _: f1(words(a), words(t)), "rouge": rouge_l,
            "rouge_zh": lambda a, t, _: rouge_l(" ".join(jieba.cut(a)), " ".join(jieba.cut(t))), "class": classes, "number": number,
            "code": code, "cut": lambda a, t, _: list(jieba.cut(a))}


def piece(rng, text, longest):
    """A piece of a text, with other characters put in here and there."""
    begin = rng.randrange(len(text))
    words = text[begin:begin + rng.randrange(longest)]
    for _ in range(rng.randrange(6)):
        at = rng.randrange(len(words) + 1)
        words = words[:at] + rng.choice(SPICE) + words[at:]
    return words


def other(rng, text):
    """The text with parts of it left out, doubled or put elsewhere."""
    for _ in range(rng.randrange(4)):
        i, j = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
        text = rng.choice([text[:i] + text[j:], text[:j] + text[i:], text[i:j] + text[:i] + text[j:]])
    return text[:2000]


def cases():
    rng = random.Random(8)
    both = {kind: (DEMO / f"held_out_{kind}.txt").read_text(encoding="utf-8") for kind in ("en", "zh")}
    names = ["sport", "event", "sport event", "Food", "Other food", "Date", "日期", "城市", "城市日期"]
    for metric in ("f1", "rouge", "code", "f1_zh", "rouge_zh", "cut"):
        kinds = ("zh",) if metric in ("f1_zh", "rouge_zh", "cut") else ("en", "en", "zh")
        for i in range(CASES):
            # Sentences of the rouge package are short: it follows them by recursion, and Python has a limit on that.
            truth = piece(rng, both[rng.choice(kinds)], 600 if metric in ("code", "cut") else 400)
            answer = rng.choice([other(rng, truth), piece(rng, both[rng.choice(kinds)], 400), truth, "", " .", "."])
            yield {"metric": metric, "answer": answer, "truth": truth, "classes": []}
    for _ in range(CASES):
        chosen = rng.sample(names, 5)
        yield {"metric": "class", "answer": " ".join(rng.sample(chosen, 3)), "truth": rng.choice(chosen), "classes": chosen}
        yield {"metric": "number", "answer": piece(rng, "7 12 3.7 a7 ７ 71 ", 12), "truth": rng.choice(["7", "12", "3"]), "classes": []}


def check(binary):
    import jieba
    asked = list(cases())
    program = pathlib.Path(binary).with_name("score_program")
    done = subprocess.run([str(program), str(pathlib.Path(jieba.__file__).parent)], capture_output=True, text=True, check=True,
                          input="".join(json.dumps(case, ensure_ascii=False) + "\n" for case in asked), encoding="utf-8")
    scores, wrong = originals(), 0
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(asked), (len(found), len(asked))
    counts, values = collections.Counter(), collections.defaultdict(set)
    for case, ours in zip(asked, found):
        theirs = scores[case["metric"]](case["answer"], case["truth"], case["classes"])
        counts[case["metric"]] += 1
        values[case["metric"]].add(json.dumps(theirs, ensure_ascii=False))
        if ours != theirs if case["metric"] == "cut" else abs(ours - theirs) > 1e-12:
            wrong += 1
            if wrong <= 5:
                print("differs:", json.dumps(case, ensure_ascii=False), "ours", ours, "theirs", theirs)
    for metric, count in counts.items():
        print(f"{metric}: {count} pairs, {len(values[metric])} different scores")
        assert len(values[metric]) >= 5, metric
    print("all alike" if wrong == 0 else f"{wrong} of {len(asked)} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(package_venv.run_inside(__file__, check, PACKAGES, MODULES))

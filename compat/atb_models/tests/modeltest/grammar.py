"""run.sh's words, from left to right."""
import dataclasses
import json
import os

import nodes
from atb_compat.fathom import Refusal
from atb_compat.ranks import DEGREES

USAGE = """usage, () optional:
  run.sh pa_fp16|pa_bf16|fa DATASET (SHOTS|LENGTH) BATCH deepseekv2 (base|chat) WEIGHTS (trust_remote_code) PLACE (DEGREES) (MAX_LEN)
  run.sh .. performance CASES BATCHES (PREFILL_BATCH) (prefill_length N) (dataset NAME (padding) (GROUPS|INF)) deepseekv2 ..
  run.sh .. performance_maxbs CASES RANGES LIMIT_MS deepseekv2 ..
  run.sh .. performance_single|precision_single CASES TEXTS|FILE BATCH deepseekv2 ..
DATASET  full_BoolQ full_CEval full_MMLU full_CMMLU full_GSM8K full_HumanEval full_TruthfulQA full_LongBench full_LongBench-E
         full_NeedleBench simplified_GSM8K simplified_TruthfulQA; SHOTS of CEval, MMLU, CMMLU; LENGTH (4k, 8k, 32k, 128k) of NeedleBench
CASES    [[2048,2048],[256,256]]: tokens in and out, the largest first      BATCHES  1 or 1,4 or [1,4] or one list for each case
RANGES   [[1,200],[1,400]]: smallest and largest batch for each case        DEGREES  [dp,tp,sp,moe_tp,moe_ep,pp,microbatch,cp], -1 unsaid
PLACE    CHIPS, or of several nodes RANK_TABLE WORLD_SIZE NODES FIRST_RANK MASTER_ADDRESS"""

SHOT_SETS = ("full_CEval", "full_MMLU", "full_CMMLU")
PRECISION = ("full_BoolQ", *SHOT_SETS, "full_GSM8K", "full_HumanEval", "full_TruthfulQA", "full_LongBench", "full_LongBench-E",
             "full_NeedleBench", "simplified_GSM8K", "simplified_TruthfulQA")
SINGLE = ("performance_single", "precision_single")
PERFORMANCE = ("performance", "performance_maxbs", *SINGLE)
NOT_THERE = ("full_HumanEval_X", "full_GPQA", "full_AIME2024", "edge_BoolQ", "edge_GSM8K")
LENGTHS = {"4k": 4000, "8k": 8000, "32k": 32000, "128k": 128000}
SPEED_DATASETS = ("boolq", "gsm8k", "humaneval", "ceval", "customize")
MAX_NUMBER = 1 << 24


@dataclasses.dataclass
class Command:
    model_type: str = "pa"
    dtype: str = ""             # "" where the first word does not say
    mode: str = ""
    cases: list = dataclasses.field(default_factory=list)    # [in, out] each
    batches: list = dataclasses.field(default_factory=list)  # of each case, or one list for all
    ranges: list = dataclasses.field(default_factory=list)
    limit_ms: float = 0
    shots: int = -1             # -1: none
    context_length: int = 0
    texts: list = dataclasses.field(default_factory=list)
    prefill_batch: int = 0
    prefill_length: int = 0
    dataset: str = ""
    is_padded: bool = False
    groups: int = 1             # batches of a dataset; 0: all
    model_name: str = ""
    is_chat: bool = False
    weights: str = ""
    chips: int = 0
    nodes: object = None        # nodes.Nodes of several nodes
    degrees: dict = dataclasses.field(default_factory=dict)
    max_position: int = 0

    def batches_of(self, case_index):
        return self.batches[case_index if len(self.batches) > 1 else 0]


class Words:
    def __init__(self, words):
        self.words = list(words)

    def peek(self):
        return self.words[0] if self.words else ""

    def take(self, what):
        if not self.words:
            raise Refusal(f"the command ends where {what} is wanted; run.sh --help shows the grammar")
        return self.words.pop(0)

    def take_if(self, *choices):
        return self.words.pop(0) if self.peek() in choices else ""

    def take_number(self, what, low=1):
        return number(self.take(what), what, low)


def number(text, what, low=1):
    if not text.isdecimal() or not low <= int(text) <= MAX_NUMBER:
        raise Refusal(f"{what}: \"{text}\" is no number in [{low}, {MAX_NUMBER}]")
    return int(text)


def parse_list(text, what):
    """JSON, which the seed's lists are."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, list) or not value:
        raise Refusal(f"{what}: \"{text}\" is no list, as [[2048,2048],[256,256]] is; blanks and brackets of the shell need quotes")
    return value


def is_count(value, low=1):
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= MAX_NUMBER


def parse_pairs(text, what):
    pairs = parse_list(text, what)
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(map(is_count, pair)):
            raise Refusal(f"{what}: {json.dumps(pair)} is no pair of counts, as [256,256] is")
    return pairs


def parse_batches(text, num_cases):
    """Lists of batches: one for all cases, or one for each."""
    value = parse_list(text if text.startswith("[") else f"[{text}]", "batches")
    lists = value if all(isinstance(one, list) for one in value) else [value]
    for batches in lists:
        if not batches or not all(map(is_count, batches)):
            raise Refusal(f"batches: \"{text}\" is neither 1 nor 1,4 nor [1,4] nor one list of counts for each case")
    if len(lists) not in (1, num_cases):
        raise Refusal(f"batches: {len(lists)} lists for {num_cases} cases; one for all or one for each is wanted")
    return lists


def parse_texts(text):
    """A JSON list of texts, the lines of a file, or the text itself."""
    if text.startswith("["):
        texts = parse_list(text, "texts")
        if not all(isinstance(one, str) and one for one in texts):
            raise Refusal(f"texts: \"{text}\" is no list of texts, as [\"hello\",\"hi\"] is")
        return texts
    if os.path.isfile(text):
        with open(text, encoding="utf-8") as file:
            texts = [line.rstrip("\n") for line in file if line.strip()]
        if not texts:
            raise Refusal(f"{text}: no text")
        return texts
    return [text]


def parse_degrees(text):
    values = parse_list(text, "parallel degrees")
    if len(values) > len(DEGREES) or not all(is_count(value) or value == -1 for value in values):
        raise Refusal(f"parallel degrees: \"{text}\" is no list of at most {len(DEGREES)} counts or -1: {', '.join(DEGREES)}")
    return dict(zip(DEGREES, values))


def parse_first_words(words, command):
    kind = words.take("pa_fp16, pa_bf16 or fa")
    if kind not in ("pa_fp16", "pa_bf16", "fa"):
        raise Refusal(f"\"{kind}\" is none of pa_fp16, pa_bf16, fa")
    command.model_type, _, command.dtype = kind.partition("_")
    command.mode = words.take("a mode")
    if command.mode in NOT_THERE:
        raise Refusal(f"{command.mode} is not offered; offered are {', '.join((*PERFORMANCE, *PRECISION))}")
    if command.mode not in (*PERFORMANCE, *PRECISION):
        raise Refusal(f"\"{command.mode}\" is none of {', '.join((*PERFORMANCE, *PRECISION))}")


def parse_load(words, command):
    """What is run: cases, shots, texts, batches."""
    if command.mode in PERFORMANCE:
        command.cases = parse_pairs(words.take("cases"), "cases")
    if command.mode in SHOT_SETS:
        command.shots = words.take_number("shots", low=0)
    if command.mode == "full_NeedleBench":
        length = words.take("a context length")
        if length not in LENGTHS:
            raise Refusal(f"context length: \"{length}\" is none of {', '.join(LENGTHS)}, which DeepSeek-V2 can hold")
        command.context_length = LENGTHS[length]
    if command.mode == "performance_maxbs":
        command.ranges = parse_pairs(words.take("ranges of batches"), "ranges")
        if len(command.ranges) != len(command.cases):
            raise Refusal(f"ranges: {len(command.ranges)} for {len(command.cases)} cases; one for each is wanted")
        command.limit_ms = words.take_number("the limit in ms")
        return
    if command.mode in SINGLE:
        command.texts = parse_texts(words.take("texts"))
    command.batches = parse_batches(words.take("a batch"), max(len(command.cases), 1))


def parse_performance_extras(words, command):
    if words.peek().isdecimal():
        command.prefill_batch = words.take_number("prefill batch")
    if words.take_if("prefill_length"):
        command.prefill_length = words.take_number("prefill_length")
    if words.take_if("dataset"):
        command.dataset = words.take("the name of a dataset")
        if command.dataset not in SPEED_DATASETS:
            raise Refusal(f"dataset: \"{command.dataset}\" is none of {', '.join(SPEED_DATASETS)}")
        command.is_padded = bool(words.take_if("padding"))
        if words.take_if("INF"):
            command.groups = 0
        elif words.peek().isdecimal():
            command.groups = words.take_number("groups")


def parse_model(words, command):
    command.model_name = words.take("the model's name")
    if command.model_name not in ("deepseekv2", "deepseek_v2", "deepseekv2_lite"):
        raise Refusal(f"model: \"{command.model_name}\" is not deepseekv2")
    command.is_chat = words.take_if("base", "chat") == "chat"
    if words.peek() == "lora":
        raise Refusal("lora: fathom has no LoRA adapters")
    command.weights = words.take("the weight folder")
    words.take_if("trust_remote_code", "-trust_remote_code", "--trust_remote_code")


def parse_place(words, command):
    if not words.words:
        raise Refusal("the command ends after the weights: the number of chips, or a rank table and what follows it, is missing. "
                      "Where a document breaks the command into two lines, write one, or end the first with a backslash")
    if words.peek().isdecimal():
        command.chips = words.take_number("chips")
    else:
        table = words.take("a rank table")
        command.nodes = nodes.Nodes(table, words.take_number("world size"), words.take_number("number of nodes"),
                                    words.take_number("first rank", low=0), words.take("the master's address"))
        nodes.check(command.nodes)
        command.chips = command.nodes.world_size
    if words.peek().startswith("["):
        command.degrees = parse_degrees(words.take("parallel degrees"))
    if words.words:
        command.max_position = words.take_number("longest sequence")
    if words.words:
        raise Refusal(f"\"{words.peek()}\" is too much: the command is complete before it; run.sh --help shows the grammar")


def parse(arguments):
    words, command = Words(arguments), Command()
    parse_first_words(words, command)
    parse_load(words, command)
    if command.mode == "performance":
        parse_performance_extras(words, command)
    parse_model(words, command)
    parse_place(words, command)
    return command

"""Writes tests/golden/quantized/<variant>/: quantised forms of golden checkpoints and what a reference makes of them.

    python make_quantized_goldens.py [--out FOLDER] [VARIANT ...]

NumPy only. Reads tests/golden/<variant>, quantises its linears as ModelSlim does (int8 per output row, symmetric) and to
int4, writes the weights of each width once, and a folder for each type with config.json, description and
golden.safetensors. Before that, the reference is held against the float logits of the same folder.

Prompts are found token by token: an id is passed over where an input of a W8A8 layer lies within MIN_TIE_DISTANCE of a
rounding tie, or where a routing decision hangs by less than MIN_SCORE_MARGIN. So an engine that computes in float32
takes the same integers and the same experts, and only float32's own rounding is left to differ.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

from numpy_deepseek_v2 import FLOAT, W4A8, W4A16, W8A8, W8A16, NumpyDeepseekV2, QuantizedWeight, Trace
from numpy_deepseek_v2 import is_quantized_linear, quantize_weight, quantize_weight_to_int4

GOLDEN_FOLDER = Path(__file__).resolve().parents[2] / "tests" / "golden"
VARIANTS = ["lite_like", "attention_bias", "odd_sizes"]
TYPES = ["w8a16", "w8a8_dynamic", "mix", "w4a16", "w4a8_dynamic"]
# Of int4; several rows end with a shorter group. odd_sizes has odd widths, which int4 does not take.
GROUP_SIZES = {"lite_like": 64, "attention_bias": 32}
NUM_TOKENS = 24
# In steps between int8 values. float32 moves an input by about 1e-4 of a step; a digit of a W8A16 layer that rounds to
# the other side in float32 moves those that follow by more.
MIN_TIE_DISTANCE = {"w8a16": 0.0, "w8a8_dynamic": 1e-3, "mix": 2e-3, "w4a16": 0.0, "w4a8_dynamic": 1e-3}
MIN_SCORE_MARGIN = 1e-3
MAX_FLOAT_DISTANCE = 3e-6  # of this reference in float64 from the other one in float32
MAX_TRIES = 4000

DTYPES = {"F32": "<f4", "F16": "<f2", "I8": "<i1", "U8": "<u1", "I64": "<i8"}


# ---- safetensors ------------------------------------------------------------------------------------------------


def read_safetensors(path: Path) -> dict[str, tuple[str, list[int], bytes]]:
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            tensors[name] = (entry["dtype"], entry["shape"], raw[8 + size + begin : 8 + size + end])
    return tensors


def to_array(tensor: tuple[str, list[int], bytes]) -> np.ndarray:
    dtype, shape, data = tensor
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    return np.frombuffer(data, DTYPES[dtype]).reshape(shape)


def to_tensor(array: np.ndarray) -> tuple[str, list[int], bytes]:
    name = {np.dtype(code): name for name, code in DTYPES.items()}[array.dtype.newbyteorder("<")]
    return name, list(array.shape), np.ascontiguousarray(array).tobytes()


def write_safetensors(path: Path, tensors: dict[str, tuple[str, list[int], bytes]], metadata: dict | None = None) -> None:
    sizes = {"I64": 8, "F32": 4, "BF16": 2, "F16": 2, "I8": 1, "U8": 1}
    header, offset = {"__metadata__": metadata} if metadata else {}, 0
    ordered = sorted(tensors.items(), key=lambda item: -sizes[item[1][0]])  # larger elements first: all are aligned
    for name, (dtype, shape, data) in ordered:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(data for _, (_, _, data) in ordered))


# ---- one checkpoint, several types ------------------------------------------------------------------------------


def two_in_a_byte(digits: np.ndarray) -> np.ndarray:
    """[n, k] in [-8, 7] as [n, k / 2]: the even input in the low four bits."""
    bits = digits.view(np.uint8) & 15
    return bits[:, 0::2] | bits[:, 1::2] << 4


class Source:
    """A golden checkpoint and a quantised form of it: int8, or int4 in groups of group_size."""

    def __init__(self, name: str, group_size: int | None = None):
        folder = GOLDEN_FOLDER / name
        self.config = json.loads((folder / "config.json").read_text())
        self.golden = read_safetensors(folder / "golden.safetensors")
        self.stored = read_safetensors(folder / "model.safetensors")
        self.floats = {name: to_array(tensor) for name, tensor in self.stored.items()}
        self.file_type = "w4a8_dynamic" if group_size else "w8a8_dynamic"
        self.quantized = {
            name: self.rounded(weight, group_size) if self.is_rounded(name) else weight
            for name, weight in self.floats.items()
        }

    @staticmethod
    def rounded(weight: np.ndarray, group_size: int | None) -> QuantizedWeight:
        return quantize_weight_to_int4(weight, group_size) if group_size else quantize_weight(weight)

    @staticmethod
    def is_rounded(name: str) -> bool:
        return name.endswith(".weight") and is_quantized_linear(name.removesuffix(".weight"))

    def check_float(self) -> float:
        """How far this reference is from the stored logits of the float checkpoint."""
        ids = to_array(self.golden["ids"]).tolist()
        want = to_array(self.golden["logits"]).astype(np.float64)
        got = NumpyDeepseekV2(self.config, self.floats, {}).forward(ids)
        distance = np.linalg.norm(got - want) / np.linalg.norm(want)
        assert distance < MAX_FLOAT_DISTANCE, distance
        return distance

    def layer_type(self, name: str, kind: str) -> str:
        """name of a layer or tensor; kind one of TYPES."""
        base = name.split(".weight")[0] if ".weight" in name else name
        if name.endswith(".bias") or not is_quantized_linear(base):
            return FLOAT
        if kind == "mix":
            return W8A16 if "self_attn" in name else W8A8
        return {"w8a16": W8A16, "w8a8_dynamic": W8A8, "w4a16": W4A16, "w4a8_dynamic": W4A8}[kind]

    def stored_tensors(self) -> dict[str, tuple[str, list[int], bytes]]:
        tensors = {}
        for name, weight in self.quantized.items():
            if isinstance(weight, QuantizedWeight):
                integers = weight.q if weight.digits is None else two_in_a_byte(weight.digits)
                tensors[name] = to_tensor(integers)
                tensors[name + "_scale"] = to_tensor(weight.scale[:, None])
                if weight.factors is None:
                    tensors[name + "_offset"] = to_tensor(np.zeros_like(weight.scale)[:, None])
                else:
                    tensors[name + "_scale_second"] = to_tensor(weight.factors)
            else:
                tensors[name] = self.stored[name]
        return tensors

    def typed_config(self, kind: str) -> dict:
        if kind == "mix":
            return self.config | {"quantize": "w8a8_dynamic", "mla_quantize": "w8a16"}
        return self.config | {"quantize": kind}

    def model(self, kind: str) -> NumpyDeepseekV2:
        """W8A16 and W4A16 alone are float models, which is what they promise. Beside W8A8 its inputs are rounded to two digits as
        docs/numerics.md says, because the difference would flip roundings of W8A8 that follow."""
        layers = {name.removesuffix(".weight") for name in self.quantized if name.endswith(".weight")}
        types = {layer: self.layer_type(layer, kind) for layer in layers}
        return NumpyDeepseekV2(self.config, self.quantized, types, round_w8a16=kind == "mix")


def find_prompt(model: NumpyDeepseekV2, vocab_size: int, tie_distance: float, seed: int) -> tuple[list[int], int]:
    """A prompt without near ties, and how many ids were tried for it."""
    generator = np.random.default_rng(seed)
    ids: list[int] = []
    for tries in range(MAX_TRIES):
        candidate = int(generator.integers(vocab_size))
        trace = Trace()
        model.forward(ids + [candidate], trace)
        if trace.tie_distance >= tie_distance and trace.score_margin >= MIN_SCORE_MARGIN:
            ids.append(candidate)
            if len(ids) == NUM_TOKENS:
                return ids, tries + 1
    raise SystemExit(f"only {len(ids)} tokens after {MAX_TRIES} tries")


def root_mean_square(rows: list[np.ndarray]) -> np.ndarray:
    return np.array([np.sqrt((np.concatenate(rows) ** 2).mean())], np.float32)


def make_type(source: Source, kind: str, folder: Path) -> str:
    folder.mkdir()
    model = source.model(kind)
    ids, tries = find_prompt(model, source.config["vocab_size"], MIN_TIE_DISTANCE[kind], seed=TYPES.index(kind))
    trace = Trace()
    logits = model.forward(ids, trace)
    exact = NumpyDeepseekV2(source.config, source.floats, {}).forward(ids)
    (folder / "config.json").write_text(json.dumps(source.typed_config(kind), indent=2) + "\n")
    description = {name: source.layer_type(name, kind) for name in source.stored_tensors()}
    file_type = source.typed_config(kind)["quantize"]
    (folder / f"quant_model_description_{file_type}.json").write_text(json.dumps(description, indent=0) + "\n")
    tensors = {
        "ids": np.array(ids),
        "logits": logits.astype(np.float32),
        "input_crest": root_mean_square(trace.crests),
        "latent_crest": root_mean_square(trace.latent_crests),
    }
    write_safetensors(folder / "golden.safetensors", {name: to_tensor(array) for name, array in tensors.items()})
    loss = np.linalg.norm(logits - exact) / np.linalg.norm(exact)
    return (
        f"  {kind:13} {tries:5} tries, {loss:.1e} from the float checkpoint, crests of inputs "
        f"{tensors['input_crest'][0]:.2f} and latents {tensors['latent_crest'][0]:.2f}"
    )


def make_width(source: Source, kinds: list[str], folder: Path) -> None:
    path = folder / f"quant_model_weight_{source.file_type}.safetensors"
    write_safetensors(path, source.stored_tensors(), {"format": "pt"})
    for kind in kinds:
        print(make_type(source, kind, folder / kind), flush=True)


def make(name: str, out: Path) -> None:
    source, folder = Source(name), out / name
    print(f"{name}: {source.check_float():.1e} from the float reference", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make_width(source, ["w8a16", "w8a8_dynamic", "mix"], folder)
    if name in GROUP_SIZES:
        make_width(Source(name, GROUP_SIZES[name]), ["w4a16", "w4a8_dynamic"], folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=GOLDEN_FOLDER / "quantized")
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help="folders of tests/golden; three by default")
    args = parser.parse_args()
    for name in args.variants or VARIANTS:
        make(name, args.out)


if __name__ == "__main__":
    main()

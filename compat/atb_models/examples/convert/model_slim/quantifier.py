#!/usr/bin/env python3
"""The seed's quantifier.py, on `fathom quantize`: rounding without calibration data. Options that need such data, or formats that
fathom does not write, are refused."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3]))
from atb_compat import fathom, options, ranks, variables  # noqa: E402
from atb_compat.checkpoint import Checkpoint  # noqa: E402
from atb_compat.fathom import Refusal  # noqa: E402

TYPES = {(8, 16, False): "w8a16", (8, 8, True): "w8a8-dynamic", (4, 16, False): "w4a16", (4, 8, True): "w4a8-dynamic"}
# Floating in every type of the seed; naming them is no news.
ALWAYS_FLOAT = ("lm_head", "kv_b_proj", "mlp.gate", "embed_tokens")
GROUP_SIZES = (32, 64, 128)


def make_parser():
    parser = options.Parser(description=__doc__)
    add = parser.add_argument
    add("--model_path", required=True, help="the float weights' folder")
    add("--save_directory", required=True, help="the folder to make")
    add("--part_file_size", type=options.count, help="GB of a file")
    add("--calib_texts", nargs="+", help="refused: nothing is calibrated")
    add("--calib_file", default="", help="\"\"; anything else is refused: nothing is calibrated")
    add("--w_bit", type=int, default=8, choices=(4, 8), help="bits of weights")
    add("--a_bit", type=int, default=8, choices=(8, 16), help="bits of activations")
    add("--disable_names", nargs="+", default=[], help="layers kept floating")
    add("--disable_level", default="L0", help="L0; L1 to L5 need calibration data")
    add("--disable_last_linear", type=options.boolean, default=True, help="false: the head too")
    add("--device_type", default="cpu", choices=("cpu", "npu"), help="npu is refused")
    add("--act_method", type=int, default=1, choices=(1, 2, 3), help="accepted: without effect where nothing is calibrated")
    add("--anti_method", default="", help="\"\"; m1 to m6 need calibration data")
    add("--is_dynamic", type=options.boolean, default=False, nargs="?", const=True, help="activation scales by token")
    add("--w_sym", type=options.boolean, default=True, help="false is refused: weights are symmetric")
    add("--mm_tensor", type=options.boolean, default=True, help="accepted: scales are by channel, as in the seed")
    add("--group_size", type=int, default=64, choices=GROUP_SIZES, help="of w_bit 4")
    for name in ("co_sparse", "is_lowbit", "do_smooth", "use_sigma", "open_outlier", "use_kvcache_quant", "use_fa_quant",
                 "use_reduce_quant"):
        add(f"--{name}", type=options.boolean, default=False, nargs="?", const=True, help="refused")
    add("--fa_amp", type=int, default=0, help="refused")
    add("--tp_size", type=int, default=1, help="accepted: files do not depend on it")
    for name, default in (("fraction", "0.01"), ("sigma_factor", "3.0"), ("tokenizer_args", ""), ("input_ids_name", ""),
                          ("attention_mask_name", "")):
        add(f"--{name}", default=default, help="accepted: without effect")
    add("--trust_remote_code", action="store_true", help="accepted: no code of a weight folder is ever run")
    return parser


def check(given):
    no_data = "fathom rounds without calibration data"
    sparse = "fathom writes no sparse or low-bit formats of the seed; --w_bit 4 it has"
    options.refuse_given(given, {
        "calib_texts": no_data, "calib_file": no_data, "anti_method": no_data, "co_sparse": sparse, "is_lowbit": sparse,
        "do_smooth": no_data, "use_sigma": sparse, "open_outlier": sparse,
        "use_kvcache_quant": "an int8 latent cache needs no weights of its own: run with --kv-cache-dtype int8",
        "use_fa_quant": "an int8 latent cache needs no weights of its own: run with --kv-cache-dtype int8",
        "fa_amp": "there is no attention quantisation to fall back from", "use_reduce_quant": "sums between ranks are float32"})
    if given.disable_level != "L0":
        raise Refusal(f"--disable_level: {given.disable_level}: {no_data}; name the layers with --disable_names")
    if given.device_type != "cpu":
        raise Refusal("--device_type: npu is not there; cpu is")
    if not given.w_sym:
        raise Refusal("--w_sym: false: weights are rounded symmetrically, as the seed's two types are")


def type_of(given):
    wanted = (given.w_bit, given.a_bit, given.is_dynamic)
    if wanted in TYPES:
        return TYPES[wanted]
    offered = "; ".join(f"--w_bit {w} --a_bit {a} --is_dynamic {str(d).lower()}" for w, a, d in TYPES)
    raise Refusal(f"--w_bit {wanted[0]} --a_bit {wanted[1]} --is_dynamic {str(wanted[2]).lower()}: static activation scales need "
                  f"calibration data, which fathom does without; it has {offered}" if wanted[1] == 8 else
                  f"--is_dynamic: activations of 16 bits are not rounded; it has {offered}")


def main():
    given = make_parser().parse(sys.argv[1:])
    variables.check()
    check(given)
    Checkpoint(given.model_path)
    words = ["quantize", given.model_path, given.save_directory, "--type", type_of(given)]
    if given.part_file_size:
        words += ["--shard-size", f"{given.part_file_size}G"]
    if given.w_bit == 4:
        words += ["--group-size", given.group_size]
    if not given.disable_last_linear:
        words.append("--quantize-head")
    for name in given.disable_names:
        if not name.endswith(ALWAYS_FLOAT):
            words += ["--exclude", f"{name}.*"]
    fathom.call(ranks.Ranks(), *words, show=True)


if __name__ == "__main__":
    sys.exit(fathom.guarded(main))

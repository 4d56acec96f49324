"""What the golden files would notice: the reference with one deliberate mistake at a time.

    python check_sensitivity.py [--golden FOLDER]

For each mistake, the variants whose logits move by more than NOTICED (relative, all positions), with the distance. A
mistake that no variant notices is a hole in the golden data and makes the exit status 1. The last rows are no mistakes
but other honest roundings: they show how close an engine can be expected to come, above all at long positions.
"""

import argparse
import math
import sys
from pathlib import Path

import torch

from check_transformers import distance, replaced
from deepseek_v2 import DeepseekV2, yarn_m
from make_goldens import GOLDEN_FOLDER
from safetensors.torch import load_file
from variants import VARIANTS

NOTICED = 1e-3
Model = DeepseekV2  # the unchanged methods, for use inside the changed ones
plain_inv_freq, plain_keys_and_values, plain_unseen = Model.inv_freq, Model.keys_and_values, Model.unseen
plain_weigh, plain_mlp, plain_linear, plain_rms_norm = Model.weigh, Model.mlp, Model.linear, Model.rms_norm


def rotate_halves(self, x):
    angles = self.rope_angles(x.shape[0])[:, None, :]
    cos, sin = angles.cos() * self.rope_magnitude(), angles.sin() * self.rope_magnitude()
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


def inv_freq_without_yarn(self):
    with replaced(self.config, "rope_scaling", None):
        return plain_inv_freq(self)


def yarn_range(self, lowest: float, highest: float):
    cfg, yarn = self.config, self.config.rope_scaling

    def pair_of(turns):
        length = yarn["original_max_position_embeddings"]
        return cfg.qk_rope_head_dim * math.log(length / (turns * 2 * math.pi)) / (2 * math.log(cfg.rope_theta))

    low = max(math.floor(pair_of(yarn["beta_fast"])), lowest)
    return low, min(math.ceil(pair_of(yarn["beta_slow"])), highest)


def scale_from(self, key: str | None):
    cfg, yarn = self.config, self.config.rope_scaling
    m = yarn_m(yarn["factor"], yarn[key]) if yarn and key else 1.0
    return (cfg.qk_nope_head_dim + cfg.qk_rope_head_dim) ** -0.5 * m * m


def magnitude_of_plain_yarn(self):
    yarn = self.config.rope_scaling
    if yarn and not yarn.get("mscale_all_dim"):
        return yarn_m(yarn["factor"], 1)
    return yarn_m(yarn["factor"], yarn["mscale"]) / yarn_m(yarn["factor"], yarn["mscale_all_dim"]) if yarn else 1.0


def normalised_rope_key(self, name, x):
    k_nope, k_rope, v = plain_keys_and_values(self, name, x)
    return k_nope, k_rope * torch.rsqrt(k_rope.pow(2).mean(-1, keepdim=True) + 1e-6), v


def groups_by_two_best(self, scores):
    value = scores.view(scores.shape[0], self.config.n_group, -1).topk(2, dim=-1).values.sum(-1)
    return torch.zeros_like(value, dtype=torch.bool).scatter(1, value.topk(self.config.topk_group, -1).indices, True)


def without_shared_experts(self, name, x):
    return torch.zeros_like(x) if name.endswith("shared_experts") else plain_mlp(self, name, x)


def without_bias(self, name, x):
    return x @ self.weights[name + ".weight"].T


def float16_range(self, name, x):
    return plain_linear(self, name, x).clamp(-65504, 65504)


def window_of_4096(self, num_tokens):
    return plain_unseen(self, num_tokens) | torch.ones(num_tokens, num_tokens, dtype=torch.bool).tril(-4096)


def without_scaling(self, scores):
    normalised = self.config.norm_topk_prob and self.config.num_experts_per_tok > 1
    return plain_weigh(self, scores) if normalised else scores


def scaled_after_all(self, scores):
    return plain_weigh(self, scores) * (self.config.routed_scaling_factor if self.config.norm_topk_prob else 1)


def always_normalised(self, scores):
    return scores / scores.sum(-1, keepdim=True) * self.config.routed_scaling_factor


def double_angles(self, num_tokens):
    return torch.arange(num_tokens, dtype=torch.float64)[:, None] * self.inv_freq().double()


# what is wrong -> (whose, which name, what stands there instead)
MISTAKES = {
    "rope pairs (j, j + d/2) instead of (2j, 2j+1)": (Model, "rotate", rotate_halves),
    "no rotation at all": (Model, "rotate", lambda self, x: x),
    "no YaRN frequencies": (Model, "inv_freq", inv_freq_without_yarn),
    "YaRN's lower bound not clamped to 0": (Model, "yarn_range", lambda self: yarn_range(self, -math.inf, math.inf)),
    "YaRN's upper bound clamped to d/2 - 1": (
        Model,
        "yarn_range",
        lambda self: yarn_range(self, 0, self.config.qk_rope_head_dim // 2 - 1),
    ),
    "no m^2 in the softmax scale": (Model, "softmax_scale", lambda self: scale_from(self, None)),
    "m^2 from mscale instead of mscale_all_dim": (Model, "softmax_scale", lambda self: scale_from(self, "mscale")),
    "cos and sin not scaled": (Model, "rope_magnitude", lambda self: 1.0),
    "absent mscale_all_dim: m(1) on cos and sin": (Model, "rope_magnitude", magnitude_of_plain_yarn),
    "latent norms with rms_norm_eps": (
        Model,
        "rms_norm",
        lambda self, name, x, eps: plain_rms_norm(self, name, x, self.config.rms_norm_eps),
    ),
    "k_rope normalised": (Model, "keys_and_values", normalised_rope_key),
    "biases ignored": (Model, "linear", without_bias),
    "groups ignored": (Model, "choose", lambda self, scores: scores.topk(self.config.num_experts_per_tok).indices),
    "group score = sum of the two best": (Model, "kept_groups", groups_by_two_best),
    "expert weights never normalised": (Model, "weigh", lambda self, s: s * self.config.routed_scaling_factor),
    "expert weights always normalised": (Model, "weigh", always_normalised),
    "normalised weights scaled too": (Model, "weigh", scaled_after_all),
    "never scaled": (Model, "weigh", without_scaling),
    "no shared experts": (Model, "mlp", without_shared_experts),
    "layers' results clamped to float16's range": (Model, "linear", float16_range),
    "keys 4096 back and more forgotten": (Model, "unseen", window_of_4096),
}
ROUNDINGS = {
    "angles, cos and sin in float64": (Model, "rope_angles", double_angles),
    "inv_freq in float64, then rounded": (Model, "inv_freq", lambda self: plain_inv_freq(self, torch.float64).float()),
}


def table(title: str, changes: dict, models: dict, above: float) -> bool:
    """Prints who notices each change by more than `above`, most first; false when one goes unnoticed."""
    print(f"\n| {title} | moves the logits of |\n| --- | --- |")
    complete = True
    for name, change in changes.items():
        with replaced(*change):
            moved = {v: distance(model.forward(ids), logits) for v, (model, ids, logits) in models.items()}
        noticed = [f"{v} {d:.1e}" for v, d in sorted(moved.items(), key=lambda item: -item[1]) if not d <= above]
        shown = ", ".join(noticed[:4]) + (f" and {len(noticed) - 4} more" if len(noticed) > 4 else "")
        print(f"| {name} | {shown or 'none'} |", flush=True)
        complete = complete and bool(noticed)
    return complete


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golden", type=Path, default=GOLDEN_FOLDER)
    args = parser.parse_args()
    torch.set_num_threads(1)
    models = {}
    for name in VARIANTS:
        golden = load_file(args.golden / name / "golden.safetensors")
        models[name] = (DeepseekV2.load(args.golden / name), golden["ids"].tolist(), golden["logits"])
    complete = table("mistake", MISTAKES, models, NOTICED)
    table("other rounding", ROUNDINGS, models, 0.0)
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    main()

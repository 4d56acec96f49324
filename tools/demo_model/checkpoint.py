"""Reads and writes the Hugging Face checkpoint folder of the demo model."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from model import DeepseekV2, FeedForward, MixtureOfExperts, ModelConfig

GENERATION = {"do_sample": True, "temperature": 0.8, "top_p": 0.95}


def config_json(config: ModelConfig) -> dict:
    return {
        "architectures": ["DeepseekV2ForCausalLM"],
        "model_type": "deepseek_v2",
        **config.to_dict(),
        "num_key_value_heads": config.num_attention_heads,
        "q_lora_rank": None,
        "moe_layer_freq": 1,
        "n_group": 1,
        "topk_group": 1,
        "topk_method": "greedy",
        "scoring_func": "softmax",
        "norm_topk_prob": False,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "aux_loss_alpha": 0.001,
        "seq_aux": True,
        "initializer_range": 0.02,
        "pretraining_tp": 1,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_cache": True,
    }


def feed_forward_parts(prefix: str, gate_up: Tensor, down: Tensor) -> dict[str, Tensor]:
    gate, up = gate_up.chunk(2, dim=0)
    return {
        f"{prefix}.gate_proj.weight": gate,
        f"{prefix}.up_proj.weight": up,
        f"{prefix}.down_proj.weight": down,
    }


def stored_tensors(model: DeepseekV2) -> dict[str, Tensor]:
    """Tensors under their published names; gate and up are views into the joint matrices."""
    tensors = {
        "model.embed_tokens.weight": model.embed_tokens,
        "model.norm.weight": model.norm.weight,
        "lm_head.weight": model.lm_head,
    }
    for index, layer in enumerate(model.layers):
        prefix = f"model.layers.{index}"
        for part in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{prefix}.{part}.weight"] = getattr(layer, part).weight
        for name, parameter in layer.self_attn.named_parameters():
            tensors[f"{prefix}.self_attn.{name}"] = parameter
        mlp, prefix = layer.mlp, f"{prefix}.mlp"
        if isinstance(mlp, MixtureOfExperts):
            tensors[f"{prefix}.gate.weight"] = mlp.router
            for expert in range(mlp.gate_up.shape[0]):
                tensors |= feed_forward_parts(f"{prefix}.experts.{expert}", mlp.gate_up[expert], mlp.down[expert])
            mlp, prefix = mlp.shared_experts, f"{prefix}.shared_experts"
        assert isinstance(mlp, FeedForward)
        tensors |= feed_forward_parts(prefix, mlp.gate_up.weight, mlp.down_proj.weight)
    return {name: tensor.detach() for name, tensor in tensors.items()}


def write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def save_checkpoint(model: DeepseekV2, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {n: t.to(torch.bfloat16).contiguous().clone() for n, t in stored_tensors(model).items()}
    partial = folder / "model.safetensors.partial"
    save_file(tensors, partial, metadata={"format": "pt"})
    partial.chmod(0o644)
    partial.replace(folder / "model.safetensors")
    config = model.config
    write_json(folder / "config.json", config_json(config))
    write_json(
        folder / "generation_config.json",
        {"bos_token_id": config.bos_token_id, "eos_token_id": config.eos_token_id, **GENERATION},
    )


def load_checkpoint(folder: Path, compute_dtype: torch.dtype = torch.float32) -> DeepseekV2:
    """The stored bfloat16 weights, held in float32."""
    config = ModelConfig.from_dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    model = DeepseekV2(config, compute_dtype)
    with safe_open(folder / "model.safetensors", framework="pt") as stored:
        targets = stored_tensors(model)
        if set(targets) != set(stored.keys()):
            raise ValueError(f"unexpected tensors: {sorted(set(targets) ^ set(stored.keys()))}")
        for name, target in targets.items():
            target.copy_(stored.get_tensor(name))
    return model.eval()

"""The few things the scripts have to know of a weight folder; fathom itself checks the rest."""
import json
import pathlib

from .fathom import Refusal

_DTYPES = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32"}
_MODEL_TYPES = ("deepseekv2", "deepseek_v2")


class Checkpoint:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        if not path:
            raise Refusal("the weight folder is missing (model_path)")
        config_path = self.path / "config.json"
        try:
            self.config = json.loads(config_path.read_text(encoding="utf-8"))
        except OSError as error:
            raise Refusal(f"{config_path}: {error.strerror}; a weight folder has this file") from error
        except ValueError as error:
            raise Refusal(f"{config_path}: no JSON: {error}") from error
        if not isinstance(self.config, dict):
            raise Refusal(f"{config_path}: not an object")
        if self.config.get("model_type") not in _MODEL_TYPES:
            raise Refusal(f"{config_path}: model_type is {json.dumps(self.config.get('model_type'))}; wanted is \"deepseekv2\" or "
                          "\"deepseek_v2\"")

    @property
    def dtype(self):
        """"fp16", "bf16" or "fp32"."""
        name = self.config.get("torch_dtype", self.config.get("dtype"))
        if name not in _DTYPES:
            raise Refusal(f"{self.path / 'config.json'}: torch_dtype is {json.dumps(name)}; wanted is one of {', '.join(_DTYPES)}")
        return _DTYPES[name]

    @property
    def quantize(self):
        """"w8a8_dynamic", .., or "" for a float checkpoint."""
        return self.config.get("quantize") or ""

    @property
    def max_positions(self):
        positions = self.config.get("max_position_embeddings")
        if not isinstance(positions, int) or positions < 1:
            raise Refusal(f"{self.path / 'config.json'}: max_position_embeddings is {json.dumps(positions)}; a count is wanted")
        return positions

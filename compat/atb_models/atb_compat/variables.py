"""The seed's environment variables. docs/from-the-seed.md says what each is here."""
import os

from .fathom import Refusal

# A wrong value of these would be a surprise later.
_SWITCHES = ("ATB_LAYER_INTERNAL_TENSOR_REUSE", "ATB_LLM_ENABLE_AUTO_TRANSPOSE", "ATB_LLM_LCOC_ENABLE", "ATB_LLM_HCCL_ENABLE",
             "INF_NAN_MODE_ENABLE", "BIND_CPU", "ATB_LLM_BENCHMARK_ENABLE", "ATB_LLM_LOGITS_SAVE_ENABLE",
             "ATB_LLM_TOKEN_IDS_SAVE_ENABLE", "MODELTEST_PD_SPLIT_ENABLE")


def is_on(name):
    return os.environ.get(name, "0") == "1"


def check():
    """Refuses switches that are neither 0 nor 1."""
    for name in _SWITCHES:
        value = os.environ.get(name, "")
        if value not in ("", "0", "1"):
            raise Refusal(f"{name}: \"{value}\" is neither 0 nor 1")


def positive(name):
    """A count, or None where the variable is not set."""
    text = os.environ.get(name, "")
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise Refusal(f"{name}: \"{text}\" is no count")
    return int(text)


def visible_devices():
    """How many devices are visible, or None where nobody says so."""
    text = os.environ.get("ASCEND_RT_VISIBLE_DEVICES", "")
    if not text:
        return None
    devices = text.split(",")
    if not all(device.isdecimal() for device in devices) or len({int(device) for device in devices}) != len(devices):
        raise Refusal(f"ASCEND_RT_VISIBLE_DEVICES: \"{text}\" is no list of different numbers, as 0,1,2,3 is")
    return len(devices)


def master_port():
    """MASTER_PORT, or None."""
    text = os.environ.get("MASTER_PORT", "")
    if not text:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise Refusal(f"MASTER_PORT: \"{text}\" is no port in [1, 65535]")
    return int(text)

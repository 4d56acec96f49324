#!/usr/bin/env python3
"""Refuses every include that the house plan does not allow (docs/architecture.md). Run by the tests.

Each folder of src/ may include itself and the folders listed here. The same list stands, as link dependencies, in
src/CMakeLists.txt. Some headers may be included in some places only: the fences."""
import pathlib
import re
import sys

ALLOWED = {
    "base": set(),
    "tensor": {"base"},
    "text": {"base"},
    "cache": {"base"},
    "sample": {"base"},
    "client": {"base"},
    "checkpoint": {"base", "tensor"},
    "constrain": {"base", "text"},
    "schedule": {"base", "cache"},
    "kernels": {"base", "tensor"},
    "device": {"base", "tensor", "kernels", "parallel"},
    "parallel": {"base"},
    "model": {"base", "tensor", "checkpoint", "device", "kernels", "parallel"},
    "quantize": {"base", "tensor", "checkpoint", "model"},
    "shard": {"base", "tensor", "checkpoint", "model"},
    "engine": {"base", "tensor", "checkpoint", "device", "parallel", "model", "cache", "schedule", "sample", "text",
               "constrain"},
    "benchmark": {"base", "tensor", "checkpoint", "kernels", "device", "parallel", "model", "engine"},
    "load": {"base", "text", "client"},
    "evaluate": {"base", "tensor", "checkpoint", "sample", "text", "engine", "client"},
    "server": {"base", "text", "sample", "constrain", "engine"},
    "offline": {"base", "text", "sample", "engine", "server"},
    "cli": {"base", "tensor", "checkpoint", "text", "cache", "schedule", "sample", "kernels", "device", "parallel", "model",
            "engine", "benchmark", "evaluate", "quantize", "shard", "server", "offline", "client", "load"},
}

# (header, where it may be included, what to call it)
FENCES = [
    (re.compile(r"<(immintrin|x86intrin|emmintrin|avx\w*)\.h>"), re.compile(r"src/kernels/cpu/"), "intrinsics"),
    (re.compile(r"<CLI/"), re.compile(r"src/cli/"), "the command-line library"),
    (re.compile(r"<(mpi)\.h>"), re.compile(r"src/parallel/"), "MPI"),
    (re.compile(r"<cuda"), re.compile(r"src/(kernels/cuda|device/cuda)"), "CUDA headers"),
    (re.compile(r"<hwloc"), re.compile(r"src/base/"), "the topology library"),
    (re.compile(r"<xxhash"), re.compile(r"src/base/"), "the checksum library"),
    (re.compile(r"<openssl/"), re.compile(r"src/(base|server)/"), "OpenSSL"),
    (re.compile(r"<boost/"), re.compile(r"src/(server|client)/(.*\.cc|connection\.h)$"), "Boost"),
]
GETENV = re.compile(r"\b(secure_)?getenv\s*\(")
PRINT = re.compile(r"\bstdout\b|\bcout\b|\bprintf\s*\(|\bputs\s*\(")

# Files for one instruction set may use nothing whose inline functions the baseline could end up sharing.
ISA_FILE = re.compile(r"src/kernels/cpu/(avx2|avx512|amx)/")
ISA_MAY_INCLUDE = re.compile(r'"kernels/(params\.h|cpu/)|<(stdint|stddef|string|immintrin)\.h>')

INCLUDE = re.compile(r'^\s*#\s*include\s+((?:"([^"]+)")|(?:<[^>]+>))', re.M)


def problems_of(path: pathlib.Path, name: str) -> list[str]:
    text = path.read_text(encoding="utf-8")
    folder = name.split("/")[1]
    found = []
    if folder not in ALLOWED:
        return [f"{name}: folder src/{folder} is not in the house plan"]
    for match in INCLUDE.finditer(text):
        include, local = match.group(1), match.group(2)
        is_test = name.endswith("_test.cc")
        if local and not (is_test and local.startswith("support/")):
            target = local.split("/")[0]
            if "/" not in local or (target != folder and target not in ALLOWED[folder]):
                found.append(f"{name}: may not include {include}")
        for pattern, place, what in FENCES:
            if pattern.search(include) and not place.search(name):
                found.append(f"{name}: {what} ({include}) belong to {place.pattern}")
        if ISA_FILE.search(name) and not ISA_MAY_INCLUDE.search(include):
            found.append(f"{name}: a file for one instruction set may not include {include}")
    if GETENV.search(text) and folder != "cli":
        found.append(f"{name}: environment variables are read in src/cli only")
    if PRINT.search(text) and folder != "cli" and not name.endswith("_test.cc"):
        found.append(f"{name}: only src/cli writes to standard output")
    return found


def main() -> int:
    root = pathlib.Path(__file__).resolve().parent.parent
    files = sorted(p for p in (root / "src").rglob("*") if p.suffix in (".h", ".cc", ".cu"))
    problems = [line for p in files for line in problems_of(p, str(p.relative_to(root)))]
    for line in problems:
        print(line)
    print(f"check_layers: {len(files)} files, {len(problems)} problems")
    return 1 if problems or not files else 0


if __name__ == "__main__":
    sys.exit(main())

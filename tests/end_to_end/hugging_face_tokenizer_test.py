#!/usr/bin/env python3
"""Token ids of the real DeepSeek-V2 tokenizer against Hugging Face's `tokenizers`, on thousands of real texts and on
adversarial ones. Installs the package into a virtual environment of its own.

usage: hugging_face_tokenizer_test.py FATHOM_BINARY VENV_FOLDER

Exit status 77 (skipped), with the reason, where the package or the texts cannot be had."""
import pathlib
import subprocess
import sys

from package_venv import install

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
REFERENCE = ROOT / "tools" / "reference"
PACKAGES = ("tokenizers", "jinja2")
SKIPPED = 77


def pinned(package):
    lines = (REFERENCE / "requirements.txt").read_text().split()
    return next(line for line in lines if line.startswith(package + "=="))


def main():
    binary, venv = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    if not (DATA / "tokenizer" / "deepseek-v2").is_dir():
        print(f"skipped: {DATA} is not there")
        return SKIPPED
    python = install(venv, map(pinned, PACKAGES), PACKAGES)
    if python is None:
        print(f"skipped: {', '.join(PACKAGES)} cannot be installed into {venv}")
        return SKIPPED
    return subprocess.run([str(python), "make_text_goldens.py", "--compare", str(binary), "--data", str(DATA)],
                          cwd=REFERENCE, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

"""Virtual environments with PyPI packages for tests that skip where these cannot be had."""
import os
import pathlib
import subprocess
import sys

SKIPPED = 77


def install(venv, packages, modules, patience=300):
    """The environment's python, or None where something is missing or takes longer than so many seconds."""
    python = venv / "bin" / "python"
    imports = [str(python), "-c", "import " + ", ".join(modules)]
    if python.exists() and subprocess.run(imports, capture_output=True, check=False).returncode == 0:
        return python
    for step in ([sys.executable, "-m", "venv", "--clear", str(venv)],
                 [str(python), "-m", "pip", "install", "--quiet", *packages]):
        try:
            done = subprocess.run(step, capture_output=True, timeout=patience, check=False)
        except subprocess.TimeoutExpired:
            return None
        if done.returncode != 0:
            return None
    return python


def run_inside(script, check, packages, modules):
    """main() of a test: `script BINARY VENV` installs and runs itself again inside, where check(binary) is called."""
    binary, venv = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2])
    if venv.name == "inside":
        return check(binary)
    python = install(venv, packages, modules)
    if python is None:
        print(f"skipped: {', '.join(packages)} cannot be installed into {venv}")
        return SKIPPED
    return subprocess.run([str(python), script, binary, "inside"], check=False).returncode

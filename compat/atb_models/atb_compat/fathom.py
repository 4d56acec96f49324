"""The fathom binary: where it is and how it is called."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

LLM_PATH = pathlib.Path(__file__).resolve().parents[1]


class Refusal(Exception):
    """Ends the script: one line on stderr that names what is wrong and what is allowed, and status 1."""


class Failed(Exception):
    """fathom has ended with this status and said why."""

    def __init__(self, status):
        super().__init__(status)
        self.status = status


def guarded(main):
    """Runs a script's main; the exit status of the process."""
    try:
        return main() or 0
    except Refusal as refusal:
        print(f"{pathlib.Path(sys.argv[0]).name}: error: {refusal}", file=sys.stderr)
        return 1
    except Failed as failed:
        return failed.status
    except OSError as error:  # result files that cannot be written
        print(f"{pathlib.Path(sys.argv[0]).name}: error: {error.filename or 'output'}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def binary():
    """FATHOM_BIN, the release build of this repository, or what PATH has."""
    given = os.environ.get("FATHOM_BIN")
    if given:
        if not os.access(given, os.X_OK):
            raise Refusal(f"FATHOM_BIN: {given} is no program")
        return given
    built = LLM_PATH.parents[1] / "build" / "release" / "fathom"
    found = str(built) if built.exists() else shutil.which("fathom")
    if not found:
        raise Refusal(f"fathom is neither at {built} nor in PATH: build it with make, or set FATHOM_BIN")
    return found


def call(ranks, *arguments, show=False):
    """Runs a command over the ranks; what it wrote to standard output. show: hands that on as well."""
    environment = {**os.environ, **ranks.environment()}
    done = subprocess.run(ranks.command_line([str(argument) for argument in arguments]), stdout=subprocess.PIPE, env=environment,
                          check=False)
    output = done.stdout.decode("utf-8", errors="replace")
    if show:
        print(output, end="", flush=True)
    if done.returncode != 0:
        raise Failed(done.returncode)
    return output


def call_json(ranks, *arguments):
    return json.loads(call(ranks, *arguments, "--json"))

"""Where results go and what their files are called."""
import os
import pathlib
import random

from atb_compat import ranks as rank_groups
from atb_compat import tables, variables

PORTS = (10001, 20000)   # of one node, drawn at random
TWO_NODE_PORT = 12345


def modeltest_dir():
    return pathlib.Path(os.environ.get("MODELTEST_DIR") or pathlib.Path(__file__).resolve().parent)


def data_dir():
    """Laid out as `fathom eval --data` wants it (docs/evaluation.md)."""
    return pathlib.Path(os.environ.get("MODELTEST_DATA_DIR") or modeltest_dir() / "data")


def group_of(command):
    """The ranks that a command asks for."""
    port = TWO_NODE_PORT if command.nodes else random.randint(*PORTS)
    table = command.nodes.table if command.nodes else ""
    return rank_groups.choose(command.chips, command.degrees, table, port)


class Results:
    """The files of one command and batch; tp in their names is the chips that the command names, whatever runs."""

    def __init__(self, command, checkpoint, batch):
        kind = "performance" if command.mode.startswith("performance") else "precision"
        dtype = "_".join(filter(None, (checkpoint.dtype, checkpoint.quantize)))
        below = pathlib.Path("NPU") / f"{kind}_test" / command.mode / dtype / command.model_name
        self.folder = modeltest_dir() / "outputs" / "results" / below
        self.data_folder = modeltest_dir() / "outputs" / "data" / below
        self.suffix = f"{command.model_type}_batch{batch}_tp{command.chips}"

    def write(self, name, columns, rows):
        """NAME_.._result.csv and its fixed-width twin; says where they are."""
        path = self.folder / f"{name}_{self.suffix}_result.csv"
        tables.write_csv(path, columns, rows)
        (self.folder / f"{name}_{self.suffix}_formatted_result.csv").write_text(tables.fixed_width(columns, rows), encoding="utf-8")
        print(f"results: {path}")

    def write_full(self, name, rows):
        """Scores by file, the first row their total."""
        path = self.folder / f"{name}_{self.suffix}_full_result.csv"
        tables.write_csv(path, ("file_name", "value", "correct", "sum"), rows)
        print(f"results: {path}")

    def debug_path(self, name):
        self.data_folder.mkdir(parents=True, exist_ok=True)
        return self.data_folder / f"{name}_{self.suffix}_debug_info.csv"


def step_tokens(command):
    """Tokens of a prefill step, where the command or MODELTEST_PD_SPLIT_ENABLE says; else 0."""
    if variables.is_on("MODELTEST_PD_SPLIT_ENABLE"):
        return command.prefill_length or 8192
    return command.prefill_batch * command.cases[0][0] if command.prefill_batch else 0

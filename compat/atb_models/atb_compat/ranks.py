"""Devices of the seed as ranks of fathom."""
import dataclasses
import os
import sys

from . import fathom, variables
from .fathom import Refusal

MAX_RANKS = 64
DEGREES = ("dp", "tp", "sp", "moe_tp", "moe_ep", "pp", "microbatch_size", "cp")


@dataclasses.dataclass
class Ranks:
    """count processes that share one model; alone, the process uses all CPUs of the machine."""
    count: int = 1
    table: str = ""  # the rank table of several hosts
    port: int = 0    # 0: what fathom launch chooses
    moe_ep: int = 1

    def environment(self):
        return {"MASTER_PORT": str(self.port)} if self.port else {}

    def command_line(self, arguments):
        binary = fathom.binary()
        if self.count == 1:
            return [binary, *arguments]
        shared = {"--tp": self.count, **({"--moe-ep": self.moe_ep} if self.moe_ep > 1 else {})}
        hosts = ["--rank-table", self.table] if self.table else []
        words = [word for option, value in shared.items() for word in (option, str(value))]
        return [binary, "launch", "-n", str(self.count), *hosts, "--", binary, *arguments, *words]


def choose(count, degrees=None, table="", port=0):
    """Ranks for so many devices, after FATHOM_RANKS, which overrules. degrees: the seed's parallel degrees, -1 for unsaid."""
    overruled = variables.positive("FATHOM_RANKS")
    wanted = overruled or count
    if not 1 <= wanted <= MAX_RANKS:
        raise Refusal(f"{wanted} ranks are outside [1, {MAX_RANKS}]")
    moe_ep = check_degrees(degrees or {}, count)
    num_cpus = len(os.sched_getaffinity(0))
    if not overruled and not table and wanted > num_cpus:
        print(f"note: {wanted} ranks take turns on {num_cpus} CPUs, which is slow; FATHOM_RANKS=1 runs the same in one", file=sys.stderr)
    return Ranks(wanted, "" if overruled else table, variables.master_port() or port, 1 if overruled else moe_ep)


def check_degrees(degrees, world):
    """Refuses what is not there, and numbers that do not multiply to the world size; the degree of expert parallelism."""
    given = {name: value for name, value in degrees.items() if value != -1}
    for name, value in given.items():
        if value < 1:
            raise Refusal(f"{name}: {value} is neither -1 (unsaid) nor a count")
    for name, what in (("dp", "data parallel attention"), ("cp", "context parallelism"), ("pp", "pipeline parallelism")):
        if given.get(name, 1) != 1:
            raise Refusal(f"{name}: {given[name]} asks for {what}, which fathom does not have; tensor and expert parallelism it has")
    if given.get("microbatch_size", 1) != 1:
        raise Refusal(f"microbatch_size: {given['microbatch_size']} is a part of pipeline parallelism, which fathom does not have")
    tp = given.get("tp", world)
    if tp != world:
        raise Refusal(f"tp: {tp} is not the world size {world}; with dp 1 they are the same")
    if given.get("sp", 1) not in (1,):
        raise Refusal(f"sp: {given['sp']} asks for a cache split among ranks, which fathom does not have")
    moe_ep = given.get("moe_ep", 1)
    moe_tp = given.get("moe_tp", world // moe_ep)
    if moe_tp * moe_ep != world:
        raise Refusal(f"moe_tp x moe_ep: {moe_tp} x {moe_ep} is not the world size {world}")
    return moe_ep

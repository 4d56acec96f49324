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
    dp_attention: bool = False

    def environment(self):
        return {"MASTER_PORT": str(self.port)} if self.port else {}

    def command_line(self, arguments):
        binary = fathom.binary()
        if self.count == 1:
            return [binary, *arguments]
        shared = {"--tp": self.count, **({"--moe-ep": self.moe_ep} if self.moe_ep > 1 else {})}
        hosts = ["--rank-table", self.table] if self.table else []
        words = [word for option, value in shared.items() for word in (option, str(value))]
        words += ["--dp-attention"] if self.dp_attention else []
        return [binary, "launch", "-n", str(self.count), *hosts, "--", binary, *arguments, *words]


def choose(count, degrees=None, table="", port=0):
    """Ranks for so many devices, after FATHOM_RANKS, which overrules. degrees: the seed's parallel degrees, -1 for unsaid."""
    overruled = variables.positive("FATHOM_RANKS")
    wanted = overruled or count
    if not 1 <= wanted <= MAX_RANKS:
        raise Refusal(f"{wanted} ranks are outside [1, {MAX_RANKS}]")
    moe_ep, dp_attention = check_degrees(degrees or {}, count)
    num_cpus = len(os.sched_getaffinity(0))
    if not overruled and not table and wanted > num_cpus:
        print(f"note: {wanted} ranks take turns on {num_cpus} CPUs, which is slow; FATHOM_RANKS=1 runs the same in one", file=sys.stderr)
    if overruled:
        table, moe_ep, dp_attention = "", 1, False
    return Ranks(wanted, table, variables.master_port() or port, moe_ep, dp_attention)


def check_degrees(degrees, world):
    """Refuses what is not there, and numbers that do not multiply to the world size. The degree of expert parallelism, and whether
    attention is data parallel."""
    given = {name: value for name, value in degrees.items() if value != -1}
    for name, value in given.items():
        if value < 1:
            raise Refusal(f"{name}: {value} is neither -1 (unsaid) nor a count")
    for name, what in (("cp", "context parallelism"), ("pp", "pipeline parallelism")):
        if given.get(name, 1) != 1:
            raise Refusal(f"{name}: {given[name]} asks for {what}, which fathom does not have; tensor, expert and data parallelism it has")
    if given.get("microbatch_size", 1) != 1:
        raise Refusal(f"microbatch_size: {given['microbatch_size']} is a part of pipeline parallelism, which fathom does not have")
    dp = given.get("dp", 1)
    if dp not in (1, world):
        raise Refusal(f"dp: {dp} is neither 1 nor the world size {world}; attention is data parallel over all ranks or none")
    tp = given.get("tp", world // dp)
    if tp * dp != world:
        raise Refusal(f"dp x tp: {dp} x {tp} is not the world size {world}")
    if given.get("sp", 1) not in (1,):
        raise Refusal(f"sp: {given['sp']} asks for a cache split among ranks, which fathom does not have")
    moe_ep = given.get("moe_ep", 1)
    moe_tp = given.get("moe_tp", world // moe_ep)
    if moe_tp * moe_ep != world:
        raise Refusal(f"moe_tp x moe_ep: {moe_tp} x {moe_ep} is not the world size {world}")
    return moe_ep, dp > 1

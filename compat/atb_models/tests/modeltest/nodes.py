"""Several nodes: the words behind a rank table, held against the table, and how the nodes' commands meet."""
import dataclasses
import json

import results
from atb_compat import fathom, meeting, variables
from atb_compat.fathom import Refusal


@dataclasses.dataclass
class Nodes:
    table: str
    world_size: int
    count: int
    first_rank: int  # of this node
    master: str


def read_servers(path):
    """(address, ranks) of each server; `fathom launch` checks the rest of the table."""
    try:
        with open(path, encoding="utf-8") as file:
            servers = json.load(file)["server_list"]
        return [(server["server_id"], sorted(int(device["rank_id"]) for device in server["device"])) for server in servers]
    except OSError as error:
        raise Refusal(f"rank table {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(f"rank table {path}: no JSON object with server_list of server_id and device, each device with rank_id: "
                      f"{error}") from error


def check(nodes):
    """The seed only logs what does not fit together."""
    servers = read_servers(nodes.table)
    found = sum(len(ranks) for _, ranks in servers)
    if found != nodes.world_size:
        raise Refusal(f"world size: {nodes.world_size}, and {nodes.table} has {found} devices")
    if len(servers) != nodes.count:
        raise Refusal(f"number of nodes: {nodes.count}, and {nodes.table} has {len(servers)} servers")
    firsts = [ranks[0] if ranks else -1 for _, ranks in servers]
    if nodes.first_rank not in firsts:
        raise Refusal(f"first rank: {nodes.first_rank}, and the servers of {nodes.table} begin with {', '.join(map(str, firsts))}")
    master = next(address for (address, _), first in zip(servers, firsts) if first == 0) if 0 in firsts else servers[0][0]
    if nodes.master != master:
        raise Refusal(f"master address: {nodes.master}, and in {nodes.table} rank 0 is on {master}")


def run(nodes, words, work):
    """The first node's command does the work, over the ranks of all nodes; the others' start theirs. words: the command's."""
    if variables.positive("FATHOM_RANKS"):  # in so many ranks of the first node
        if nodes.first_rank == 0:
            return work()
        print(f"FATHOM_RANKS: the first node, {nodes.master}, has all ranks. Nothing is left to do here.")
        return 0
    port = (variables.master_port() or results.TWO_NODE_PORT) + 1
    addresses = {min(ranks): address for address, ranks in read_servers(nodes.table) if ranks}
    place = words.index(nodes.table)
    common = [word for i, word in enumerate(words) if i != place + 3]  # all but the first rank
    if nodes.first_rank:
        return meeting.join(nodes.master, port, addresses[nodes.first_rank], common, fathom.binary())
    others = [address for first, address in addresses.items() if first]
    with meeting.Host(nodes.master, port, others, common, fathom.binary()):
        return work()

"""Several nodes: the words behind a rank table, held against the table."""
import dataclasses
import json

from atb_compat.fathom import Refusal


@dataclasses.dataclass
class Nodes:
    table: str
    world_size: int
    count: int
    first_rank: int  # of this node
    master: str


def is_first(nodes):
    return nodes.first_rank == 0


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

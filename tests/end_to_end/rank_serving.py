"""A `fathom serve` of several ranks for tests, and how its clients take the loss of one. Standard library only."""
import http.client
import json
import os
import pathlib
import threading
import time

from serving import DEMO, PATIENCE, Server, events_of, wait_until

TEXT = "/v1/completions"


class RankServer(Server):
    """start: the command line up to `fathom serve`'s."""

    def __init__(self, binary, start, *flags, model=DEMO):
        super().__init__(binary, *flags)
        self.marker = {"RANK_SERVER": f"{os.getpid()}-{id(self)}"}  # in the environment of all its ranks
        self.env.update(self.marker)
        place = () if {"--uds", "--port"} & set(flags) else ("--port", "0")
        self.arguments = [*map(str, start), binary, "serve", str(model), *place, "--threads", "1", "--max-model-len", "2k",
                          *map(str, flags)]

    def ranks(self):
        """{rank: its process}"""
        found = {}
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_text().split("\0")
                variables = dict(pair.split("=", 1) for pair in (folder / "environ").read_text().split("\0") if "=" in pair)
            except OSError:
                continue
            if words[1:2] == ["serve"] and "OMPI_COMM_WORLD_RANK" in variables and self.marker.items() <= variables.items():
                found[int(variables["OMPI_COMM_WORLD_RANK"])] = int(folder.name)
        return found

    def signal_rank(self, rank, number):
        os.kill(self.ranks()[rank], number)

    def cpu_ticks(self):
        """Of all ranks since they began."""
        stats = [pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in self.ranks().values()]
        return sum(int(stat[11]) + int(stat[12]) for stat in stats)

    def health(self):
        """The status; None: nobody answers."""
        try:
            return self.request("GET", "/health")[0]
        except (OSError, http.client.HTTPException):
            return None

    def wait_for_health(self, status, seconds=PATIENCE):
        wait_until(lambda: self.health() == status, f"health is {status}", seconds)

    def wait_for_end(self):
        """All ranks have ended; the exit status."""
        status = self.process.wait(PATIENCE)
        wait_until(lambda: not self.ranks(), "all ranks have ended", 30)
        return status


def lose_a_rank(case, server, prompt, end_a_rank, words):
    """end_a_rank() does so while answers are under way: all who wait learn of it by the words in time, then the group
    ends. The server computes one sequence at a time."""
    body = {"prompt": prompt, "max_tokens": 1900, "ignore_eos": True}
    response, connection = server.send("POST", TEXT, {**body, "stream": True})
    response.readline()  # the first token is there
    answers = []
    queued = [threading.Thread(target=lambda: answers.append(server.request("POST", TEXT, body))) for _ in range(2)]
    for thread in queued:
        thread.start()
    server.wait_for_load(waiting=2)
    end_a_rank()
    began = time.monotonic()
    events = events_of(response.read().decode().lstrip("\n"))
    answers += [server.request("GET", "/health"), server.request("POST", TEXT, body)]  # who comes now learns it too
    for thread in queued:
        thread.join()
    case.assertLess(time.monotonic() - began, 15)
    connection.close()
    error = {"message": words.split(": ")[0], "type": "unavailable_error", "param": None, "code": "rank_lost"}
    case.assertEqual(events[-1], {"error": error})
    for status, _, text in answers:
        case.assertEqual((status, json.loads(text)), (503, {"error": error}))
    case.assertNotEqual(server.wait_for_end(), 0)
    case.assertIn(words, server.read_log())

#!/usr/bin/env python3
"""A model of DeepSeek-V2's shape over sixteen ranks on two hosts (pretended_hosts.py): the same answers as from one
process; ranks that are killed, stopped and cut off. Standard library only.

usage: two_hosts_test.py FATHOM_BINARY"""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

import pretended_hosts
from pretended_hosts import HOSTS, MpiFolder, host_list, on_first_host, rank_table, set_cable
from rank_serving import TEXT, RankServer, lose_a_rank
from serving import ROOT, in_threads, skip_without_open_mpi

PROMPT = [5, 17, 40, 3, 99, 200, 7, 31, 8, 120, 64, 2, 90, 11, 12, 13, 77, 150, 6]
BINARY = ""


def run(*arguments):
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def launch(ranks_each):
    return BINARY, "launch", "--hosts", host_list(ranks_each), "--"


class TwoHosts(pretended_hosts.TwoHosts):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        # Query factors, groups of experts and sixteen heads, as the 236B model has them.
        config = json.loads((ROOT / "tests" / "golden" / "q_lora_groups" / "config.json").read_text())
        (cls.folder / "config.json").write_text(json.dumps({**config, "num_attention_heads": 16, "num_key_value_heads": 16}))
        cls.model = cls.folder / "model"
        run(BINARY, "synth", cls.folder / "config.json", cls.model)

    def serving(self, start, *flags):
        return RankServer(BINARY, start, "--uds", str(self.folder / "socket"), *flags, model=self.model)

    def test_sixteen_ranks_write_what_one_process_writes(self):
        arguments = (BINARY, "run", self.model, "--ids", ",".join(map(str, PROMPT)), "--greedy", "--max-tokens", 16, "--ignore-eos",
                     "--slices", 16, "--threads", 1, "--json")
        table = self.folder / "ranks.json"
        table.write_text(json.dumps(rank_table(HOSTS, 8)))
        one = json.loads(run(*arguments))
        two = json.loads(run(*on_first_host(BINARY, "launch", "--rank-table", table, "--", *arguments)))
        self.assertEqual((len(one["ids"]), two["ids"]), (16, one["ids"]))

    def answers(self, server):
        bodies = [{"prompt": PROMPT[:n], "max_tokens": 12, "ignore_eos": True, "seed": n, "temperature": t, "logprobs": 2}
                  for n, t in ((19, 0), (3, 0.9), (11, 0))]
        return in_threads([lambda body=body: server.stream(TEXT, body) for body in bodies])

    def test_sixteen_ranks_serve_what_one_process_serves(self):
        tokens = []
        for start in ((), on_first_host(*launch(8))):
            with self.serving(start, "--slices", 16) as server:
                tokens.append([[event["choices"] for event in events] for events in self.answers(server)])
                server.process.send_signal(signal.SIGTERM)
                self.assertEqual(server.wait_for_end(), 0)
        self.assertEqual(*tokens)

    def lose(self, end_a_rank, words):
        with MpiFolder() as folder:
            with self.serving(on_first_host(*launch(2)), "--max-num-seqs", "1") as server:
                lose_a_rank(self, server, PROMPT, lambda: end_a_rank(server), words)
            folder.wait_until_clean(30)

    def test_killed_rank(self):
        self.lose(lambda server: server.signal_rank(3, signal.SIGKILL), "rank 3 on node 1 is lost: its process has ended")

    def test_killed_leader(self):
        self.lose(lambda server: server.signal_rank(2, signal.SIGKILL), "rank 2 on node 1 is lost: no sign of life for 10 s")

    def test_stopped_rank(self):
        self.lose(lambda server: server.signal_rank(3, signal.SIGSTOP), "rank 3 on node 1 is lost: no sign of life for 10 s")

    def test_cut_cable(self):
        self.addCleanup(set_cable, "up")
        self.lose(lambda server: set_cable("down"), "rank 2 on node 1 is lost: no sign of life for 10 s")


if __name__ == "__main__":
    BINARY = os.path.abspath(sys.argv.pop(1))
    skip_without_open_mpi(pathlib.Path(BINARY).with_name("libfathom_mpi.so"))
    unittest.main()

"""How the commands of several nodes meet. Each node's user types the same command; the first node's listens at the master's
address, the others connect to it, and wait for what mpirun wants started on their nodes: its daemon orted, and nothing else. So no
node needs to reach another by ssh. One JSON object a line, both ways:

node -> first node   {"node": ADDRESS, "words": [..], "binary": PATH}, then {"status": N} when a daemon has ended
first node -> node   {"refused": WHY} | {"start": COMMAND} | {"end": STATUS}
agent -> first node  {"agent": ADDRESS, "key": KEY, "command": COMMAND}, which is answered with {"status": N} (mpirun_agent.py)"""
import hmac
import json
import os
import pathlib
import secrets
import shlex
import socket
import subprocess
import sys
import threading
import time

from . import variables
from .fathom import Refusal

AGENT = pathlib.Path(__file__).resolve().parent / "mpirun_agent.py"
PATIENCE = 120   # seconds that nodes wait for each other: HCCL_CONNECT_TIMEOUT's default
GREETING = 10    # seconds for a connection's first line
MAX_LINE = 1 << 20


def patience():
    return variables.positive("HCCL_CONNECT_TIMEOUT") or PATIENCE


class Line:
    """A connection of JSON lines."""

    def __init__(self, connection):
        self.connection = connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.file = connection.makefile("r", encoding="utf-8")

    def send(self, **message):
        self.connection.sendall((json.dumps(message) + "\n").encode())

    def receive(self):
        """The next message, or None where the other side is gone."""
        try:
            text = self.file.readline(MAX_LINE)
            message = json.loads(text) if text else None
        except (OSError, ValueError):
            return None
        return message if isinstance(message, dict) else None

    def close(self):
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.connection.close()


class Host:
    """The first node's side: a context in which mpirun reaches the other nodes. words: the command's, which have to be theirs."""

    def __init__(self, address, port, others, words, binary):
        self.address, self.port, self.others = address, port, set(others)
        self.words, self.binary = words, binary
        self.nodes, self.answers, self.refused = {}, {}, ""
        self.key = secrets.token_hex()  # mpirun's agent has it from the environment
        self.changed = threading.Condition()

    def __enter__(self):
        if any(letter.isspace() for letter in f"{sys.executable}{AGENT}"):
            raise Refusal(f"{AGENT}: mpirun takes no agent whose path has white space")
        try:
            self.listener = socket.create_server((self.address, self.port))
        except OSError as error:
            raise Refusal(f"{self.address}:{self.port}, where the other nodes meet this one: {error.strerror}; MASTER_PORT chooses "
                          "another port") from error
        threading.Thread(target=self.accept, daemon=True).start()
        end = time.monotonic() + patience()
        with self.changed:
            while not self.refused and self.nodes.keys() != self.others and time.monotonic() < end:
                self.changed.wait(end - time.monotonic())
            missing = sorted(self.others - self.nodes.keys())
        if self.refused or missing:
            why = self.refused or (f"no command of {', '.join(missing)} has come to {self.address}:{self.port} for {patience()} s "
                                   "(HCCL_CONNECT_TIMEOUT); each node runs the same command, with its own first rank")
            self.__exit__(Refusal, None, None)
            raise Refusal(why)
        os.environ.update(OMPI_MCA_plm_rsh_agent=f"{sys.executable} {AGENT}", FATHOM_MEETING=f"{self.address}:{self.port}:{self.key}")
        return self

    def __exit__(self, kind, error, trace):
        status = 0 if kind is None else getattr(error, "status", 1)
        with self.changed:
            lines = list(self.nodes.values())
        for line in lines:
            try:
                line.send(end=status)
            except OSError:
                pass  # it is gone and knows
            line.close()
        self.listener.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self.serve, args=(Line(connection),), daemon=True).start()

    def serve(self, line):
        line.connection.settimeout(GREETING)
        hello = line.receive() or {}
        line.connection.settimeout(None)
        if hmac.compare_digest(str(hello.get("key", "")), self.key):
            self.serve_agent(line, hello)
        elif "node" in hello:
            self.serve_node(line, hello)
        line.close()

    def mismatch(self, hello):
        if hello["node"] not in self.others or hello["node"] in self.nodes:
            return f"{hello['node']} is no node that the first node waits for ({', '.join(sorted(self.others))})"
        pairs = [*zip(self.words, hello.get("words", [])), (self.binary, hello.get("binary"))]
        for ours, theirs in pairs:
            if ours != theirs:
                return f"the commands differ: {self.address} has \"{ours}\" and {hello['node']} \"{theirs}\""
        return "" if len(self.words) == len(hello["words"]) else "the commands have not the same number of words"

    def serve_node(self, line, hello):
        with self.changed:
            why = self.mismatch(hello)
            if why:
                self.refused = self.refused or why
            else:
                self.nodes[hello["node"]] = line
            self.changed.notify_all()
        if why:
            line.send(refused=why)
            return
        while (message := line.receive()) is not None:
            with self.changed:
                self.answers[hello["node"]] = message.get("status", 1)
                self.changed.notify_all()
        with self.changed:  # gone: its daemon is too, or will be
            self.answers[hello["node"]] = 1
            self.changed.notify_all()

    def serve_agent(self, line, hello):
        node = hello["agent"]
        with self.changed:
            to_node = self.nodes.get(node)
            self.answers.pop(node, None)
        if to_node is None:
            line.send(status=1)
            return
        to_node.send(start=hello["command"])
        with self.changed:
            while node not in self.answers:
                self.changed.wait()
            status = self.answers[node]
        line.send(status=status)


def connect(address, port):
    end, told = time.monotonic() + patience(), False
    while True:
        try:
            return Line(socket.create_connection((address, port), timeout=GREETING))
        except OSError as error:
            if time.monotonic() > end:
                raise Refusal(f"the first node's command does not answer at {address}:{port} for {patience()} s "
                              f"(HCCL_CONNECT_TIMEOUT): {error.strerror or error}") from error
        if not told:
            print(f"waiting for the first node's command at {address}:{port}", file=sys.stderr)
            told = True
        time.sleep(0.5)


def daemon_words(command):
    """mpirun writes for a shell; only its own daemon is started."""
    words = shlex.split(command)
    if not words or os.path.basename(words[0]) != "orted":
        raise Refusal(f"the first node wants \"{command}\" started, which is not orted")
    return words


def join(address, port, node, words, binary):
    """Another node's side: starts daemons until the first node's command has ended; its status."""
    line = connect(address, port)
    line.connection.settimeout(None)
    line.send(node=node, words=words, binary=binary)
    print(f"{node} has met the first node, {address}; ranks of this node are started from there", flush=True)
    daemon = None
    try:
        while (message := line.receive()) is not None:
            if "refused" in message:
                raise Refusal(message["refused"])
            if "end" in message:
                print(f"the first node's command has ended with status {message['end']}")
                return message["end"]
            daemon = subprocess.Popen(daemon_words(message["start"]), stdin=subprocess.DEVNULL)
            threading.Thread(target=report_end, args=(line, daemon), daemon=True).start()
        raise Refusal(f"the first node's command at {address}:{port} is gone")
    finally:
        if daemon is not None and daemon.poll() is None:
            daemon.terminate()
            daemon.wait()
        line.close()


def report_end(line, daemon):
    status = daemon.wait()
    try:
        line.send(status=status)
    except OSError:
        pass  # the first node is gone, which join() notices

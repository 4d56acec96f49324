#!/usr/bin/env python3
"""What mpirun takes for ssh between pretended hosts: `pretended_ssh.py ADDRESS COMMAND...` asks the test's process (Sshd)
to run the command on that host. So it is no descendant of whoever asked, as on a host of its own: nobody but this test
ends it from outside, or takes over what it leaves. Standard library only."""
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading

IN_NAMESPACE = pathlib.Path(__file__).resolve().parent / "namespace_agent.sh"
PATH_VARIABLE = "PRETENDED_SSHD"


class Sshd:
    """Runs commands while it is entered."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.listener = socket.socket(socket.AF_UNIX)
        os.environ[PATH_VARIABLE] = f"{self.folder.name}/socket"
        self.listener.bind(os.environ[PATH_VARIABLE])
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        del os.environ[PATH_VARIABLE]
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.folder.cleanup()

    def accept(self):
        with contextlib.suppress(OSError):  # closed
            while True:
                threading.Thread(target=self.run, args=(self.listener.accept()[0],), daemon=True).start()

    @staticmethod
    def run(client):
        with client, client.makefile("rw") as lines, contextlib.suppress(OSError):  # the client may leave
            _, streams, _, _ = socket.recv_fds(client, 1, 3)
            command, environment = json.loads(lines.readline())
            process = subprocess.Popen([IN_NAMESPACE, *command], env=environment, stdin=streams[0], stdout=streams[1],
                                       stderr=streams[2])
            for stream in streams:
                os.close(stream)
            lines.write(f"{process.wait()}\n")


def main(command):
    with socket.socket(socket.AF_UNIX) as server, server.makefile("rw") as lines:
        server.connect(os.environ[PATH_VARIABLE])
        socket.send_fds(server, [b"\0"], [0, 1, 2])
        lines.write(json.dumps([command, dict(os.environ)]) + "\n")
        lines.flush()
        return abs(int(lines.readline() or 255))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

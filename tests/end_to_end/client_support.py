"""What clients_test.py tests with: servers that answer with given bytes, a terminal, a certificate. Standard library only."""
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import termios
import threading
import time

from serving import PATIENCE


def http_reply(status, body, headers=""):
    text = json.dumps(body)
    return f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n{headers}\r\n{text}".encode()


MODELS = http_reply(200, {"object": "list", "data": [{"id": "m", "max_model_len": 2048}]})


class Script:
    """A server that answers requests for its models with the first reply, others with the last, and closes after each. None:
    says nothing. Entering it gives its URL."""

    def __init__(self, *replies):
        self.replies = replies

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.held = []
        threading.Thread(target=self.serve, daemon=True).start()
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            request = self.receive(connection)
            reply = self.replies[0] if request.startswith(b"GET /v1/models") else self.replies[-1]
            if reply is None:
                self.held.append(connection)
                continue
            connection.sendall(reply)
            connection.close()

    def receive(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            part = connection.recv(65536)
            if not part:
                return data
            data += part
        length = re.search(rb"Content-Length: (\d+)", data)
        wanted = data.index(b"\r\n\r\n") + 4 + (int(length[1]) if length else 0)
        while len(data) < wanted:
            part = connection.recv(65536)
            if not part:
                break
            data += part
        return data

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for connection in self.held:
            connection.close()


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *arguments):
        self.arguments = [*map(str, arguments)]
        self.text = ""

    def __enter__(self):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(self.arguments, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        preexec_fn=self.take_terminal)
        os.close(slave)
        return self

    @staticmethod
    def take_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def write(self, text):
        os.write(self.master, text.encode())

    def read_until(self, wanted):
        self.read_while(lambda: wanted not in self.text, wanted)
        self.text = self.text[self.text.index(wanted) + len(wanted):]

    def read_some(self, count):
        """Until there are so many characters not asked about."""
        self.read_while(lambda: len(self.text) < count, f"{count} characters")

    def read_while(self, missing, wanted):
        deadline = time.monotonic() + PATIENCE
        while missing():
            if time.monotonic() > deadline:
                raise AssertionError(f"no {wanted!r} in {self.text!r}")
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.master, 65536).decode(errors="replace")
                except OSError as error:
                    raise AssertionError(f"ended without {wanted!r}: {self.text!r}") from error

    def wait(self):
        """The status; reads on meanwhile, as terminals do."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.05)[0]:
                with contextlib.suppress(OSError):
                    os.read(self.master, 65536)
        return self.process.poll()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self.master)


def make_certificate(folder):
    cert, key = folder / "cert.pem", folder / "key.pem"
    try:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj",
                        "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    except FileNotFoundError:
        return None
    return cert, key

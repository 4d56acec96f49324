"""A `fathom serve` process for tests, and HTTP as raw as a test needs it. Standard library only."""
import copy
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "models" / "demo"
PATIENCE = 120  # seconds; sanitizer builds are slow
NO_TEST = 77  # the exit status of a test that is skipped
# What servers and the runs that they are compared with compute on: all such tests run on a device with
# FATHOM_TEST_DEVICE=cuda.
ON_DEVICE = ["--device", os.environ["FATHOM_TEST_DEVICE"]] if "FATHOM_TEST_DEVICE" in os.environ else []


class Server:
    """Starts on entry, ends with SIGTERM on exit. `log` holds what it wrote to stderr after the exit."""

    def __init__(self, binary, *flags, model=DEMO, env=None, port=0):
        self.arguments = [binary, "serve", str(model), "--port", str(port), "--threads", "2", *map(str, flags)]
        if "--device" not in flags:
            self.arguments += ON_DEVICE
        if "--roof-seconds" not in flags:  # takes time that only its own test wants to spend
            self.arguments += ["--roof-seconds", "0"]
        self.env = {**os.environ, **(env or {})}

    def __enter__(self):
        self.stderr = tempfile.TemporaryFile()
        self.process = subprocess.Popen(self.arguments, stdout=subprocess.PIPE, stderr=self.stderr, env=self.env)
        line = self.process.stdout.readline().decode()
        if not line.startswith("fathom serves at "):
            self.process.wait(PATIENCE)
            raise AssertionError(self.read_log())
        self.url = line.split()[-1]
        self.port = None if self.url.startswith("unix:") else int(self.url.rsplit(":", 1)[1])
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.process.stdout.close()
            self.log = self.read_log()
            self.stderr.close()

    def read_log(self):
        self.stderr.seek(0)
        return self.stderr.read().decode()

    def connect(self, timeout=PATIENCE):
        if self.url.startswith("unix:"):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(timeout)
            sock.connect(self.url[len("unix:"):])
            return sock
        sock = socket.create_connection(("127.0.0.1", self.port), timeout)
        if self.url.startswith("https:"):
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            sock = context.wrap_socket(sock)
        return sock

    def send(self, method, path, body=None, headers=None):
        """The response object, its body unread, and the connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port or 80, timeout=PATIENCE)
        connection.sock = self.connect()
        data = body if isinstance(body, (bytes, str, type(None))) else json.dumps(body)
        connection.request(method, path, data, headers or {})
        return connection.getresponse(), connection

    def request(self, method, path, body=None, headers=None):
        """(status, headers, body text)"""
        response, connection = self.send(method, path, body, headers)
        text = response.read().decode()
        connection.close()
        return response.status, response.headers, text

    def post(self, path, body, headers=None):
        """The JSON of a reply that must be a 200."""
        status, _, text = self.request("POST", path, body, headers)
        assert status == 200, (status, text)
        return json.loads(text)

    def event_text(self, path, body):
        """All of a stream of server-sent events."""
        status, headers, text = self.request("POST", path, body)
        assert status == 200, (status, text)
        assert headers["Content-Type"] == "text/event-stream; charset=utf-8", headers
        return text

    def stream(self, path, body):
        """The events of a stream as JSON, without the last, which must be [DONE]."""
        return events_of(self.event_text(path, {**body, "stream": True}))

    def load(self):
        return json.loads(self.request("GET", "/load")[2])

    def wait_for_load(self, **wanted):
        wait_until(lambda: all(self.load()[key] == value for key, value in wanted.items()), wanted)

    def metric(self, name):
        lines = self.request("GET", "/metrics")[2].splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name + "{"))


def at(running, port):
    """The same server at another of its ports."""
    other = copy.copy(running)
    other.port = port
    return other


def json_events(text):
    """The JSON of each server-sent event; comments apart."""
    events = [part for part in text.split("\n\n") if part and not part.startswith(":")]
    assert all(event.startswith("data: ") for event in events), events
    return [json.loads(event[len("data: "):]) for event in events]


def events_of(text):
    """The same where the last event must be [DONE]."""
    done = "data: [DONE]\n\n"
    assert text.endswith(done), text[-100:]
    return json_events(text.removesuffix(done))


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def has_open_mpi(product):
    """product: a file that the build makes only where Open MPI is installed."""
    return shutil.which("mpirun") is not None and product.exists()


def skip_without_open_mpi(product):
    if not has_open_mpi(product):
        print("skipped: Open MPI (openmpi-bin, libopenmpi-dev) is not installed")
        sys.exit(NO_TEST)


def wait_until(condition, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"did not happen in {seconds} s: {what}")
        time.sleep(0.02)


def in_threads(functions):
    """Calls all at once; their results in order. The first exception is raised."""
    results, errors = [None] * len(functions), []

    def run(i, function):
        try:
            results[i] = function()
        except BaseException as error:  # noqa: the test's thread raises it
            errors.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results

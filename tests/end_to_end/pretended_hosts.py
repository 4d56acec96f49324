"""Two hosts pretended on one machine: network namespaces joined by a cable (veth), with an address, a host name and a
folder for Open MPI's files. Needs root and `ip`; where they are not there, the tests are skipped by name. Standard
library only."""
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import pretended_ssh
from pretended_ssh import IN_NAMESPACE
from serving import wait_until

# Of this process alone, so that several checkouts can be tested at once.
NETWORK = f"10.{201 + os.getpid() // 250 % 50}.{os.getpid() % 250}"
HOSTS = (f"{NETWORK}.1", f"{NETWORK}.2")


def ip(*words):
    """None, or what went wrong."""
    if shutil.which("ip") is None:
        return "ip is not installed"
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=60, check=False)
    return None if done.returncode == 0 else done.stderr.strip() or "ip failed"


def set_cable(state):
    """"down" cuts it, "up" mends it and waits until the hosts reach each other again, both ways."""
    error = ip("-n", f"fathom-{HOSTS[1]}", "link", "set", "fathom2", state)
    assert error is None, error
    if state == "up":
        wait_until(lambda: reaches(*HOSTS) and reaches(*reversed(HOSTS)), "the cable works again", 30)


def reaches(host, other):
    """Whether packets go there: nobody listens, so that a refusal is an answer."""
    attempt = "import socket, sys; s = socket.socket(); s.settimeout(1); sys.exit(s.connect_ex((sys.argv[1], 9)) != 111)"
    return subprocess.run([str(IN_NAMESPACE), host, sys.executable, "-c", f"'{attempt}'", other], timeout=60, check=False).returncode == 0


def on_first_host(*command, port=20030):
    """The command line that runs a command there as this process's child, mpirun's ssh replaced."""
    variables = [f"MASTER_PORT={port}", f"OMPI_MCA_plm_rsh_agent={pretended_ssh.__file__}"]
    return [str(word) for word in (IN_NAMESPACE, HOSTS[0], "exec", "env", *variables, *command)]


def host_list(ranks_each):
    return ",".join(f"{host}:{ranks_each}" for host in HOSTS)


def rank_table(addresses, ranks_each):
    servers = [{"server_id": address, "device": [{"device_id": str(i), "device_ip": f"192.168.{node}.{i + 1}", "rank_id":
                                                  str(node * ranks_each + i)} for i in range(ranks_each)]}
               for node, address in enumerate(addresses)]
    return {"version": "1.0", "status": "completed", "server_count": str(len(servers)), "server_list": servers}


class TwoHosts(unittest.TestCase):
    """The hosts are there while the class's tests run."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.addClassCleanup(cls.drop_hosts)
        steps = [f"netns add fathom-{host}" for host in HOSTS]
        steps.append(f"link add fathom1 netns fathom-{HOSTS[0]} type veth peer name fathom2 netns fathom-{HOSTS[1]}")
        for index, host in enumerate(HOSTS, 1):
            steps += [f"-n fathom-{host} addr add {host}/24 dev fathom{index}",
                      f"-n fathom-{host} link set fathom{index} up", f"-n fathom-{host} link set lo up"]
        for step in steps:
            error = ip(*step.split())
            if error:
                raise unittest.SkipTest(f"no network namespaces here: {error}")
        done = subprocess.run([str(IN_NAMESPACE), HOSTS[1], "true"], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise unittest.SkipTest(f"no network namespaces here: {done.stderr.strip()}")
        cls.enterClassContext(pretended_ssh.Sshd())

    @staticmethod
    def drop_hosts():
        for host in HOSTS:
            ip("netns", "del", f"fathom-{host}")


class MpiFolder:
    """Where Open MPI keeps the files of jobs started meanwhile: what is left in it was left behind."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="fathom-mpi-")
        self.before, os.environ["TMPDIR"] = os.environ.get("TMPDIR"), self.folder.name
        self.shared = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
        return self

    def __exit__(self, *_):
        os.environ.pop("TMPDIR")
        if self.before is not None:
            os.environ["TMPDIR"] = self.before
        self.folder.cleanup()

    def wait_until_clean(self, seconds):
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not self.left_behind(), "", seconds)
        assert not self.left_behind(), self.left_behind()

    def left_behind(self):
        """Files of sessions and shared memory of this machine."""
        shared = set(os.listdir("/dev/shm")) - self.shared if os.path.isdir("/dev/shm") else set()
        paths = pathlib.Path(self.folder.name).rglob("*")
        return sorted(str(path.relative_to(self.folder.name)) for path in paths) + sorted(shared)

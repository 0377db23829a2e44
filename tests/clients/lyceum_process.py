"""A Lyceum of our own for tests: what the tests need installed, its configuration, its start and its end."""

import fcntl
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = ROOT / "target"
VENV = TARGET / "clients-venv"
SECRET = "secret of the client tests"
START_SECONDS_MAX = 20
STOP_SECONDS_MAX = 10


class Missing(Exception):
    """Something that the tests need is not there and cannot be installed."""


def say(line):
    print(line, flush=True)


def install_python():
    """The virtual environment with the pinned packages; gives its interpreter."""
    requirements = HERE / "requirements.txt"
    python = VENV / "bin" / "python"
    with _lock("python"):
        if not _is_installed(VENV, requirements):
            say("installing: Python packages (pip, from tests/clients/requirements.txt)")
            shutil.rmtree(VENV, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(VENV)])
            _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)])
            _mark_installed(VENV, requirements)
    return str(python)


def install_node():
    """The packages of package-lock.json in node_modules."""
    if not shutil.which("npm"):
        raise Missing("the client tests need node (20 or newer) and npm")
    lockfile = HERE / "package-lock.json"
    modules = HERE / "node_modules"
    with _lock("node"):
        if not _is_installed(modules, lockfile):
            say("installing: npm packages (npm ci)")
            _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=HERE)
            _mark_installed(modules, lockfile)


def install_chromium():
    """Debian's chromium; gives its path. Nothing else is downloaded."""
    for name in ("chromium", "chromium-browser"):
        if found := shutil.which(name):
            return found
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing("the Hydrogen suite needs chromium: apt-get install chromium (this is not root, so it is not done here)")
    say("installing: chromium (apt-get)")
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    _run(["apt-get", "update", "-q"], env=environment)
    _run(["apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium", "fonts-dejavu-core"], env=environment)
    if found := shutil.which("chromium"):
        return found
    raise Missing("apt-get installed chromium, but there is no program of that name")


def new_database():
    """A new database in the test cluster that `cargo xtask test` names, or None where there is no cluster."""
    cluster = os.environ.get("LYCEUM_TEST_POSTGRES")
    if not cluster or cluster == "skip":
        return None
    if not shutil.which("psql"):
        raise Missing("LYCEUM_TEST_POSTGRES is set, but there is no psql")
    name = f"suite_{os.getpid()}_{time.time_ns()}"
    _run(["psql", "--no-psqlrc", "--quiet", "--command", f"CREATE DATABASE {name}", cluster])
    return cluster.rsplit("/", 1)[0] + f"/{name}"


class Lyceum:
    """One data directory and, while started, one process on it."""

    def __init__(self, binary, directory, log, storage="sqlite", more=""):
        self.binary = str(Path(binary).resolve())
        self.directory = Path(directory)
        self.data = self.directory / "data"
        self.log = Path(log)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.server_name = f"localhost:{self.port}"
        self.process = None
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")
        self.config = self.directory / "lyceum.toml"
        self.config.write_text(
            f'server_name = "{self.server_name}"\n'
            f'[storage]\nurl = "{storage}"\n'
            f'[registration]\nmode = "closed"\nshared_secret = "{SECRET}"\n'
            "[rate_limits]\nenabled = false\n"
            "[federation]\nenabled = false\n" + more
        )

    def start(self):
        """Starts the process and waits for its first answer; gives the seconds that this took."""
        begun = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", "--config", str(self.config), "--data", str(self.data),
                 "--listen", f"127.0.0.1:{self.port}", "--server-name", self.server_name],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=self.directory, start_new_session=True,
            )
        while True:
            if answers(self.url):
                return time.monotonic() - begun
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode} while starting:\n{self.tail()}")
            if time.monotonic() - begun > START_SECONDS_MAX:
                self.kill()
                raise RuntimeError(f"the server did not answer within {START_SECONDS_MAX} s:\n{self.tail()}")
            time.sleep(0.005)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL, by the process's own id."""
        if self.is_running():
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """SIGTERM; gives exit code and the seconds that it took. SIGKILL when it takes too long."""
        if not self.is_running():
            return self.process.returncode if self.process else None, 0.0
        begun = time.monotonic()
        self.process.terminate()
        try:
            code = self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            code = None
        return code, time.monotonic() - begun

    def resident_mib(self):
        """Resident memory now and at its highest."""
        found = {}
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            key, _, value = line.partition(":")
            if key in ("VmRSS", "VmHWM"):
                found[key] = int(value.split()[0]) / 1024
        return found["VmRSS"], found["VmHWM"]

    def logged(self, since=0):
        """The log's bytes from a position on, as text without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_bytes()[since:].decode(errors="replace"))

    def tail(self, lines=15):
        return "\n".join(self.logged().splitlines()[-lines:])


def answers(url):
    try:
        with urllib.request.urlopen(f"{url}/_matrix/client/versions", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _run(command, **options):
    finished = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if finished.returncode != 0:
        raise Missing(f"{' '.join(command)} failed:\n{finished.stdout[-3000:]}")


def _lock(name):
    TARGET.mkdir(exist_ok=True)
    lock = (TARGET / f"clients-{name}.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _fingerprint(wanted):
    return hashlib.sha256(wanted.read_bytes()).hexdigest()


def _is_installed(folder, wanted):
    mark = folder / ".installed-from"
    return mark.exists() and mark.read_text() == _fingerprint(wanted)


def _mark_installed(folder, wanted):
    (folder / ".installed-from").write_text(_fingerprint(wanted))

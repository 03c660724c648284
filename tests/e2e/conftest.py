"""Black-box tests of canvass: the built binary, real sockets, real SQLite files, nothing beyond the loopback.

The binary is $CANVASS_BINARY, or build/canvass. Every test has a folder of its own and ports the system chose, so the
tests run in any order and at the same time. Times are only ever compared with each other.
"""
import collections
import json
import os
import pathlib
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.request

import pytest

from helpers import Server, lua

# Whoever runs the tests in the background or under nohup has these ignored, and children would inherit that.
for ignored in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(ignored) == signal.SIG_IGN:
        signal.signal(ignored, signal.SIG_DFL)

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("CANVASS_BINARY") or str(ROOT / "build" / "canvass")
SANITIZERS = ("ERROR: AddressSanitizer", "runtime error:", "LeakSanitizer", "WARNING: ThreadSanitizer")
PATIENCE_S = 120


def clean_environment(extra=None):
    """Nothing of whoever runs the tests reaches the program."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("CANVASS_") and "proxy" not in k.lower()}
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        env.pop(name, None)
    env.update(TERM="dumb", LC_ALL="C.UTF-8")
    env.update(extra or {})
    return env


def plain_binary():
    """For what a binary built with sanitizers cannot show: then the optimised one beside it is taken."""
    for path in (BINARY, str(ROOT / "build" / "canvass")):
        if os.path.exists(path) and b"__asan_init" not in pathlib.Path(path).read_bytes():
            return path
    pytest.skip("there is no binary without sanitizers: make")


def check_sanitizers(text):
    for words in SANITIZERS:
        assert words not in text, text[-8000:]


class Result:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def log(self):
        """The lines of --log json."""
        return [json.loads(line) for line in self.err.splitlines() if line.startswith("{")]

    def said(self, message):
        return [line for line in self.log if line["message"] == message]

    def __repr__(self):
        return f"exit {self.status}\n--- out\n{self.out[-3000:]}\n--- err\n{self.err[-6000:]}"


class Process:
    """A canvass that is running; its output is collected as it comes."""

    def __init__(self, args, cwd, env):
        self.popen = subprocess.Popen([BINARY, *map(str, args)], cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.out, self.err = bytearray(), bytearray()
        self.readers = [threading.Thread(target=self._collect, args=pair, daemon=True)
                        for pair in ((self.popen.stdout, self.out), (self.popen.stderr, self.err))]
        for reader in self.readers:
            reader.start()

    def _collect(self, pipe, into):
        while chunk := pipe.read1(65536):
            into.extend(chunk)

    def signal(self, number):
        self.popen.send_signal(number)

    def wait_for(self, text, count=1):
        wait_until(lambda: self.err.count(text.encode()) >= count or self.popen.poll() is not None)
        assert self.err.count(text.encode()) >= count, self.err.decode(errors="replace")[-4000:]

    def wait(self, timeout=PATIENCE_S):
        status = self.popen.wait(timeout)
        for reader in self.readers:
            reader.join(10)
        result = Result(status, self.out.decode(errors="surrogateescape"), self.err.decode(errors="surrogateescape"))
        check_sanitizers(result.err)
        return result

    def end(self):
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()


def wait_until(condition, timeout=PATIENCE_S, what="it did not come to pass"):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError(what)


class Canvass:
    def __init__(self, folder):
        self.folder, self.processes = folder, []
        self.sound = True  # False: the test spoils its database

    def start(self, *args, env=None, cwd=None):
        process = Process(args, cwd or self.folder, clean_environment(env))
        self.processes.append(process)
        return process

    def __call__(self, *args, env=None, cwd=None, timeout=PATIENCE_S):
        process = self.start(*args, env=env, cwd=cwd)
        try:
            return process.wait(timeout)
        finally:
            process.end()

    def run(self, job, table, *args, **options):
        """`canvass run` with JSON on both streams."""
        return self("run", job, "--regions", table, "--log", "json", "--json", *args, **options)

    def start_run(self, job, table, *args, **options):
        return self.start("run", job, "--regions", table, "--log", "json", "--json", *args, **options)

    def readable(self):
        """Whatever a dead process has left: a list of jobs, or the news that nothing was stored."""
        listed = self("jobs")
        assert listed.status == 0 or "is empty" in listed.err or "there is no database" in listed.err, listed

    def rows(self, sql, *values, db="canvass.db"):
        return rows(pathlib.Path(self.folder) / db, sql, *values)


def rows(db, sql, *values):
    with sqlite3.connect(f"file:{db}?mode=ro", uri=True, timeout=30) as connection:
        connection.row_factory = sqlite3.Row
        found = [dict(row) for row in connection.execute(sql, values)]
    connection.close()
    return found


@pytest.fixture
def canvass(tmp_path):
    program = Canvass(tmp_path)
    yield program
    for process in program.processes:
        process.end()
    if program.sound and (tmp_path / "canvass.db").exists():
        verified = program("verify")
        assert verified.status == 0, verified


class Fleet:
    """A served fleet, with the region table it wrote and what it counts."""

    def __init__(self, folder, source, speed, number):
        self.folder, self.number = folder, number
        path = pathlib.Path(str(source)) if "\n" not in str(source) and str(source).endswith(".lua") else None
        if not path:
            path = folder / f"fleet-{number}.lua"
            path.write_text(source if isinstance(source, str) else "return " + lua(source))
        self.table, port_file = folder / f"sim-{number}.lua", folder / f"port-{number}"
        self.process = Process(["simulate", path, "--port", 0, "--port-file", port_file, "--table", self.table,
                                "--speed", speed], folder, clean_environment())
        self.speed = speed
        wait_until(lambda: port_file.exists() or self.process.popen.poll() is not None)
        assert port_file.exists(), self.process.wait()
        self.url = f"http://127.0.0.1:{int(port_file.read_text())}"

    def get(self, path, method="GET"):
        request = urllib.request.Request(self.url + path, method=method, data=b"" if method == "POST" else None)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return json.load(answer)

    def stats(self, log=False):
        return self.get("/stats?log=1" if log else "/stats")

    def posts(self):
        """The log's POSTs, in the order in which they came."""
        log = [r for r in self.stats(log=True)["requests"] if r["method"] == "POST"]
        return sorted(log, key=lambda r: r["arrived_s"])

    def write_table(self, name="table.lua", region=None, model=None, **top):
        """A table without the scaled times: deadlines that no slow machine meets, quick retries.

        `region` and `model` give further keys for each, by "region" or "region/model"."""
        defaults = dict(deadline="300s", hop="200s", connect="20s", slots=1, breaker=False,
                        retry=dict(attempts=4, base="5ms", cap="20ms"))
        defaults.update(top.pop("defaults", {}))
        regions = {}
        for endpoint in self.stats()["endpoints"]:
            region_id, model_id = endpoint.split("/", 1)
            place = regions.setdefault(region_id, dict(health=f"{self.url}/{region_id}/health", models={}))
            place["models"][model_id] = dict(url=f"{self.url}/{endpoint}", **(model or {}).get(endpoint, {}))
        for region_id, keys in (region or {}).items():
            regions[region_id].update(keys)
        path = self.folder / name
        path.write_text("return " + lua(dict(defaults=defaults, regions=regions, **top)))
        return path

    def stop(self):
        self.process.signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        finally:
            self.process.end()


@pytest.fixture
def fleet(tmp_path):
    """fleet(Lua text, a table as a dict, or a path; speed) -> Fleet"""
    fleets = []

    def start(source, speed=1000):
        fleets.append(Fleet(tmp_path, source, speed, len(fleets)))
        return fleets[-1]

    yield start
    for one in fleets:
        one.stop()


@pytest.fixture
def server():
    """server(handler) -> Server; more than one if need be."""
    servers = []

    def start(handler, **options):
        servers.append(Server(handler, **options))
        return servers[-1]

    yield start
    for one in servers:
        one.close()
    for one in servers:
        assert not one.faults, one.faults


@pytest.fixture
def write(tmp_path):
    """write(name, text or bytes or dict) -> path; a dict becomes a Lua file that returns it."""
    def put(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else "return " + lua(content))
        return path
    return put


@pytest.fixture(scope="session")
def preload_library(tmp_path_factory):
    """preload.c, built."""
    library = tmp_path_factory.mktemp("preload") / "preload.so"
    subprocess.run([os.environ.get("CC", "cc"), "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o", library,
                    pathlib.Path(__file__).with_name("preload.c"), "-ldl"], check=True)
    return library


def pytest_terminal_summary(terminalreporter):
    """The figures of the crash sweep, all shards together."""
    total, phases, shards = collections.Counter(), collections.Counter(), 0
    for report in terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", []):
        for name, figures in report.user_properties:
            if name == "crash_sweep" and report.when == "call":
                shards += 1
                phases.update(figures.pop("phases"))
                total.update(figures)
    if shards:
        terminalreporter.write_line("crash sweep: " + ", ".join(f"{name} {count}" for name, count in total.items()))
        terminalreporter.write_line("  killed: " + ", ".join(f"{name} {count}" for name, count in phases.items()))


@pytest.fixture
def closed_port():
    """A port that nobody listens on and nobody else gets."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        yield s.getsockname()[1]

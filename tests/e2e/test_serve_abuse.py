"""Those who mean no good, or never read, while a job runs: it goes on, and memory stays where it is."""
import os
import pathlib
import random
import socket
import threading

import pytest

from conftest import PATIENCE_S, wait_until
from daemon import Daemon
from helpers import answer, job, replies, table
from test_serve import daemon  # noqa: F401

HEAD = f"Host: localhost\r\nAuthorization: Bearer {Daemon.TOKEN}\r\n"


def memory_kib(d):
    status = pathlib.Path(f"/proc/{d.process.popen.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def descriptors(d):
    return len(list(pathlib.Path(f"/proc/{d.process.popen.pid}/fd").iterdir()))


def dial(d, sent=b"", buffer=None):
    s = socket.socket()
    if buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    s.settimeout(PATIENCE_S)
    try:
        s.connect(("127.0.0.1", d.port))
        if sent:
            s.sendall(sent)
    except OSError:
        pass  # it may refuse
    return s


def works(d):
    try:
        return d.get("/health", timeout=20).status == 200
    except OSError:
        return False


@pytest.fixture
def busy(daemon, server):  # noqa: F811
    """A daemon with a job under way that takes as long as the test."""
    done = threading.Event()

    def handle(request):
        request.reply(200, answer("x" * 200))
    upstream = server(handle)
    d = daemon(table({"us/m": upstream.url(), "eu/m": upstream.url()}), jobs={"study.lua": job(400), "small.lua": job(2)})
    d.upstream = upstream
    yield d
    done.set()


def test_a_thousand_readers_of_whom_most_never_read(busy):
    d = busy
    before = memory_kib(d)
    readers = [dial(d, f"GET /api/v1/events HTTP/1.1\r\n{HEAD}\r\n".encode(), buffer=4096) for _ in range(1000)]
    job_id = d.submit(script="study.lua") if works(d) else None
    if job_id is None:  # every place is taken: the first that goes makes room
        for s in readers[:50]:
            s.close()
        wait_until(lambda: works(d))
        job_id = d.submit(script="study.lua")
    done = wait_until(lambda: _state(d, job_id))
    assert done == "succeeded" and len(d.upstream.asked()) == 800
    assert memory_kib(d) - before < 400 * 1024
    for s in readers:
        s.close()
    wait_until(lambda: works(d))


def _state(d, job_id):
    try:
        state = d.job(job_id)["state"]
    except (OSError, AssertionError):
        return None
    return state if state not in ("running", "queued") else None


def test_slow_and_half_open_connections(busy):
    d = busy
    halves = [b"", b"GET", b"GET /health HTTP/1.1\r\n", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: ",
              b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n{",
              b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n"]
    held = [dial(d, halves[i % len(halves)]) for i in range(600)]
    job_id = d.submit(script="study.lua")
    for s in held:
        try:
            s.send(b"x")  # one more byte, and no more
        except OSError:
            pass
    assert d.wait_for(job_id)["state"] == "succeeded"
    for s in held[::2]:
        s.shutdown(socket.SHUT_WR) if s.fileno() >= 0 and _alive(s) else None
    for s in held:
        s.close()
    assert works(d)


def _alive(s):
    try:
        s.getpeername()
        return True
    except OSError:
        return False


def mutate(random_, request):
    data = bytearray(request)
    for _ in range(random_.randint(1, 8)):
        at = random_.randrange(len(data)) if data else 0
        what = random_.randrange(5)
        if what == 0 and data:
            data[at] = random_.randrange(256)
        elif what == 1:
            data[at:at] = bytes(random_.randrange(256) for _ in range(random_.randint(1, 20)))
        elif what == 2:
            del data[at:at + random_.randint(1, 20)]
        elif what == 3:
            data[at:at] = random_.choice([b"\r\n", b"\r\n\r\n", b"\x00", b"%00", b"{", b"[[[[", b"\"", b": ", b"\xff\xfe", b"-1", b"../",
                                          b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"1e999", b"\\u0000"])
        else:
            data += data[:at]
    return bytes(data)


def test_malformed_requests(busy):
    """Seeded. Under sanitizers, which is the point."""
    d = busy
    random_ = random.Random(11)
    job_id = d.submit(script="study.lua")
    seeds = [f"GET {path} HTTP/1.1\r\n{HEAD}\r\n" for path in (
        "/", "/health", "/metrics", "/api/v1/jobs?limit=5&cursor=7", f"/api/v1/jobs/{job_id}/executions?status=failed&limit=2",
        f"/api/v1/executions/{job_id}.3", "/api/v1/regions/revisions/1", f"/api/v1/jobs/{job_id}/questions?cursor=3", "/api/v1/events")]
    for method, path, body in (("POST", "/api/v1/jobs", '{"script": "small.lua", "settings": {"samples": 2}}'),
                               ("PUT", "/api/v1/regions?dry_run=1", '{"source": "return { regions = { us = { models = {} } } }"}'),
                               ("PATCH", "/api/v1/endpoints/us/m", '{"slots": 1.5, "rate": null}'),
                               ("POST", f"/api/v1/jobs/{job_id}/cancel", '{"question_id": "none", "reason": "x"}'),
                               ("POST", "/api/v1/regions/rollback", '{"revision": 99}')):
        seeds.append(f"{method} {path} HTTP/1.1\r\n{HEAD}Content-Length: {len(body)}\r\n\r\n{body}")
    for n in range(1500):
        s = dial(d, mutate(random_, random_.choice(seeds).encode()))
        if n % 10 == 0:
            s.settimeout(0.05)
            try:
                s.recv(65536)
            except OSError:
                pass
        s.close()
    wait_until(lambda: works(d))
    assert wait_until(lambda: _state(d, job_id)) in ("succeeded", "cancelled", "partial")


def test_a_month_of_jobs_leaves_nothing_behind(daemon, server):  # noqa: F811
    """Jobs one after another, edits and cancels between: memory and descriptors are flat. scripts/soak runs a thousand."""
    upstream = server(replies(answer()))
    text = table({"us/m": dict(url=upstream.url(), slots=4), "eu/m": upstream.url()})
    quarantine = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=8"  # what was freed is not held
    d = daemon(text, "--at-once", "3", jobs={"study.lua": job(5)}, env={"ASAN_OPTIONS": quarantine})
    figures = soak(d, text, 120)
    print(figures)
    first, last = figures[1], figures[-1]
    assert last["descriptors"] <= first["descriptors"] + 2, figures
    assert last["memory_kib"] < first["memory_kib"] * 1.25 + 20000, figures
    assert d.get("/api/v1/jobs").json["total"] == 120


def soak(d, source, jobs, parts=4):
    """`parts` times: some jobs with what goes with them, then what the process holds."""
    figures = []
    for part in range(parts):
        ids = []
        for n in range(jobs // parts):
            ids.append(d.submit(script="study.lua"))
            if n % 5 == 1:
                d.post(f"/api/v1/jobs/{ids[-1]}/cancel", {"reason": "soak"})
            if n % 7 == 2:
                d.request("PUT", "/api/v1/regions", {"source": f"{source}\n-- {part} {n}\n", "reason": "soak"})
            if n % 7 == 3:
                d.request("PUT", "/api/v1/regions", {"source": "return {"})
            if n % 3 == 0:
                d.executions(ids[0], limit=3)
        for job_id in ids:
            d.wait_for(job_id)
        figures.append(dict(jobs=(part + 1) * (jobs // parts), memory_kib=memory_kib(d), descriptors=descriptors(d)))
    return figures

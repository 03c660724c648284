"""Who may ask the daemon for what, and what it takes from those who mean no good."""
import http.client
import os
import socket
import stat
import subprocess

import pytest

from conftest import BINARY, clean_environment, wait_until
from daemon import Daemon
from helpers import answer, job, replies, table
from test_serve import daemon  # noqa: F401


@pytest.fixture
def d(daemon, server):  # noqa: F811
    return daemon(table({"us/m": server(replies(answer())).url()}), jobs={"study.lua": job(1)})


def test_a_change_needs_the_token(d):
    for token in (None, "wrong", Daemon.TOKEN[:-1], Daemon.TOKEN + "x", ""):
        for method, path in (("POST", "/api/v1/jobs"), ("POST", "/api/v1/jobs/study-1/cancel")):
            reply = d.request(method, path, {"script": "study.lua"}, token=token)
            assert reply.status == 401 and reply.headers["www-authenticate"] == "Bearer", (token, reply)
    assert d.request("POST", "/api/v1/jobs", {"script": "study.lua"}, token=None,
                     headers={"Authorization": f"Basic {Daemon.TOKEN}"}).status == 401
    assert d.get("/api/v1/jobs", token=None).json["total"] == 0


@pytest.mark.parametrize("headers, status", [
    ({"Host": "evil.example"}, 403), ({"Host": "127.0.0.1.evil.example"}, 403), ({"Host": ""}, 403),
    ({"Host": "localhost"}, 200), ({"Host": "LOCALHOST:99"}, 200), ({"Host": "[::1]:8420"}, 200),
    ({"Host": "localhost", "Origin": "http://localhost"}, 200), ({"Host": "localhost", "Origin": "https://localhost"}, 200),
    ({"Host": "localhost", "Origin": "http://evil.example"}, 403), ({"Host": "localhost", "Origin": "null"}, 403),
    ({"Host": "localhost", "Origin": "http://localhost.evil.example"}, 403)])
def test_names_and_origins(d, headers, status):
    assert d.get("/api/v1/jobs", headers=headers).status == status


def test_no_change_for_a_page_of_another_site(d):
    reply = d.post("/api/v1/jobs", {"script": "study.lua"}, headers={"Sec-Fetch-Site": "cross-site"})
    assert reply.status == 403 and d.get("/api/v1/jobs").json["total"] == 0


def test_headers_on_every_answer(d):
    for path in ("/health", "/api/v1/jobs", "/nowhere", "/api/v1/jobs/x"):
        headers = d.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"


def test_a_token_is_made_once_and_kept_from_others(canvass, write, server):
    path = write("regions.lua", table({"us/m": server(replies(answer())).url()}))
    first = Daemon(canvass, path, env={"CANVASS_TOKEN": ""})
    token_file = canvass.folder / "canvass.db.token"
    token = token_file.read_text().strip()
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600 and len(token) >= 32
    assert first.post("/api/v1/jobs", {}, token=token).status == 400
    log = first.stop().err
    assert token not in log and "canvass.db.token" in log
    second = Daemon(canvass, path, env={"CANVASS_TOKEN": ""})
    assert second.post("/api/v1/jobs", {}, token=token).status == 400
    second.stop()
    token_file.chmod(0o644)
    result = canvass("serve", "--regions", path, "--listen", "127.0.0.1:0")
    assert result.status == 2 and "chmod 600" in result.err


@pytest.mark.parametrize("args, words", [
    (["--listen", "here"], "--listen"), (["--listen", "127.0.0.1:99999"], "--listen"), (["--listen", "::1:80"], "--listen"),
    (["--listen", "example.org:80"], "IP address"), (["--jobs", "nowhere"], "--jobs"), (["--at-once", "0"], "--at-once"),
    (["--token-file", "nowhere"], "nowhere")])
def test_what_is_wrong_with_the_command(canvass, write, args, words):
    path = write("regions.lua", table({"us/m": "http://127.0.0.1:9/"}))
    result = canvass("serve", "--regions", path, *args)
    assert result.status == 2 and words in result.err, result
    short = canvass("serve", "--regions", path, env={"CANVASS_TOKEN": "short"})
    assert short.status == 2 and "CANVASS_TOKEN" in short.err


def test_reading_needs_the_token_elsewhere(canvass, write, server):
    path = write("regions.lua", table({"us/m": server(replies(answer())).url()}))
    d = Daemon(canvass, path, "--listen", "0.0.0.0:0", "--host", "canvass.example")
    assert d.get("/api/v1/jobs", headers={"Host": "canvass.example"}, token=None).status == 401
    assert d.get("/api/v1/jobs", headers={"Host": "canvass.example:80"}).status == 200
    assert d.get("/api/v1/jobs", headers={"Host": "localhost"}).status == 403
    d.stop()


def test_large_and_broken_requests(d):
    assert d.post("/api/v1/jobs", b"x" * (17 << 20)).status == 413
    assert d.post("/api/v1/jobs", b"{" * 100000).status == 400
    for raw in (b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"x" * 40000 + b" HTTP/1.1\r\n\r\n",
                b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
                b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                b"GET /api/v1/jobs/%00%ff%0a HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", d.port), timeout=1) as s:
            s.sendall(raw)
            try:
                s.recv(65536)
            except TimeoutError:
                pass  # it waits for more, for a while
    assert d.get("/health").status == 200


def test_many_connections_that_say_nothing(d):
    idle = []
    try:
        for _ in range(1500):
            s = socket.socket()
            s.settimeout(20)
            s.connect(("127.0.0.1", d.port))
            idle.append(s)
        closed = sum(1 for s in idle if _closed(s))
        assert closed >= 1500 - 1024
    finally:
        for s in idle:
            s.close()
    wait_until(lambda: _works(d))


def _closed(s):
    s.settimeout(0.001)
    try:
        return s.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def _works(d):
    try:
        return d.get("/health").status == 200
    except (OSError, http.client.HTTPException):
        return False

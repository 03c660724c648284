"""The region table is changed while jobs run: by file, signal and API, all by one path."""
import os
import random
import signal
import threading
import time

import pytest

from conftest import wait_until
from helpers import answer, job, table
from test_serve import daemon  # noqa: F401
from test_serve_events import Reader


class Upstream:
    """Answers while the gate is open; knows how many were open at once by path."""

    def __init__(self, server, takes=0.0):
        self.gate, self.lock, self.open, self.most, self.seen = threading.Event(), threading.Lock(), {}, {}, []
        self.takes = takes
        self.gate.set()
        self.server = server(self.handle)

    def handle(self, request):
        path = request.path
        with self.lock:
            self.open[path] = self.open.get(path, 0) + 1
            self.most[path] = max(self.most.get(path, 0), self.open[path])
            self.seen.append((path, request.prompt))
        self.gate.wait(60)
        if self.takes:
            time.sleep(self.takes)
        with self.lock:
            self.open[path] -= 1
        request.reply(200, answer())

    def url(self, path):
        return self.server.url(path)

    def count(self, path):
        with self.lock:
            return sum(1 for p, _ in self.seen if p == path)


@pytest.fixture
def upstream(server):
    return Upstream(server)


def regions_of(upstream, us=None, eu=None, **top):
    return table({"us/m": dict(url=upstream.url("/us"), **(us or {})), "eu/org/m": dict(url=upstream.url("/eu"), **(eu or {}))},
                 **top)


def paused_regions(d):
    return {r["id"]: r["paused"] for r in d.get("/api/v1/regions").json["regions"] if r["paused"]}


def revision(d):
    return d.get("/api/v1/regions").json["revision"]


def test_saving_the_file_is_enough(daemon, server, canvass):  # noqa: F811
    upstream = Upstream(server, takes=0.005)
    d = daemon(regions_of(upstream), jobs={"study.lua": job(40, policy="free")})
    upstream.gate.clear()
    job_id = d.submit(script="study.lua")
    wait_until(lambda: len(upstream.seen) == 2)
    first = revision(d)
    (canvass.folder / "regions.lua").write_text(regions_of(upstream, us=dict(slots=7)))
    wait_until(lambda: revision(d) > first)
    upstream.gate.set()
    done = d.wait_for(job_id)
    assert done["executions"]["succeeded"] == 80 and upstream.most["/us"] > 1 and upstream.most["/eu"] == 1
    used = {(r["region"], r["revision"]) for r in canvass.rows("SELECT DISTINCT region, revision FROM executions")}
    assert {r for _, r in used} == {first, first + 1}
    kept = canvass.rows("SELECT revision, author FROM region_revisions ORDER BY revision")
    assert [k["author"] for k in kept] == ["file", "file"] and len(upstream.seen) == 80


def test_a_signal_loads_it_at_once(daemon, upstream, canvass):  # noqa: F811
    d = daemon(regions_of(upstream))
    first = revision(d)
    for slots in range(2, 8):
        (canvass.folder / "regions.lua").write_text(regions_of(upstream, us=dict(slots=slots)))
        d.process.signal(signal.SIGHUP)
        wait_until(lambda: revision(d) == first + slots - 1)
    d.process.signal(signal.SIGHUP)
    assert d.get("/health").json["status"] == "ok" and revision(d) == first + 6


def test_a_wrong_file_changes_nothing_and_shows_everywhere(daemon, upstream, canvass):  # noqa: F811
    d = daemon(regions_of(upstream), jobs={"study.lua": job(3)})
    reader = Reader(d)
    path, first = canvass.folder / "regions.lua", revision(d)
    path.write_text(regions_of(upstream, us=dict(slotz=2)))
    wait_until(lambda: d.get("/api/v1/regions").json["error"])
    shown = d.get("/api/v1/regions").json
    assert "slotz" in shown["error"] and "slots" in shown["error"] and shown["revision"] == first
    health = d.get("/health").json
    assert health["status"] == "degraded" and "slotz" in health["services"]["regions"]["detail"]
    reader.wait_for(lambda r: any(e["error"] and "slotz" in e["error"] for e in r.of("regions")))
    d.process.wait_for("stays in force")
    assert d.wait_for(d.submit(script="study.lua"))["state"] == "succeeded"
    path.write_text(regions_of(upstream))
    wait_until(lambda: d.get("/health").json["status"] == "ok")
    assert revision(d) == first, "it is what it was"
    path.unlink()
    wait_until(lambda: d.get("/api/v1/regions").json["error"])
    path.write_text(regions_of(upstream, eu=dict(slots=3)))
    wait_until(lambda: revision(d) == first + 1)


def test_a_change_can_be_tried_made_and_taken_back(daemon, upstream, canvass):  # noqa: F811
    d = daemon(regions_of(upstream), jobs={"study.lua": job(20, policy="free")})
    path = canvass.folder / "regions.lua"
    before = path.read_text()
    upstream.gate.clear()
    job_id = d.submit(script="study.lua")
    wait_until(lambda: len(upstream.seen) == 2)
    without_eu = table({"us/m": dict(url=upstream.url("/us"))})
    tried = d.request("PUT", "/api/v1/regions?dry_run=true", {"source": without_eu, "reason": "trying"}).json
    assert tried["changed"] and tried["revision"] == 1 and any("eu" in line for line in tried["diff"])
    assert tried["blast_radius"] == [{"job_id": job_id, "moved": 0, "waiting": 19, "skipped": 0, "released": 0,
                                      "finishing": 1, "revision": 1}]
    assert "19 pending executions wait, 1 in flight finish on revision 1" in tried["text"]
    assert path.read_text() == before and revision(d) == 1
    made = d.request("PUT", "/api/v1/regions", {"source": without_eu, "reason": "EU is too dear", "author": "grace"}).json
    assert made["changed"] and made["revision"] == 2 and path.read_text() == without_eu
    again = d.request("PUT", "/api/v1/regions", {"source": without_eu}).json
    assert again["changed"] is False and again["revision"] == 2 and again["diff"] == []
    wrong = d.request("PUT", "/api/v1/regions", {"source": "return 1"})
    assert wrong.status == 422 and path.read_text() == without_eu
    upstream.gate.set()
    wait_until(lambda: upstream.count("/us") == 20)
    assert upstream.count("/eu") == 1 and d.job(job_id)["state"] == "running"
    back = d.post("/api/v1/regions/rollback", {"revision": 1, "reason": "it was not", "author": "ada"}).json
    assert back["changed"] and back["revision"] == 3 and path.read_text() == before
    assert d.wait_for(job_id)["executions"]["succeeded"] == 40
    listed = d.get("/api/v1/regions/revisions?limit=2").json
    assert [(r["revision"], r["author"], r["reason"]) for r in listed["revisions"]] == [
        (3, "ada", "it was not"), (2, "grace", "EU is too dear")]
    assert listed["total"] == 3 and listed["cursor"] == "2"
    assert d.get("/api/v1/regions/revisions/2").json["source"] == without_eu
    assert d.get("/api/v1/regions/revisions/9").status == 404
    assert d.post("/api/v1/regions/rollback", {"revision": 9}).status == 404
    log = canvass.rows("SELECT author, action, reason FROM control_log ORDER BY id")
    assert [(r["author"], r["reason"]) for r in log if r["action"] == "regions"] == [
        ("grace", "EU is too dear"), ("ada", "it was not")]


def test_pauses_and_limits_without_touching_the_file(daemon, server, canvass):  # noqa: F811
    upstream = Upstream(server, takes=0.005)
    d = daemon(regions_of(upstream), jobs={"study.lua": job(30, policy="free")})
    path = canvass.folder / "regions.lua"
    source = path.read_text()
    upstream.gate.clear()
    job_id = d.submit(script="study.lua")
    wait_until(lambda: len(upstream.seen) == 2)
    paused = d.post("/api/v1/endpoints/eu/org/m/pause", {"reason": "out of quota", "author": "grace"}).json
    assert paused["changed"] and paused["blast_radius"][0]["waiting"] == 29
    assert d.post("/api/v1/endpoints/eu/org/m/pause", {"reason": "out of quota"}).json["changed"] is False
    limits = d.request("PATCH", "/api/v1/endpoints/us/m", {"slots": 5, "reason": "they gave us more"}).json
    assert limits["changed"] and limits["diff"] == ["us/m: slots 1 -> 5"]
    upstream.gate.set()
    wait_until(lambda: upstream.count("/us") == 30)
    assert 1 < upstream.most["/us"] <= 5 and upstream.count("/eu") == 1
    shown = d.get("/api/v1/regions?settings=true").json
    by = {s["setting"]: (s["value"], s["set_by"]) for s in shown["settings"]}
    assert by["us/m.slots"] == ("5", "override") and by["eu/org/m.paused"] == ("out of quota", "override")
    live = {e["endpoint"]: e["live"] for e in d.get(f"/api/v1/jobs/{job_id}/endpoints").json["endpoints"]}
    assert live["eu/org/m"]["state"] == "paused" and live["eu/org/m"]["detail"] == "out of quota"
    assert path.read_text() == source
    path.write_text(source + "\n-- a comment\n")
    wait_until(lambda: revision(d) == 4)
    assert d.get("/api/v1/regions").json["overrides"]["endpoints"]["us/m"] == {"slots": 5}, "they outlive a save"
    assert d.post("/api/v1/endpoints/eu/org/m/resume", {"reason": "quota is back"}).json["changed"]
    assert d.wait_for(job_id)["executions"]["succeeded"] == 60
    assert d.post("/api/v1/regions/eu/pause", {"reason": "all of it"}).json["changed"]
    assert paused_regions(d) == {"eu": "all of it"}
    d.stop()
    d = daemon(path)
    assert paused_regions(d) == {"eu": "all of it"}, "they outlive a restart"
    shown = canvass("regions", "show", path, "--json").json
    assert {s["setting"]: s["set_by"] for s in shown["settings"]}["us/m.slots"] == "override"
    assert d.post("/api/v1/regions/eu/resume").json["changed"]
    assert d.request("PATCH", "/api/v1/endpoints/us/m", {"slots": None}).json["diff"] == ["us/m: slots 5 -> 1"]
    assert not (canvass.folder / "regions.lua.overrides.json").exists()


def test_what_the_file_pauses_can_be_let_go(daemon, upstream, canvass):  # noqa: F811
    d = daemon(regions_of(upstream, us=dict(paused="until Monday")), jobs={"study.lua": job(2)})
    job_id = d.submit(script="study.lua")
    wait_until(lambda: upstream.count("/eu") == 1)
    assert d.post("/api/v1/endpoints/us/m/resume", {"author": "grace"}).json["changed"]
    assert d.wait_for(job_id)["executions"]["succeeded"] == 4


@pytest.mark.parametrize("method, path, body, status, words", [
    ("PUT", "", {}, 400, "source"), ("PUT", "", {"source": 1}, 400, "source"), ("PUT", "", {"sorce": ""}, 400, "source"),
    ("PUT", "", {"source": "return {"}, 422, "regions.lua"), ("POST", "/rollback", {"revision": "1"}, 400, "revision"),
    ("POST", "/rollback", {}, 400, "revision"), ("POST", "/mars/pause", {}, 404, "mars"),
    ("GET", "/revisions/x", None, 404, "x"), ("GET", "/revisions?limit=0", None, 400, "limit")])
def test_what_is_wrong_with_a_change(daemon, upstream, method, path, body, status, words):  # noqa: F811
    d = daemon(regions_of(upstream))
    reply = d.request(method, "/api/v1/regions" + path, body)
    assert reply.status == status and words in reply.json["detail"], reply
    assert revision(d) == 1


@pytest.mark.parametrize("body, status, words", [
    ({"slots": 0}, 422, "slots"), ({"slots": "many"}, 422, "slots"), ({"hop": "1 parsec"}, 422, "hop"),
    ({"url": "http://elsewhere/"}, 400, "url"), ({"slots": 2, "reason": 1}, 400, "reason")])
def test_what_is_wrong_with_limits(daemon, upstream, canvass, body, status, words):  # noqa: F811
    d = daemon(regions_of(upstream))
    reply = d.request("PATCH", "/api/v1/endpoints/us/m", body)
    assert reply.status == status and words in reply.json["detail"], reply
    assert d.request("PATCH", "/api/v1/endpoints/us/none", {"slots": 1}).status == 404
    assert revision(d) == 1 and not (canvass.folder / "regions.lua.overrides.json").exists()


def test_a_job_is_paused_and_goes_on(daemon, upstream, canvass):  # noqa: F811
    d = daemon(regions_of(upstream), jobs={"study.lua": job(5)})
    upstream.gate.clear()
    job_id = d.submit(script="study.lua")
    wait_until(lambda: len(upstream.seen) == 2)
    assert d.post(f"/api/v1/jobs/{job_id}/pause", {"reason": "lunch", "author": "grace"}).json == {
        "job_id": job_id, "state": "paused", "changed": True}
    assert d.post(f"/api/v1/jobs/{job_id}/pause").json["changed"] is False
    upstream.gate.set()
    wait_until(lambda: d.job(job_id)["executions"]["succeeded"] == 2)
    other = d.submit(script="study.lua")
    d.wait_for(other)
    assert d.job(job_id)["state"] == "paused" and d.job(job_id)["executions"]["succeeded"] == 2
    d.stop()
    d = daemon(canvass.folder / "regions.lua")
    wait_until(lambda: d.job(job_id)["state"] == "paused")
    seen = len(upstream.seen)
    assert d.post(f"/api/v1/jobs/{job_id}/resume").json["changed"] is True
    assert d.wait_for(job_id)["executions"]["succeeded"] == 10
    assert len(upstream.seen) == seen + 8
    assert d.post(f"/api/v1/jobs/{job_id}/pause").status == 409
    assert d.post(f"/api/v1/jobs/{d.submit(script='study.lua')}/pause").status in (200, 409)


def edit_by_any_way(d, canvass, upstream, random_, most):
    """True: it was to be taken, and was; False: it was to be refused, and was."""
    path, slots = canvass.folder / "regions.lua", random_.randint(1, most)
    good = regions_of(upstream, us=dict(slots=slots), eu=dict(slots=most - slots + 1))
    bad = random_.choice(["return {", "return { regions = {} }", regions_of(upstream, us=dict(slot=slots))])
    way = random_.randrange(10)
    if way == 0:
        assert d.request("PUT", "/api/v1/regions", {"source": bad}).status == 422
    elif way == 1:
        assert d.request("PATCH", "/api/v1/endpoints/us/m", {"slots": 0}).status == 422
    elif way == 2:
        bad_file = canvass.folder / "bad.lua"
        bad_file.write_text(bad)
        assert canvass("regions", "apply", bad_file, "--regions", path).status == 2
    elif way == 3:
        assert d.request("PUT", "/api/v1/regions", {"source": good, "reason": "by hand"}).status == 200
    elif way == 4:
        assert d.request("PATCH", "/api/v1/endpoints/us/m", {"slots": slots}).status == 200
    elif way == 5:
        assert d.post("/api/v1/endpoints/eu/org/m/pause", {"reason": "a moment"}).status == 200
        assert d.post("/api/v1/endpoints/eu/org/m/resume").status == 200
    elif way == 6:
        assert d.post("/api/v1/regions/rollback", {"revision": random_.randint(1, revision(d))}).status == 200
        d.post("/api/v1/endpoints/eu/org/m/resume")  # whatever was rolled back to
    elif way == 7:
        path.write_text(good)
        d.process.signal(signal.SIGHUP)
    elif way == 8:
        verb = random_.choice(["pause", "resume"])
        assert canvass("regions", verb, "us", "--regions", path).status == 0
        assert canvass("regions", "resume", "us", "--regions", path).status == 0
        d.process.signal(signal.SIGHUP)
    else:
        path.write_text(good)  # and it is seen, or replaced before anybody looks
    return way > 2


def test_many_edits_while_a_job_runs(daemon, server, canvass):  # noqa: F811
    """A third of them wrong, by file, signal, command and API: no request is lost or repeated, and no limit is passed.

    CANVASS_EDITS asks for more of them than fit into a run of all tests."""
    wanted, most = int(os.environ.get("CANVASS_EDITS", "60")), 4
    upstream = Upstream(server, takes=0.01)
    source = regions_of(upstream, us=dict(slots=most), eu=dict(slots=most))
    d = daemon(source, jobs={"study.lua": job(8 * wanted, policy="free")})
    job_id = d.submit(script="study.lua")
    random_, made = random.Random(7), {True: 0, False: 0}
    while d.job(job_id)["state"] == "running":
        made[edit_by_any_way(d, canvass, upstream, random_, most)] += 1
        if sum(made.values()) >= wanted:
            (canvass.folder / "regions.lua").write_text(source)
            d.process.signal(signal.SIGHUP)
            d.wait_for(job_id)
    done = d.job(job_id)
    print(made, "edits,", revision(d), "revisions")
    assert done["executions"]["succeeded"] == 16 * wanted, done
    assert len(upstream.seen) == 16 * wanted and len(set(upstream.seen)) == 16 * wanted
    assert max(upstream.most.values()) <= most
    assert made[True] > wanted / 4 and made[False] > wanted / 10, made
    used = canvass.rows("SELECT DISTINCT revision FROM executions")
    known = canvass.rows("SELECT revision FROM region_revisions")
    assert len(used) > 3 and {u["revision"] for u in used} <= {k["revision"] for k in known}


def test_a_revision_of_other_files_is_not_put_back(daemon, upstream, canvass, write):  # noqa: F811
    def source(slots):
        return f'return {{ regions = {{ us = {{ models = {{ m = {{ url = require "where", slots = {slots} }} }} }} }} }}'
    write("where.lua", f'return "{upstream.url("/us")}"')
    d = daemon(source(1))
    assert d.request("PUT", "/api/v1/regions", {"source": source(2)}).json["revision"] == 2
    write("where.lua", f'return "{upstream.url("/eu")}"')
    wait_until(lambda: revision(d) == 3)
    refused = d.post("/api/v1/regions/rollback", {"revision": 1})
    assert refused.status == 409 and "other files" in refused.json["detail"] and revision(d) == 3
    write("where.lua", "return 7")
    wait_until(lambda: d.get("/api/v1/regions").json["error"])
    assert d.post("/api/v1/regions/rollback", {"revision": 1}).status == 422


def test_the_same_by_command(daemon, upstream, canvass, write):  # noqa: F811
    """Without a daemon they change files; one that runs takes these up, with author and reason."""
    path = write("regions.lua", regions_of(upstream))
    new = write("new.lua", regions_of(upstream, us=dict(slots=3)))
    differs = canvass("regions", "diff", path, new)
    assert differs.status == 1 and differs.out == "us/m: slots 1 -> 3\n"
    assert canvass("regions", "diff", path, path).status == 0
    assert canvass("regions", "diff", path, new, "--json").json == {"differs": True, "diff": ["us/m: slots 1 -> 3"]}
    dry = canvass("regions", "apply", new, "--regions", path, "--dry-run")
    assert dry.status == 0 and "slots 1 -> 3" in dry.out and "dry run" in dry.out and "slots" not in path.read_text()
    d = daemon(path, jobs={"study.lua": job(3)})
    assert canvass("regions", "apply", new, "--regions", path).status == 0 and path.read_text() == new.read_text()
    wait_until(lambda: revision(d) == 2)
    paused = canvass("regions", "pause", "eu", "--regions", path, "--reason", "no quota", "--author", "grace")
    assert paused.status == 0 and "eu" in paused.out, paused
    wait_until(lambda: paused_regions(d) == {"eu": "no quota"})
    assert canvass("regions", "pause", "eu/org/m", "--regions", path, "--json").json == {"changed": False, "diff": []}
    assert canvass("regions", "resume", "eu", "--regions", path, "--author", "ada").status == 0
    wait_until(lambda: revision(d) == 4)
    canvass("regions", "pause", "us/m", "--regions", path, "--author", "ada")
    wait_until(lambda: revision(d) == 5)
    history = canvass("regions", "history", "--json").json["revisions"]
    assert [(r["revision"], r["author"], r["reason"]) for r in history][:4] == [
        (5, "ada", None), (4, "file", None), (3, "grace", "no quota"), (2, "file", None)]
    assert "no quota" in canvass("regions", "history").out
    back = canvass("regions", "rollback", "1", "--regions", path)
    assert back.status == 0 and "slots 3 -> 1" in back.out, back
    wait_until(lambda: revision(d) == 6)
    assert d.get("/api/v1/regions").json["overrides"] == {}
    for args, words in ((["pause", "mars"], "mars"), (["pause", "eu/none"], "eu/none"), (["rollback", "99"], "99"),
                        (["apply", canvass.folder / "none.lua"], "none.lua")):
        result = canvass("regions", *args, "--regions", path)
        assert result.status == 2 and words in result.err, result
    write("bad.lua", "return {")
    before = path.read_text()
    assert canvass("regions", "apply", "bad.lua", "--regions", path).status == 2 and path.read_text() == before

"""The API's own description, held against the server: every path, every method, every status."""
import json
import re
import threading

import pytest

from conftest import ROOT, wait_until
from daemon import Daemon
from helpers import answer, job, replies, table
from test_serve import daemon  # noqa: F401


def resolve(document, schema):
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].split("/")[-1]]
    return schema


TYPES = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list,
         "null": type(None)}


def check(document, schema, value, where="body"):
    """As much of JSON Schema as the document uses."""
    schema = resolve(document, schema)
    if "enum" in schema:
        assert value in schema["enum"], (where, value)
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds:
        fits = any(isinstance(value, TYPES[k]) and (k == "boolean" or not isinstance(value, bool)) for k in kinds)
        assert fits, (where, value, kinds)
    if isinstance(value, dict):
        for name in schema.get("required", []):
            assert name in value, (where, name)
        for name, one in value.items():
            if name in schema.get("properties", {}):
                check(document, schema["properties"][name], one, f"{where}.{name}")
            else:
                assert schema.get("additionalProperties", True) is not False, (where, name)
    for i, one in enumerate(value if isinstance(value, list) and "items" in schema else []):
        check(document, schema["items"], one, f"{where}[{i}]")


class Checked:
    """Requests whose answers must be as documented; keeps what was seen."""

    def __init__(self, d):
        self.d, self.seen = d, set()
        self.document = d.get("/api/v1/openapi.json").json

    def find(self, path):
        path = path.split("?")[0]
        for pattern in sorted(self.document["paths"], key=lambda p: (p.count("{"), -len(p))):
            if pattern.count("{") == 0 and pattern == path:
                return pattern
            if re.fullmatch(re.sub(r"\{(model)\}", "(.+)", re.sub(r"\{(?!model)\w+\}", "([^/]+)", pattern)), path):
                return pattern
        raise AssertionError(f"{path} is not documented")

    def __call__(self, method, path, body=None, **options):
        reply = self.d.request(method, path, body, **options)
        pattern = self.find(path)
        operation = self.document["paths"][pattern].get(method.lower())
        assert operation, (method, path)
        assert str(reply.status) in operation["responses"], (method, path, reply)
        content = operation["responses"][str(reply.status)]["content"]
        kind = reply.headers["content-type"].split(";")[0]
        assert kind in content, (method, path, reply.headers)
        if kind.endswith("json"):
            check(self.document, content[kind]["schema"], reply.json)
        self.seen.add((method.lower(), pattern, str(reply.status)))
        return reply


def test_every_route_is_documented_and_no_other():
    source = (ROOT / "src/serve/routes.c").read_text()
    routes = {(m.lower(), re.sub(r"[:*](\w+)", r"{\1}", ("/api/v1" if api else "") + p))
              for m, api, p in re.findall(r'\{"([A-Z]+)", (API )?"([^"]+)"', source)}
    document = json.loads((ROOT / "src/serve/web/openapi.json").read_text())
    documented = {(m, p) for p, item in document["paths"].items() for m in item}
    pages = {(m, p) for m, p in routes if not p.startswith("/api/") and p not in ("/health", "/ready", "/metrics")}
    assert routes - pages == documented


UNREACHABLE = {"500", "503"}  # the database gone or the server ending: test_serve.py and test_serve_safety.py have those


def test_every_status_is_reached(daemon, server):  # noqa: F811
    gate, wrong = threading.Event(), threading.Event()
    gate.set()
    wrong.set()

    def handle(request):
        gate.wait(60)
        request.reply(400 if wrong.is_set() else 200, answer())
    upstream = server(handle)
    d = daemon(table({"us/m": upstream.url(), "eu/org/m": upstream.url()}), jobs={"study.lua": job(1), "bad.lua": "return 1", "slow.lua": job(500)})
    ask = Checked(d)
    jobs = "/api/v1/jobs"
    for path in ("/health", "/ready", "/metrics", "/api/v1/openapi.json", jobs):
        assert ask("GET", path).status == 200
        assert ask("GET", path, headers={"Host": "evil.example"}).status == 403
    assert ask("POST", jobs, {"script": "study.lua"}, headers={"Idempotency-Key": "k"}).status == 202
    assert ask("POST", jobs, {"script": "study.lua"}, headers={"Idempotency-Key": "k"}).status == 200
    assert ask("POST", jobs, b"x" * (17 << 20)).status == 413
    assert ask("POST", jobs, {"script": "bad.lua"}).status == 422
    assert ask("POST", jobs, {"x": 1}).status == 400
    assert ask("GET", jobs + "?limit=0").status == 400
    d.wait_for("study-1")
    one, none = f"{jobs}/study-1", f"{jobs}/nothing-1"
    execution, no_execution = "/api/v1/executions/study-1.1", "/api/v1/executions/study-1.9"
    for path in (one, one + "/executions", execution):
        assert ask("GET", path).status == 200
        assert ask("GET", path, headers={"Host": "evil.example"}).status == 403
    for path in (none, none + "/executions", no_execution):
        assert ask("GET", path).status == 404
    assert ask("GET", one + "/executions?limit=0").status == 400
    assert ask("POST", execution + "/cancel").status == 409
    assert ask("POST", "/api/v1/executions/nothing/cancel").status == 404
    assert ask("POST", one + "/cancel", {"region": "eu"}).status == 409
    verbs = [execution + "/cancel", one + "/cancel", one + "/resume", one + "/retry", execution + "/retry"]
    for path in verbs + [jobs]:
        assert ask("POST", path, {}, token=None).status == 401
        assert ask("POST", path, {}, headers={"Origin": "http://evil.example"}).status == 403
        assert ask("POST", path, {"x": 1}).status == 400
    for path in [none + "/cancel", none + "/resume", none + "/retry", "/api/v1/executions/nothing/retry"]:
        assert ask("POST", path).status == 404
    assert ask("POST", one + "/cancel").json["changed"] is False
    gate.clear()
    assert ask("POST", one + "/retry").status == 202
    assert ask("POST", one + "/retry").status == 409
    assert ask("POST", execution + "/retry").status == 409
    assert ask("POST", one + "/resume").status == 200
    assert ask("GET", one).json["state"] == "running"
    gate.set()
    wait_until(lambda: d.job("study-1")["state"] == "failed")
    assert ask("POST", execution + "/retry").status == 202
    wait_until(lambda: d.job("study-1")["state"] == "failed")
    assert ask("POST", one + "/resume").status == 202
    more_statuses(ask, d, daemon, upstream)
    documented = {(m, p, s) for p, item in ask.document["paths"].items() for m, o in item.items() for s in o["responses"]}
    missing = {x for x in documented - ask.seen if x[2] not in UNREACHABLE}
    assert missing <= ELSEWHERE, missing - ELSEWHERE


# Another process owns the job, or its stored script does not load: test_serve.py.
ELSEWHERE = {("post", "/api/v1/jobs/{job}/resume", "409"), ("post", "/api/v1/jobs/{job}/resume", "422"),
             ("post", "/api/v1/jobs/{job}/retry", "422"), ("post", "/api/v1/executions/{execution}/retry", "422"),
             # other files beside the table, and a table that was right then: test_serve_regions.py
             ("post", "/api/v1/regions/rollback", "409"), ("post", "/api/v1/regions/rollback", "422"),
             # what pauses and lets go cannot make a table wrong that is right
             *(("post", f"/api/v1/{what}/{verb}", "422") for verb in ("pause", "resume")
               for what in ("regions/{region}", "endpoints/{region}/{model}"))}


def more_statuses(ask, d, daemon, upstream):
    one, none = "/api/v1/jobs/study-1", "/api/v1/jobs/nothing-1"
    assert ask("GET", one + "/report?seed=0").status == 400
    for path in (one + "/report", one + "/questions", one + "/endpoints", one + "/attempts", "/api/v1/scripts"):
        assert ask("GET", path).status == 200
        assert ask("GET", path, headers={"Host": "evil.example"}).status == 403
    for path in (none + "/report", none + "/questions", none + "/endpoints", none + "/attempts"):
        assert ask("GET", path).status == 404
    for path in (one + "/questions", one + "/attempts"):
        assert ask("GET", path + "?limit=x").status == 400
    regions, endpoint = "/api/v1/regions", "/api/v1/endpoints/eu/org/m"
    for path in (regions, regions + "/revisions", regions + "/revisions/1"):
        assert ask("GET", path).status == 200
        assert ask("GET", path, headers={"Host": "evil.example"}).status == 403
    assert "settings" not in ask("GET", regions).json and ask("GET", regions + "?settings=true").json["settings"]
    assert ask("GET", regions + "/revisions?limit=0").status == 400
    assert ask("GET", regions + "/revisions/99").status == 404
    source = d.get(regions).json["source"]
    changes = [("PUT", regions, {"source": source}), ("POST", regions + "/rollback", {"revision": 1}),
               ("POST", regions + "/eu/pause", {}), ("POST", regions + "/eu/resume", {}), ("POST", endpoint + "/pause", {}),
               ("POST", endpoint + "/resume", {}), ("PATCH", endpoint, {"slots": 3})]
    for method, path, body in changes:
        assert ask(method, path, body).status == 200
        assert ask(method, path, body, token=None).status == 401
        assert ask(method, path, body, headers={"Origin": "http://evil.example"}).status == 403
        assert ask(method, path, {"x": 1}).status == 400
        if "eu" in path:
            assert ask(method, path.replace("/eu", "/mars"), body).status == 404
    assert ask("POST", regions + "/rollback", {"revision": 99}).status == 404
    assert ask("PUT", regions, {"source": "return 1"}).status == 422
    assert ask("PUT", regions, b"x" * (17 << 20)).status == 413
    assert ask("PATCH", endpoint, {"slots": 0}).status == 422
    assert ask("POST", one + "/pause").status == 409
    assert ask("POST", one + "/pause", {}, token=None).status == 401
    assert ask("POST", one + "/pause", {}, headers={"Origin": "http://evil.example"}).status == 403
    assert ask("POST", one + "/pause", {"x": 1}).status == 400
    gate_job = d.submit(script="slow.lua")
    assert ask("POST", f"/api/v1/executions/{gate_job}.900/cancel").status == 200
    assert ask("POST", f"/api/v1/jobs/{gate_job}/pause").status == 200
    d.post(f"/api/v1/jobs/{gate_job}/cancel")
    for path in ("/api/v1/events", one + "/events"):
        assert ask("GET", path, headers={"Host": "evil.example"}).status == 403
        ask.seen.add(("get", path.replace("study-1", "{job}"), "200"))  # endless: test_serve_events.py reads them

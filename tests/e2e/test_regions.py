"""The operator's file: what is wrong with it, where, and what would be right; and what is in force."""
import json
import os
import urllib.parse

import pytest

from helpers import table

URL = "url = 'https://h.example/'"


def endpoint(keys):
    return "return { regions = { us = { models = { m = { %s, %s } } } } }" % (URL, keys)


def region(keys):
    return "return { regions = { us = { %s, models = { m = { %s } } } } }" % (keys, URL)


def top(keys):
    return "return { %s, regions = { us = { models = { m = { %s } } } } }" % (keys, URL)


M = "regions.us.models.m"
TWO = "return { regions = { us = { %s models = { m = { " + URL + " } } }, eu = { %s models = { m = { " + URL + " } } } } }"

# the text, where it must point, and words of the cure
BAD = [
    ("", "table.lua", "return"),
    ("return {", "table.lua:1", "expected"),
    ("return 5", "table.lua", "table"),
    ("error 'no'", "table.lua:1", "no"),
    ("while true do end", "table.lua", "stopped"),
    ("local x\nlocal y = x.y\nreturn {}", "table.lua:2", "nil"),
    ("return os.getenv 'HOME'", "table.lua:1", "os"),
    ("return {}", "regions", "add regions"),
    ("return { regions = {} }", "regions", "add regions"),
    ("return { regions = { us = {} } }", "regions.us.models", "add models"),
    (top("region = {}"), "region", 'did you mean "regions"'),
    (top("limits = { endpoint = 8 }"), "limits.endpoint", 'did you mean "endpoints"'),
    (top("limits = { endpoints = 0 }"), "limits.endpoints", "from 1"),
    (TWO.replace("return {", "return { limits = { endpoints = 1 },") % ("", ""), "limits.endpoints", "2 endpoints"),
    (TWO % ("aliases = { 'x' },", "aliases = { 'x' },"), "regions.us.aliases", '"x"'),
    (TWO % ("aliases = { 'eu' },", ""), "regions.us.aliases", "eu"),
    (region("health = 'nowhere'"), "regions.us.health", "http"),
    (region("in_flight = 0"), "regions.us.in_flight", "from 1"),
    (region("alias = { 'na' }"), "regions.us.alias", 'did you mean "aliases"'),
    ("return { regions = { us = { models = { m = {} } } } }", M + ".url", "add url"),
    ("return { regions = { us = { models = { m = { url = 'ftp://h/' } } } } }", M + ".url", "https://"),
    ("return { regions = { us = { models = { m = { url = 'https://u:p@h/' } } } } }", M + ".url", "header"),
    ("return { regions = { ['u s'] = { models = { m = { %s } } } } }" % URL, 'regions["u s"]', "letters"),
    (endpoint("slot = 2"), M + ".slot", 'did you mean "slots"'),
    (endpoint("slots = 0"), M + ".slots", "from 1"),
    (endpoint("deadline = '10 minutes'"), M + ".deadline", "90s"),
    (endpoint("hop = true"), M + ".hop", "duration"),
    (endpoint("retry = { attempts = 0 }"), M + ".retry.attempts", "from 1"),
    (endpoint("retry = { tries = 3 }"), M + ".retry.tries", "attempts"),
    (endpoint("breaker = 5"), M + ".breaker", "table"),
    (endpoint("adapter = 'modl'"), M + ".adapter", "modal"),
    (endpoint("adapter = 'http'"), M + ".options", "path"),
    (endpoint("options = { sendregion = true }"), M + ".options.sendregion", "send_region"),
    (endpoint("origins = { 'https://h/path' }"), M + ".origins", "https://host"),
    (endpoint("headers = { ['a b'] = 'c' }"), M + ".headers", "letters"),
    (endpoint("headers = { A = 'b\\r\\nC: d' }"), M + ".headers.A", "line"),
    (endpoint("url2 = secret 'NOT_SET_ANYWHERE'"), M + ".url2", "secret"),
    (endpoint("price_per_second = -1"), M + ".price_per_second", "from 0"),
    (endpoint("adaptive = { floor = 3 }"), M + ".adaptive", "slots"),
]


@pytest.mark.parametrize("text, where, cure", BAD, ids=[f"{n}-{where}" for n, (_, where, _) in enumerate(BAD)])
def test_a_bad_table(canvass, write, text, where, cure):
    path = write("table.lua", text)
    result = canvass("regions", "check", path)
    assert result.status == 2 and result.out == "", result
    line, = [line for line in result.err.splitlines() if line.startswith("canvass: ")]
    assert "table.lua" in line and where in line and cure in line, line
    assert "stack traceback" not in result.err or "[C]" not in line


def test_the_same_error_when_running(canvass, server, write):
    """Nothing is half loaded: no request, no database."""
    origin = server(lambda r: r.reply(500))
    path = write("table.lua", table({"us/m": origin.url(), "eu/m": dict(url=origin.url(), slot=2)}))
    for command in (["run", write("job.lua", "return { questions = { { id = 'q', prompt = 'p' } } }")], ["check"]):
        result = canvass(*command, "--regions", path)
        assert result.status == 2 and 'did you mean "slots"' in result.err
    assert not origin.requests and not (canvass.folder / "canvass.db").exists()


def test_a_missing_file(canvass, tmp_path):
    for path in (tmp_path / "nowhere.lua", tmp_path):
        result = canvass("regions", "check", path)
        assert result.status == 2 and str(path) in result.err and result.err.startswith("canvass: ")


GOOD = """
return {
  limits   = { endpoints = 8, in_flight = 8 },
  defaults = { deadline = "15m", hop = "3m", headers = { ["X-Team"] = "blue" } },
  groups   = { account = { in_flight = 4, rate = 60 } },
  regions  = {
    us = { aliases = { "us-east", "na" }, in_flight = 2, health = "https://h.example/health",
           models = { ["llama3.2-1b"] = { url = "https://h.example/", slots = 2, group = "account" },
                      ["org/model:1"] = { url = "https://h.example/2", paused = "out of quota" } } },
    eu = { deadline = "5m", models = { ["llama3.2-1b"] = { url = "https://eu.example/" } } },
  },
}
"""


def test_a_good_table(canvass, write):
    result = canvass("regions", "check", write("table.lua", GOOD))
    assert result.status == 0 and "3 endpoints" in result.out and "WARN" not in result.err, result


def test_warnings_do_not_fail(canvass, write):
    result = canvass("regions", "check", write("table.lua", endpoint("hop = '20s', deadline = '10s'")))
    assert result.status == 0
    assert "WARN" in result.err and "150s" in result.err and "deadline" in result.err


def settings(canvass, path):
    shown = canvass("regions", "show", path, "--json")
    assert shown.status == 0, shown
    return shown.json


def test_what_is_in_force_and_who_set_it(canvass, write):
    path = write("table.lua", GOOD)
    text = json.dumps(settings(canvass, path))
    found = {}

    def walk(value):
        if isinstance(value, dict):
            if {"value", "set_by"} <= set(value):
                found[value.get("path") or value.get("name") or value.get("setting")] = (value["value"], value["set_by"])
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)
    walk(json.loads(text))
    assert found["us/llama3.2-1b.slots"][0] == "2" and found["eu/llama3.2-1b.slots"] == ("1", "default")
    assert found["us/llama3.2-1b.deadline"] == ("15m", "defaults")
    assert found["eu/llama3.2-1b.deadline"][0] == "5m" and "eu" in found["eu/llama3.2-1b.deadline"][1]
    table_text = canvass("regions", "show", path).out
    assert "us/llama3.2-1b" in table_text and "deadline" in table_text


def test_the_revision_is_recorded(canvass, server, write):
    """Each row tells under which table it ran; the same file is the same revision, an edited one is not."""
    origin = server(lambda r: r.reply(200, dict(success=True, response="a")))
    script = write("job.lua", "return { name = 'j', questions = { { id = 'q', prompt = 'p' } } }")
    text = table({"us/m": origin.url()})
    for content in (text, text, text + "\n-- edited"):
        assert canvass.run(script, write("table.lua", content)).status == 0
    assert [r["revision"] for r in canvass.rows("SELECT revision FROM executions ORDER BY row")] == [1, 1, 2]
    revisions = canvass.rows("SELECT * FROM region_revisions ORDER BY revision")
    assert [r["revision"] for r in revisions] == [1, 2] and revisions[1]["source"].endswith("-- edited")
    assert revisions[0]["hash"] != revisions[1]["hash"] and all(r["author"] for r in revisions)


# ---- check: the health URLs ----

def health(models, **keys):
    return dict(status="healthy", region="us-east", models_available=models, models_ready=[], **keys)


def test_check_a_simulated_fleet(canvass, fleet):
    simulated = fleet(dict(regions=dict(us={"a": {}, "b": {}}, eu={"a": {}})))
    result = canvass("check", "--regions", simulated.table)
    assert result.status == 0, result
    stats = simulated.stats()
    assert stats["health"] == 2 and stats["posts"] == 0
    parsed = canvass("check", "--regions", simulated.table, "--json").json
    assert parsed["healthy"] and {c["regions"] for c in parsed["checks"]} == {"us", "eu"}
    assert all(c["http_status"] == 200 and c["took_s"] > 0 for c in parsed["checks"])


def test_check_finds_what_is_wrong(canvass, server, write, closed_port):
    def handle(request):
        {"/good": lambda: request.reply(200, health(["m"])), "/missing": lambda: request.reply(200, health(["other"])),
         "/extra": lambda: request.reply(200, health(["m", "more\x1b[31m"])),
         "/broken": lambda: request.reply(503, "<html>upstream \x1b[2Jfailed</html>"),
         "/odd": lambda: request.reply(200, "<html>hello</html>")}[request.path]()
    origin = server(handle)
    names = ["good", "missing", "extra", "broken", "odd", "down"]
    urls = {name: origin.url("/" + name) for name in names}
    urls["down"] = f"http://127.0.0.1:{closed_port}/"
    path = write("t.lua", table({f"{name}/m": origin.url("/never") for name in names},
                                region={name: dict(health=url) for name, url in urls.items()}))
    result = canvass("check", "--regions", path, "--json")
    assert result.status == 1 and not result.json["healthy"], result
    found = {c["regions"]: c for c in result.json["checks"]}
    assert [name for name in names if found[name]["healthy"]] == ["good", "extra"]
    assert "neither status nor models" in found["odd"]["wrong"] and "hello" in found["odd"]["body"]
    assert found["missing"]["missing"] == "missing/m" and found["missing"]["extra"] == "other"
    assert found["broken"]["http_status"] == 503 and "upstream" in found["broken"]["body"]
    assert "refused" in found["down"]["wrong"].lower() and found["down"]["http_status"] == 0
    assert not origin.asked("POST") and "\x1b" not in result.out.encode().decode("unicode_escape")
    text = canvass("check", "--regions", path)
    assert text.status == 1 and "\x1b" not in text.out
    for name in ("missing", "broken", "odd", "down"):
        assert urls[name] in text.out


@pytest.mark.parametrize("adapter, body, well", [
    ("modal", "", True), ("modal", "{}", False), ("modal", "[" * 100_000, False), ("modal", dict(status="healthy"), True),
    ("openai", "", True), ("openai", "<html>login</html>", False), ("openai", dict(data=[dict(id="m")]), True),
    ("http", "<html>fine</html>", True),
])
def test_check_does_not_take_any_page_for_a_healthy_one(canvass, server, write, adapter, body, well):
    """Only an adapter that reads no health takes each 200 for good; and a bare 200 is how some servers say so."""
    origin = server(lambda r: r.reply(200, body))
    options = dict(options=dict(body=dict(p="{{prompt}}"), answer="a")) if adapter == "http" else {}
    path = write("t.lua", table({"us/m": dict(url=origin.url("/m"), adapter=adapter, **options)},
                                region=dict(us=dict(health=origin.url("/health")))))
    result = canvass("check", "--regions", path, "--json")
    assert (result.status, result.json["healthy"]) == ((0, True) if well else (1, False)), result


def test_check_asks_each_url_once(canvass, server, write):
    origin = server(lambda r: r.reply(200, health(["m"])))
    path = write("t.lua", table({"us/m": origin.url(), "eu/m": origin.url(), "asia/m": origin.url()},
                                region={name: dict(health=origin.url("/health")) for name in ("us", "eu", "asia")}))
    assert canvass("check", "--regions", path).status == 0
    assert len(origin.requests) == 1 and origin.requests[0].method == "GET"


def test_check_without_health_urls(canvass, write):
    result = canvass("check", "--regions", write("t.lua", table({"us/m": "http://127.0.0.1:1/"})))
    assert result.status == 2 and "health" in result.err


# ---- secrets ----

SECRET = "tOpSeCrEt-4711-value"


def secret_table(origin, **keys):
    return ("return { regions = { us = { health = %r, models = { m = { url = %r, deadline = '20s', retry = { attempts = 2,"
            " base = '5ms', cap = '5ms' }, headers = { Authorization = secret('TOKEN', 'Bearer %%s'),"
            " ['Modal-Key'] = secret 'TOKEN' } } } } } }" % (origin.url("/health"), origin.url("/m")))


def check_secret_is_nowhere(canvass, *results):
    for result in results:
        assert SECRET not in result.out and SECRET not in result.err
    for path in canvass.folder.iterdir():
        if path.is_file() and path.name != "secrets":
            assert SECRET.encode() not in path.read_bytes(), path


def echo(request):
    """A careless endpoint: repeats what it was told in every error."""
    if request.path == "/health":
        request.reply(500, str(dict(request.headers)))
    else:
        request.reply(500, "bad credentials: " + request.headers["Authorization"])


@pytest.mark.parametrize("source", ["environment", "file"])
def test_secrets_reach_the_endpoint(canvass, server, write, source):
    origin = server(lambda r: r.reply(200, dict(success=True, response="a")))
    path = write("t.lua", secret_table(origin))
    script = write("job.lua", "return { name = 'j', questions = { { id = 'q', prompt = 'p' } } }")
    env, extra = dict(TOKEN=SECRET), []
    if source == "file":
        env, extra = {}, ["--secrets", write("secrets", f"# comment\nOTHER=x\nTOKEN={SECRET}\n")]
        os.chmod(extra[1], 0o600)
    ran = canvass.run(script, path, "--log-level", "debug", *extra, env=env)
    assert ran.status == 0, ran
    request = origin.requests[-1]
    assert request.headers["Authorization"] == f"Bearer {SECRET}" and request.headers["Modal-Key"] == SECRET
    shown = [canvass(*command, *extra, env=env) for command in (
        ["regions", "check", path], ["regions", "show", path], ["regions", "show", path, "--json"],
        ["plan", script, "--regions", path])]
    assert all(r.status == 0 for r in shown), shown
    assert "Bearer <secret TOKEN>" in shown[1].out and "TOKEN" in shown[2].out
    kept = [canvass("results", "last", "--format", form) for form in ("table", "jsonl", "csv")]
    check_secret_is_nowhere(canvass, ran, *shown, *kept)


def test_an_endpoint_that_repeats_its_credentials(canvass, server, write):
    """Even what comes back from the endpoint does not carry the secret into logs, screens or the database."""
    origin = server(echo)
    path = write("t.lua", secret_table(origin))
    script = write("job.lua", "return { name = 'j', questions = { { id = 'q', prompt = 'p' } } }")
    env = dict(TOKEN=SECRET)
    ran = canvass("run", script, "--regions", path, "--log-level", "debug", env=env)
    checked = canvass("check", "--regions", path, env=env)
    assert ran.status == 1 and checked.status == 1
    check_secret_is_nowhere(canvass, ran, checked, canvass("show", "last"), canvass("results", "last"))


@pytest.mark.parametrize("secret", [SECRET, "a/b+c=d&e-F.g"])
@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("status", [303, 307])
def test_a_secret_in_a_result_url(canvass, server, write, secret, encoded, status):
    """Sent back as it came, to whom it came from; kept and shown by its name."""
    spelled = urllib.parse.quote(secret, safe="") if encoded else secret
    seen = f"/result/{spelled}?key={spelled}"

    def handle(request):
        if request.path == "/m":
            request.reply(status, Location=seen)
        else:
            request.reply(200, dict(success=True, response="a"))
    origin = server(handle)
    script = write("job.lua", "return { name = 'j', questions = { { id = 'q', prompt = 'p' } } }")
    ran = canvass.run(script, write("t.lua", secret_table(origin)), "--log-level", "debug", env=dict(TOKEN=secret))
    assert ran.status == 0 and [r.path for r in origin.requests] == ["/m", seen], ran
    for path in canvass.folder.iterdir():
        if path.is_file():
            assert not any(s.encode() in path.read_bytes() for s in (secret, spelled)), path
    assert secret not in ran.out + ran.err and spelled not in ran.out + ran.err
    if status == 303:
        assert canvass.rows("SELECT result_url FROM attempts")[0]["result_url"].startswith(
            origin.url("/result/<secret:TOKEN"))


def test_a_secret_in_a_result_url_elsewhere(canvass, server, write):
    """An origin the operator trusts with results is not one he trusts with secrets."""
    friend = server(lambda r: r.reply(200, dict(success=True, response="a")))
    origin = server(lambda r: r.reply(303, Location=friend.url("/?key=" + SECRET)))
    path = write("t.lua", secret_table(origin).replace("deadline", "origins = { %r }, deadline" % friend.origin))
    script = write("job.lua", "return { name = 'j', questions = { { id = 'q', prompt = 'p' } } }")
    ran = canvass.run(script, path, env=dict(TOKEN=SECRET))
    row, = canvass.rows("SELECT class, error FROM executions")
    assert ran.status == 1 and not friend.requests and row["class"] == "config" and "secret" in row["error"], ran
    check_secret_is_nowhere(canvass, ran)


def test_a_missing_secret_is_named(canvass, server, write):
    """To run without it is an error, to look at the table is not."""
    origin = server(lambda r: r.reply(500))
    path, script = write("t.lua", secret_table(origin)), write("job.lua", "return { questions = { { id = 'q', prompt = 'p' } } }")
    ran, checked = canvass("run", script, "--regions", path), canvass("regions", "check", path)
    assert ran.status == 2 and checked.status == 0 and not origin.requests
    for result in ran, checked:
        assert "secret TOKEN is not set" in result.err and "--secrets" in result.err and "export" in result.err


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
def test_a_secrets_file_that_others_can_read(canvass, server, write, mode):
    origin = server(lambda r: r.reply(500))
    secrets = write("secrets", f"TOKEN={SECRET}\n")
    os.chmod(secrets, mode)
    result = canvass("regions", "check", write("t.lua", secret_table(origin)), "--secrets", secrets)
    assert result.status == 2 and f"mode {mode:04o}" in result.err and f"chmod 600 {secrets}" in result.err
    assert SECRET not in result.err


@pytest.mark.parametrize("line", ["TOKEN", "=x", "TOKEN=a\x07b", "TO KEN=x"])
def test_a_bad_secrets_file(canvass, server, write, line):
    origin = server(lambda r: r.reply(500))
    secrets = write("secrets", line + "\n")
    os.chmod(secrets, 0o600)
    result = canvass("regions", "check", write("t.lua", secret_table(origin)), "--secrets", secrets)
    assert result.status == 2 and result.err.startswith("canvass: ")


def test_a_script_cannot_read_a_secret(canvass, server, write):
    """Neither the table's own Lua nor the job sees the value."""
    origin = server(lambda r: r.reply(500))
    leak = "local s = secret 'TOKEN'\nlocal t = tostring(s)\nerror('leak: ' .. t .. (pcall(function() return s .. '' end)" \
           " and s .. '' or ''))"
    result = canvass("regions", "check", write("t.lua", leak), env=dict(TOKEN=SECRET))
    assert result.status == 2 and SECRET not in result.err and "leak" in result.err
    job = "return { questions = { { id = 'q', prompt = secret 'TOKEN' } } }"
    result = canvass("run", write("j.lua", job), "--regions", write("g.lua", table({"us/m": origin.url()})),
                     env=dict(TOKEN=SECRET))
    assert result.status == 2 and "secret" in result.err and SECRET not in result.err and not origin.requests

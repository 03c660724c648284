"""Each kind of endpoint: what is sent, what is read from the answer, and an adapter of one's own."""
import pytest

from helpers import answer, job, lua, replies, table

PARAMETERS = dict(temperature=0.1, max_tokens=500)
SIMPLE = dict(cold=[1, 1], service=[1, 2], redirect_after=False)


def run_one(canvass, server, write, handler, adapter, path="/", count=1, parameters=None, **keys):
    origin = server(handler)
    script = write("job.lua", job(count, parameters=parameters or PARAMETERS))
    result = canvass.run(script, write("t.lua", table({"us/m": dict(url=origin.url(path), adapter=adapter, **keys)})))
    return origin, result, canvass.rows("SELECT * FROM executions ORDER BY row")


@pytest.mark.parametrize("schema", ["modal", "modal_old", "openai", "anthropic", "runpod"])
def test_a_fleet_of_each_schema(canvass, fleet, write, schema):
    simulated = fleet(dict(defaults=dict(SIMPLE, schema=schema), regions=dict(us={"a": {}, "b": {}}, eu={"a": {}})))
    result = canvass.run(write("job.lua", job(4, parameters=PARAMETERS)), simulated.table)
    assert result.status == 0, result
    stats = simulated.stats()
    assert stats["posts"] == 12 and stats["rejected"] == 0
    for row in canvass.rows("SELECT * FROM executions"):
        assert row["answer"] and row["posts"] == 1
    checked = canvass("check", "--regions", simulated.table, "--json")
    assert checked.status == 0 and checked.json["healthy"]


def test_modal(canvass, server, write):
    reply = dict(success=True, response="yes", model="m", region="us", tokens_generated=7, receipt=dict(x=1))
    origin, result, (row,) = run_one(canvass, server, write, replies(reply), "modal", options=dict(send_region=True))
    assert result.status == 0, result
    assert origin.requests[0].json == dict(PARAMETERS, model="m", prompt="question 1", region="us")
    assert (row["answer"], row["completion_tokens"]) == ("yes", 7)


def test_openai(canvass, server, write):
    reply = dict(id="1", model="gpt-x-2025-01-01", choices=[dict(index=0, finish_reason="stop", message=dict(
        role="assistant", content="yes"))], usage=dict(prompt_tokens=3, completion_tokens=5, total_tokens=8))
    origin, result, (row,) = run_one(canvass, server, write, replies(reply), "openai", path="/v1/chat/completions",
                                     options=dict(system="Be brief.", send_model="gpt-x"))
    assert result.status == 0, result
    assert origin.requests[0].path == "/v1/chat/completions"
    assert origin.requests[0].json == dict(PARAMETERS, model="gpt-x", messages=[
        dict(role="system", content="Be brief."), dict(role="user", content="question 1")])
    assert (row["answer"], row["prompt_tokens"], row["completion_tokens"]) == ("yes", 3, 5)
    assert canvass.rows("SELECT served_model FROM attempts") == [dict(served_model="gpt-x-2025-01-01")]


def choice(**message):
    return dict(choices=[dict(message=message, finish_reason="stop")])


@pytest.mark.parametrize("reply, text", [
    (choice(content="plain"), "plain"), (choice(content=""), ""), (choice(content=None, refusal="I cannot."), "I cannot."),
    (choice(content=[dict(type="text", text="in "), dict(type="text", text="parts")]), "in parts"),
])
def test_openai_answers(canvass, server, write, reply, text):
    _, result, (row,) = run_one(canvass, server, write, replies(reply), "openai")
    assert result.status == 0 and row["answer"] == text


@pytest.mark.parametrize("reply", [
    {}, dict(choices=[]), dict(choices=[{}]), dict(choices=[dict(message=None)]), dict(choices="none"), choice(content=None),
    choice(content=None, tool_calls=[dict(id="x", type="function", function=dict(name="f", arguments="{}"))]),
    choice(content=5), dict(error=dict(message="bad", type="invalid_request_error")),
])
def test_openai_without_an_answer(canvass, server, write, reply):
    _, result, (row,) = run_one(canvass, server, write, replies(reply), "openai", retry=dict(attempts=1))
    assert result.status == 1 and row["status"] == "failed" and row["answer"] is None and row["error"]


def test_anthropic(canvass, server, write):
    reply = dict(type="message", model="m", role="assistant", stop_reason="end_turn", usage=dict(
        input_tokens=3, output_tokens=5), content=[dict(type="text", text="yes "), dict(type="text", text="indeed")])
    origin, result, (row,) = run_one(canvass, server, write, replies(reply), "anthropic", headers={"x-api-key": "k"})
    assert result.status == 0, result
    request = origin.requests[0]
    assert request.json == dict(PARAMETERS, model="m", messages=[dict(role="user", content="question 1")])
    assert request.headers["anthropic-version"] == "2023-06-01" and request.headers["x-api-key"] == "k"
    assert (row["answer"], row["prompt_tokens"], row["completion_tokens"]) == ("yes indeed", 3, 5)


def test_anthropic_wants_max_tokens(canvass, server, write):
    """Refused before anything is sent, with the cure."""
    origin, result, (row,) = run_one(canvass, server, write, replies(answer()), "anthropic", parameters=dict(top_k=1))
    assert result.status == 1 and not origin.requests
    assert row["class"] == "config" and "max_tokens" in row["error"] and row["posts"] == 0


def test_anthropic_overloaded(canvass, server, write):
    overloaded = dict(type="error", error=dict(type="overloaded_error", message="Overloaded"))
    well = dict(content=[dict(type="text", text="yes")], stop_reason="end_turn")
    origin, result, (row,) = run_one(canvass, server, write, replies(lambda r: r.reply(529, overloaded), well), "anthropic")
    assert result.status == 0 and len(origin.requests) == 2 and row["answer"] == "yes"


def test_runpod(canvass, server, write):
    """The id of the job is asked for at its documented place until the output is there; one POST."""
    def handle(request):
        if request.method == "POST":
            request.reply(200, dict(id="job-7", status="IN_QUEUE"))
        elif len(origin.asked("GET")) < 3:
            request.reply(200, dict(id="job-7", status="IN_PROGRESS"))
        else:
            request.reply(200, dict(id="job-7", status="COMPLETED", output=dict(text="yes")))
    origin = server(handle)
    result = canvass.run(write("job.lua", job(1, parameters=PARAMETERS)), write("t.lua", table(
        {"us/m": dict(url=origin.url("/v2/abc/run"), adapter="runpod")})))
    assert result.status == 0, result
    assert [r.path for r in origin.requests] == ["/v2/abc/run"] + ["/v2/abc/status/job-7"] * 3
    assert origin.requests[0].json["input"] == dict(PARAMETERS, model="m", prompt="question 1")
    assert canvass.rows("SELECT e.answer, e.posts, a.result_url FROM executions e, attempts a") == [
        dict(answer="yes", posts=1, result_url=origin.url("/v2/abc/status/job-7"))]


@pytest.mark.parametrize("reply, name", [
    (dict(id="1", status="TIMED_OUT"), "timeout"), (dict(id="1", status="CANCELLED"), "bad_response"),
    (dict(id="1", status="FAILED", error="boom"), "bad_response"), (dict(id="../../x", status="IN_QUEUE"), "bad_response"),
    (dict(id="1", status="COMPLETED"), "bad_response"), (dict(id="1"), "bad_response"),
])
def test_runpod_failures(canvass, server, write, reply, name):
    origin, result, (row,) = run_one(canvass, server, write, replies(reply), "runpod", path="/v2/abc/run",
                                     retry=dict(attempts=1))
    assert result.status == 1 and row["class"] == name and row["error"], (result, row)


def test_http(canvass, server, write):
    """Any JSON API, described in the table."""
    options = dict(answer="data[0].text", model="served", completion_tokens="usage.out", error="problem", body=dict(
        inputs="{{prompt}}", who="{{model}} in {{region}}", parameters=dict(t="{{parameters.temperature}}"), fixed=[1, True]))
    reply = dict(data=[dict(text="yes")], served="m", usage=dict(out=9))
    origin, result, (row,) = run_one(canvass, server, write, replies(reply), "http", options=options)
    assert result.status == 0, result
    assert origin.requests[0].json == dict(inputs="question 1", who="m in us", parameters=dict(t=0.1), fixed=[1, True])
    assert (row["answer"], row["completion_tokens"]) == ("yes", 9)


def test_http_errors_name_the_path(canvass, server, write):
    options = dict(answer="data[0].text", error="problem", body=dict(p="{{prompt}}"))
    _, result, rows = run_one(canvass, server, write, replies(dict(data=[]), dict(problem="no GPU")), "http", count=2,
                              options=options, retry=dict(attempts=1))
    assert result.status == 1
    assert "data[0].text" in rows[0]["error"] and "no GPU" in rows[1]["error"]


def test_http_prompts_are_escaped(canvass, server, write):
    """Whatever stands in a prompt, the body stays JSON."""
    nasty = 'a "quoted" \\ {{model}} \n\t\x01 é {"x":1}'
    origin = server(lambda r: r.reply(200, dict(text=r.json["p"])))
    for number, body in enumerate([dict(p="{{prompt}}"), '{"p": {{prompt}}}', '{"p": "{{prompt}}"}']):
        script = write("job.lua", job(questions=[dict(id="q", prompt=nasty)]))
        result = canvass.run(script, write("t.lua", table({"us/m": dict(
            url=origin.url(), adapter="http", options=dict(body=body, answer="text"))})), "--db", f"{number}.db")
        assert result.status == 0, result
        assert canvass.rows("SELECT answer FROM executions", db=f"{number}.db") == [dict(answer=nasty)]


OWN = """
return {
  headers = { ["X-Style"] = "own" },
  options = { shout = "boolean" },
  request = function(ask) return { say = ask.options.shout and ask.prompt:upper() or ask.prompt, n = ask.sample } end,
  answer = function(response)
    if response.json and response.json.words then return { text = table.concat(response.json.words, " ") } end
    if response.json and response.json.busy then return { error = "busy", class = "http_server", transient = true } end
  end,
}"""


def test_an_adapter_beside_the_table(canvass, server, write):
    write("adapters/own.lua", OWN)
    origin, result, (row,) = run_one(canvass, server, write, replies(dict(busy=True), dict(words=["a", "b"])), "own",
                                     options=dict(shout=True))
    assert result.status == 0, result
    assert origin.requests[0].json == dict(say="QUESTION 1", n=1) and origin.requests[0].headers["X-Style"] == "own"
    assert row["answer"] == "a b" and len(origin.requests) == 2


def test_an_adapter_of_ones_own_is_part_of_the_revision(canvass, server, write):
    """The table's text stays the same; an edited adapter is another revision all the same."""
    origin = server(replies(dict(words=["a"])))
    script, regions = write("job.lua", job()), write("t.lua", table({"us/m": dict(url=origin.url(), adapter="own")}))
    for text in (OWN, OWN, OWN + "\n-- edited"):
        write("own.lua", text)
        assert canvass.run(script, regions).status == 0
    assert [r["revision"] for r in canvass.rows("SELECT revision FROM executions ORDER BY row")] == [1, 1, 2]


@pytest.mark.parametrize("body, words", [
    ("error 'I cannot read this'", "cannot read"), ("return 5", "number"), ("return { txt = 'x' }", "txt"),
    ("while true do end", "stopped"), ("repeat pcall(function() while true do end end) until false", "stopped"),
    ("local x = nil; return x.y", "nil"), ("return { text = ('x'):rep(1e9) }", ""),
])
def test_an_adapter_that_fails(canvass, server, write, body, words):
    """Its executions fail with its own words; the endpoints of other adapters never notice."""
    write("own.lua", "return { request = function(ask) return { p = ask.prompt } end, answer = function(response)\n"
          + body + "\nend }")
    origin = server(replies(answer("fine")))
    keys = dict(url=origin.url("/own"), adapter="own", retry=dict(attempts=1))
    result = canvass.run(write("job.lua", job(2)), write("t.lua", table({"us/bad": keys, "us/m": origin.url("/m")})),
                         "--script-call-time", "200ms")
    assert result.status == 1, result
    found = canvass.rows("SELECT * FROM executions ORDER BY row")
    assert [r["status"] for r in found if r["model_id"] == "m"] == ["succeeded"] * 2
    bad = [r for r in found if r["model_id"] == "bad"]
    assert all(r["status"] == "failed" and r["class"] in ("bad_response", "config") and words in r["error"] for r in bad), bad


def test_a_request_that_cannot_be_built(canvass, server, write):
    write("own.lua", "return { request = function(ask) return nil, 'no words for this' end, answer = function() end }")
    origin, result, (row,) = run_one(canvass, server, write, replies(answer()), "own")
    assert result.status == 1 and not origin.requests
    assert row["class"] == "config" and "no words for this" in row["error"] and row["posts"] == 0


def test_an_adapter_may_only_lead_to_its_own_origin(canvass, server, write):
    stranger = server(replies(answer()))
    write("own.lua", "return { request = function() return '{}' end, answer = function() return { poll = %s } end }"
          % lua(stranger.url("/steal")))
    _, result, (row,) = run_one(canvass, server, write, replies({}), "own")
    assert result.status == 1 and not stranger.requests and row["class"] == "config"


def test_ids_with_slashes(canvass, fleet, write):
    """A model may be called org/name: percent-encoded where it is part of a URL, plain everywhere else."""
    simulated = fleet(dict(defaults=SIMPLE, regions=dict(us={"org/model:1": {}})))
    result = canvass.run(write("job.lua", job(1, models=["org/model:1"])), simulated.table)
    assert result.status == 0, result
    assert canvass.rows("SELECT model_id, endpoint FROM executions") == [
        dict(model_id="org/model:1", endpoint="us/org/model:1")]
    assert "%2F" in simulated.table.read_text()
    assert len(canvass("results", "last", "--model", "org/model:1", "--json").json["executions"]) == 1

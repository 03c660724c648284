"""What the documentation says is what the program does: every key it knows is there, no other is, and the code runs."""
import re
import subprocess
from pathlib import Path

import pytest

from conftest import BINARY, ROOT
from helpers import job, table

README = (ROOT / "README.md").read_text()
LUA_README = (ROOT / "lua" / "README.md").read_text()
SCRIPT = ROOT / "src" / "script"


def sections(text):
    """Heading -> what stands below it, deeper headings included."""
    found, lines = {}, text.split("\n")
    fenced = False
    headings = []
    for number, line in enumerate(lines):
        fenced ^= line.startswith("```")
        if line.startswith("#") and not fenced:
            level, title = line.split(" ", 1)
            headings.append((number, len(level), title))
    for at, (number, level, title) in enumerate(headings):
        end = next((n for n, other, _ in headings[at + 1:] if other <= level), len(lines))
        found[title] = "\n".join(lines[number + 1:end])
    return found


DOC = sections(LUA_README)


def ticked(text):
    """Everything in `code` quotes, and the words in it."""
    found = set()
    for code in re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S)):
        found.add(code)
        found.update(re.findall(r"[A-Za-z0-9_]+", code))
    return found


def first_column(text, header):
    """The `code` in the first column of the table whose first column is called header."""
    lines = text.split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {header} |"))
    found = set()
    for line in lines[start + 2:]:
        if not line.startswith("|"):
            break
        found.update(re.findall(r"`([^`]+)`", re.split(r"(?<!\\)\|", line)[1]))
    return found


def source(pattern):
    """The C files of one subject, without their comments."""
    files = sorted(SCRIPT.glob(pattern))
    assert files, pattern
    return "\n".join(re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S) for path in files)


READERS = r"(?:field_(?:string|text|bool|number|integer|duration|strings|type|push|table|map|url)|read_(?:cap|integer|count|dist|" \
          r"optional_time|choice|region_list)|job_read_(?:name|models|regions|samples|timeout)|push_or_nil)"


def keys_read(text):
    """Every key that is read by its literal name."""
    return set(re.findall(READERS + r'\((?:[^"();]|\([^()]*\))*?"(\w+)"', text))


def function(text, name):
    """The body of one C function."""
    begin = re.search(r"^[a-z][^;{}=]*\b" + name + r"\([^;{}]*\)\n\{", text, flags=re.M)
    assert begin, f"no function {name}"
    return text[begin.start():text.index("\n}\n", begin.start())]


def strings_of(text, array):
    """The texts of a C array."""
    body = re.search(re.escape(array) + r"\[\w*\] = \{(.*?)\};", text, flags=re.S)
    assert body, f"no array {array}"
    return set(re.findall(r'"(\w+)"', body.group(1)))


def registered(text):
    """Names in tables of luaL_Reg, metamethods aside."""
    return {name for name in re.findall(r'\{"(\w+)", [a-z_]+\}', text) if not name.startswith("__")}


def test_parser_finds_what_is_there():
    """The other tests would pass on an empty set."""
    assert keys_read('field_string(f, "a", &x); read_cap(&f, "b", &y); push_or_nil(L, &f, "c");') == {"a", "b", "c"}
    assert "a" not in keys_read('field_fail(f, "a", "do b", "c")')
    assert first_column("| x | y |\n|---|---|\n| `a` `b` | `c` |\n\n| `d` |", "x") == {"a", "b"}


# ---- job scripts ----

def test_job_keys():
    keys = source("job_*.c")
    known = (keys_read(function(keys, "read_script")) | keys_read(function(keys, "job_read_rest")) |
             keys_read(function(keys, "read_on_missing")) | keys_read(function(keys, "job_read_parameters")) |
             keys_read(function(keys, "keep_score")) | {"derived"})
    assert keys_read(function(keys, "read_derived")) == {"derived", "of", "kind"}
    assert len(known) >= 12
    assert first_column(DOC["Job scripts"], "key") == known


def test_settings_that_override():
    plain = strings_of(source("job_*.c"), "plain")
    overriding = DOC["Job scripts"].split("**From the command line.**")[1].split("###")[0]
    assert len(plain) >= 7 and plain <= ticked(overriding)


def test_global_canvass():
    names = registered(function(source("job_*.c"), "job_push_api")) | {"settings"}
    names |= registered(function(source("policy*.c"), "policy_add_functions"))
    names |= strings_of(source("data_*.c"), "kinds")
    assert len(names) >= 9
    there = {code.removeprefix("canvass.").split("(")[0].split(".")[0]
             for code in first_column(DOC["The global `canvass`"], "name")}
    assert there == names


def test_progress_counters():
    progress = function(source("policy*.c"), "api_progress")
    counters = set(re.findall(r'\{"(\w+)",', progress))
    statuses = set(re.findall(r'X\([A-Z_]+, "(\w+)"\)', status_list("STATUS_LIST")))
    assert len(counters) == 6 and len(statuses) == 8
    assert counters | statuses <= ticked(DOC["The global `canvass`"])


def status_list(name):
    header = (ROOT / "src" / "core" / "status.h").read_text()
    return re.search(rf"#define {name}\(X\)(.*?)\n\n", header, flags=re.S).group(1)


def test_plan_methods():
    methods = registered(function(source("policy*.c"), "plan_open"))
    assert len(methods) == 8
    there = {re.match(r"plan:(\w+)", code).group(1)
             for code in first_column(DOC["Policies"], "method") if code.startswith("plan:")}
    assert there == methods
    keys = re.findall(r"one of ([a-z, ]+)\"", source("policy*.c"))[0].split(", ")
    assert set(keys) <= ticked(DOC["Policies"])


def test_policies():
    assert first_column(DOC["Policies"], "policy") == strings_of(source("job_*.c"), "builtin")


def test_specification_keys():
    text = source("job_json*.c")
    lists = " ".join(re.findall(r'(?:said|model_keys|keys)\[\] = \{(.*?)\}', text, flags=re.S))
    known = keys_read(text) | set(re.findall(r'"(\w+)"', lists))
    metadata = re.search(r"read_models.*?said\[\] = \{(.*?)\}", text, flags=re.S).group(1)
    known -= set(re.findall(r'"(\w+)"', metadata))  # "in metadata everything but models"
    assert {"jobspec", "target_regions", "constraints", "runs", "benchmark", "signature"} <= known
    assert known - ticked(DOC["JSON specifications"]) == set()


# ---- region tables ----

def test_endpoint_keys():
    text = source("table_*.c")
    rows = re.findall(r'^    \{(NULL|"\w+"), "(\w+)", KIND_', text, flags=re.M)
    known = {name if nested == "NULL" else f"{nested[1:-1]}.{name}" for nested, name in rows}
    known |= keys_read(function(text, "table_headers_read")) | keys_read(function(text, "read_options"))
    assert len(known) >= 28
    assert first_column(DOC["Region tables"], "endpoint key") == known


def test_table_and_region_keys():
    text = source("table_*.c")
    top = {"defaults", "groups", "regions"} | {f"limits.{key}" for key in keys_read(function(text, "read_limits"))
                                               if key != "limits"}
    if "read_speed" in text:
        top |= keys_read(function(text, "read_speed"))
    assert first_column(DOC["Region tables"], "key of the table") == top
    region = keys_read(function(text, "read_region")) | keys_read(function(text, "read_models"))
    assert first_column(DOC["Region tables"], "key of a region") == region | {"paused"}
    assert keys_read(function(text, "read_group")) <= ticked(DOC["Region tables"])


def test_endpoint_defaults(canvass, write):
    """The defaults in the table are those in force."""
    path = write("regions.lua", 'return { regions = { r = { health = "https://h.example/", models = '
                                '{ m = { url = "https://m.example/" } } } } }')
    shown = canvass("regions", "show", path, "--json")
    assert shown.status == 0, shown
    force = {setting["setting"].removeprefix("r/m."): setting["value"] for setting in shown.json["settings"]}
    checked = 0
    for line in DOC["Region tables"].split("| endpoint key |")[1].split("\n\n")[0].split("\n")[2:]:
        names, default = re.split(r"(?<!\\)\|", line)[1:3]
        name, default = re.findall(r"`([^`]+)`", names)[0], default.strip().strip("`").strip('"')
        if name in force and default not in ("", "none"):
            assert same_value(default, force[name]), (name, default, force[name])
            checked += 1
    assert checked >= 15


def same_value(said, shown):
    """60s and 1m are the same."""
    units = {"ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400}
    numbers = []
    for text in (said, shown):
        found = re.fullmatch(r"([\d.]+)(ms|[smhd])", text)
        numbers.append(float(found.group(1)) * units[found.group(2)] if found else text)
    return numbers[0] == numbers[1]


# ---- adapters ----

def test_adapters_and_their_options():
    files = {path.stem: path.read_text() for path in (ROOT / "lua" / "canvass" / "adapters").glob("*.lua")}
    assert len(files) >= 5
    rows = dict(re.findall(r"^\| \[`(\w+)`\]\([^)]*\) \|[^|]*\| (.*) \|$", DOC["Adapters"], flags=re.M))
    assert set(rows) == set(files)
    for name, text in files.items():
        body = re.search(rf"^{name}\.options = \{{(.*?)^\}}", text, flags=re.M | re.S).group(1)
        options = set(re.findall(r"^    (\w+) =", body, flags=re.M))
        assert options and set(re.findall(r"`(\w+)`", rows[name])) == options, name


def test_adapter_fields():
    load = source("adapters*.c")
    fields = set(re.findall(r'take_function\(&f, "(\w+)"', load)) | {"headers", "options"}
    documented = {re.match(r"\w+", code).group() for code in first_column(DOC["Adapters"], "field")}
    assert len(fields) == 6 and documented == fields
    parts = strings_of(source("adapters*.c"), "part_names[PART_COUNT]".split("[")[0])
    assert len(parts) == 10
    returns = first_column(DOC["Adapters"], "`answer` returns")
    assert parts == set(re.findall(r"(\w+) =", " ".join(returns)))
    seen = set(re.findall(r'(?:set_string\(L, |lua_setfield\(L, -2, |strcmp\(key, )"([a-z]\w*)"', load))
    assert len(seen) >= 12
    told = first_column(DOC["Adapters"], "`ask`") | first_column(DOC["Adapters"], "`response`") | {"id", "expected"}
    assert seen - {"error_text"} <= told


def test_what_an_adapter_sees(canvass, write, server):
    names = first_column(DOC["Adapters"], "`ask`")
    checks = "".join(f'if ask.{name} == nil then return nil, "no {name}" end ' for name in sorted(names))
    write("adapters/mine.lua", "return { request = function(ask) " + checks + "return {} end, answer = function(response) "
          "return { text = response.status .. response.body .. response.json.a } end }")
    one = server(lambda request: request.reply(200, '{"a":"b"}'))
    where = write("regions.lua", table({"r/m": one.url("/ask")}, adapter="mine"))
    result = canvass.run(write("job.lua", job()), where)
    assert result.status == 0, result
    assert canvass.rows("SELECT answer FROM executions") == [dict(answer='200{"a":"b"}b')]


def test_failure_classes():
    classes = set(re.findall(r'X\([A-Z_]+, "(\w+)"\)', status_list("CLASS_LIST")))
    listed = DOC["Adapters"].split("The failure classes:")[1].split("\n\n")[0]
    assert len(classes) == 15 and set(re.findall(r"`(\w+)`", listed)) == classes


# ---- fleets ----

def test_fleet_keys():
    text = source("fleet_*.c")
    top = keys_read(function(text, "read_top")) | {"regions", "faults"}
    assert first_column(DOC["Fleets"], "key of the fleet") == top
    endpoint = keys_read(function(text, "read_endpoint"))
    assert len(endpoint) >= 12 and first_column(DOC["Fleets"], "endpoint key") == endpoint
    fault = keys_read(function(text, "read_fault"))
    assert first_column(DOC["Fleets"], "key of a fault") == fault
    for array in ("schemas", "overflows", "faults"):
        names = strings_of(text, f"{array}")
        assert len(names) >= 4 and names <= ticked(DOC["Fleets"]), array


# ---- the sandbox ----

ABSENT = """io os package debug load loadfile dofile collectgarbage warn string.dump string.pack string.packsize
string.unpack""".split()


@pytest.mark.parametrize("name", ABSENT)
def test_what_is_not_there(canvass, write, name):
    assert f"`{name}`" in DOC["What a script may do"]
    path = write("job.lua", f"if {name} then error 'it is there' end\n" + job())
    where = write("table.lua", table({"r/m": "http://127.0.0.1:9/"}))
    result = canvass("plan", path, "--regions", where)
    assert result.status == 0, result


def test_limits():
    limits = (SCRIPT / "limits.h").read_text()
    load_us, call_us, memory = re.search(r"SCRIPT_LIMITS_DEFAULT \{(\d+), (\d+), (\d+)u << 20\}", limits).groups()
    said = DOC["What a script may do"]
    assert f"{int(load_us) // 10**6} s to load, {int(call_us) // 10**6} s for each call" in said
    assert f"{memory} MiB" in said


# ---- the code in it runs ----

def code(title):
    return re.findall(r"```lua\n(.*?)```", DOC[title], flags=re.S)


def test_job_and_table_of_the_documentation(canvass, write):
    (script,), (regions,) = code("Job scripts"), code("Region tables")
    where = write("regions.lua", regions)
    result = canvass("regions", "check", where, env={"LAB_KEY": "x"})
    assert result.status == 0 and "2 endpoints in 2 regions" in result.out and "WARN" not in result.err, result
    where = write("all.lua", table({"us/llama3.2-1b": "http://127.0.0.1:9/", "eu/mistral-7b": "http://127.0.0.1:9/"}))
    result = canvass("plan", write("job.lua", script), "--regions", where)
    assert result.status == 0 and "= 2 executions" in result.out, result


def test_adapter_of_the_documentation(canvass, write, server):
    (text,) = code("Adapters")
    write("adapters/mine.lua", text)
    answers = [dict(result=None, reason="busy"), dict(result=dict(text="four", model="m"))]
    one = server(lambda request: request.reply(200, answers[min(len(one.asked()), 2) - 1]))
    options = dict(style="short", limit=3)
    where = write("regions.lua", table({"r/m": one.url("/ask")}, adapter="mine", options=options))
    result = canvass.run(write("job.lua", job(parameters=dict(temperature=1))), where)
    assert result.status == 0, result
    assert [request.json for request in one.asked()] == 2 * [
        dict(input="question 1", engine="m", style="short", limit=3, temperature=1)]
    assert one.asked()[0].headers["X-Api-Version"] == "2"
    assert canvass.rows("SELECT answer FROM executions") == [dict(answer="four")]
    bad = write("bad.lua", table({"r/m": one.url("/ask")}, adapter="mine", options=dict(limit=-1)))
    result = canvass("regions", "check", bad)
    assert result.status == 2 and "give a number above 0" in result.err, result


def test_fleet_of_the_documentation(fleet):
    (text,) = code("Fleets")
    assert list(fleet(text).stats()["endpoints"]) == ["us/llama3.2-1b"]


# ---- README.md ----

def commands():
    """The commands that the program lists."""
    listed = subprocess.run([BINARY, "--help"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"^  ([a-z]+(?: [a-z]+)?)  +\S", listed, flags=re.M)


def test_readme_lists_the_commands():
    listed = commands()
    assert len(listed) >= 10
    said = first_column(sections(README)["Commands"], "command")
    assert {re.sub(r" [A-Z].*", "", one) for one in said} == {f"canvass {name}" for name in listed}


def test_readme_job_and_table(canvass, write):
    regions, script = re.findall(r"```lua\n(.*?)```", README, flags=re.S)
    result = canvass("plan", write("job.lua", script), "--regions", write("regions.lua", regions))
    assert result.status == 0 and "WARN" not in result.err, result


def test_readme_figures(canvass, fleet):
    """64 at once fail as the text says, and in step they do not."""
    assert "32 of the 64" in README and "64 of 64, for 64 POSTs, in nine simulated minutes" in README
    example = ROOT / "examples" / "bias-detection"
    simulated = fleet(example / "fleet.lua", 120)
    loose = simulated.write_table(defaults=dict(slots=8, retry=False), region={
        "us": dict(aliases=["us-east"]), "eu": dict(aliases=["eu-west"]), "asia": dict(aliases=["asia-southeast"])})
    result = canvass.run(example / "job.lua", loose, "--policy", "free")
    assert result.status == 1 and result.json["executions"]["succeeded"] == 32, result
    simulated.get("/reset", "POST")
    result = canvass.run(example / "job.lua", simulated.table)
    stats = simulated.stats()
    assert result.json["executions"]["succeeded"] == stats["posts"] == 64, result
    assert 8 < (stats["last_answer_at"] - stats["first_post_at"]) / 60 < 9.7


def test_readme_summary_is_the_program_s(canvass, fleet):
    """The same words as `run` prints; figures aside."""
    said = re.search(r"^(bias-detection-1: succeeded.*?)\n```", README, flags=re.S | re.M).group(1)
    simulated = fleet(ROOT / "examples" / "bias-detection" / "fleet.lua", 600)
    result = canvass("run", ROOT / "examples" / "bias-detection" / "job.lua", "--regions", simulated.table)
    printed = result.out.split("\n\nnext:")[0]
    unit = r"\b(?:ms|us|s|m|h)\b"
    words = [re.sub(r"[\d.]+|" + unit, "", text).split() for text in (said, printed)]
    assert words[0] == words[1]


@pytest.mark.parametrize("path", ["README.md", "lua/README.md", "src/README.md"])
def test_links(path):
    """Everything that is linked or named as a path is there."""
    text, folder = (ROOT / path).read_text(), (ROOT / path).parent
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert all((folder / link).exists() for link in links if link), links
    named = re.findall(r"`((?:src|lua|scripts|tests|examples)/[\w./-]*)`", text)
    assert all((ROOT / name).exists() or (folder / name).exists() for name in named), named


@pytest.mark.parametrize("path", ["README.md", "lua/README.md"])
def test_anchors(path):
    text = (ROOT / path).read_text()
    slugs = {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in sections(text)}
    anchors = re.findall(r"\]\(#([^)]+)\)", text)
    assert set(anchors) <= slugs


def test_the_image_has_what_the_program_needs():
    """Each shared library that it names, to the system's loader or to load it later, is of a package of scripts/Dockerfile."""
    named = {name.decode() for name in re.findall(rb"(?<![a-z])(lib[a-z0-9]+\.so\.[0-9]+)(?=\0)", Path(BINARY).read_bytes())}
    packages = {"libicuuc.so.72": "libicu72", "libcrypto.so.3": "libssl3", "libssl.so.3": "libssl3", "libcurl.so.4": "libcurl4",
                "libmicrohttpd.so.12": "libmicrohttpd12", "libcjson.so.1": "libcjson1"}
    of_compiler = {"libc", "libm", "libasan", "libubsan", "libtsan"}
    needed = {name for name in named if name.split(".so")[0] not in of_compiler}
    assert needed == set(packages), "as built where the system has the archives of Lua, SQLite and libev"
    installed = (ROOT / "scripts/Dockerfile").read_text().split()
    assert set(packages.values()) <= set(installed)

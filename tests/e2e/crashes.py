"""Jobs before a served fleet whose process dies, again and again, and what has to hold after each death.

The fleet's own log says what was asked, the rows what is known; neither is taken from the other."""
import collections
import re
import subprocess

from conftest import BINARY
from helpers import Raw, lua

REGIONS, MODELS, QUESTIONS = ("us", "eu", "asia"), ("a", "b"), 4
FLEET = "return " + lua(dict(
    # Most answers come after a 303, some after several; a result is kept for longer than a test runs.
    seed=7,
    defaults=dict(cold=[0.5, 0.8], service=[0.1, 4], redirect_after=0.8, queue=1000, scaledown="10m"),
    regions={region: {model: {} for model in MODELS} for region in REGIONS},
    faults=[dict(what="503", share=0.08)],
    answers=Raw('function(question, model, region) return model .. " in " .. region .. " on " .. question end')))
SPEED = 50
CELLS = len(REGIONS) * len(MODELS) * QUESTIONS
NOT_PAID = ("failed", "overflow")  # the fleet's words for a POST that no container took
WORDS = ("lost answers", "repeated finished executions", "POSTs after a committed 303", "inexact totals",
         "verify faults")


def preload(library, **environment):
    """The environment for a process with this library in it, before or behind the sanitizer's own."""
    linked = subprocess.run(["ldd", BINARY], capture_output=True, text=True).stdout
    first = re.findall(r"=> (\S*/lib[at]san\S*)", linked)
    return dict(LD_PRELOAD=":".join([*first, str(library)]), **{k: str(v) for k, v in environment.items()})


class Crashing:
    """One database, one fleet, and jobs that are killed in it one after the other."""

    def __init__(self, canvass, fleet, write, unknown):
        self.canvass, self.write, self.unknown = canvass, write, unknown
        self.fleet = fleet(FLEET, speed=SPEED)
        self.table = self.fleet.write_table(defaults=dict(
            poll="5ms", retry=dict(attempts=100, base="2ms", cap="5ms", unknown=unknown)))
        self.kills, self.jobs, self.phases = 0, 0, collections.Counter()
        self.wrong = {word: [] for word in WORDS}

    def new_job(self):
        """Prompts of its own: the fleet's log tells one job's requests from another's."""
        self.jobs += 1
        self.job_id, self.ended, self.sealed = f"study-{self.jobs}", {}, {}
        script = dict(name="study", questions=[dict(id=f"q{n}", prompt=f"question {n} of job {self.jobs}")
                                               for n in range(1, QUESTIONS + 1)],
                      policy=Raw('require("canvass.policy").by_endpoint'))
        self.script = self.write("job.lua", "return " + lua(script))

    def rows(self, sql):
        """None as long as there is no such job."""
        known = (self.canvass.folder / "canvass.db").exists() and self.canvass.rows(
            "SELECT name FROM sqlite_schema WHERE name = 'jobs'")
        return self.canvass.rows(sql, self.job_id) if known else []

    def accepted(self):
        return self.rows("SELECT state FROM jobs WHERE id = ?")

    def asked(self):
        return self.rows("SELECT id FROM attempts WHERE execution_id GLOB ? || '.*' LIMIT 1")

    def start(self, env=None):
        words = ("resume", self.job_id) if self.accepted() else ("run", self.script, "--regions", self.table)
        return self.canvass.start(*words, "--log", "json", "--json", env=env)

    def posts(self):
        """{ (endpoint, prompt): how each POST ended }, this job's."""
        found = collections.defaultdict(list)
        for request in self.fleet.posts():
            if request["question"].endswith(f" of job {self.jobs}"):
                found[request["endpoint"], request["question"]].append(request["ended"])
        return found

    def executions(self):
        return {(r["endpoint"], r["prompt"]): r for r in self.rows(
            "SELECT e.*, q.prompt FROM executions AS e JOIN questions AS q ON q.job_id = e.job_id"
            " AND q.id = e.question_id WHERE e.job_id = ?")}

    def verify(self):
        if self.accepted():
            verified = self.canvass("verify", self.job_id)
            if verified.status != 0:
                self.wrong["verify faults"].append(verified)

    def phase(self, executions):
        job = self.accepted()
        if not job:
            return "before acceptance"
        if job[0]["state"] not in ("running", "queued"):
            return "in the summary"
        if not self.asked():
            return "accepted"
        statuses = {e["status"] for e in executions.values()}
        if statuses <= {"succeeded", "failed"}:
            return "all answered"
        return "with result URLs" if "waiting_result" in statuses else "asking"

    def killed(self):
        """Looks at what the dead process has left, and remembers what must not change any more."""
        self.kills += 1
        self.canvass.readable()
        now, posts = self.executions(), self.posts()
        self.phases[self.phase(now)] += 1
        if not now and posts:
            self.wrong["lost answers"].append(("asked and not accepted", posts))
        self.check_ended(now)
        for cell, row in now.items():
            if row["status"] in ("succeeded", "failed"):
                self.ended[cell] = row
                self.sealed.setdefault(cell, (len(posts[cell]), "repeated finished executions"))
            elif row["status"] == "waiting_result":
                self.sealed.setdefault(cell, (len(posts[cell]), "POSTs after a committed 303"))
        self.verify()

    def check_ended(self, now):
        self.wrong["lost answers"] += [(row, now.get(cell)) for cell, row in self.ended.items() if now.get(cell) != row]

    def finish(self, process):
        """The process that brings the job to its end, and then everything is compared."""
        result = process.wait()
        now, posts = self.executions(), self.posts()
        self.check_ended(now)
        for cell, (count, word) in self.sealed.items():
            if len(posts[cell]) != count:
                self.wrong[word].append((cell, count, posts[cell]))
        unknown = self.unknown_attempts()
        for cell, row in now.items():
            self.check_cell(cell, row, posts[cell], unknown[row["id"]])
        self.check_totals(now, result)
        self.verify()
        return result

    def unknown_attempts(self):
        return collections.Counter(r["execution_id"] for r in self.rows(
            "SELECT execution_id FROM attempts WHERE class = 'unknown_outcome' AND execution_id GLOB ? || '.*'"))

    def check_cell(self, cell, row, posts, unknown):
        """A POST that was written down and did not leave, or was not answered, is of unknown_outcome: one for each."""
        if not row["posts"] - unknown <= len(posts) <= row["posts"] or row["posts"] != row["attempts"]:
            self.wrong["inexact totals"].append((row, posts, unknown))
        paid = [how for how in posts if how not in NOT_PAID]
        if len(paid) > 1 + (unknown if self.unknown else 0):
            self.wrong["repeated finished executions"].append((row, posts, unknown))
        answered = row["status"] == "succeeded" and row["answer"] == \
            f"{row['model_id']} in {row['region']} on {row['prompt']}"
        excused = not self.unknown and unknown == 1 and row["class"] == "unknown_outcome"
        if not answered and not excused:
            self.wrong["lost answers"].append((row, posts, unknown))

    def check_totals(self, now, result):
        shown = self.canvass("show", self.job_id, "--json").json
        counts = collections.Counter(row["status"] for row in now.values())
        expected = dict(planned=CELLS, succeeded=counts["succeeded"], failed=counts["failed"], cancelled=0, skipped=0)
        stored, = self.rows("SELECT count(*) AS posts, sum(hops) AS hops FROM attempts"
                            " WHERE execution_id GLOB ? || '.*'")
        exact = len(now) == CELLS and shown["executions"] == expected and shown["posts"] == stored["posts"] and \
            shown["hops"] == stored["hops"] and result.status == (1 if counts["failed"] else 0)
        if not exact:
            self.wrong["inexact totals"].append((shown, expected, stored, result))

    def report(self, record_property):
        """Into the summary of the whole suite; and all that is wrong, at once."""
        figures = dict(kills=self.kills, runs=self.jobs, executions=self.jobs * CELLS, phases=dict(self.phases),
                       **{word: len(self.wrong[word]) for word in WORDS})
        record_property("crash_sweep", figures)
        self.check()

    def check(self):
        assert not any(self.wrong.values()), {word: found[:3] for word, found in self.wrong.items() if found}

"""The crash sweep: kill -9 at random, seeded instants over whole runs with 303s; then it is resumed, killed, resumed.

Half of the deaths come from outside after a random time, half at a random call: in the middle of a write to the
database, before a sync, after a POST has left, on a receipt. The seeds are constant; the
figures end up in the last lines of scripts/test."""
import random
import time

import pytest

from crashes import CELLS, Crashing, preload

SHARDS, KILLS_PER_SHARD, DEATHS_OF_A_JOB = 8, 26, 12


def random_death(rng, library):
    """(environment, seconds until it is killed from outside, or None)"""
    if rng.random() < 0.5:
        return None, rng.uniform(0, rng.choice([0.05, 0.3, 1.0]))
    kinds = rng.choice(["wsPGr", "wsPGr", "w", "s", "P", "G", "r", "o", "E"])
    count = 1 if kinds in "oE" else int(2 ** rng.uniform(0, dict(P=4, G=5, s=6, w=8, r=6).get(kinds, 8)))
    return preload(library, DIE_AT=f"{kinds} {count} {rng.choice(['before', 'after', 'half'])}"), None


def run_to_death(world, env, after_s):
    """The process, and whether it was killed."""
    process = world.start(env=env)
    if after_s is not None:
        time.sleep(after_s)
        process.popen.kill()
    return process, process.popen.wait(120) == -9


def crash_a_job(world, rng, library):
    world.new_job()
    for _ in range(DEATHS_OF_A_JOB):
        process, dead = run_to_death(world, *random_death(rng, library))
        if not dead:
            world.finish(process)
            return
        world.killed()
    world.finish(world.start())


@pytest.mark.parametrize("unknown", [False, True], ids=["once", "again"])
@pytest.mark.parametrize("seed", range(1, SHARDS // 2 + 1))
def test_killed_at_random(canvass, fleet, write, preload_library, record_property, seed, unknown):
    """once: what was sent without an answer is not sent again; again: the table allows it."""
    world, rng = Crashing(canvass, fleet, write, unknown), random.Random(f"{seed} {unknown}")
    while world.kills < KILLS_PER_SHARD:
        crash_a_job(world, rng, preload_library)
    world.report(record_property)


PHASES = {
    "w 1 before": "before acceptance", "w 1 half": "before acceptance", "s 1 before": "before acceptance",
    "P 1 before": "asking", "P 1 half": "asking", "P 1 after": "asking",
    "G 1 before": "with result URLs", "G 1 half": "with result URLs", "G 1 after": "with result URLs",
    "E 1 before": "in the summary", "o 1 before": "in the summary", "o 1 half": "in the summary",
    "o 1 after": "in the summary",
}


@pytest.mark.parametrize("unknown", [False, True], ids=["once", "again"])
def test_killed_in_each_phase(canvass, fleet, write, preload_library, record_property, unknown):
    """Twice in the same place each, the second time on resuming."""
    world = Crashing(canvass, fleet, write, unknown)
    for instant, phase in PHASES.items():
        world.new_job()
        for _ in range(2):
            process, dead = run_to_death(world, preload(preload_library, DIE_AT=instant), None)
            if dead:
                world.killed()
        assert world.phases[phase], (instant, world.phases)
        world.finish(world.start() if dead else process)
    world.report(record_property)


def test_killed_in_acceptance(canvass, fleet, write, preload_library, record_property):
    """At every write and sync in turn, until a POST may leave: a job is there as a whole or not at all."""
    world, call = Crashing(canvass, fleet, write, False), 0
    world.new_job()
    while not world.asked():
        call += 1
        for path in canvass.folder.glob("canvass.db*"):
            path.unlink()
        how = ("before", "half", "after")[call % 3]
        _, dead = run_to_death(world, preload(preload_library, DIE_AT=f"ws {call} {how}"), None)
        assert dead, call
        world.killed()
        assert len(world.executions()) in (0, CELLS)
    assert world.phases["before acceptance"] > 8 and world.phases["accepted"]
    world.finish(world.start())
    world.report(record_property)

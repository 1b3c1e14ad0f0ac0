"""SIGKILL, then resume: the same outputs, no finished task twice, no orphan, no half-recorded artifact."""

from __future__ import annotations

import random
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from penstock.execution.failpoints import NAMES
from tests.faults import checker
from tests.faults.conftest import FULL, Record
from tests.faults.machine import KILLED, Engine, Machine, Watch
from tests.faults.page import Note
from tests.faults.scenarios import LARGE, SMALL, MissedError, Scenarios, arguments, at_its_moment

SEEDS = range(20 if FULL else 1)
ONCE = ("run.claimed", "run.begun", "run.ended", "prepare.cached")
"""Passed once in a run. At all others the process dies at the third arrival."""


ELSEWHERE = ("cancel.recorded", "artifact.uploaded", "tracking.created", "tracking.delivered")
"""Not on the way of a run with its records in files; the tests of each kill there."""


def test_the_undisturbed_run_is_without_fault(scenarios: Scenarios) -> None:
    reference = scenarios.reference(SMALL, doomed=False)

    assert reference.picture["outputs"]["parameters"]["total"] == 5
    assert reference.picture["tasks"]["cached"]["cached"]
    assert reference.picture["tasks"]["flaky"]["retries"] == 2
    assert reference.picture["tasks"]["condition-2"]["state"] == "SKIPPED"


def _failpoints() -> list[tuple[str, str]]:
    """Each with whom it kills. `last` stands for the last attempt of the run."""
    names = [name for name in NAMES if name not in ELSEWHERE]
    names = [name if name in ONCE else f"{name}:3" for name in names]
    cases = [(name, "engine") for name in names]
    if FULL:
        cases += [(f"publish.{place}:last", "engine") for place in ("before", "inside", "after")]
        cases += [(name, "machine") for name in names]
    return cases


@pytest.mark.parametrize(("failpoint", "whom"), _failpoints())
def test_a_run_killed_at_a_failpoint_ends_as_if_nothing_had_happened(
    failpoint: str, whom: str, scenarios: Scenarios, tmp_path: Path, record: Record
) -> None:
    armed = failpoint.replace("last", str(scenarios.reference(SMALL, doomed=False).attempts))
    with scenarios.machine(tmp_path, SMALL) as machine:
        engine = machine.run(tmp_path / "pipeline.yaml", *arguments(doomed=False), failpoint=armed)
        assert engine.wait() == KILLED, f"{armed} was never reached"
        flying = machine.crash() if whom == "machine" else machine.in_flight()
        _finish(machine)
        verdict = scenarios.verdict(machine, doomed=False, lost_allowed=whom == "machine")
    record(Note("failpoint", failpoint, whom, [], [flying], verdict.lost, verdict.problems))

    assert verdict.problems == []


@dataclass(frozen=True)
class Kill:
    """`whom`: the engine; the engine, and its tasks are held up until the next one has come; everything.

    When: after `count` side effects, or changes of tasks, as `what` says, and so many writes to the database
    then, once `flying` attempts are in flight.
    """

    whom: str
    what: str
    count: int
    writes: int
    flying: int

    def __str__(self) -> str:
        return f"{self.count} {self.what}, {self.writes} writes"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_killed_at_random_moments_ends_as_if_nothing_had_happened(
    seed: int, scenarios: Scenarios, tmp_path: Path, record: Record
) -> None:
    dice = random.Random(seed)
    note = at_its_moment(tmp_path, lambda folder: _kill_at_random(folder, seed, dice, scenarios))
    record(note)

    assert note.problems == []


def _kill_at_random(folder: Path, seed: int, dice: random.Random, scenarios: Scenarios) -> Note:
    doomed = bool(seed % 2)
    expected = scenarios.reference(LARGE, doomed=doomed)
    whom = ("frozen", "machine", "engine")[seed % 3]
    times = dice.choice((1, 1, 2, 3))
    moments: list[str] = []
    flying: list[int] = []
    with scenarios.machine(folder, LARGE) as machine, machine.watch() as watch:
        engine = machine.run(folder / "pipeline.yaml", *arguments(doomed))
        while len(flying) < times or not any(flying):
            what = dice.choice(("side effects", "changes"))
            whole = expected.lines if what == "side effects" else expected.changes
            left = int(whole * (1 - machine.lines() / expected.lines) * 0.7)
            kill = Kill(whom, what, dice.randrange(max(1, left)), dice.randrange(8), 0 if flying else 2)
            found = _kill_at(kill, machine, engine, watch)
            if found is None:
                break
            moments.append(str(kill))
            flying.append(found)
            engine = _go_on(machine, watch, arguments(doomed))
        _finish(machine, engine)
        verdict = scenarios.verdict(machine, doomed=doomed, lost_allowed=whom == "machine")
    if not any(flying) and not verdict.problems:
        raise MissedError("no attempt was in flight when it was killed")
    return Note("random", str(seed), whom, moments, flying, verdict.lost, verdict.problems)


def _kill_at(kill: Kill, machine: Machine, engine: Engine, watch: Watch) -> int | None:
    """How many attempts were in flight; None when it ended by itself before."""
    so_far = machine.lines if kill.what == "side effects" else machine.changes
    begun, writes = so_far(), 0

    def due(names: list[str]) -> bool:
        nonlocal writes
        if so_far() - begun < kill.count or machine.in_flight() < kill.flying:
            return False
        writes += names.count("penstock.db-wal")
        return writes >= kill.writes

    if not machine.reached(due, engine, watch):
        return None
    if kill.whom == "frozen":
        machine.signal_tasks(signal.SIGSTOP)
    flying = machine.in_flight()
    if engine.kill() != KILLED:
        return None
    if kill.whom == "frozen":
        machine.signal_tasks(signal.SIGSTOP)
    elif kill.whom == "machine":
        machine.crash()
    return flying


def _go_on(machine: Machine, watch: Watch, given: tuple[str, ...]) -> Engine:
    """The next engine; what was held up goes on once it drives the run."""
    run_id = machine.run_id()
    if not run_id:
        # Nothing was recorded yet, and so nothing can have been begun.
        assert machine.lines() == 0
        return machine.run(machine.folder / "pipeline.yaml", *given)
    engine = machine.resume(run_id)
    machine.until(lambda: f"/{engine.pid}/" in machine.owner(run_id), engine, watch)
    machine.signal_tasks(signal.SIGCONT)
    return engine


def _finish(machine: Machine, engine: Engine | None = None) -> None:
    """Bring the run to its end: by the engine that has it, and by another one if that one dies too."""
    if engine is not None:
        engine.wait()
    run_id = machine.run_id()
    ended = machine.state(run_id) in checker.ENDED
    if not ended or engine is None:
        engine = machine.resume(run_id)
        engine.wait()
        if ended:
            assert engine.process.returncode == 2
            assert len(engine.said) == 1
            assert "has ended" in engine.said[0]
        else:
            assert engine.said == []
    assert machine.state(run_id) in checker.ENDED

"""Runs that are told to stop: Ctrl-C, SIGTERM, `penstock runs cancel`, at any moment."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from tests.faults import checker, pipelines
from tests.faults.conftest import FULL, Bare
from tests.faults.machine import KILLED, Machine
from tests.faults.records import records_of
from tests.faults.scenarios import LARGE, Scenarios, arguments

SEEDS = range(12 if FULL else 1)
INTERRUPTED = 130


def _states(machine: Machine) -> dict[str, str]:
    tasks = checker.picture(machine.home, machine.run_id())["tasks"]
    return {path: task["state"] for path, task in tasks.items()}


def _faults(machine: Machine) -> list[str]:
    left = [f"process {pid} is left" for pid in machine.tasks()]
    return left + checker.judge(machine.home, machine.side, machine.run_id(), lost_allowed=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_run_and_leaves_nothing_behind(number: int, bare: Bare) -> None:
    machine = bare(pipelines.single("long", count=3))
    with machine.watch() as watch:
        engine = machine.run(machine.folder / "pipeline.yaml", "--parallel", "2")
        assert machine.until(lambda: machine.lines("ready") == 2, engine, watch)
        engine.signal(number)

        assert engine.wait() == INTERRUPTED
    assert machine.state(machine.run_id()) == "CANCELED"
    assert set(_states(machine).values()) == {"CANCELED"}
    assert machine.lines("start") == 2
    assert _faults(machine) == []


def test_a_second_signal_kills_what_does_not_want_to_end(bare: Bare) -> None:
    machine = bare(pipelines.single("stubborn", count=2))
    with machine.watch() as watch:
        engine = machine.run(machine.folder / "pipeline.yaml", "--parallel", "2")
        assert machine.until(lambda: machine.lines("ready") == 2, engine, watch)
        engine.signal(signal.SIGINT)
        assert machine.until(lambda: machine.lines("term") == 2, engine, watch)
        before = time.monotonic()
        engine.signal(signal.SIGINT)

        assert engine.wait() == INTERRUPTED
        assert time.monotonic() - before < 5, "they were given the whole grace of ten seconds"
    assert machine.lines("term") == 2, "some were told to end more than once"
    assert set(_states(machine).values()) == {"CANCELED"}
    assert _faults(machine) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_signal_at_any_moment_cancels_the_run(seed: int, scenarios: Scenarios, tmp_path: Path) -> None:
    dice = random.Random(1000 + seed)
    wanted = dice.randrange(scenarios.reference(LARGE, doomed=False).changes * 2 // 3)
    writes, more = 0, dice.randrange(8)

    with scenarios.machine(tmp_path, LARGE) as machine, machine.watch() as watch:

        def due(names: list[str]) -> bool:
            nonlocal writes
            if machine.changes() < wanted or not (machine.run_id() and machine.owner(machine.run_id())):
                return False
            writes += names.count("penstock.db-wal")
            return writes >= more

        engine = machine.run(tmp_path / "pipeline.yaml", *arguments(doomed=False))
        assert machine.reached(due, engine, watch)
        engine.signal(signal.SIGINT)

        engine.wait()
        assert engine.said == []
        states = _states(machine)
        # Also where a task failed before: what was cut short might have succeeded.
        assert states.pop("") == "CANCELED"
        assert "CANCELED" in states.values()
        assert engine.process.returncode == INTERRUPTED
        assert _faults(machine) == []


def test_another_process_cancels_a_run(bare: Bare) -> None:
    machine = bare(pipelines.single("long", count=3))
    with machine.watch() as watch:
        engine = machine.run(machine.folder / "pipeline.yaml", "--parallel", "2")
        assert machine.until(lambda: machine.lines("ready") == 2, engine, watch)
        other = machine.start("runs", "cancel", machine.run_id())

        assert other.wait() == 0
        assert other.printed == [f"run {machine.run_id()} is being canceled"]
        assert engine.wait() == INTERRUPTED
    assert set(_states(machine).values()) == {"CANCELED"}
    assert _faults(machine) == []


def test_a_run_that_waits_for_a_retry_is_canceled_at_once(bare: Bare) -> None:
    machine = bare(pipelines.single("failing", retries=3, backoff=600))

    def waits() -> bool:
        if not machine.run_id():
            return False
        return bool(records_of(machine.home).rows("SELECT 1 FROM tasks WHERE retry_at IS NOT NULL"))

    with machine.watch() as watch:
        engine = machine.run(machine.folder / "pipeline.yaml")
        assert machine.until(waits, engine, watch)
        assert machine.start("runs", "cancel", machine.run_id()).wait() == 0

        assert engine.wait() == INTERRUPTED
    assert set(_states(machine).values()) == {"CANCELED"}
    assert machine.lines("start") == 1
    assert _faults(machine) == []


def test_a_run_without_engine_is_canceled_by_who_asks_for_it(bare: Bare) -> None:
    machine = bare(pipelines.single("long", count=3))
    with machine.watch() as watch:
        engine = machine.run(machine.folder / "pipeline.yaml", "--parallel", "2")
        assert machine.until(lambda: machine.lines("ready") == 2, engine, watch)
        assert engine.kill() == KILLED
        other = machine.start("runs", "cancel", machine.run_id())

        assert other.wait() == 0
        assert other.printed == [f"run {machine.run_id()} CANCELED"]
    assert set(_states(machine).values()) == {"CANCELED"}
    assert _faults(machine) == []


def test_a_run_whose_engine_died_while_it_was_canceled_ends_canceled(bare: Bare) -> None:
    machine = bare(pipelines.single("long", count=3))
    with machine.watch() as watch:
        engine = machine.run(machine.folder / "pipeline.yaml", "--parallel", "2", failpoint="cancel.recorded")
        assert machine.until(lambda: machine.lines("ready") == 2, engine, watch)
        engine.signal(signal.SIGINT)
        assert engine.wait() == KILLED

        assert machine.resume(machine.run_id()).wait() == INTERRUPTED
    assert set(_states(machine).values()) == {"CANCELED"}
    assert _faults(machine) == []

"""Several engines for one run, engines that are held up, and tasks that outlive theirs."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.faults import checker, pipelines
from tests.faults.conftest import Bare
from tests.faults.machine import KILLED, Engine, Machine, Watch, first_to_end
from tests.faults.scenarios import SMALL, Scenarios, arguments


def _begin(machine: Machine, watch: Watch) -> Engine:
    """An engine with two attempts in flight."""
    engine = machine.run(machine.folder / "pipeline.yaml", *arguments(doomed=False))
    assert machine.until(lambda: machine.in_flight() >= 2, engine, watch)
    return engine


def _drives(machine: Machine, engine: Engine, watch: Watch) -> bool:
    run_id = machine.run_id()
    return machine.until(lambda: f"/{engine.pid}/" in machine.owner(run_id), engine, watch)


def _put_to_sleep(machine: Machine, engine: Engine, watch: Watch) -> None:
    """The tasks, and the engine at a moment when it does not keep others from the database."""
    machine.signal_tasks(signal.SIGSTOP)
    while True:
        engine.signal(signal.SIGSTOP)
        if not machine.is_locked():
            return
        engine.signal(signal.SIGCONT)
        assert machine.until(lambda: not machine.is_locked(), engine, watch)


def test_a_run_that_a_living_engine_drives_cannot_be_resumed(scenarios: Scenarios, tmp_path: Path) -> None:
    with scenarios.machine(tmp_path, SMALL) as machine, machine.watch() as watch:
        engine = _begin(machine, watch)
        machine.signal_tasks(signal.SIGSTOP)
        other = machine.resume(machine.run_id())
        assert other.wait() == 1
        machine.signal_tasks(signal.SIGCONT)

        assert len(other.said) == 1
        assert f"run {machine.run_id()} is driven by" in other.said[0]
        assert f"/{engine.pid}/" in other.said[0]
        assert engine.wait() == 0
        assert scenarios.verdict(machine, doomed=False, lost_allowed=False).problems == []


def test_of_two_that_resume_a_run_at_once_one_drives_it(scenarios: Scenarios, tmp_path: Path) -> None:
    with scenarios.machine(tmp_path, SMALL) as machine, machine.watch() as watch:
        engine = _begin(machine, watch)
        # Nobody can bring the run to its end while these are held up.
        machine.signal_tasks(signal.SIGSTOP)
        assert engine.kill() == KILLED
        machine.signal_tasks(signal.SIGSTOP)
        loser, winner = first_to_end(machine.resume(machine.run_id()), machine.resume(machine.run_id()))
        machine.signal_tasks(signal.SIGCONT)

        assert loser.wait() == 1
        assert len(loser.said) == 1
        assert f"run {machine.run_id()} is driven by" in loser.said[0]
        assert f"/{winner.pid}/" in loser.said[0]
        assert winner.wait() == 0
        assert winner.said == []
        assert scenarios.verdict(machine, doomed=False, lost_allowed=False).problems == []


def test_an_engine_that_slept_goes_on(scenarios: Scenarios, tmp_path: Path) -> None:
    with scenarios.machine(tmp_path, SMALL) as machine, machine.watch() as watch:
        engine = _begin(machine, watch)
        engine.signal(signal.SIGSTOP)
        assert machine.until(lambda: machine.in_flight() == 0, engine, watch)
        engine.signal(signal.SIGCONT)

        assert engine.wait() == 0
        assert scenarios.verdict(machine, doomed=False, lost_allowed=False).problems == []


def test_an_engine_that_slept_through_its_lease_gives_way(scenarios: Scenarios, tmp_path: Path) -> None:
    with scenarios.machine(tmp_path, SMALL) as machine, machine.watch() as watch:
        engine = _begin(machine, watch)
        _put_to_sleep(machine, engine, watch)
        machine.change("UPDATE run_heads SET expires_at = 1 WHERE run_id = ?", machine.run_id())
        other = machine.resume(machine.run_id())
        assert _drives(machine, other, watch)
        engine.signal(signal.SIGCONT)
        machine.signal_tasks(signal.SIGCONT)

        assert engine.wait() == 1
        assert len(engine.said) == 1
        assert f"run {machine.run_id()} " in engine.said[0]
        assert f"/{other.pid}/" in engine.said[0]
        assert other.wait() == 0
        assert other.said == []
        assert scenarios.verdict(machine, doomed=False, lost_allowed=False).problems == []


def test_a_task_that_outlives_its_engine_is_taken_over(bare: Bare) -> None:
    machine = bare(pipelines.single("gate"))
    gate = machine.watched / "side.gate"
    os.mkfifo(gate)
    with machine.watch() as watch:
        engine = machine.run(machine.folder / "pipeline.yaml")
        assert machine.until(lambda: machine.lines("start") == 1, engine, watch)
        assert engine.kill() == KILLED
        other = machine.resume(machine.run_id())
        assert _drives(machine, other, watch)
        gate.write_text("go\n")

        assert other.wait() == 0
    assert [line.phase for line in checker.side_effects(machine.side) if "task-1" in line.path] == [
        "start",
        "finish",
    ]
    assert checker.judge(machine.home, machine.side, machine.run_id(), lost_allowed=False) == []


def test_a_reader_that_goes_away_does_not_end_the_run(scenarios: Scenarios, tmp_path: Path) -> None:
    with scenarios.machine(tmp_path, SMALL) as machine:
        reading, writing = os.pipe()
        document, side = str(tmp_path / "pipeline.yaml"), f"side={machine.side}"
        given = arguments(doomed=False)
        engine = machine.start("run", document, "-p", side, "--json", *given, output=writing)
        os.close(writing)
        os.read(reading, 1)
        os.close(reading)

        assert engine.wait() == 1
        assert engine.said == []
        assert machine.tasks() == []
        run_id = machine.run_id()
        assert checker.judge(machine.home, machine.side, run_id, lost_allowed=False) == []
        assert checker.picture(machine.home, run_id) == scenarios.reference(SMALL, doomed=False).picture

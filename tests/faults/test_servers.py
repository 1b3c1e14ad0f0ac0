"""The servers that keep the records go away with work in flight, and the run ends as if they had not."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.faults import checker, pipelines, workload
from tests.faults.conftest import FULL, Record
from tests.faults.machine import KILLED, PATIENCE, Engine, Machine
from tests.faults.page import Note
from tests.faults.records import records_of
from tests.faults.scenarios import LARGE, MissedError, Scenarios, arguments, at_its_moment
from tests.faults.servers import Servers, started
from tests.mlflow_records import Records
from tests.own_server import OwnMlflow

pytestmark = pytest.mark.service("servers")

Disturb: TypeAlias = Callable[[Engine], str]
"""Called at a random moment with tasks in flight; says what it has done."""

SEEDS = range(20 if FULL else 1)
OUTAGE = 20.0
"""Seconds that the artifact store is away."""


@pytest.fixture(scope="session")
def running() -> Iterator[Servers]:
    with started() as found:
        yield found


@pytest.fixture
def servers(running: Servers, monkeypatch: pytest.MonkeyPatch) -> Servers:
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    return running


@pytest.fixture(scope="session")
def mlflow(running: Servers) -> OwnMlflow:
    running.mlflow.start()
    return running.mlflow


def _machine(folder: Path, servers: Servers, *, tracked: bool = False) -> Machine:
    """A machine whose records are on the servers, and on which an earlier run has filled the cache."""
    with Machine(folder, LARGE, servers=servers.pids) as first:
        servers.configure(first, tracked=tracked)
        primer = first.run(workload.write(pipelines.primer(LARGE), folder / "primer.yaml"))
        assert primer.wait() == 0, primer.said
    workload.write(pipelines.large(), folder / "pipeline.yaml")
    return Machine(folder, LARGE, servers=servers.pids)


def _run_disturbed(
    machine: Machine, scenarios: Scenarios, dice: random.Random, doomed: bool, disturb: Disturb
) -> Note:
    """Runs the pipeline to its end, disturbed once; what was wrong in the end."""
    expected = scenarios.reference(LARGE, doomed=doomed)
    count, delay = dice.randrange(int(expected.lines * 0.6)), dice.uniform(0, 0.2)
    given = (*arguments(doomed), "--experiment", _experiment(machine))
    with machine.watch() as watch:
        engine = machine.run(machine.folder / "pipeline.yaml", *given)

        def due() -> bool:
            return machine.lines() >= count and machine.in_flight() >= 2

        seen = machine.until(due, engine, watch)
        time.sleep(delay)  # which step of its work the engine is at
        if not seen or not machine.until(lambda: machine.in_flight() > 0, engine, watch):
            assert engine.wait() == (1 if doomed else 0), engine.said
            raise MissedError
    flying = machine.in_flight()
    done = disturb(engine)
    assert engine.process.wait(2 * PATIENCE) == (1 if doomed else 0), engine.said
    verdict = scenarios.verdict(machine, doomed=doomed, lost_allowed=False)
    return Note("server", done, "", [f"{count} side effects"], [flying], verdict.lost, verdict.problems)


def _experiment(machine: Machine) -> str:
    """Of one test's one turn."""
    return "-".join(machine.folder.parts[-2:])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_outlives_a_restart_of_its_database(
    seed: int, scenarios: Scenarios, servers: Servers, tmp_path: Path, record: Record
) -> None:
    dice = random.Random(seed)

    def restart(engine: Engine) -> str:
        crashes = dice.random() < 0.5
        (servers.postgres.crash if crashes else servers.postgres.stop)()
        servers.postgres.start()
        return f"PostgreSQL {'crashed' if crashes else 'stopped'} and started"

    def run(folder: Path) -> Note:
        with _machine(folder, servers) as machine:
            return _run_disturbed(machine, scenarios, dice, bool(seed % 2), restart)

    record(note := at_its_moment(tmp_path, run))
    assert note.problems == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_outlives_an_absence_of_its_artifact_store(
    seed: int, scenarios: Scenarios, servers: Servers, tmp_path: Path, record: Record
) -> None:
    dice = random.Random(100 + seed)

    def leave(engine: Engine) -> str:
        crashes = dice.random() < 0.5
        (servers.minio.crash if crashes else servers.minio.stop)()
        with pytest.raises(subprocess.TimeoutExpired):
            engine.process.wait(OUTAGE)
        servers.minio.start()
        return f"MinIO {'crashed' if crashes else 'stopped'}, {OUTAGE:.0f} s away"

    def run(folder: Path) -> Note:
        with _machine(folder, servers) as machine:
            return _run_disturbed(machine, scenarios, dice, bool(seed % 2), leave)

    record(note := at_its_moment(tmp_path, run))
    assert note.problems == []


def test_a_run_killed_while_it_uploads_ends_as_if_nothing_had_happened(
    scenarios: Scenarios, servers: Servers, tmp_path: Path
) -> None:
    with _machine(tmp_path, servers) as machine:
        document = tmp_path / "pipeline.yaml"
        engine = machine.run(document, *arguments(doomed=False), failpoint="artifact.uploaded:3")
        assert engine.wait() == KILLED
        again = machine.resume(machine.run_id())
        assert again.wait() == 0, again.said
        verdict = scenarios.verdict(machine, doomed=False, lost_allowed=False)
    assert verdict.problems == []


@pytest.mark.parametrize("seed", SEEDS)
def test_what_mlflow_missed_is_told_to_it_later_and_once(
    seed: int, scenarios: Scenarios, servers: Servers, mlflow: OwnMlflow, tmp_path: Path, record: Record
) -> None:
    dice = random.Random(200 + seed)

    def leave(engine: Engine) -> str:
        crashes = dice.random() < 0.5
        (mlflow.crash if crashes else mlflow.stop)()
        return f"MLflow {'crashed' if crashes else 'stopped'} until after the run"

    def run(folder: Path) -> Note:
        with _machine(folder, servers, tracked=True) as machine:
            try:
                note = _run_disturbed(machine, scenarios, dice, bool(seed % 2), leave)
            finally:
                mlflow.start()
            sync = machine.start("tracking", "sync")
            assert sync.wait() == 0, sync.said
            told = Records(mlflow.url, _experiment(machine))
            note.problems.extend(_differences(machine, told))
            told.remove()
        return note

    record(note := at_its_moment(tmp_path, run))
    assert note.problems == []


def _differences(machine: Machine, told: Records) -> Iterator[str]:
    """Between what is recorded of the run and what MLflow has of it."""
    run_id = machine.run_id()
    parent, nested = told.tree(run_id)
    if parent.info.status != (wanted := _STATUS[machine.state(run_id)]):
        yield f"the run is {parent.info.status} in MLflow, and should be {wanted}"
    tasks = records_of(machine.home).rows("SELECT path, kind, state FROM tasks WHERE run_id = ?", run_id)
    for row in tasks:
        if row["kind"] != "CONTAINER" or row["state"] == "SKIPPED":
            continue
        found = nested.pop(row["path"], None)
        if found is None or found.info.status != _STATUS[row["state"]]:
            status = "unknown" if found is None else found.info.status
            yield f"task '{row['path']}' ({row['state']}) is {status} in MLflow"
    yield from (f"MLflow has a task '{path}' that never ran" for path in nested)


_STATUS = {"SUCCEEDED": "FINISHED", "FAILED": "FAILED", "CANCELED": "KILLED"}


def test_the_checker_sees_what_is_wrong_on_servers(servers: Servers, tmp_path: Path) -> None:
    with _machine(tmp_path, servers) as machine:
        engine = machine.run(tmp_path / "pipeline.yaml", *arguments(doomed=False))
        assert engine.wait() == 0, engine.said
        run_id = machine.run_id()
        assert checker.judge(machine.home, machine.side, run_id, lost_allowed=False) == []
        servers.spoil(machine, run_id)
        found = checker.judge(machine.home, machine.side, run_id, lost_allowed=False)
    assert len(found) == 2, found
    assert "recorded as" in found[0]
    assert "recorded nowhere" in found[1]

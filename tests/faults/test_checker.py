"""The checker sees what it is there for: each of these spoils a good run in one way."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults import checker
from tests.faults.machine import Machine
from tests.faults.records import local_path, records_of
from tests.faults.scenarios import SMALL, Scenarios, arguments


@dataclass(frozen=True)
class Good:
    """A run without fault, ready to be spoilt."""

    home: Path
    side: Path
    run_id: str

    def judge(self) -> list[str]:
        return checker.judge(self.home, self.side, self.run_id, lost_allowed=False)

    def change(self, statement: str) -> None:
        with closing(sqlite3.connect(self.home / "penstock.db")) as connection, connection:
            assert connection.execute(statement).rowcount > 0

    def artifact(self) -> Path:
        query = "SELECT uri FROM artifacts WHERE uri LIKE ? AND name = 'blob'"
        return local_path(records_of(self.home).rows(query, f"%{self.run_id}%")[0]["uri"])

    def spoil_line(self, *, doubled: bool) -> None:
        lines = self.side.read_text().splitlines(keepends=True)
        at = next(index for index, line in enumerate(lines) if line.startswith("finish\tfan-1\t"))
        lines[at : at + 1] = [lines[at]] * 2 if doubled else []
        self.side.write_text("".join(lines))


@pytest.fixture(scope="module")
def original(scenarios: Scenarios, tmp_path_factory: pytest.TempPathFactory) -> Good:
    folder = tmp_path_factory.mktemp("good")
    machine: Machine = scenarios.machine(folder, SMALL)
    with machine:
        engine = machine.run(folder / "pipeline.yaml", *arguments(doomed=False))
        assert engine.wait() == 0, engine.said
        return Good(machine.home, machine.side, machine.run_id())


@pytest.fixture
def good(original: Good, tmp_path: Path) -> Good:
    """A copy of the record; the artifacts are where they were, and are put back by who changes them."""
    shutil.copytree(original.home, tmp_path / "home", ignore=shutil.ignore_patterns("artifacts"))
    shutil.copy(original.side, tmp_path / "side")
    return Good(tmp_path / "home", tmp_path / "side", original.run_id)


def test_a_good_run_is_good(good: Good) -> None:
    assert good.judge() == []


def test_two_pictures_of_one_run_are_the_same_but_for_times_and_ids(good: Good, scenarios: Scenarios) -> None:
    assert checker.picture(good.home, good.run_id) == scenarios.reference(SMALL, doomed=False).picture


STATEMENTS = {
    "a task left running": "UPDATE tasks SET state = 'RUNNING', ended_at = NULL WHERE path = 'gather'",
    "a run left running": "UPDATE runs SET state = 'RUNNING' WHERE id = '{run}'",
    "an attempt left running": "UPDATE attempts SET state = 'RUNNING' WHERE path = 'gather'",
    "an attempt that was lost": "UPDATE attempts SET state = 'LOST' WHERE path = 'gather'",
    "an attempt nobody knows": "DELETE FROM attempts WHERE path = 'fan-1'",
    "an attempt too many": (
        "INSERT INTO attempts SELECT 'x', run_id, path, generation, number + 1, state, owner, launcher,"
        " isolation, started_at, ended_at, exit_code, error, log, notes FROM attempts WHERE path = 'gather'"
    ),
    "a gap in the history": "DELETE FROM task_history WHERE path = 'gather' AND state = 'SUCCEEDED'",
    "a task that went on after its end": (
        "UPDATE task_history SET state = 'RUNNING' WHERE path = 'cleanup' AND state = 'SUCCEEDED'"
    ),
    "an execution too few": "DELETE FROM executions WHERE path = 'flaky' AND state = 'COMPLETE'",
    "an execution too many": (
        "INSERT INTO executions SELECT 'x', run_id, path, generation, attempt_id, namespace, fingerprint,"
        " cache_scope, state, cached_execution_id, inputs, outputs, created_at FROM executions"
        " WHERE path = 'flaky' AND state = 'COMPLETE'"
    ),
    "an artifact nobody knows": "DELETE FROM lineage_edges WHERE name = 'folder' AND direction = 'OUTPUT'",
    "an artifact of another size": "UPDATE artifacts SET size = size + 1 WHERE name = 'folder'",
    "an artifact of other content": "UPDATE artifacts SET sha256 = 'x' WHERE name = 'folder'",
    "an artifact without content": "UPDATE artifacts SET sha256 = NULL WHERE name = 'folder'",
    "an artifact that is gone": "UPDATE artifacts SET uri = uri || 'x' WHERE name = 'folder'",
}


@pytest.mark.parametrize("fault", STATEMENTS)
def test_a_fault_of_the_record_is_seen(fault: str, good: Good) -> None:
    good.change(STATEMENTS[fault].format(run=good.run_id))

    assert good.judge() != []


@pytest.mark.parametrize("doubled", [True, False])
def test_a_task_that_finished_twice_or_never_is_seen(doubled: bool, good: Good) -> None:
    good.spoil_line(doubled=doubled)

    assert any("fan-1" in problem for problem in good.judge())


@pytest.mark.parametrize("name", [".penstock-put-0", "stray"])
def test_a_file_that_nobody_recorded_is_seen(name: str, good: Good) -> None:
    stray = good.artifact().parent / name
    stray.touch()
    try:
        assert [problem for problem in good.judge() if name in problem]
    finally:
        stray.unlink()


def test_a_change_of_an_artifact_is_seen(good: Good) -> None:
    artifact = good.artifact()
    content = artifact.read_bytes()
    artifact.chmod(0o600)
    try:
        artifact.write_bytes(content[:-1] + b"x")
        assert [problem for problem in good.judge() if "artifact 'blob'" in problem]
    finally:
        artifact.write_bytes(content)


def test_an_orphan_is_seen(good: Good) -> None:
    environment = {**os.environ, checker.RUN_MARK: good.run_id}
    orphan = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=environment)
    try:
        assert f"process {orphan.pid} of the run is left" in good.judge()
    finally:
        orphan.kill()
        orphan.communicate()

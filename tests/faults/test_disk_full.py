"""No space left: one clear sentence, and the run goes on once there is some again."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.faults import checker, pipelines
from tests.faults.conftest import FULL, Bare, Record
from tests.faults.machine import Machine
from tests.faults.page import Note
from tests.faults.scenarios import LARGE, MissedError, Scenarios, arguments, at_its_moment

Disk: TypeAlias = Callable[[Path, int], None]


@pytest.fixture
def disk() -> Iterator[Disk]:
    """Puts a disk of so many bytes at a place; calling it again there changes its size."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk to fill")
    mounted: list[Path] = []

    def mount(place: Path, size: int) -> None:
        options = ["-o", f"size={size}"] if place not in mounted else ["-o", f"remount,size={size}"]
        place.mkdir(exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", *options, "tmpfs", str(place)], capture_output=True, text=True
        )
        if done.returncode != 0:
            pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
        if place not in mounted:
            mounted.append(place)

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _fill(disk: Path) -> Path:
    filler = disk / "filler"
    for size in (1 << 16, 1 << 12, 1):
        with filler.open("ab", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(b"\0" * size)
    return filler


def _ended_well(machine: Machine, *, lost_allowed: bool = False) -> None:
    run_id = machine.run_id()
    found = checker.picture(machine.home, run_id)
    assert found["state"] == "SUCCEEDED"
    assert found["outputs"]["parameters"] == {"total": 5}
    assert machine.tasks() == []
    assert checker.judge(machine.home, machine.side, run_id, lost_allowed=lost_allowed) == []


def test_a_run_goes_on_when_its_database_has_room_again(bare: Bare, disk: Disk) -> None:
    machine = bare(pipelines.filling(4))
    small = machine.folder / "disk"
    disk(small, 3 << 20)
    (machine.home / "penstock.db").symlink_to(small / "penstock.db")
    with machine.watch() as watch:
        engine = machine.run(machine.folder / "pipeline.yaml")
        assert machine.until(lambda: machine.lines("start") == 2, engine, watch)
        filler = _fill(small)

        assert engine.wait() == 1
    assert len(engine.said) == 1
    assert "the disk of the database" in engine.said[0]
    assert "is full; make room and resume the run" in engine.said[0]
    filler.unlink()
    again = machine.resume(machine.run_id())
    assert again.wait() == 0, again.said
    _ended_well(machine)


def test_a_run_is_retried_when_its_artifacts_have_room_again(bare: Bare, disk: Disk) -> None:
    machine = bare(pipelines.filling(4))
    small = machine.folder / "disk"
    disk(small, 7 << 18)
    machine.environment["PENSTOCK_PIPELINE_ROOT"] = str(small)
    engine = machine.run(machine.folder / "pipeline.yaml")
    assert engine.wait() == 1
    assert engine.said == []
    failed = {
        path: task["error"]
        for path, task in checker.picture(machine.home, machine.run_id())["tasks"].items()
        if task["state"] == "FAILED"
    }
    assert list(failed) == ["", "fan-3"]
    assert "No space left on device" in failed["fan-3"]
    assert "\n" not in failed["fan-3"]

    disk(small, 50 << 20)
    again = machine.start("runs", "retry", machine.run_id(), "--json")
    assert again.wait() == 0, again.said
    _ended_well(machine)
    assert machine.lines("start") == 4 + 1 + 1, "what had succeeded ran again"


@pytest.mark.parametrize("seed", range(20 if FULL else 1))
def test_artifacts_without_room_at_a_random_moment_fail_tasks_and_nothing_else(
    seed: int, scenarios: Scenarios, disk: Disk, tmp_path: Path, record: Record
) -> None:
    dice = random.Random(seed)
    record(note := at_its_moment(tmp_path, lambda folder: _fill_at_random(folder, disk, dice, scenarios)))
    assert note.problems == []


def _fill_at_random(folder: Path, disk: Disk, dice: random.Random, scenarios: Scenarios) -> Note:
    expected = scenarios.reference(LARGE, doomed=False)
    count = dice.randrange(int(expected.lines * 0.6))
    with scenarios.machine(folder, LARGE) as machine, machine.watch() as watch:
        disk(small := folder / "disk", 64 << 20)
        machine.environment["PENSTOCK_PIPELINE_ROOT"] = str(small)
        engine = machine.run(folder / "pipeline.yaml", *arguments(doomed=False))
        if not machine.until(lambda: machine.lines() >= count and machine.in_flight() >= 2, engine, watch):
            assert engine.wait() == 0, engine.said
            raise MissedError
        flying = machine.in_flight()
        filler = _fill(small)

        assert engine.wait() in (0, 1)
        problems = checker.judge(machine.home, machine.side, machine.run_id(), lost_allowed=False)
        tasks = checker.picture(machine.home, machine.run_id())["tasks"].values()
        problems += [task["error"] for task in tasks if task["state"] == "FAILED" and not _is_clear(task)]
        filler.unlink()
        if machine.state(machine.run_id()) == "FAILED":
            again = machine.start("runs", "retry", machine.run_id(), "--json")
            assert again.wait() == 0, again.said
        problems += checker.judge(machine.home, machine.side, machine.run_id(), lost_allowed=False)
        if checker.picture(machine.home, machine.run_id())["outputs"] != expected.picture["outputs"]:
            problems.append("the outputs are not those of the undisturbed run")
    return Note("server", "artifact disk filled", "", [f"{count} side effects"], [flying], 0, problems)


def _is_clear(task: dict[str, Any]) -> bool:
    """A component whose own writing failed says so in its log, and ends with its code; ours ends with 28."""
    error = task["error"]
    mine = "No space left on device" in error or "28" in error
    return task["kind"] != "CONTAINER" or (mine and "\n" not in error)


def test_a_run_goes_on_when_its_home_has_room_again(bare: Bare, disk: Disk, tmp_path: Path) -> None:
    disk(tmp_path / "home", 3 << 20)
    machine = bare(pipelines.filling(5))
    engine = machine.run(machine.folder / "pipeline.yaml")

    assert engine.wait() == 1
    assert len(engine.said) <= 1
    assert "Traceback" not in "".join(engine.said + engine.printed)
    disk(machine.home, 100 << 20)
    if machine.state(machine.run_id()) == "FAILED":
        again = machine.start("runs", "retry", machine.run_id(), "--json")
    else:
        again = machine.resume(machine.run_id())
    assert again.wait() in (0, 1), again.said
    if machine.state(machine.run_id()) == "FAILED":
        # What the tasks wrote while there was no room.
        again = machine.start("runs", "retry", machine.run_id(), "--json")
        assert again.wait() == 0, again.said
    _ended_well(machine, lost_allowed=True)

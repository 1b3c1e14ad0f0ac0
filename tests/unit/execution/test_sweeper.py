"""What an ended attempt leaves of its folder, and when the rest goes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.process.attempt_folder import AttemptFolder
from penstock.execution.process.sweeper import Sweeper
from tests.unit.execution.launching import RUN, launcher, order, script


def rooms(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir() if one.is_dir()}


def attempt(home: Path, name: str, outcome: Outcome | None) -> AttemptFolder:
    """The folder of an attempt with a working directory, and a manifest unless it still runs."""
    folder = AttemptFolder.of(home, RUN, name)
    folder.create()
    folder.make_rooms()
    (folder.work / "deep" / "er").mkdir(parents=True)
    (folder.work / "deep" / "file").touch()
    if outcome is not None:
        folder.write_manifest(OutputManifest(name, outcome))
    return folder


@pytest.mark.parametrize(("code", "kept"), [(0, set[str]()), (3, {"work", "tmp"})])
def test_once_released_a_success_leaves_no_directories_and_a_failure_all(
    tmp_path: Path, code: int, kept: set[str]
) -> None:
    process = launcher(tmp_path)
    started = process.start(order(tmp_path, script(f"mkdir made; exit {code}")))
    assert started.wait(60) is not None
    folder = tmp_path / "attempts" / RUN / "attempt-1"
    assert (folder / "work" / "made").is_dir()

    started.release()
    started.release()
    process.close()

    assert rooms(folder) & {"work", "tmp"} == kept
    assert {"log", "manifest.json", "exit"} <= {one.name for one in folder.iterdir()}


def test_close_waits_for_all_and_later_ones_are_removed_at_once(tmp_path: Path) -> None:
    sweeper = Sweeper()
    folders = [attempt(tmp_path, f"a{number}", Outcome.SUCCEEDED) for number in range(20)]

    for folder in folders[:-1]:
        sweeper.sweep(folder)
    sweeper.close()
    sweeper.close()
    sweeper.sweep(folders[-1])

    assert not any(folder.has_rooms for folder in folders)


def test_who_brings_more_than_may_wait_removes_it_himself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, cleared = threading.Event(), AttemptFolder.clear_rooms
    here = threading.current_thread()

    def slowly(folder: AttemptFolder) -> None:
        if threading.current_thread() is not here:
            assert go_on.wait(30)
        cleared(folder)

    monkeypatch.setattr(AttemptFolder, "clear_rooms", slowly)
    sweeper = Sweeper(backlog=2)
    folders = [attempt(tmp_path, f"a{number}", Outcome.SUCCEEDED) for number in range(3)]
    for folder in folders:
        sweeper.sweep(folder)

    assert [folder.has_rooms for folder in folders] == [True, True, False]
    go_on.set()
    sweeper.close()
    assert not any(folder.has_rooms for folder in folders)


def test_what_a_killed_engine_left_is_found_again(tmp_path: Path) -> None:
    done = attempt(tmp_path, "done", Outcome.SUCCEEDED)
    failed = attempt(tmp_path, "failed", Outcome.FAILED)
    runs = attempt(tmp_path, "runs", None)
    sweeper = Sweeper()

    sweeper.sweep_run(tmp_path / "attempts" / RUN)
    sweeper.sweep_run(tmp_path / "attempts" / "a run without any")
    sweeper.close()

    assert [one.has_rooms for one in (done, failed, runs)] == [False, True, True]

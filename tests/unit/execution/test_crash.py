"""The engine's process is killed with SIGKILL, and another one starts the same attempt again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock.artifacts import path_of
from penstock.errors import InvalidInputError
from penstock.execution import failpoints
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.model import Reason
from tests.unit.execution.launching import RUN, launcher, log_of, processes_of
from tests.unit.execution.starter import ordered

ROOT = Path(__file__).parents[3]
WORK = 'echo ran >> count; echo "$PWD" > "$0"; for m in "$1" "$2" "$3"; do echo weights > "$m"; done'


@contextmanager
def starter(home: Path, text: str, failpoint: str = "") -> Generator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.execution.starter", str(home), text],
        cwd=ROOT,
        env={**os.environ, "PENSTOCK_FAILPOINT": failpoint},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until_started(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"


def again(home: Path, text: str) -> OutputManifest:
    manifest = launcher(home).start(ordered(home, text)).wait(30)
    assert manifest is not None
    return manifest


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_a_running_task_is_adopted_and_runs_once(home: Path, tmp_path: Path) -> None:
    text = f"echo ran >> '{tmp_path}/count'; sleep 1.5; echo over > \"$0\"; echo said"
    with starter(home, text) as engine:
        until_started(engine)
        engine.kill()
        engine.wait()
    lines: list[str] = []
    before = time.monotonic()
    manifest = launcher(home).start(ordered(home, text), lines.append).wait(30)
    assert manifest is not None
    assert manifest.outcome is Outcome.SUCCEEDED
    assert manifest.parameters == {"o": "over\n"}
    assert lines == ["said"]
    assert time.monotonic() - before > 0.3, "it was to be adopted alive"
    assert (tmp_path / "count").read_text() == "ran\n"


def test_a_task_that_ended_meanwhile_is_staged_out(home: Path, tmp_path: Path) -> None:
    text = f"echo ran >> '{tmp_path}/count'; sleep 0.5; echo over > \"$0\""
    with starter(home, text) as engine:
        until_started(engine)
        engine.kill()
    time.sleep(1.5)
    assert processes_of(home) == []
    manifest = again(home, text)
    assert (manifest.outcome, manifest.parameters) == (Outcome.SUCCEEDED, {"o": "over\n"})
    assert (tmp_path / "count").read_text() == "ran\n"


def test_a_task_that_was_killed_meanwhile_is_lost_and_leaves_no_orphan(home: Path, tmp_path: Path) -> None:
    text = f"echo ran >> '{tmp_path}/count'; echo half > \"$1\"; setsid sleep 60 & sleep 60"
    with starter(home, text) as engine:
        until_started(engine)
        time.sleep(0.5)
        engine.kill()
        engine.wait()
    leader = int((home / "attempts" / RUN / "attempt-1" / "pid").read_text())
    os.kill(leader, signal.SIGKILL)
    assert len(processes_of(home)) >= 2
    manifest = again(home, text)
    assert (manifest.outcome, manifest.reason, manifest.exit_code) == (Outcome.LOST, Reason.LOST, None)
    assert processes_of(home) == []
    assert not list((home / "artifacts").rglob("model-*"))
    assert again(home, text) == manifest
    assert (tmp_path / "count").read_text() == "ran\n"


def test_an_adopted_task_can_be_stopped(home: Path) -> None:
    with starter(home, "sleep 60") as engine:
        until_started(engine)
        engine.kill()
        engine.wait()
    attempt = launcher(home).start(ordered(home, "sleep 60"))
    attempt.stop()
    manifest = attempt.wait(10)
    assert manifest is not None
    assert manifest.outcome is Outcome.CANCELED
    assert processes_of(home) == []


def test_a_task_that_was_asked_to_end_is_canceled_also_for_the_next_engine(home: Path) -> None:
    attempt = launcher(home).start(ordered(home, "trap '' TERM; sleep 1"))
    time.sleep(0.3)
    attempt.stop(grace=60)
    assert again(home, "trap '' TERM; sleep 1").outcome is Outcome.CANCELED


def test_what_was_left_behind_is_told_by_whoever_comes_after_it_was_killed(home: Path) -> None:
    text = 'sleep 60 & until grep -q sleep /proc/$!/comm; do :; done; echo over > "$0"'
    with starter(home, text, "manifest.before") as engine:
        assert engine.wait(20) == -signal.SIGKILL
    assert processes_of(home) == []

    manifest = again(home, text)

    assert manifest.outcome is Outcome.SUCCEEDED
    assert manifest.error == "1 process (sleep) still ran when the task's own had ended, and was killed"


def test_a_daemon_that_holds_the_lock_keeps_nobody_waiting(home: Path) -> None:
    text = "(trap '' TERM HUP; exec setsid sleep 60) & echo over > \"$0\""
    with starter(home, text, "attempt.ended") as engine:
        assert engine.wait(20) == -signal.SIGKILL
    assert len(processes_of(home)) == 1
    before = time.monotonic()
    manifest = again(home, text)
    assert manifest.outcome is Outcome.SUCCEEDED
    assert "left_behind" in manifest.notes
    assert time.monotonic() - before < 5
    assert processes_of(home) == []


@pytest.mark.parametrize(
    "failpoint",
    [
        "attempt.created",
        "attempt.started",
        "attempt.ended",
        "artifact.stored",
        "artifact.stored:2",
        "artifact.stored:3",
        "manifest.before",
        "manifest.written",
    ],
)
def test_killed_at_any_point_the_result_is_the_same_and_the_task_ran_once(
    home: Path, tmp_path: Path, failpoint: str
) -> None:
    text = f"cd '{tmp_path}'; {WORK}"
    with starter(home, text, failpoint) as engine:
        assert engine.wait(30) == -signal.SIGKILL
    manifest = again(home, text)
    assert manifest.outcome is Outcome.SUCCEEDED, manifest.error
    assert manifest.parameters == {"o": f"{tmp_path}\n"}
    for name, (model,) in manifest.artifacts.items():
        assert model.size == 8, name
        assert path_of(model.uri).read_text() == "weights\n"
    assert len(manifest.artifacts) == 3
    assert (tmp_path / "count").read_text() == "ran\n"
    assert processes_of(home) == []
    root = home / "artifacts" / "pipeline" / RUN / "train" / "attempt-1"
    assert sorted(path.name for path in root.iterdir()) == ["model-0", "model-1", "model-2"]
    assert log_of(home) == ""


def test_a_failpoint_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("no.such", "attempt.ended:0", "attempt.ended:x"):
        monkeypatch.setenv("PENSTOCK_FAILPOINT", text)
        with pytest.raises(InvalidInputError, match="must be name or name:nth"):
            failpoints.armed()
    monkeypatch.setenv("PENSTOCK_FAILPOINT", "attempt.ended:2")
    assert failpoints.armed() == ("attempt.ended", 2)

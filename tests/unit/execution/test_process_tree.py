"""Who belongs to an attempt, and who does not although the numbers say so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.execution.process.process_tree import (
    LINUX,
    MARK,
    ProcessTree,
    is_alive,
    open_process,
    wait_for,
)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A session of its own, as an attempt is, but of somebody else."""
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_a_stranger_who_got_the_leaders_id_is_left_alone(
    stranger: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    tree = ProcessTree("attempt-1@1", stranger.pid, tmp_path, trusted=False)
    assert not is_alive("attempt-1@1", stranger.pid)
    assert tree.left_behind(100.0) == []
    tree.signal(signal.SIGKILL)
    tree.kill()
    assert stranger.poll() is None


def test_the_mark_must_be_the_whole_of_it(tmp_path: Path) -> None:
    process = subprocess.Popen(
        ["cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env={"X" + MARK: "a@1", MARK: "a@12", "PATH": os.environ["PATH"]},
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        # Popen returns in the middle of exec, when the environment may not be there yet.
        process.stdin.write(b".")
        assert process.stdout.read(1) == b"."
        assert is_alive("a@12", process.pid)
        assert not is_alive("a@1", process.pid)
        assert list(ProcessTree("a@1", 1, tmp_path, trusted=False).members()) == []
        assert [one.pid for one in ProcessTree("a@12", 1, tmp_path, trusted=False).members()] == [process.pid]
    finally:
        process.kill()
        process.communicate()


def test_a_process_is_waited_for_without_being_a_child(stranger: subprocess.Popen[bytes]) -> None:
    handle = open_process(stranger.pid)
    assert handle is not None
    try:
        assert not wait_for(handle, 0.05)
        stranger.kill()
        assert wait_for(handle, 5.0)
    finally:
        os.close(handle)


@pytest.mark.parametrize(
    ("script", "count"),
    [("sleep 60 & sleep 60 & wait", 3), ("setsid sh -c 'setsid sleep 60 & wait' & wait", 3)],
)
def test_all_descendants_are_killed(tmp_path: Path, script: str, count: int) -> None:
    environment = {MARK: "a@7", "PATH": os.environ["PATH"]}
    leader = subprocess.Popen(["sh", "-c", script], env=environment, start_new_session=True)
    tree = ProcessTree("a@7", leader.pid, tmp_path, trusted=True)
    deadline = time.monotonic() + 10
    while len(list(tree.members())) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(list(tree.members())) == count
    tree.kill()
    leader.wait()
    assert list(tree.members()) == []


COUNTS = """
import signal, sys
number = signal.SIGRTMIN
signal.pthread_sigmask(signal.SIG_BLOCK, [number])
print("ready", flush=True)
sys.stdin.readline()
print(sum(1 for _ in iter(lambda: signal.sigtimedwait([number], 0), None)), flush=True)
"""
"""How often it got a signal of a kind that is queued, where others of one kind melt into one."""


@pytest.mark.skipif(not LINUX, reason="the signals that are queued are Linux's")
@pytest.mark.parametrize("program", [sys.executable, f"setsid {sys.executable}"])
def test_each_process_gets_a_signal_once(tmp_path: Path, program: str) -> None:
    leader = subprocess.Popen(
        ["sh", "-c", f"trap : RTMIN; {program} -c '{COUNTS}'; :"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={MARK: "a@7", "PATH": os.environ["PATH"]},
        start_new_session=True,
    )
    assert leader.stdin is not None and leader.stdout is not None
    tree = ProcessTree("a@7", leader.pid, tmp_path, trusted=True)
    try:
        assert leader.stdout.readline() == "ready\n"
        tree.signal(signal.SIGRTMIN)
        leader.stdin.write("\n")
        leader.stdin.flush()
        assert leader.stdout.readline() == "1\n"
    finally:
        tree.kill()
        leader.communicate()

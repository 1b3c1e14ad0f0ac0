"""What a terminal shows."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console

from penstock.cli.live import LiveTable
from penstock.model import Reason, State, TaskKind, TaskRun


def record(path: str, state: State, **fields: object) -> TaskRun:
    return TaskRun(path, TaskKind.CONTAINER, state, **fields)  # pyright: ignore[reportArgumentType]


def drawn(table: LiveTable, room: int | None = None) -> list[str]:
    console = Console(file=StringIO(), width=100)
    console.print(table.table(room))
    assert isinstance(console.file, StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_each_task_stands_with_its_state_its_time_and_whether_it_was_cached() -> None:
    table = LiveTable(Console(file=StringIO()))
    table.begin("01a1fe04", "my run")
    table.change(TaskRun("", TaskKind.ROOT, State.RUNNING))
    table.change(record("train", State.RUNNING, started_at=0.0))
    table.change(record("train", State.SUCCEEDED, started_at=0.0, ended_at=75.0))
    table.change(record("data", State.SUCCEEDED, cached=True, started_at=0.0, ended_at=1.0))
    table.change(record("never", State.SKIPPED, reason=Reason.CONDITION))

    title, header, *rows = drawn(table)

    assert "my run" in title and header.split() == ["TASK", "STATE", "TIME", "CACHED"]
    assert [row.split() for row in rows] == [
        ["train", "SUCCEEDED", "1m15s"],
        ["data", "SUCCEEDED", "cached"],
        ["never", "SKIPPED", "(condition", "was", "false)"],
    ]


def test_a_small_terminal_shows_what_has_not_ended_first() -> None:
    table = LiveTable(Console(file=StringIO()))
    for number in range(50):
        table.change(record(f"done-{number}", State.SUCCEEDED, started_at=0.0, ended_at=1.0))
    for number in range(3):
        table.change(record(f"now-{number}", State.RUNNING, started_at=0.0))

    rows = drawn(table, 5)

    assert sum("now-" in row for row in rows) == 3 and sum("done-" in row for row in rows) == 2
    assert any("48 more" in row for row in rows)


def test_a_terminal_gets_the_table_and_the_report(home: Path, adding: Path) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", "run", str(adding), "-p", "x=3"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(leader)

    assert process.wait(60) == 0
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown).decode()
    assert re.search(r"TASK +STATE +TIME +CACHED", text)
    assert re.search(r"add +SUCCEEDED +\d+\.\ds", text)
    assert "  total = 5" in text and "Traceback" not in text

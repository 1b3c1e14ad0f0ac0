"""Following a run that others drive, from what they record."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from penstock.errors import PenstockError
from penstock.execution.launcher import Launcher
from penstock.model import ROOT, State, TaskRun
from penstock.planner.settle import CONTAINERS
from penstock.store import Store

POLL_SECONDS: Final = 0.25


def follow(
    store: Store,
    run_id: str,
    on_change: Callable[[TaskRun], None] | None = None,
    on_end: Callable[[TaskRun], None] | None = None,
) -> State:
    """Wait for the end of the run; the final state. `on_change` sees each record that changed, `on_end` those
    of tasks (not of loops and nested pipelines) that have ended.
    """
    seen = 0

    def look() -> tuple[State, int, list[TaskRun]]:
        state = store.runs.get(run_id).state
        changes = store.tasks.history(run_id, seen)
        paths = dict.fromkeys(change.path for change in changes)
        records = [one for path in paths if (one := store.tasks.find(run_id, path)) is not None]
        return state, max((change.revision for change in changes), default=seen), records

    while True:
        state, seen, records = store.repeat(look)
        for record in records:
            if on_change is not None:
                on_change(record)
            if (
                on_end is not None
                and record.state.ended
                and record.kind not in CONTAINERS
                and record.path != ROOT
            ):
                on_end(record)
        if state.ended:
            return state
        time.sleep(POLL_SECONDS)


def print_lines(
    store: Store, launcher: Launcher, run_id: str, on_line: Callable[[str, str], None]
) -> Callable[[TaskRun], None]:
    """What hands on the lines of a task's last attempt once it has ended."""

    def ended(record: TaskRun) -> None:
        attempts = store.repeat(lambda: store.attempts.list(run_id, record.path))
        if attempts:
            with suppress(PenstockError):
                for line in launcher.log(run_id, attempts[-1].id, place=attempts[-1].log):
                    on_line(record.path, line)

    return ended

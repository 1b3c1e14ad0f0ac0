"""The live table: task, state, time, cached or not."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from penstock.cli.progress import describe, elapsed, is_shown, seconds_text
from penstock.execution.result import Run
from penstock.model import ROOT, State, TaskRun

STYLES = {
    State.PENDING: "dim",
    State.RUNNING: "cyan",
    State.SUCCEEDED: "green",
    State.SKIPPED: "yellow",
    State.FAILED: "bold red",
    State.CANCELING: "magenta",
    State.CANCELED: "magenta",
    State.PAUSED: "dim",
}


class LiveTable:
    """Redrawn four times a second; shows as many tasks as there is room for, the unfinished ones first."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._records: dict[str, TaskRun] = {}
        self._lock = threading.Lock()
        self._title = ""
        self._live = Live(
            console=self._console, get_renderable=self._table, refresh_per_second=4, transient=True
        )

    def begin(self, run_id: str, name: str) -> None:
        self._title = f"{name}  ({run_id})"

    def change(self, record: TaskRun) -> None:
        with self._lock:
            self._records[record.path] = record

    def line(self, path: str, text: str) -> None:
        self._live.console.print(Text(f"[{path}] {text}"), highlight=False)

    def notice(self, text: str) -> None:
        self._live.console.print(Text(text, style="yellow"), highlight=False)

    def end(self, run: Run) -> None:
        self._live.stop()
        self._console.print(self.table(None))

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def _table(self) -> Table:
        return self.table(max(5, self._console.size.height - 6))

    def table(self, room: int | None) -> Table:
        """At most `room` rows; None for all."""
        with self._lock:
            rows = [record for record in self._records.values() if record.path != ROOT and is_shown(record)]
        hidden = 0
        if room is not None and len(rows) > room:
            keep = [record for record in rows if not record.state.ended][-room:]
            if len(keep) < room:
                keep = [record for record in rows if record.state.ended][len(keep) - room :] + keep
            hidden, rows = len(rows) - len(keep), keep
        table = Table(title=self._title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        table.add_column("TASK", overflow="fold")
        table.add_column("STATE")
        table.add_column("TIME", justify="right")
        table.add_column("CACHED")
        if hidden:
            table.add_row(Text(f"… {hidden} more", style="dim"))
        now = time.time()
        for record in rows:
            state = describe(record).removesuffix(" (cached)")
            table.add_row(
                Text(record.path),
                Text(state, style=STYLES[record.state]),
                "" if record.cached else seconds_text(elapsed(record, now)),
                "cached" if record.cached else "",
            )
        return table

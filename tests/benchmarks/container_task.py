"""What the engine adds to a container task: 500 independent tasks that run /bin/true, one at a time.

A bare one runs, on the engine's own thread and while nothing else goes on, each time a task has ended. A task
takes from the end of that to its own end: verdict, attempt, directory, process, outputs, and commits.

It is /bin/true by its path because `true` alone may be a word that a shell knows, and then no program starts.
"""

from __future__ import annotations

import statistics
import subprocess
import time

from penstock.model import State, TaskKind, TaskRun
from tests.benchmarks.bench import Bench
from tests.benchmarks.machine import flush_seconds
from tests.benchmarks.outcome import Measurement, Row, alone
from tests.benchmarks.sampling import paired_ratio, percentile


class _Stopwatch:
    """Watches the records of a run that has one task at a time."""

    def __init__(self) -> None:
        self.tasks: list[float] = []
        self.bare: list[float] = []
        self._since: float | None = None

    def change(self, record: TaskRun) -> None:
        if record.kind is not TaskKind.CONTAINER or record.state is not State.SUCCEEDED:
            return
        now = time.perf_counter()
        if self._since is not None:
            self.tasks.append(now - self._since)
            subprocess.run(["/bin/true"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            self.bare.append(time.perf_counter() - now)
        self._since = time.perf_counter()


def measure(bench: Bench) -> Measurement:
    pipeline = bench.load("trues")
    tasks: list[float] = []
    bare: list[float] = []
    flushes = [flush_seconds(bench.home)]
    for _ in range(bench.count(3, 1)):
        watch = _Stopwatch()
        bench.run(pipeline, parallel=1, on_change=watch.change)
        tasks += watch.tasks
        bare += watch.bare
        flushes.append(flush_seconds(bench.home))
    overhead = [(task - single) * 1000 for task, single in zip(tasks, bare, strict=True)]
    ranks = ", ".join(f"{percent} % {percentile(overhead, percent):.1f}" for percent in (5, 25, 75, 95, 99))
    disk = ", ".join(f"{one * 1000:.2f}" for one in flushes)
    note = (
        f"Engine overhead of {len(overhead)} tasks, ms by percentile: {ranks}; largest {max(overhead):.1f}. "
        "SQLite in WAL mode with synchronous=FULL: each of a task's two commits waits for the disk. Its "
        f"fdatasync took {disk} ms (medians before, between and after the runs); a slower one adds to each."
    )
    return Measurement(
        [
            Row(
                "container task that runs `/bin/true`, start to recorded end",
                "ms",
                statistics.median(tasks) * 1000,
                statistics.median(bare) * 1000,
                "bare `/bin/true`",
                paired_ratio(tasks, bare),
            ),
            alone("of that the engine's own: the difference", statistics.median(overhead), "ms", at_most=10),
        ],
        {"task": tasks, "bare /bin/true": bare, "fdatasync": flushes},
        [note],
    )

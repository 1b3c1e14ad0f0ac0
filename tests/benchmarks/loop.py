"""A loop of up to 10,000 iterations of `true`: does it scale, and in how much memory?

Each run has a process of its own, so that its peak memory is its own.

    python -m tests.benchmarks.loop PIPELINE ITERATIONS
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.bench import Bench
from tests.benchmarks.outcome import Measurement, Row, alone

_PARALLEL = 2
_LINEAR = 1.25
_MEGABYTES = 400
_WHY = (
    "Linear is judged by processor time, of engine and tasks together: other work on the machine stretches "
    "the time on the clock several times over, differently for each size, and moves this far less."
)


@dataclass(frozen=True, slots=True)
class _Loop:
    """One run: seconds on the clock, seconds of the processors (tasks and all), and peak memory."""

    size: int
    seconds: float
    processor: float
    megabytes: float


def measure(bench: Bench) -> Measurement:
    sizes = (100, 250, 500, 1000) if bench.quick else (1000, 2500, 5000, 10000)
    loops: list[_Loop] = []
    # Up and down again, so that a machine that slows down meanwhile does not look like a loop that does.
    for size in (*sizes, *reversed(sizes[:-1])):
        one = _run(bench, size)
        each = (
            f"{one.seconds / size * 1000:.1f} ms an iteration, {one.processor / size * 1000:.1f} of processor"
        )
        bench.tell(f"loop of {size}: {each}; {one.megabytes:.0f} MB")
        loops.append(one)
    smallest, largest = sizes[0], sizes[-1]
    wall = {size: _median(one.seconds for one in loops if one.size == size) / size * 1000 for size in sizes}
    work = {size: _median(one.processor for one in loops if one.size == size) / size * 1000 for size in sizes}
    memory = {size: max(one.megabytes for one in loops if one.size == size) for size in sizes}
    growth = work[largest] / work[smallest]
    peaks = ", ".join(f"{size:,} iterations {one:.0f} MB" for size, one in memory.items())
    return Measurement(
        [
            *(
                Row(f"loop of {size:,}, {_PARALLEL} at once: an iteration", "ms", wall[size])
                for size in sizes
            ),
            Row(
                f"loop of {largest:,}: processor time an iteration",
                "ms",
                work[largest],
                work[smallest],
                f"loop of {smallest:,}",
                growth,
                f"linear (≤ {_LINEAR:g} ×)",
                growth <= _LINEAR,
            ),
            alone(
                f"loop of {largest:,}: peak memory of the engine", memory[largest], "MB", at_most=_MEGABYTES
            ),
        ],
        {
            f"loop of {size}, {what}": [getattr(one, field) for one in loops if one.size == size]
            for size in sizes
            for field, what in (("seconds", "s"), ("processor", "processor s"), ("megabytes", "MB"))
        },
        [f"Each iteration runs `/bin/true`. Peak memory (VmHWM): {peaks}. {_WHY}"],
    )


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _run(bench: Bench, size: int) -> _Loop:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.loop", bench.pipeline_file("trues-in-a-loop"), str(size)],
        cwd=Path(__file__).parents[2],
        env=bench.variables(),
        check=True,
        stdout=subprocess.PIPE,
    )
    return _Loop(size, **json.loads(done.stdout))


def main(file: str, size: str) -> None:
    from penstock import ir
    from penstock.execution.options import RunOptions
    from penstock.execution.settings import load_settings
    from penstock.execution.workspace import Workspace
    from penstock.model import State

    with Workspace(load_settings(environ=os.environ)) as workspace:
        pipeline = ir.load(Path(file))
        start, worked = time.perf_counter(), _processor_seconds()
        record = workspace.submit(
            pipeline, {"items": list(range(int(size)))}, options=RunOptions(cache=False, parallel=_PARALLEL)
        )
        state = workspace.drive(record.id)
        taken, worked = time.perf_counter() - start, _processor_seconds() - worked
    if state is not State.SUCCEEDED:
        sys.exit(f"the loop ended {state}")
    print(json.dumps({"seconds": taken, "processor": worked, "megabytes": _peak_megabytes()}))


def _processor_seconds() -> float:
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in found)


def _peak_megabytes() -> float:
    """The resident set's high-water mark of this program; that of getrusage would count its parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) * 1024 / 1e6


if __name__ == "__main__":
    main(*sys.argv[1:])

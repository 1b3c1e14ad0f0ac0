"""A loop of up to 10,000 iterations of `true`: does it scale, and in how much memory?

Each run has a process of its own, so that its peak memory is its own.

    python -m tests.benchmarks.loop PIPELINE ITERATIONS
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.bench import Bench
from tests.benchmarks.outcome import Measurement, Row, alone

_PARALLEL = 2
_LINEAR = 1.25
_MEGABYTES = 400


def measure(bench: Bench) -> Measurement:
    sizes = (100, 250, 500, 1000) if bench.quick else (1000, 2500, 5000, 10000)
    smallest, largest = sizes[0], sizes[-1]
    taken: dict[int, list[float]] = {size: [] for size in sizes}
    memory: dict[int, list[float]] = {size: [] for size in sizes}
    # Up and down again, so that a machine that slows down meanwhile does not look like a loop that does.
    for size in (*sizes, *reversed(sizes[:-1])):
        found, megabytes = _run(bench, size)
        bench.tell(f"loop of {size}: {found / size * 1000:.1f} ms an iteration, {megabytes:.0f} MB")
        taken[size].append(found)
        memory[size].append(megabytes)
    each = {size: statistics.median(values) / size * 1000 for size, values in taken.items()}
    growth = each[largest] / each[smallest]
    return Measurement(
        [
            *(
                Row(f"loop of {size:,} `true`, an iteration ({_PARALLEL} at once)", "ms", each[size])
                for size in sizes[:-1]
            ),
            Row(
                f"loop of {largest:,} `true`, an iteration ({_PARALLEL} at once)",
                "ms",
                each[largest],
                each[smallest],
                f"loop of {smallest:,}",
                growth,
                f"linear (≤ {_LINEAR:g} ×)",
                growth <= _LINEAR,
            ),
            alone(
                f"peak memory of the engine's process, loop of {largest:,}",
                max(memory[largest]),
                "MB",
                at_most=_MEGABYTES,
            ),
        ],
        {
            **{f"loop of {size}": values for size, values in taken.items()},
            **{f"loop of {size}, MB": values for size, values in memory.items()},
        },
        [
            "Peak memory: "
            + ", ".join(f"{size:,} iterations {max(values):.0f} MB" for size, values in memory.items())
            + " (VmHWM)."
        ],
    )


def _run(bench: Bench, size: int) -> tuple[float, float]:
    """Seconds, and peak memory in MB."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.loop", bench.pipeline_file("trues-in-a-loop"), str(size)],
        cwd=Path(__file__).parents[2],
        env=bench.variables(),
        check=True,
        stdout=subprocess.PIPE,
    )
    found = json.loads(done.stdout)
    return found["seconds"], found["megabytes"]


def main(file: str, size: str) -> None:
    from penstock import ir
    from penstock.execution.options import RunOptions
    from penstock.execution.settings import load_settings
    from penstock.execution.workspace import Workspace
    from penstock.model import State

    with Workspace(load_settings(environ=os.environ)) as workspace:
        pipeline = ir.load(Path(file))
        start = time.perf_counter()
        record = workspace.submit(
            pipeline, {"items": list(range(int(size)))}, options=RunOptions(cache=False, parallel=_PARALLEL)
        )
        state = workspace.drive(record.id)
        taken = time.perf_counter() - start
    if state is not State.SUCCEEDED:
        sys.exit(f"the loop ended {state}")
    print(json.dumps({"seconds": taken, "megabytes": _peak_megabytes()}))


def _peak_megabytes() -> float:
    """The resident set's high-water mark of this program; that of getrusage would count its parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) * 1024 / 1e6


if __name__ == "__main__":
    main(*sys.argv[1:])

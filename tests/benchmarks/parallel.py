"""Six tasks of three seconds at once, with --parallel 6."""

from __future__ import annotations

import subprocess
from dataclasses import replace

from tests.benchmarks.bench import Bench
from tests.benchmarks.outcome import Measurement, Row, beside
from tests.benchmarks.sampling import interleave, seconds

_SECONDS = 3.6


def measure(bench: Bench) -> Measurement:
    bare = bench.executor("six-naps", "nap")
    sleeps, naps = bench.load("six-sleeps"), bench.load("six-naps")

    def bare_sleeps() -> float:
        return seconds(lambda: [one.wait() for one in [subprocess.Popen(["sleep", "3"]) for _ in range(6)]])

    rounds = bench.count(7, 2)
    containers = interleave(
        rounds,
        {"six containers": lambda: bench.run(sleeps, parallel=6), "six bare sleeps": bare_sleeps},
    )
    components = interleave(
        rounds,
        {
            "six Python components": lambda: bench.run(naps, parallel=6),
            "six bare executors": lambda: bare.seconds(6, together=True, inputs={"seconds": 3.0}),
        },
    )
    return Measurement(
        [
            _judged(beside("six container tasks of 3 s at once, the run", containers, "bare `sleep 3`")),
            _judged(
                beside(
                    "six Python components of 3 s at once, the run",
                    components,
                    "bare executor_main",
                )
            ),
        ],
        {**containers, **components},
        [f"Slowest run: {max(containers['six containers'] + components['six Python components']):.2f} s."],
    )


def _judged(row: Row) -> Row:
    return replace(row, target=f"≤ {_SECONDS:g} s", met=row.ours <= _SECONDS)

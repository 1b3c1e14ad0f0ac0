"""A Python component that does nothing, in a warm environment, beside the bare process of its executor."""

from __future__ import annotations

import subprocess

from tests.benchmarks.bench import Bench
from tests.benchmarks.outcome import Measurement, beside
from tests.benchmarks.sampling import interleave, seconds

_BARE = "bare executor_main"
_NOTE = (
    "The bare process is `python -m kfp.dsl.executor_main` with the interpreter of the environment that "
    "penstock cached, on the same source, with an executor input of the same shape."
)


def measure(bench: Bench) -> Measurement:
    bare = bench.executor("one-noop", "noop")
    ten = bench.load("ten-noops")
    inside = interleave(
        bench.count(15, 3),
        {
            "run of ten, a task": lambda: bench.run(ten, parallel=1) / 10,
            "bare process, of ten": lambda: bare.seconds(10) / 10,
        },
    )
    command = [str(bench.program), "run", str(bench.pipeline_file("one-noop")), "--no-cache"]
    variables = bench.variables()

    def whole() -> float:
        return seconds(
            lambda: subprocess.run(
                command, check=True, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
        )

    outside = interleave(bench.count(20, 3), {"penstock run": whole, "bare process": bare.seconds})
    return Measurement(
        [
            beside(
                "Python component that does nothing: a task in a run, engine and all",
                inside,
                _BARE,
                unit="ms",
                scale=1000,
                at_most=1.5,
            ),
            beside(
                "the same as one whole `penstock run` of one task",
                outside,
                _BARE,
                unit="ms",
                scale=1000,
            ),
        ],
        {**inside, **outside},
        [_NOTE],
    )

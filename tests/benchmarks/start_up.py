"""`penstock version`, beside Python itself: what every call of the command pays at least."""

from __future__ import annotations

import subprocess
import sys

from tests.benchmarks.bench import Bench, plain_variables
from tests.benchmarks.outcome import Measurement, beside
from tests.benchmarks.sampling import interleave, seconds


def measure(bench: Bench) -> Measurement:
    def whole(*command: str) -> float:
        return seconds(
            lambda: subprocess.run(command, check=True, env=plain_variables(), stdout=subprocess.DEVNULL)
        )

    samples = interleave(
        bench.count(60, 10),
        {
            "penstock version": lambda: whole(str(bench.program), "version"),
            "python -c pass": lambda: whole(sys.executable, "-c", "pass"),
        },
        warm_up=3,
    )
    row = beside(
        "`penstock version`, the whole process",
        samples,
        "`python -c pass`",
        unit="ms",
        scale=1000,
        at_most=3,
    )
    return Measurement([row], samples)

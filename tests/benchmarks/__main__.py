"""python -m tests.benchmarks [--quick] [NAME …]"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks import (
    celery_engine,
    container_task,
    loading,
    local_runner,
    loop,
    machine,
    object_store,
    parallel,
    pods,
    python_component,
    record_queries,
    report,
    start_up,
    store_operations,
)
from tests.benchmarks.bench import Bench, open_bench
from tests.benchmarks.others import Others, await_quiet
from tests.benchmarks.outcome import Measurement
from tests.revision import revision

_PATIENCE = 300.0
_ROOT = Path(__file__).parents[2]

MEASUREMENTS: dict[str, Callable[[Bench], Measurement]] = {
    "python-component": python_component.measure,
    "container-task": container_task.measure,
    "parallel": parallel.measure,
    "loop": loop.measure,
    "loading": loading.measure,
    "start-up": start_up.measure,
    "store": store_operations.measure,
    "object-store": object_store.measure,
    "records": record_queries.measure,
    "celery": celery_engine.measure,
    "pods": pods.measure,
    "pod-chain": pods.measure_chain,
    "kfp-local": local_runner.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="What penstock costs.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASUREMENTS)}; all by default"
    )
    parser.add_argument("--quick", action="store_true", help="few samples, and nothing written")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in MEASUREMENTS]:
        parser.error(f"no measurement '{unknown[0]}'; there are {', '.join(MEASUREMENTS)}")
    docs = _ROOT / "docs"
    for name in given.names or MEASUREMENTS:
        with open_bench(_ROOT / "build" / "bench", given.quick, _tell) as bench:
            if not given.quick:
                await_quiet(_PATIENCE, _tell)
            _tell(name)
            found = _measure(bench, name)
        for row in found["rows"]:
            print(report.row_text(row), flush=True)
        if not given.quick:
            kept = report.keep({name: found}, docs / "benchmarks.json")
            (docs / "benchmarks.md").write_text(report.page(kept, list(MEASUREMENTS)))


def _measure(bench: Bench, name: str) -> dict[str, Any]:
    others = Others()
    commit = revision()
    start = time.perf_counter()
    found = MEASUREMENTS[name](bench).to_json()
    share = others.share()
    _tell(f"{name}: {time.perf_counter() - start:.0f} s")
    circumstances = {
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "revision": commit,
        "others": round(share, 3),
        "machine": machine.describe(bench.home),
    }
    return {**circumstances, **found}


def _tell(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

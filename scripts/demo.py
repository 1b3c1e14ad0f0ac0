"""`make demo`: the iris pipeline, compiled by the stock kfp SDK, run here, and its model traced.

Keeps its home in `.demo/` of the checkout; a second call is served from the cache.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".demo"
PIPELINE = "dags/pipelines/iris.py"


def penstock(*arguments: str) -> None:
    """Show a command as a person would type it, and run it; a failure ends the demo with its exit code."""
    from penstock.cli import run_cli

    print(f"\n$ penstock {shlex.join(arguments)}", flush=True)
    code = run_cli(arguments)
    if code:
        sys.exit(code)


def main() -> None:
    os.chdir(ROOT)
    os.environ["PENSTOCK_HOME"] = str(HOME)
    begun = time.monotonic()
    penstock("run", PIPELINE, "--name", "iris demo")

    from penstock.execution.settings import load_settings
    from penstock.execution.workspace import Workspace

    with Workspace(load_settings()) as workspace:
        run = workspace.store.runs.list(limit=1)[0]
        result = workspace.result(run.id)
        model = workspace.store.artifacts.list(type="system.Model", limit=1)[0]
    penstock("artifacts", "lineage", model.artifact.id)
    leaves = [task for task in result if task.kind.value == "CONTAINER"]
    cached = sum(1 for task in leaves if task.cached)
    took = time.monotonic() - begun
    print(f"\naccuracy {result.outputs.get('accuracy')}: {len(leaves)} tasks in {took:.1f} s", end="")
    print(
        f", {cached} of them served from the cache" if cached else "; call `make demo` again to see the cache"
    )


if __name__ == "__main__":
    main()

"""`penstock gc` in processes of its own: killed at every step, and beside runs that use what it removes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from penstock.execution.failpoints import REMOVAL
from tests.documents import INT, Shell, given, made_by, pipeline, write
from tests.integration.penstock_process import Command
from tests.integration.s3_service import Bucket


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """`make`, and `use` which reads what it made; both cached."""
    make = Shell(
        "make", 'echo "$x" >"$data"', {"x": (INT, given("x"))}, made={"data": "system.Dataset"}, cached=True
    )
    use = Shell(
        "use",
        'cat "$data"; cp "$data" "$copy"',
        {},
        {"data": made_by("make", "data")},
        made={"copy": "system.Dataset"},
        after=["make"],
        cached=True,
    )
    return write(pipeline("chain", make, use, inputs={"x": INT}), tmp_path / "chain.yaml")


def runs(penstock: Command) -> list[dict[str, Any]]:
    return [json.loads(line) for line in penstock("runs", "list", "--json").out.splitlines()]


def files(home: Path) -> set[str]:
    """The runs of which there is any file."""
    return {
        path.relative_to(home / top).parts[depth]
        for top, depth in (("artifacts", 1), ("attempts", 0))
        for path in (home / top).rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", REMOVAL)
def test_killed_at_any_step_it_is_finished_by_the_next(
    penstock: Command, chain: Path, home: Path, name: str
) -> None:
    for x in (1, 2, 2):
        assert penstock("run", chain, "-p", f"x={x}").code == 0

    assert penstock("gc", "--keep-last", "1", "--yes", PENSTOCK_FAILPOINT=name).code == -signal.SIGKILL

    left = {run["id"] for run in runs(penstock)}
    assert len(left) == 2
    assert left - {runs(penstock)[0]["id"]} <= files(home)
    again = penstock("run", chain, "-p", "x=2", "--json").run
    assert all(task["cached"] for task in again["tasks"].values())

    assert penstock("gc", "--keep-last", "9", "--yes").code == 0
    assert files(home) == {runs(penstock)[-1]["id"]}
    assert penstock("artifacts", "list", "--json").out.count("\n") == 2


def test_runs_that_start_while_it_removes_succeed(penstock: Command, chain: Path, home: Path) -> None:
    """Each finds in the cache what the run before the last one made, and that is just being removed."""
    loop = "import subprocess, sys\nwhile True: subprocess.run([sys.executable, *sys.argv[1:]])"
    gc = [sys.executable, "-c", loop, "-m", "penstock", "gc", "--keep-last", "1", "--yes"]
    remover = subprocess.Popen(
        gc, cwd=penstock.folder, env=penstock.environment(), stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        end = time.monotonic() + 10
        number = 0
        while time.monotonic() < end or number < 4:
            number += 1
            answer = penstock("run", chain, "-p", f"x={number % 2}", "--json")
            assert (answer.code, answer.run["state"]) == (0, "SUCCEEDED"), answer
    finally:
        os.killpg(remover.pid, signal.SIGKILL)
        remover.wait()
    assert penstock("gc", "--keep-last", "0", "--yes").code == 0
    assert (runs(penstock), files(home)) == ([], set())


@pytest.mark.service("s3")
def test_what_runs_left_in_a_bucket_goes_when_the_bucket_answers(
    penstock: Command, chain: Path, s3: Bucket
) -> None:
    s3.admin.put_object(s3.name, "some root/chain/mine", BytesIO(b"x"), 1)
    for x in (1, 2, 3):
        root = ["--pipeline-root", s3.uri("some root")]
        assert penstock("run", chain, "-p", f"x={x}", *root).code == 0
    assert len(s3.listed("some root/chain/")) == 7

    refused = penstock("gc", "--keep-last", "1", "--yes", AWS_SECRET_ACCESS_KEY="wrong")

    assert refused.code == 1
    assert refused.err.startswith("error: the content of 2 runs could not be deleted: ")
    assert refused.err.endswith("; the next `penstock gc` tries again\n") and refused.err.count("\n") == 1
    assert "would finish 2 removals begun earlier" in penstock("gc", "--keep-last", "1").out
    assert len(s3.listed("some root/chain/")) == 7

    assert penstock("gc", "--keep-last", "1", "--yes").code == 0
    (run,) = runs(penstock)
    assert {key.split("/")[2] for key in s3.listed("some root/chain/")} == {"mine", run["id"]}

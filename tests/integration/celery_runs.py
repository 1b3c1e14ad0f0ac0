"""Commands and runs on the shared installation of workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from penstock.execution.workspace import Workspace
from penstock.model import JsonObject, State
from penstock.store import RunRecord
from tests.cluster import Cluster
from tests.documents import write
from tests.installation import Installation
from tests.integration.penstock_process import Answer, Command

PYTHON, OTHER = "python:3.11", "docker.io/library/alpine:latest"
PATIENCE = 300.0
_LOOK = 0.1


@dataclass
class Runs:
    """`folder` is the client's, `workspace` looks at the records."""

    installation: Installation
    workspace: Workspace
    folder: Path

    def penstock(self, *arguments: str | Path, **settings: str) -> Answer:
        """The command, on a machine that has a home of its own."""
        variables = {**self.installation.variables, "PENSTOCK_HOME": str(self.folder / "home"), **settings}
        return Command(self.folder, self.folder / "home")(*arguments, **variables)

    def document(self, document: JsonObject) -> Path:
        return write(document, self.folder / f"{uuid4().hex}.yaml")

    def run(self, document: JsonObject, *options: str, **settings: str) -> dict[str, Any]:
        """What became of it, as `--json` tells it."""
        found = self.detached(document, *options, **settings)
        self.end(found)
        return self.penstock("runs", "get", found, "--json").run

    def followed(self, document: JsonObject, *options: str) -> dict[str, Any]:
        """As `run`, by a command that waits for the end."""
        return self.penstock("run", self.document(document), "--on", "celery", "--json", *options).run

    def detached(self, document: JsonObject, *options: str, **settings: str) -> str:
        """The id of a run that goes on."""
        answer = self.penstock(
            "run", self.document(document), "--on", "celery", "--detach", *options, **settings
        )
        assert (answer.code, answer.err) == (0, ""), answer
        return answer.out.strip()

    def end(self, run_id: str) -> State:
        """The state in which the run ended."""
        self.wait_until(lambda: self.record(run_id).state.ended, f"run {run_id} to end")
        return self.record(run_id).state

    def record(self, run_id: str) -> RunRecord:
        return self.workspace.store.runs.get(run_id)

    def pods(self, run_id: str) -> list[Any]:
        return Cluster(self.installation.namespace).pods(f"penstock.dev/run={run_id}")

    def wait_for_pod(self, run_id: str, phase: str = "Running") -> None:
        self.wait_until(
            lambda: any(one.status.phase == phase for one in self.pods(run_id)), f"a {phase} pod of {run_id}"
        )

    def wait_until(self, come: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + PATIENCE
        while not come():
            assert time.monotonic() < until, f"waited in vain for {what}"
            time.sleep(_LOOK)

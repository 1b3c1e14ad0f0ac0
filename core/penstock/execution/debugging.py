"""One task of a recorded run again, outside the record."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from penstock.artifacts import under, uri_of
from penstock.errors import InvalidInputError, NotFoundError
from penstock.execution.manifest import OutputManifest
from penstock.execution.process.launcher import ProcessLauncher
from penstock.execution.secrets.need import needs
from penstock.execution.session import open_session
from penstock.execution.workspace import Workspace
from penstock.planner.settle import CONTAINERS
from penstock.store import new_id

RUN_ID = "debug"
"""Attempts of this kind lie together, apart from those of runs."""


@dataclass(frozen=True, slots=True)
class Debugged:
    """`folder` is the attempt's directory: its log, its working directory, and below `artifacts` what it put
    out.
    """

    manifest: OutputManifest
    folder: Path


def debug_task(workspace: Workspace, run_id: str, path: str, on_line: Callable[[str], None]) -> Debugged:
    """Run the leaf task at `path` once more with its recorded inputs; its log goes to `on_line` as it is
    written.

    Raises NotFoundError for a task without a record, InvalidInputError for one that has nothing to run.
    """
    session = open_session(workspace.store, run_id)
    record = session.ledger.get(path)
    if record is None:
        raise NotFoundError(f"run {run_id} has no record of a task '{path}'")
    if record.kind in CONTAINERS:
        raise InvalidInputError(f"'{path}' is a {record.kind.value.lower()}; name one of the tasks in it")
    if not record.attempts and not record.cached:
        raise InvalidInputError(
            f"task '{path}' never started, so there is nothing to run again: {record.error}"
        )
    attempt_id = new_id()
    folder = workspace.settings.home / "attempts" / RUN_ID / attempt_id
    order = session.order(record, attempt_id, 1)
    outputs = uri_of(folder / "artifacts")
    order = replace(
        order,
        run=replace(order.run, run_id=RUN_ID),
        task_uri=f"{outputs}/{attempt_id}",
        output_uris={name: under(outputs, f"{attempt_id}/{name}") for name in order.output_uris},
    )
    with closing(workspace.launcher(session.options, session.run.pipeline_root)) as launcher:
        if isinstance(launcher, ProcessLauncher):
            for need in needs(order.platform):
                on_line(f"penstock: the secret {need} comes from {launcher.secrets.described(need)}")
        manifest = launcher.start(order, on_line).wait()
    assert manifest is not None
    return Debugged(manifest, folder)

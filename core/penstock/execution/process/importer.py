"""Importers: an artifact that exists already is recorded, and stays where it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from penstock.artifacts import ArtifactError, ArtifactStore, path_of, scheme_of
from penstock.artifacts.content import describe, examine
from penstock.artifacts.error import explained
from penstock.artifacts.stores import Stores
from penstock.artifacts.web import SCHEMES as WEB
from penstock.errors import TaskError
from penstock.execution.failpoints import failpoint
from penstock.execution.launcher import EndedAttempt
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.execution.process.attempt_folder import AttemptFolder
from penstock.model import Artifact, ImporterExecutor
from penstock.planner.inputs import task_fields
from penstock.planner.placeholders import resolve_constant
from penstock.planner.values import to_text


def run_importer(
    order: LaunchOrder,
    executor: ImporterExecutor,
    folder: AttemptFolder,
    new_id: Callable[[], str],
    stores: Stores,
) -> EndedAttempt:
    """KFP copies nothing either; beyond it, content is looked for, and its size recorded, its sha256 too
    where it is local.

    What is on the web is fetched by the task that reads it, and what nothing here can read is recorded by
    its URI alone. Raises TaskError for a URI that cannot be one, or one at which there is nothing.
    """
    started = time.time()
    artifact, notes = imported(order, executor, stores)
    output = next(iter(order.component.interface.output_artifacts), "artifact")
    manifest = OutputManifest(
        order.attempt_id,
        Outcome.SUCCEEDED,
        exit_code=0,
        artifacts={output: (replace(artifact, id=new_id(), name=output),)},
        log=str(folder.log),
        started_at=started,
        ended_at=time.time(),
        notes=notes,
    )
    folder.note(f"imported {artifact.uri}")
    failpoint("manifest.before")
    folder.write_manifest(manifest)
    failpoint("manifest.written")
    folder.clear_rooms()
    return EndedAttempt(manifest)


def imported(
    order: LaunchOrder, executor: ImporterExecutor, stores: Stores | None = None
) -> tuple[Artifact, dict[str, str]]:
    """What it brings in, without id and name, and notes. Raises TaskError as `run_importer` does."""
    parameters = order.inputs.parameters
    fields = task_fields(order.run.placeholders(), order.path)
    if executor.uri_parameter is not None:
        if executor.uri_parameter not in parameters:
            raise TaskError(
                f"importer '{order.task_name}' was given no URI: input '{executor.uri_parameter}' is missing"
            )
        uri = to_text(parameters[executor.uri_parameter])
    else:
        uri = to_text(resolve_constant(executor.uri, parameters, fields))
    metadata = resolve_constant(dict(executor.metadata), parameters, fields)
    assert isinstance(metadata, dict)
    artifact = Artifact("", "", executor.type, uri, metadata)
    scheme = scheme_of(uri)
    if scheme in WEB:
        return artifact, {}
    if scheme != "file":
        return _elsewhere(order, artifact, stores.find(uri) if stores is not None else None)
    try:
        path = path_of(uri)
        if not path.exists():
            raise ArtifactError(f"there is nothing at {str(path)!r}")
        with explained(f"read {str(path)!r}"):
            stored = describe(examine(path), uri)
    except ArtifactError as problem:
        raise TaskError(f"importer '{order.task_name}' cannot import {uri!r}: {problem}") from problem
    return replace(artifact, size=stored.size, sha256=stored.sha256), {}


def _elsewhere(
    order: LaunchOrder, artifact: Artifact, store: ArtifactStore | None
) -> tuple[Artifact, dict[str, str]]:
    """In an object store, which may not let us look."""
    uri = artifact.uri
    if store is None:
        return artifact, {"not_read": f"{uri} is recorded by its URI; its content was not looked at"}
    try:
        stored = store.stat(uri)
    except ArtifactError as problem:
        return artifact, {"not_read": f"{uri} is recorded by its URI: {problem}"}
    if stored is None:
        raise TaskError(f"importer '{order.task_name}' cannot import {uri!r}: there is nothing")
    return replace(artifact, size=stored.size, sha256=stored.sha256 or None), {}

"""The Python API: `penstock.load`, `penstock.run`, `penstock.resume`, `penstock.lineage`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from penstock.errors import InvalidInputError
from penstock.execution.options import RunOptions
from penstock.execution.provenance import artifact_at, is_place
from penstock.execution.result import OutputArtifact, Run
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace
from penstock.ir import load as load_file
from penstock.model import Json, Pipeline, TaskRun
from penstock.store import Lineage

__all__ = ["lineage", "load", "resume", "run"]


def load(path: str | os.PathLike[str]) -> Pipeline:
    """The compiled pipeline in a file: IR YAML or JSON, with its platform configuration if it has one.

    Raises InvalidPipelineError, naming the file, the place in it and the remedy.
    """
    return load_file(Path(path))


def run(
    pipeline: Pipeline | str | os.PathLike[str],
    arguments: Mapping[str, Json] | None = None,
    *,
    name: str = "",
    experiment: str = "Default",
    cache: bool = True,
    parallel: int = 0,
    fail_fast: bool = False,
    strict_images: bool = False,
    home: str | os.PathLike[str] | None = None,
    pipeline_root: str = "",
    on_change: Callable[[TaskRun], None] | None = None,
) -> Run:
    """Run a pipeline here, to its end, and answer with how it went; a failed run is an answer, not an
    exception.

    `pipeline` is what `load` answers with, or the path of a compiled file. `parallel` is how many tasks run
    at once (0: one per processor). `home` replaces PENSTOCK_HOME, `pipeline_root` (a folder or URI)
    PENSTOCK_PIPELINE_ROOT. `on_change` sees each task record as it is written.

    Raises InvalidPipelineError and InvalidArgumentError before anything is recorded. A KeyboardInterrupt
    cancels the run: the answer then has the state CANCELED.
    """
    overrides = _overrides(home, pipeline_root)
    loaded = pipeline if isinstance(pipeline, Pipeline) else load(pipeline)
    options = RunOptions(cache=cache, fail_fast=fail_fast, parallel=parallel, strict_images=strict_images)
    with Workspace(load_settings(overrides)) as workspace:
        record = workspace.submit(loaded, arguments or {}, name=name, experiment=experiment, options=options)
        workspace.drive(record.id, on_change=on_change)
        return workspace.result(record.id)


def resume(
    run_id: str,
    *,
    home: str | os.PathLike[str] | None = None,
    on_change: Callable[[TaskRun], None] | None = None,
) -> Run:
    """Go on with a run whose engine died, to its end. What finished does not run again.

    Raises NotFoundError, LeaseError while a living engine has the run, InvalidInputError for a run that has
    ended.
    """
    with Workspace(load_settings(_overrides(home, ""))) as workspace:
        record = workspace.store.runs.find(run_id)
        if record.state.ended:
            raise InvalidInputError(f"run {record.id} has ended already: {record.state.value}")
        workspace.drive(record.id, on_change=on_change)
        return workspace.result(record.id)


def lineage(
    artifact: OutputArtifact | str,
    *,
    down: bool = False,
    depth: int = 50,
    home: str | os.PathLike[str] | None = None,
) -> Lineage:
    """What an artifact came from or, with `down`, what came of it, through at most `depth` tasks.

    `artifact` is an output of a run, an id or an end of one, or a place (a URI, or a path here). Raises
    NotFoundError.
    """
    with Workspace(load_settings(_overrides(home, ""))) as workspace:
        store = workspace.store
        if isinstance(artifact, OutputArtifact):
            found = artifact.id
        else:
            record = artifact_at(store, artifact) if is_place(artifact) else store.artifacts.find(artifact)
            found = record.artifact.id
        return store.lineage.downstream(found, depth) if down else store.lineage.upstream(found, depth)


def _overrides(home: str | os.PathLike[str] | None, pipeline_root: str) -> dict[str, str]:
    overrides: dict[str, str] = {}
    if home is not None:
        overrides["home"] = os.fspath(home)
    if pipeline_root:
        overrides["pipeline_root"] = pipeline_root
    return overrides

"""What is printed when a run has ended: outputs, and the artifacts with their places."""

from __future__ import annotations

import json

import typer

from penstock.artifacts import path_of, scheme_of
from penstock.execution.result import Output, OutputArtifact, Run, outputs_to_json
from penstock.model import Reason, State

ERROR_LIMIT = 20
METADATA_LIMIT = 80
"""Characters of an artifact's metadata; `artifacts get` has all of it."""


def print_report(run: Run) -> None:
    """The run's state and outputs, the artifacts of its tasks, and what went wrong with them."""
    cached = sum(1 for task in run if task.cached)
    counts = f"; {cached} of {len(run.tasks)} tasks served from the cache" if cached else ""
    typer.echo(f"run {run.id} {run.state.value}{counts}")
    told = [
        task
        for task in run
        if task.state in (State.FAILED, State.SUCCEEDED)
        and task.error
        and task.reason is not Reason.CHILD_FAILED
    ]
    for task in told[:ERROR_LIMIT]:
        typer.echo(f"  {task.path}: {task.error}")
    if len(told) > ERROR_LIMIT:
        typer.echo(f"  … and {len(told) - ERROR_LIMIT} more tasks with an error")
    if run.outputs:
        typer.echo("outputs")
        for name, value in run.outputs.items():
            typer.echo(f"  {name} = {shown(value)}")
    artifacts = [
        (task.path, name, artifact)
        for task in run
        if task.kind.value in ("CONTAINER", "IMPORTER")
        for name, value in task.outputs.items()
        for artifact in artifacts_of(value)
    ]
    if artifacts:
        typer.echo("artifacts")
        for path, name, artifact in artifacts:
            said = (
                f"  {_short(json.dumps(dict(artifact.metadata), ensure_ascii=False))}"
                if artifact.metadata
                else ""
            )
            typer.echo(f"  {path}.{name}  {artifact.type}{said}")
            typer.echo(f"    {place(artifact)}")


def artifacts_of(value: Output) -> list[OutputArtifact]:
    if isinstance(value, OutputArtifact):
        return [value]
    if isinstance(value, list):
        return [one for one in value if isinstance(one, OutputArtifact)]
    return []


def place(artifact: OutputArtifact) -> str:
    """A path where the artifact is on this machine, else its URI."""
    return str(path_of(artifact.uri)) if scheme_of(artifact.uri) == "file" else artifact.uri


def _short(text: str) -> str:
    return text if len(text) <= METADATA_LIMIT else f"{text[: METADATA_LIMIT - 1]}…"


def shown(value: Output) -> str:
    found = artifacts_of(value)
    if found:
        return ", ".join(place(one) for one in found)
    return json.dumps(outputs_to_json({"": value})[""], ensure_ascii=False)

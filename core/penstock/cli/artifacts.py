"""`penstock artifacts …`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from penstock.artifacts import path_of, scheme_of
from penstock.cli.references import find_artifact, find_run, short
from penstock.cli.table import print_table, when
from penstock.errors import InvalidInputError
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace
from penstock.model import JsonObject
from penstock.store import ArtifactRecord, Direction, ExecutionState, Lineage

app = typer.Typer(help="Artifacts: list, look at, trace.", no_args_is_help=True)

ArtifactId = Annotated[
    str,
    typer.Argument(
        metavar="ARTIFACT",
        help="The artifact's id, the end of it as `artifacts list` shows it, or RUN:TASK.OUTPUT.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@app.command("list")
def list_artifacts(
    run: Annotated[str, typer.Option(help="Only what this run put out.")] = "",
    kind: Annotated[str, typer.Option("--type", help="Only this type, such as system.Model.")] = "",
    name: Annotated[str, typer.Option(help="Only artifacts of this name.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List artifacts, newest first."""
    with Workspace(load_settings()) as workspace:
        run_id = find_run(workspace, run).id if run else None
        found = workspace.store.artifacts.list(
            type=kind or None, run_id=run_id, name=name or None, limit=limit
        )
    if as_json:
        for record in found:
            typer.echo(json.dumps(artifact_json(record), ensure_ascii=False))
        return
    print_table(
        ("ARTIFACT", "NAME", "TYPE", "SIZE", "RUN", "TASK"),
        [
            (
                short(record.artifact.id),
                record.artifact.name,
                record.artifact.type.name,
                size_text(record.artifact.size),
                short(record.run_id or ""),
                record.path or "",
            )
            for record in found
        ],
    )


@app.command("get")
def get_artifact(
    artifact: ArtifactId,
    path: Annotated[
        bool, typer.Option("--path", help="Only its path on this machine, else its URI.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show one artifact."""
    with Workspace(load_settings()) as workspace:
        record = find_artifact(workspace, artifact)
    if path:
        typer.echo(place(record))
        return
    found = artifact_json(record)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    found = {**found, "created_at": when(record.created_at), "path": place(record)}
    for key, value in found.items():
        typer.echo(f"{key:10}  {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")


@app.command()
def lineage(
    artifact: ArtifactId,
    up: Annotated[bool, typer.Option("--up", help="Only what it came from.")] = False,
    down: Annotated[bool, typer.Option("--down", help="Only what came of it.")] = False,
    depth: Annotated[int, typer.Option(min=1, max=1000, help="Through at most so many tasks.")] = 50,
) -> None:
    """Trace an artifact: what it came from, and what came of it."""
    if up and down:
        raise InvalidInputError("--up and --down exclude each other; leave both out to see both ways")
    with Workspace(load_settings()) as workspace:
        record = find_artifact(workspace, artifact)
        typer.echo(f"{record.artifact.name}  {describe(record)}\n  {place(record)}")
        lineage = workspace.store.lineage
        if not down:
            typer.echo("came from")
            print_lineage(lineage.upstream(record.artifact.id, depth))
        if not up:
            typer.echo("went into")
            print_lineage(lineage.downstream(record.artifact.id, depth))


def print_lineage(found: Lineage) -> None:
    """Each task with its inputs and outputs, nearest first."""
    artifacts = {record.artifact.id: record for record in found.artifacts}
    width = max((len(edge.name) for edge in found.edges), default=0)
    for execution in found.executions:
        cached = " (from the cache)" if execution.state is ExecutionState.CACHED else ""
        typer.echo(f"  {execution.path} of run {short(execution.run_id)}{cached}")
        for edge in found.edges:
            if edge.execution_id == execution.id and edge.artifact_id in artifacts:
                side = "in " if edge.direction is Direction.INPUT else "out"
                typer.echo(f"    {side}  {edge.name:{width}}  {describe(artifacts[edge.artifact_id])}")
    if not found.executions:
        typer.echo("  nothing")


def describe(record: ArtifactRecord) -> str:
    artifact = record.artifact
    return f"{short(artifact.id)}  {artifact.type.name}"


def size_text(size: int | None) -> str:
    """`1.5 MiB`; empty for an artifact without content of ours."""
    if size is None:
        return ""
    if size < 1024:
        return f"{size} B"
    exponent = min(4, (size.bit_length() - 1) // 10)
    return f"{size / 1024**exponent:.1f} {' KMGT'[exponent]}iB"


def place(record: ArtifactRecord) -> str:
    uri = record.artifact.uri
    return str(path_of(uri)) if scheme_of(uri) == "file" else uri


def artifact_json(record: ArtifactRecord) -> JsonObject:
    artifact = record.artifact
    return {
        "id": artifact.id,
        "name": artifact.name,
        "type": artifact.type.name,
        "uri": artifact.uri,
        "metadata": dict(artifact.metadata),
        "size": artifact.size,
        "sha256": artifact.sha256,
        "state": record.state.value,
        "run": record.run_id,
        "task": record.path,
        "created_at": record.created_at,
    }

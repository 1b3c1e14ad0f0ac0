"""`penstock artifacts …`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from penstock.artifacts import path_of, scheme_of
from penstock.artifacts import size as sizes
from penstock.cli.references import find_artifact, find_run, short
from penstock.cli.table import print_table, when
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace
from penstock.model import JsonObject
from penstock.store import ArtifactRecord

app = typer.Typer(help="Artifacts: list, look at, trace.", no_args_is_help=True)

ArtifactId = Annotated[
    str,
    typer.Argument(
        metavar="ARTIFACT",
        help="The artifact's id, the end of it as `artifacts list` shows it, its place, or RUN:TASK.OUTPUT.",
    ),
]
URL_SECONDS = 3600

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
        bool, typer.Option("--path", help="Only its path on this machine, where it is fetched to if need be.")
    ] = False,
    to: Annotated[Path | None, typer.Option("--to", metavar="PATH", help="Copy its content there.")] = None,
    url: Annotated[
        bool, typer.Option("--url", help="Only a URL by which anybody can read it for an hour (S3).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show one artifact, or get at its content."""
    with Workspace(load_settings()) as workspace:
        record = find_artifact(workspace, artifact)
        if path:
            typer.echo(workspace.contents.path(record.artifact))
            return
        if to is not None:
            workspace.contents.copy(record.artifact, to)
            return
        if url:
            uri = record.artifact.uri
            typer.echo(workspace.artifact_store(uri).presign(uri, URL_SECONDS))
            return
    found = artifact_json(record)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    found = {**found, "created_at": when(record.created_at), "path": place(record)}
    for key, value in found.items():
        typer.echo(f"{key:10}  {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")


def describe(record: ArtifactRecord) -> str:
    artifact = record.artifact
    return f"{short(artifact.id)}  {artifact.type.name}"


def size_text(size: int | None) -> str:
    """`1.5 MiB`; empty for an artifact without content of ours."""
    return "" if size is None else sizes.size_text(size)


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

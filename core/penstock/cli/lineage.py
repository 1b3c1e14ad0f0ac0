"""`penstock artifacts lineage` and `stale`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from penstock.cli.artifacts import ArtifactId, AsJson, artifact_json, describe, place
from penstock.cli.lineage_views import Tree, lineage_json, mermaid, outputs_of
from penstock.cli.references import find_artifact, short
from penstock.cli.table import print_table, when
from penstock.errors import InvalidInputError
from penstock.execution.provenance import Codes
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace
from penstock.model import JsonObject
from penstock.store import ExecutionState, Lineage

_OUTPUTS = ("text", "mermaid", "json")

Depth = Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Through at most so many tasks.")]


def lineage(
    artifact: ArtifactId,
    up: Annotated[bool, typer.Option("--up", help="Only what it came from.")] = False,
    down: Annotated[bool, typer.Option("--down", help="Only what came of it.")] = False,
    depth: Depth = 50,
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, metavar="N", help="At most so many tasks, the nearest first.")
    ] = 100,
    output: Annotated[str, typer.Option("--output", "-o", help="text, mermaid or json.")] = "text",
    as_json: AsJson = False,
) -> None:
    """Trace an artifact: the runs, tasks, code and data it came from, and what came of it."""
    if up and down:
        raise InvalidInputError("--up and --down exclude each other; leave both out to see both ways")
    if output not in _OUTPUTS:
        raise InvalidInputError(f"--output is text, mermaid or json, not '{output}'")
    with Workspace(load_settings()) as workspace:
        record = find_artifact(workspace, artifact)
        graph, codes = workspace.store.lineage, Codes(workspace.store)
        found: dict[str, Lineage] = {}
        if not down:
            found["upstream"] = graph.upstream(record.artifact.id, depth, limit=limit)
        if not up:
            found["downstream"] = graph.downstream(record.artifact.id, depth, limit=limit)
        if as_json or output == "json":
            both: JsonObject = {"artifact": artifact_json(record)}
            both |= {name: lineage_json(one, codes) for name, one in found.items()}
            typer.echo(json.dumps(both, ensure_ascii=False))
        elif output == "mermaid":
            typer.echo(mermaid(list(found.values())))
        else:
            typer.echo(f"{record.artifact.name}  {describe(record)}\n  {place(record)}")
            for name, one in found.items():
                typer.echo("came from" if name == "upstream" else "went into")
                for line in Tree(one, name == "upstream", codes).lines():
                    typer.echo(line)
                if not one.executions:
                    typer.echo("  nothing")
                if one.following is not None:
                    typer.echo(f"… and more: --limit {limit * 10} shows it")


def stale(artifact: ArtifactId, depth: Depth = 50, as_json: AsJson = False) -> None:
    """List what would be out of date if an artifact changed: the newest of each task that came of it."""
    with Workspace(load_settings()) as workspace:
        record = find_artifact(workspace, artifact)
        found = workspace.store.lineage.stale(record.artifact.id, depth)
        if as_json:
            typer.echo(json.dumps(lineage_json(found, Codes(workspace.store)), ensure_ascii=False))
            return
    if not found.executions:
        typer.echo(f"nothing that is up to date came of {record.artifact.name}  {describe(record)}")
        return
    outputs = outputs_of(found)
    print_table(
        ("RUN", "NAME", "PIPELINE", "TASK", "TIME", "CACHED", "ARTIFACTS"),
        [
            (
                *(short(step.run_id), found.runs[step.run_id].name, found.runs[step.run_id].pipeline),
                *(step.path, when(step.created_at)),
                "cached" if step.state is ExecutionState.CACHED else "",
                ", ".join(f"{edge.name} {short(edge.artifact_id)}" for edge in outputs.get(step.id, ())),
            )
            for step in found.executions
        ],
    )

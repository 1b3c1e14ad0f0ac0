"""`penstock pipelines …`."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli.graph import mermaid, outline
from penstock.cli.run import read_pipeline
from penstock.errors import InvalidInputError
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace

app = typer.Typer(help="Pipelines: look at them.", no_args_is_help=True)


@app.callback()
def pipelines() -> None:
    """Pipelines: look at them."""


@app.command()
def show(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Compiled pipeline, or pipeline.py[:function].")
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="text or mermaid.")] = "text",
) -> None:
    """Show a pipeline's inputs, tasks and outputs."""
    if output not in ("text", "mermaid"):
        raise InvalidInputError(f"--output is text or mermaid, not '{output}'")
    with Workspace(load_settings()) as workspace:
        pipeline = read_pipeline(workspace, file)
    typer.echo(outline(pipeline) if output == "text" else mermaid(pipeline))

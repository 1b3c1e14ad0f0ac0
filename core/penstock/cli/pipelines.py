"""`penstock pipelines …`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from penstock.cli.graph import mermaid, outline
from penstock.cli.run import read_pipeline
from penstock.errors import InvalidInputError
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace
from penstock.model import Pipeline

app = typer.Typer(help="Pipelines: look at them.", no_args_is_help=True)


def _svg(pipeline: Pipeline) -> str:
    from penstock.cli.svg import svg

    return svg(pipeline)


_FORMS: dict[str, Callable[[Pipeline], str]] = {"text": outline, "mermaid": mermaid, "svg": _svg}


@app.callback()
def pipelines() -> None:
    """Pipelines: look at them."""


@app.command()
def show(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Compiled pipeline, or pipeline.py[:function].")
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="text, mermaid or svg.")] = "text",
) -> None:
    """Show a pipeline's inputs, tasks and outputs."""
    draw = _FORMS.get(output)
    if draw is None:
        raise InvalidInputError(f"--output is text, mermaid or svg, not '{output}'")
    with Workspace(load_settings()) as workspace:
        pipeline = read_pipeline(workspace, file)
    typer.echo(draw(pipeline))

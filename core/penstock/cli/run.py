"""`penstock run FILE`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.display import choose
from penstock.cli.progress import Progress
from penstock.cli.report import print_report
from penstock.errors import InvalidArgumentError, InvalidInputError
from penstock.execution.engine import EMBEDDED
from penstock.execution.options import RunOptions
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace
from penstock.ir import load, parse_argument, read_mapping
from penstock.model import Json, Pipeline, State

Parameters = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="KEY=VALUE", help="A pipeline argument; may be repeated."),
]
ParametersFile = Annotated[
    Path | None, typer.Option("--params", metavar="FILE", help="Pipeline arguments as YAML or JSON.")
]


def run(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="Compiled pipeline (YAML or JSON), or pipeline.py[:function]."),
    ],
    param: Parameters = None,
    params: ParametersFile = None,
    name: Annotated[str, typer.Option(help="The run's name; pipeline and time by default.")] = "",
    experiment: Annotated[str, typer.Option(help="The experiment that the run belongs to.")] = "Default",
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Run every task, whatever the cache holds.")
    ] = False,
    parallel: Annotated[
        int, typer.Option(min=0, help="Tasks at once; 0 means one per processor, 10 on celery.")
    ] = 0,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Start nothing new after the first failure.")
    ] = False,
    strict_images: Annotated[
        bool,
        typer.Option("--strict-images", help="Refuse an image whose exact Python is not on this machine."),
    ] = False,
    pipeline_root: Annotated[str, typer.Option(help="Where artifacts go: a folder or a URI.")] = "",
    launcher: Annotated[str, typer.Option(help="What runs the tasks: process, kubernetes.")] = "",
    engine: Annotated[
        str, typer.Option("--on", metavar="ENGINE", help="What drives the run: embedded (here), celery.")
    ] = "",
    queue: Annotated[str, typer.Option(help="The queue of the workers that drive it.")] = "",
    priority: Annotated[int, typer.Option(min=0, max=9, help="9 comes before 0 in its queue.")] = 0,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Print the run's id, and do not wait for its end.")
    ] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Print the tasks' output as it comes.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON Lines: one object per state change, the run last.")
    ] = False,
) -> None:
    """Run a pipeline, and wait for its end."""
    overrides = {"pipeline_root": pipeline_root} if pipeline_root else {}
    with Workspace(load_settings(overrides)) as workspace:
        pipeline = read_pipeline(workspace, file)
        arguments = read_arguments(pipeline, param or [], params)
        options = RunOptions(
            cache=not no_cache,
            fail_fast=fail_fast,
            parallel=parallel,
            strict_images=strict_images,
            launcher=launcher,
            engine=engine,
            queue=queue,
            priority=priority,
        )
        if detach and (engine or workspace.settings.engine) == EMBEDDED:
            raise InvalidInputError("--detach needs workers that drive the run: add --on celery")
        record = workspace.submit(pipeline, arguments, name=name, experiment=experiment, options=options)
        if detach:
            workspace.start(record)
            typer.echo(record.id)
            return
        drive(workspace, record.id, record.name, choose(as_json, logs), logs=logs, quiet=as_json)


def drive(
    workspace: Workspace, run_id: str, name: str, progress: Progress, *, logs: bool, quiet: bool
) -> None:
    """Run to the end under a progress display, report, and leave with the exit code of the state."""
    warnings: list[str] = []
    with progress:
        progress.begin(run_id, name)
        state = workspace.drive(
            run_id,
            on_change=progress.change,
            on_line=progress.line if logs else None,
            on_notice=progress.notice,
            on_warning=warnings.append,
        )
        result = workspace.result(run_id)
        progress.end(result)
    if not quiet:
        print_report(result)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if state is State.CANCELED:
        raise typer.Exit(130)
    if state is not State.SUCCEEDED:
        raise typer.Exit(1)


def read_pipeline(workspace: Workspace, file: str) -> Pipeline:
    """Load a compiled pipeline, or compile a Python file first."""
    from penstock.execution.compiler import check_source, compile_pipeline, split_function

    source, function = split_function(file)
    if not source.endswith(".py"):
        return load(Path(file))
    check_source(Path(source))
    workspace.make_home()
    with tempfile.TemporaryDirectory(prefix="penstock-") as folder:
        target = Path(folder) / "pipeline.yaml"
        settings = workspace.settings
        print(f"compiling {source} with {settings.kfp}", file=sys.stderr)
        compile_pipeline(
            Path(source), function, settings.kfp, workspace.environments(), target, workspace.variables
        )
        return load(target)


def read_arguments(pipeline: Pipeline, given: list[str], file: Path | None) -> dict[str, Json]:
    """Arguments of a file, overridden by `-p`. Raises InvalidArgumentError."""
    found = read_mapping(file) if file is not None else {}
    declared = pipeline.root.interface.input_parameters
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InvalidArgumentError(f"-p takes KEY=VALUE, not '{text}'")
        found[key] = parse_argument(value, declared[key].type, key) if key in declared else value
    return found

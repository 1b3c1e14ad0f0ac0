"""`penstock doctor FILE`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import typer

from penstock.cli.run import read_pipeline
from penstock.cli.table import print_table
from penstock.execution.doctor import Diagnosis, Finding, Support, diagnose
from penstock.execution.options import RunOptions
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace
from penstock.model import JsonObject


def doctor(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Compiled pipeline, or pipeline.py[:function].")
    ],
    strict_images: Annotated[
        bool,
        typer.Option("--strict-images", help="Refuse an image whose exact Python is not on this machine."),
    ] = False,
    launcher: Annotated[str, typer.Option(help="What would run the tasks: process, kubernetes.")] = "",
    each: Annotated[bool, typer.Option("--all", help="A row for each place, not only the first.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Machine-readable output, with each place.")
    ] = False,
) -> None:
    """Say what of a pipeline runs here, is emulated, or is refused (exit code 1)."""
    with Workspace(load_settings()) as workspace:
        pipeline = read_pipeline(workspace, file)
        options = RunOptions(strict_images=strict_images, launcher=launcher)
        found = diagnose(pipeline, workspace.launcher(options))
    if as_json:
        typer.echo(json.dumps(_to_json(found), ensure_ascii=False))
    else:
        _print(found, pipeline.name, each)
    if found.support is Support.REFUSED:
        raise typer.Exit(1)


def _print(found: Diagnosis, name: str, each: bool) -> None:
    for engine in dict.fromkeys(one.engine for one in found.findings):
        typer.echo(f"on engine {engine}")
        mine = [one for one in found.findings if one.engine == engine]
        rows = [row for one in _grouped(mine, each) for row in _rows(*one)]
        print_table(("SUPPORT", "FEATURE", "PLACE"), rows)
    for title, names in (
        ("images", found.images),
        ("secrets", () if found.sources else found.secrets),
        ("config maps", found.config_maps),
    ):
        if names:
            typer.echo(f"needs {title}: {', '.join(names)}")
    if found.sources:
        typer.echo("needs secrets")
        print_table(
            ("SECRET", "FROM", "STATE"), [(one.secret, one.reference, one.state) for one in found.sources]
        )
    for note in found.notes:
        typer.echo(f"note: {note}")
    words = {
        Support.RUNS: "runs",
        Support.EMULATED: "runs, with emulated features,",
        Support.REFUSED: "cannot run",
    }
    typer.echo(f"pipeline {name} {words[found.support]} on the embedded engine")


def _grouped(findings: Sequence[Finding], each: bool) -> list[tuple[Finding, int]]:
    """What needs attention first. Unless `each`, several places stand as one, with how many more."""
    order = [Support.REFUSED, Support.EMULATED, Support.RUNS]
    ranked = sorted(findings, key=lambda one: order.index(one.support))
    if each:
        return [(one, 0) for one in ranked]
    groups: dict[tuple[Support, str, str], list[Finding]] = {}
    for one in ranked:
        groups.setdefault((one.support, one.feature, one.text), []).append(one)
    return [(many[0], len(many) - 1) for many in groups.values()]


def _rows(one: Finding, more: int) -> list[tuple[str, str, str]]:
    """The place, and below it what there is to say."""
    rows = [(one.support.value, one.feature, one.place + (f" (+{more})" if more else ""))]
    return [*rows, ("", "", one.text)] if one.text else rows


def _to_json(found: Diagnosis) -> JsonObject:
    return {
        "support": found.support.value,
        "findings": [
            {
                "engine": one.engine,
                "support": one.support.value,
                "feature": one.feature,
                "place": one.place,
                "text": one.text,
            }
            for one in found.findings
        ],
        "images": list(found.images),
        "secrets": list(found.secrets),
        "secret_sources": [
            {"secret": one.secret, "reference": one.reference, "state": one.state} for one in found.sources
        ],
        "config_maps": list(found.config_maps),
        "notes": list(found.notes),
    }

"""`penstock config`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from penstock.cli.table import print_table
from penstock.execution.settings import load_settings


def config(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False) -> None:
    """Print the effective settings and where each came from."""
    rows = load_settings().shown()
    if as_json:
        typer.echo(json.dumps({name: {"value": value, "origin": origin} for name, value, origin in rows}))
        return
    print_table(("SETTING", "VALUE", "FROM"), rows)

"""`penstock doctor FILE`."""

from __future__ import annotations

import typer


def doctor(file: str) -> None:
    """Say what would run, what is emulated and what is refused."""
    typer.echo(file)

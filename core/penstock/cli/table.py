"""Plain tables: aligned columns, no frame, as kubectl prints them; and what stands in their cells."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import typer


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[index]) for row in (header, *rows)) for index in range(len(header))]
    for row in (header, *rows):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def when(moment: float) -> str:
    """Local time, to the second."""
    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")

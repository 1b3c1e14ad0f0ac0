"""The figures as JSON, raw samples and all, and as the page docs/benchmarks.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_INTRODUCTION = """\
# Benchmarks

What penstock costs, beside the peers that do the same work. The benchmarks write this page themselves; the
raw samples, in the order they were taken, are in [benchmarks.json](benchmarks.json).

Ours and the peer take turns in one run, in both orders. A figure is the median; *ratio* is ours divided by
the peer's, the median of the ratios within each round. Where a target is an amount, it stands for our figure.

| what | ours | peer | | ratio | target | met |
|---|---:|---:|---|---:|---|---|
"""

_REPEAT = """
## Repeat it

    make bench                                   # all; about an hour, mostly kfp.local in its default mode
    python -m tests.benchmarks loading start-up  # some: the others' figures stay as they are
    python -m tests.benchmarks --quick           # few samples, to the terminal only

Everything is set up by itself below `build/bench/`: the environment of the KFP SDK, the pipelines (compiled
by the stock SDK from `tests/benchmarks/kfp_side.py`), and a fresh home for penstock. Leave the machine alone
meanwhile.
"""


_OTHERS = """\
*Others* is the share of the processors that other processes used meanwhile: above a tenth or so, amounts (ms,
s) are too high and ratios less sure. Each measurement first waits for a quiet machine, five minutes at most.
A `+` after the revision: with changes that were not committed yet."""


def row_text(row: Mapping[str, Any]) -> str:
    unit = row["unit"]
    cells = [
        row["what"],
        _figure(row["ours"], unit),
        "" if row["peer"] is None else _figure(row["peer"], unit),
        row["peer_name"],
        "" if row["ratio"] is None else f"{row['ratio']:.{2 if row['ratio'] >= 0.1 else 3}f} ×",
        row["target"],
        "" if row["met"] is None else ("yes" if row["met"] else "**no**"),
    ]
    return f"| {' | '.join(cells)} |"


def keep(found: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Put what was measured beside what the file has of other measurements; all of it."""
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    kept |= found
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(_compact(kept))
    return kept


def page(measured: Mapping[str, Any], order: Sequence[str]) -> str:
    known = [(name, measured[name]) for name in order if name in measured]
    rows = [row_text(row) for _, one in known for row in one["rows"]]
    notes = [f"- **{name}**: {' '.join(one['notes'])}" for name, one in known if one["notes"]]
    return (
        _INTRODUCTION
        + "\n".join(rows)
        + "\n\n## How to read them\n\n"
        + "\n".join(notes)
        + "\n\n## Where and when\n\n"
        + "\n".join(_circumstances(known))
        + "\n"
        + _REPEAT
    )


def _circumstances(known: Sequence[tuple[str, Any]]) -> list[str]:
    lines: list[str] = []
    machines: dict[str, list[str]] = {}
    for name, one in known:
        text = "; ".join(f"{key}: {value}" for key, value in one["machine"].items() if key != "disk")
        machines.setdefault(text, []).append(name)
    lines += [f"- {', '.join(names)}: {text}" for text, names in machines.items()]
    lines += ["", "| measurement | when (UTC) | revision | others | disk |", "|---|---|---|---|---|"]
    for name, one in known:
        cells = [name, one["when"], one["revision"], f"{one['others']:.0%}", one["machine"]["disk"]]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", _OTHERS]


def _figure(value: float, unit: str) -> str:
    digits = 3 if unit == "s" and value < 1 else 2 if unit == "s" else 1 if value < 100 else 0
    return f"{value:.{digits}f} {unit}"


def _compact(measured: Mapping[str, Any]) -> str:
    """JSON with one line for each list of samples."""
    copy = {
        name: {
            **one,
            "samples": {key: [round(value, 6) for value in values] for key, values in one["samples"].items()},
        }
        for name, one in measured.items()
    }
    lists: list[str] = []

    def stand_in(values: list[float]) -> str:
        lists.append(json.dumps(values))
        return f"@{len(lists) - 1}@"

    for one in copy.values():
        one["samples"] = {key: stand_in(values) for key, values in one["samples"].items()}
    text = json.dumps(copy, indent=1, ensure_ascii=False)
    for number, values in enumerate(lists):
        text = text.replace(f'"@{number}@"', values)
    return text + "\n"

"""What a measurement hands back: rows of the table, the samples behind them, and notes."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.benchmarks.sampling import Samples, paired_ratio


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `ours` and `peer` are in `unit`; `met` is None where nothing was promised."""

    what: str
    unit: str
    ours: float
    peer: float | None = None
    peer_name: str = ""
    ratio: float | None = None
    target: str = ""
    met: bool | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """`samples` are in seconds unless their name says otherwise."""

    rows: list[Row]
    samples: Samples
    notes: list[str] = field(default_factory=list[str])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def beside(
    what: str,
    samples: Samples,
    peer_name: str,
    *,
    unit: str = "s",
    scale: float = 1.0,
    at_most: float | None = None,
) -> Row:
    """`samples` has ours, then the peer's: the medians of both, and of the ratios within rounds."""
    ours, peer = samples.values()
    ratio = paired_ratio(ours, peer)
    return Row(
        what,
        unit,
        statistics.median(ours) * scale,
        statistics.median(peer) * scale,
        peer_name,
        ratio,
        "" if at_most is None else f"≤ {at_most:g} ×",
        None if at_most is None else ratio <= at_most,
    )


def alone(what: str, value: float, unit: str, at_most: float | None = None) -> Row:
    target = "" if at_most is None else f"≤ {at_most:g} {unit}"
    return Row(what, unit, value, target=target, met=None if at_most is None else value <= at_most)

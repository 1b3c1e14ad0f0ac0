"""Samples, and taking them from several contenders in turn."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

Samples = dict[str, list[float]]
"""The values of each contender in the order they were taken; index i of all was taken in the same round."""


def interleave(
    rounds: int,
    contenders: Mapping[str, Callable[[], float]],
    *,
    warm_up: int = 1,
    on_round: Callable[[int], None] | None = None,
) -> Samples:
    """Ask each contender once a round for its value: in the order given, then backwards, and so on.

    The machine's moods so fall on all of them alike, and nobody always comes after the same other one.
    """
    for _ in range(warm_up):
        for measure in contenders.values():
            measure()
    samples: Samples = {name: [] for name in contenders}
    for number in range(rounds):
        order = list(contenders.items())
        for name, measure in order if number % 2 == 0 else reversed(order):
            samples[name].append(measure())
        if on_round is not None:
            on_round(number)
    return samples


def seconds(action: Callable[[], object]) -> float:
    """How long one call takes; what former ones left for the garbage collector is cleared before."""
    gc.collect()
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def paired_ratio(ours: Sequence[float], peer: Sequence[float]) -> float:
    """The median of the ratios within each round, which a slow minute of the machine does not move."""
    return statistics.median(a / b for a, b in zip(ours, peer, strict=True))


def percentile(values: Sequence[float], percent: float) -> float:
    """By the nearest rank."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, max(0, round(percent / 100 * len(ranked) + 0.5) - 1))]

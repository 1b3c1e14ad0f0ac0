"""How far this machine's clock is from the database's."""

from __future__ import annotations

import time
from collections.abc import Callable

import sqlalchemy as sa

from penstock.store.connection import Database
from penstock.store.dialect import database_clock

LIMIT = 5.0
"""Seconds by which the clocks of a machine and of its database may differ."""

_NOW = sa.select(database_clock())


def skew(database: Database, clock: Callable[[], float]) -> float:
    """By how many seconds the database's clock is ahead of `clock`; of several looks the quickest counts."""
    found: list[tuple[float, float]] = []
    for _ in range(3):
        with database.read() as connection:
            start, before = time.perf_counter(), clock()
            there = connection.execute(_NOW).scalar_one()
            took = time.perf_counter() - start
        found.append((took, there - (before + took / 2)))
    return min(found)[1]


def warning(seconds: float) -> str:
    """The sentence for clocks that differ too much, else an empty text."""
    if abs(seconds) <= LIMIT:
        return ""
    where = "behind" if seconds > 0 else "ahead of"
    return (
        f"this machine's clock is {abs(seconds):.0f} s {where} the database's: "
        "times that it records are wrong, retries and deadlines come at wrong moments; set the clock (NTP)"
    )

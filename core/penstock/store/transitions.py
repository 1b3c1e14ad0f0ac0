"""Which states may follow which. Pure; the tables are the state machines of runs, tasks and attempts."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from penstock.errors import IllegalTransitionError
from penstock.model import State


class AttemptState(StrEnum):
    """LOST: nobody can tell how it ended (the machine went down)."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    LOST = "LOST"


_P, _R, _S, _K, _F, _G, _C, _H = (
    State.PENDING,
    State.RUNNING,
    State.SUCCEEDED,
    State.SKIPPED,
    State.FAILED,
    State.CANCELING,
    State.CANCELED,
    State.PAUSED,
)

TASK: Mapping[State | None, frozenset[State]] = {
    None: frozenset({_P, _R, _S, _K, _F, _C}),
    _P: frozenset({_P, _R, _S, _K, _F, _G, _C, _H}),
    _R: frozenset({_P, _R, _S, _K, _F, _G, _C, _H}),
    _H: frozenset({_P, _R, _F, _G, _C, _H}),
    _G: frozenset({_S, _F, _G, _C}),
    _S: frozenset(),
    _K: frozenset(),
    _F: frozenset(),
    _C: frozenset(),
}
"""Of tasks; None is a task without a record. PENDING follows RUNNING before a retry."""

RUN: Mapping[State | None, frozenset[State]] = {
    None: frozenset({_P}),
    _P: frozenset({_R, _K, _F, _G, _C, _H}),
    _R: frozenset({_P, _S, _F, _G, _C, _H}),
    _H: frozenset({_P, _R, _F, _G, _C}),
    _G: frozenset({_S, _F, _C}),
    _S: frozenset(),
    _K: frozenset(),
    _F: frozenset(),
    _C: frozenset(),
}
"""Of runs. RUNNING returns to PENDING when its engine hands it back."""


def check_task(path: str, former: State | None, new: State) -> None:
    """Raises IllegalTransitionError."""
    if new not in TASK[former]:
        raise IllegalTransitionError(f"{_named(path)} {_sentence(former, new)}")


def check_run(run_id: str, former: State, new: State) -> None:
    """Raises IllegalTransitionError."""
    if new not in RUN[former]:
        raise IllegalTransitionError(f"run {run_id} {_sentence(former, new)}")


def _named(path: str) -> str:
    return f"task '{path}'" if path else "the run's own DAG"


def _sentence(former: State | None, new: State) -> str:
    if former is None:
        return f"cannot begin {new}"
    if former.ended:
        return f"has ended {former} and cannot become {new}; reopen it to run it again"
    return f"is {former} and cannot become {new}"

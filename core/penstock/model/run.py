"""What a run records: states, and the tasks, attempts and values under them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from penstock.model.artifact import Artifact
from penstock.model.value import Json

ROOT = ""
"""The task path of the run's own DAG."""


class State(StrEnum):
    """KFP's `RuntimeState`, of runs and of tasks."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"
    CANCELING = "CANCELING"
    CANCELED = "CANCELED"
    PAUSED = "PAUSED"

    @property
    def ended(self) -> bool:
        return self in ENDED


ENDED = frozenset({State.SUCCEEDED, State.SKIPPED, State.FAILED, State.CANCELED})


class TaskKind(StrEnum):
    """KFP's coming `TaskType`, as far as it matters here. A LOOP has ITERATIONs; the run's own DAG is the
    ROOT.
    """

    ROOT = "ROOT"
    CONTAINER = "CONTAINER"
    IMPORTER = "IMPORTER"
    DAG = "DAG"
    LOOP = "LOOP"


class Reason(StrEnum):
    """Why a task is in its state, where the state alone does not say."""

    CONDITION = "CONDITION"
    UPSTREAM_SKIPPED = "UPSTREAM_SKIPPED"
    UPSTREAM_FAILED = "UPSTREAM_FAILED"
    FAIL_FAST = "FAIL_FAST"
    CHILD_FAILED = "CHILD_FAILED"
    DEADLINE = "DEADLINE"
    INPUT = "INPUT"
    REFUSED = "REFUSED"
    EXIT_CODE = "EXIT_CODE"
    OUTPUT = "OUTPUT"
    IMAGE = "IMAGE"
    UNSCHEDULABLE = "UNSCHEDULABLE"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    EVICTED = "EVICTED"
    LOST = "LOST"
    CANCELED = "CANCELED"
    REOPENED = "REOPENED"


@dataclass(frozen=True, slots=True)
class Values:
    """The parameters and artifacts going into, or coming out of, a task."""

    parameters: Mapping[str, Json] = field(default_factory=dict[str, Json])
    artifacts: Mapping[str, tuple[Artifact, ...]] = field(default_factory=dict[str, tuple[Artifact, ...]])


NOTHING = Values()


@dataclass(frozen=True, slots=True)
class TaskRun:
    """The record of one task of one run.

    `iterations` is the number of items of a LOOP (None before it is known, and for everything else).
    `generation` rises by one when the task is reopened; `attempts` counts the launches of this generation;
    `retries` counts how often a nested pipeline was started anew under its own retry policy.
    `retry_at` (seconds since the epoch) is when a failed attempt may be followed by the next one.
    `error` is one sentence; a task that SUCCEEDED has one when it left processes behind.
    """

    path: str
    kind: TaskKind
    state: State
    inputs: Values = NOTHING
    outputs: Values = NOTHING
    iterations: int | None = None
    cached: bool = False
    reason: Reason | None = None
    error: str = ""
    generation: int = 0
    attempts: int = 0
    retries: int = 0
    retry_at: float | None = None
    fingerprint: str = ""
    started_at: float | None = None
    ended_at: float | None = None

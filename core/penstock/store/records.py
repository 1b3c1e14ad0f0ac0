"""What the store answers with. Times are seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from penstock.model import Artifact, Json, JsonObject, Reason, State, Values
from penstock.store.transitions import AttemptState


class StorageState(StrEnum):
    AVAILABLE = "AVAILABLE"
    ARCHIVED = "ARCHIVED"


class ExecutionState(StrEnum):
    COMPLETE = "COMPLETE"
    CACHED = "CACHED"
    FAILED = "FAILED"


class ArtifactState(StrEnum):
    LIVE = "LIVE"
    DELETED = "DELETED"


class Direction(StrEnum):
    """REUSED is what an execution put out without making it: it was cached, or imported before."""

    INPUT = "INPUT"
    OUTPUT = "OUTPUT"
    REUSED = "REUSED"


@dataclass(frozen=True, slots=True)
class ExperimentRecord:
    id: str
    namespace: str
    name: str
    description: str
    storage_state: StorageState
    created_at: float


@dataclass(frozen=True, slots=True)
class PipelineRecord:
    id: str
    namespace: str
    name: str
    display_name: str
    description: str
    created_at: float


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """A pipeline as it was recorded; the document itself is asked for with `pipelines.document`."""

    id: str
    pipeline_id: str
    digest: str
    created_at: float


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run. `experiment` and `pipeline` are names; `name` is for people.

    `owner`, `lease_expires_at` and `token` tell which engine drives it (see `leases`). `generation` is the
    highest of the run, `revision` rises with every change of a task.
    """

    id: str
    namespace: str
    experiment: str | None
    pipeline: str
    version_id: str
    digest: str
    name: str
    resource_name: str
    arguments: JsonObject
    pipeline_root: str
    options: JsonObject
    state: State
    error: str
    outputs: Values
    storage_state: StorageState
    created_at: float
    started_at: float | None
    ended_at: float | None
    cancel_requested_at: float | None
    owner: str | None
    lease_expires_at: float | None
    token: int
    generation: int
    revision: int


@dataclass(frozen=True, slots=True)
class HistoryRecord:
    """One change of one task. A state of None: the record was removed (its nested pipeline started anew)."""

    revision: int
    path: str
    generation: int
    state: State | None
    reason: Reason | None
    at: float


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One launch of a task. `adopted`: it ran already when it was claimed, so nothing new may be started."""

    id: str
    run_id: str
    path: str
    generation: int
    number: int
    state: AttemptState
    owner: str
    launcher: str
    isolation: str
    started_at: float
    ended_at: float | None
    exit_code: int | None
    error: str
    log: str
    notes: Mapping[str, Json]
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class ArtifactRecord:
    """`run_id` and `path` name the task that wrote it; None for an artifact that no recorded task wrote."""

    artifact: Artifact
    namespace: str
    state: ArtifactState
    created_at: float
    run_id: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """`cached_execution_id` is the execution whose outputs a CACHED one took over."""

    id: str
    run_id: str
    path: str
    generation: int
    attempt_id: str | None
    namespace: str
    fingerprint: str
    cache_scope: str
    state: ExecutionState
    cached_execution_id: str | None
    inputs: Values
    outputs: Values
    created_at: float


@dataclass(frozen=True, slots=True)
class CachedOutputs:
    execution_id: str
    run_id: str
    path: str
    outputs: Values
    created_at: float


@dataclass(frozen=True, slots=True)
class Edge:
    """`name` is the execution's input or output, `position` the artifact's in its list."""

    execution_id: str
    artifact_id: str
    direction: Direction
    name: str
    position: int


@dataclass(frozen=True, slots=True)
class Lineage:
    """What an artifact came from, or went into.

    `executions` stand nearest first, and of one distance the newest first; `distances` counts the executions
    from the artifact asked for, which is the first of `artifacts`. `runs` are theirs. Of several records of
    one content (one place, imported more than once) only one is among `artifacts`, and `edges` name that one:
    `same` has it for each of the others. `following` is where the next page begins, None after the last.
    """

    artifacts: tuple[ArtifactRecord, ...]
    executions: tuple[ExecutionRecord, ...]
    edges: tuple[Edge, ...]
    distances: Mapping[str, int]
    runs: Mapping[str, RunRecord]
    same: Mapping[str, str]
    following: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """The ended runs for which all that is given holds.

    `ended_before` is in seconds since the epoch. With `keep_last`, the newest so many of each pipeline in
    each experiment are left out; they are counted among the runs of the `state`, if one is given.
    """

    ended_before: float | None = None
    keep_last: int | None = None
    experiment: str | None = None
    pipeline: str | None = None
    state: State | None = None
    namespace: str = "default"


@dataclass(frozen=True, slots=True)
class Verdicts:
    """`removable` in the order asked for; `kept` says for each of the others why it stays."""

    removable: tuple[str, ...]
    kept: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Purged:
    """Records that one page has taken away."""

    tasks: int
    artifacts: int


@dataclass(frozen=True, slots=True)
class Removal:
    """A run on its way out: `size` are the recorded bytes of what it made, below `pipeline_root`; `error` is
    why that could not be deleted the last time.
    """

    run_id: str
    pipeline_root: str
    pipeline: str
    size: int
    error: str
    marked_at: float


@dataclass(frozen=True, slots=True)
class Footprint:
    """What would go with a run: its task records, and the artifacts that it made, with their bytes."""

    run_id: str
    tasks: int
    artifacts: int
    size: int


@dataclass(frozen=True, slots=True)
class Message:
    """`attempts` counts the deliveries tried, this one included."""

    id: str
    topic: str
    key: str
    payload: JsonObject
    attempts: int
    created_at: float


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """`held_seconds` is what is left of somebody's claim; `refused`: it is not offered until that is asked
    for.
    """

    message: Message
    error: str
    refused: bool
    held_seconds: float

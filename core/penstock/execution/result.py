"""A run as its author reads it: `run.outputs["accuracy"]`, `run.tasks["train"].outputs["model"].path`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from penstock.artifacts import path_of, scheme_of
from penstock.model import Artifact, Json, JsonObject, Reason, State, TaskKind, TaskRun, Values


@dataclass(frozen=True, slots=True)
class OutputArtifact:
    """An artifact that a task wrote. `type` is its schema title, such as `system.Model`."""

    id: str
    name: str
    type: str
    uri: str
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Json])
    size: int | None = None
    sha256: str | None = None
    fetch: Fetch | None = field(default=None, repr=False, compare=False)

    @property
    def path(self) -> Path:
        """Where the content is on this machine. From elsewhere it is fetched first, and checked; the copy
        stays until the room is needed. Raises PenstockError for what cannot be had.
        """
        if self.fetch is not None:
            return self.fetch(self)
        if scheme_of(self.uri) != "file":
            raise ValueError(f"{self.uri} is not on this machine; fetch it with the store of its scheme")
        return path_of(self.uri)

    def to_json(self) -> JsonObject:
        found: JsonObject = {"id": self.id, "name": self.name, "type": self.type, "uri": self.uri}
        if self.metadata:
            found["metadata"] = dict(self.metadata)
        if self.size is not None:
            found["size"] = self.size
        return found


Fetch: TypeAlias = Callable[[OutputArtifact], Path]
Output: TypeAlias = "Json | OutputArtifact | list[OutputArtifact]"


@dataclass(frozen=True, slots=True)
class TaskResult:
    """How one task ended. `outputs` holds parameters by value, artifacts as OutputArtifact, or a list of
    those.
    """

    path: str
    kind: TaskKind
    state: State
    cached: bool
    error: str
    reason: Reason | None
    outputs: Mapping[str, Output]
    started_at: float | None
    ended_at: float | None

    def to_json(self) -> JsonObject:
        return {
            "state": self.state.value,
            "cached": self.cached,
            "outputs": outputs_to_json(self.outputs),
            "error": self.error or None,
        }


@dataclass(frozen=True, slots=True)
class Run:
    """A recorded run. `tasks` by task path, such as `for-loop-1[0]/train`; the run's own DAG is not among
    them.
    """

    id: str
    name: str
    state: State
    error: str
    outputs: Mapping[str, Output]
    tasks: Mapping[str, TaskResult]

    def __iter__(self) -> Iterator[TaskResult]:
        return iter(self.tasks.values())

    def to_json(self) -> JsonObject:
        return {
            "id": self.id,
            "state": self.state.value,
            "error": self.error or None,
            "outputs": outputs_to_json(self.outputs),
            "tasks": {path: task.to_json() for path, task in self.tasks.items()},
        }


def read_outputs(
    values: Values, lists: frozenset[str] = frozenset(), fetch: Fetch | None = None
) -> dict[str, Output]:
    """Parameters and artifacts by output name. One artifact stands alone unless its name is in `lists`."""
    found: dict[str, Output] = dict(values.parameters)
    for name, many in values.artifacts.items():
        read = [_read(one, fetch) for one in many]
        found[name] = read[0] if len(read) == 1 and name not in lists else read
    return found


def read_task(record: TaskRun, lists: frozenset[str] = frozenset(), fetch: Fetch | None = None) -> TaskResult:
    return TaskResult(
        path=record.path,
        kind=record.kind,
        state=record.state,
        cached=record.cached,
        error=record.error,
        reason=record.reason,
        outputs=read_outputs(record.outputs, lists, fetch),
        started_at=record.started_at,
        ended_at=record.ended_at,
    )


def outputs_to_json(outputs: Mapping[str, Output]) -> JsonObject:
    return {name: _to_json(value) for name, value in outputs.items()}


def _read(artifact: Artifact, fetch: Fetch | None) -> OutputArtifact:
    return OutputArtifact(
        artifact.id,
        artifact.name,
        artifact.type.name,
        artifact.uri,
        artifact.metadata,
        artifact.size,
        artifact.sha256,
        fetch,
    )


def _to_json(value: Output) -> Json:
    if isinstance(value, OutputArtifact):
        return value.to_json()
    if isinstance(value, list):
        return [one.to_json() if isinstance(one, OutputArtifact) else one for one in value]
    return value

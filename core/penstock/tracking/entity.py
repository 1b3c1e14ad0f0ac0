"""What MLflow is to hold of a run or of a task: pure, from the record.

The names are penstock's (`penstock.…`), those that MLflow gives a meaning of its own (`mlflow.…`), and
those that KFP's MLflow plugin sets on its runs (`kfp.…`; KFP 2.17: apiserver/plugins/mlflow/util.go). As with
that plugin, a task has one MLflow run: its attempts share it, and so does the code that they run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, cast

from penstock.model import ROOT, Artifact, Json, State, TaskRun, Values
from penstock.planner.settle import CONTAINERS
from penstock.store import RunRecord

RUN_TAG: Final = "penstock.run_id"
TASK_TAG: Final = "penstock.task"
STATE_TAG: Final = "penstock.state"
ARTIFACT_TAG: Final = "penstock.artifact_id"
CHANGED_TAG: Final = "penstock.changed_params"
PARENT_TAG: Final = "mlflow.parentRunId"

REGISTERED_NAME: Final = "registered_model_name"
"""The metadata of an output artifact that asks for a version of this registered model."""

_METRICS: Final = "system.Metrics"
_DATASET: Final = "system.Dataset"

KEY_LIMIT: Final = 250
PARAM_LIMIT: Final = 6000
TAG_LIMIT: Final = 5000
"""Characters that every MLflow since 2.8 takes; newer ones take 8000 in a tag."""

_NOT_IN_KEYS: Final = re.compile(r"[^\w\-. :/]", re.ASCII)


class Status(StrEnum):
    """MLflow's states of a run."""

    RUNNING = "RUNNING"
    SCHEDULED = "SCHEDULED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


STATUS: Final[Mapping[State, Status]] = {
    State.PENDING: Status.SCHEDULED,
    State.RUNNING: Status.RUNNING,
    State.CANCELING: Status.RUNNING,
    State.PAUSED: Status.RUNNING,
    State.SUCCEEDED: Status.FINISHED,
    State.FAILED: Status.FAILED,
    State.CANCELED: Status.KILLED,
    State.SKIPPED: Status.KILLED,
}


@dataclass(frozen=True, slots=True)
class Metric:
    """A point: MLflow keeps one that comes twice once. `timestamp` is in milliseconds."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass(frozen=True, slots=True)
class DatasetInput:
    name: str
    digest: str
    uri: str
    type: str


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version of the registered model `name`, to be made once for its artifact."""

    name: str
    artifact_id: str
    source: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Entity:
    """One MLflow run. Times are milliseconds since the epoch.

    Where there is none yet, one is made only for a `lasting` one: a task that runs gets its MLflow run from
    whoever launches it, and what never ran gets none. `again`: it may have ended before.
    """

    name: str
    status: Status
    started_at: int
    ended_at: int | None
    tags: Mapping[str, str]
    lasting: bool = True
    again: bool = False
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    metrics: tuple[Metric, ...] = ()
    datasets: tuple[DatasetInput, ...] = ()
    models: tuple[ModelVersion, ...] = ()


def run_entity(run: RunRecord, root: TaskRun | None) -> Entity:
    """The parent. What the pipeline itself puts out stands here."""
    ended = run.ended_at if run.state.ended else None
    tags = {
        RUN_TAG: run.id,
        STATE_TAG: run.state.value,
        "penstock.pipeline": run.pipeline,
        "penstock.pipeline_digest": run.digest,
        "kfp.pipeline_run_id": run.id,
        "kfp.pipeline_version_id": run.version_id,
        "mlflow.source.name": run.pipeline,
        "mlflow.source.type": "JOB",
        "penstock.error": run.error,
        **_places("output", run.outputs),
    }
    return Entity(
        name=run.name,
        status=STATUS[run.state],
        started_at=_ms(run.started_at or run.created_at),
        ended_at=None if ended is None else _ms(ended),
        tags=_tags(tags, again=run.generation > 0),
        again=run.generation > 0,
        params=_params(run.arguments),
        metrics=_metrics(run.outputs, ended, root.generation if root is not None else 0),
    )


def task_entity(run: RunRecord, task: TaskRun) -> Entity:
    """A nested run, named by the task's path whatever pipelines, loops and conditions it stands in."""
    ended = task.ended_at if task.state.ended else None
    never_ran = task.state is State.SKIPPED or (task.state is State.CANCELED and not task.attempts)
    tags = {
        RUN_TAG: run.id,
        TASK_TAG: task.path,
        STATE_TAG: task.state.value,
        "penstock.attempt": str(task.attempts) if task.attempts else "",
        "penstock.generation": str(task.generation) if task.generation else "",
        "penstock.cached": "true" if task.cached else "false",
        "penstock.pipeline": run.pipeline,
        "penstock.reason": task.reason.value if task.reason else "",
        "mlflow.source.name": run.pipeline,
        "mlflow.source.type": "JOB",
        "penstock.error": task.error,
        **_places("input", Values(artifacts=task.inputs.artifacts)),
        **_places("output", task.outputs),
    }
    return Entity(
        name=task.path,
        status=STATUS[task.state],
        started_at=_ms(task.started_at or run.created_at),
        ended_at=None if ended is None else _ms(ended),
        tags=_tags(tags, again=is_again(task)),
        lasting=task.state.ended and not never_ran,
        again=is_again(task),
        params=_params(task.inputs.parameters),
        metrics=_metrics(task.outputs, ended, task.generation),
        datasets=tuple(_datasets(task.inputs)),
        models=tuple(_models(run, task)) if task.state is State.SUCCEEDED else (),
    )


def removed_entity(path: str) -> Entity:
    """A task whose record is gone: the nested pipeline around it started anew without it."""
    tags = {STATE_TAG: "REMOVED"}
    return Entity(path, Status.KILLED, 0, None, tags, lasting=False)


def is_tracked(task: TaskRun) -> bool:
    """Leaves are; pipelines, loops and their iterations stand in the names of what they hold."""
    return task.path != ROOT and task.kind not in CONTAINERS


def is_again(task: TaskRun) -> bool:
    """Whether it is not the first attempt, whose MLflow run the others share."""
    return task.attempts > 1 or task.generation > 0


def cut(text: str, limit: int) -> str:
    """The text, or what fits of it with a word on what is missing."""
    if len(text) <= limit:
        return text
    note = f" … [cut by penstock, {len(text)} characters in all]"
    return text[: limit - len(note)] + note


def _params(values: Mapping[str, Json]) -> dict[str, str]:
    return {_key(name): cut(_text(value), PARAM_LIMIT) for name, value in values.items()}


def _tags(tags: Mapping[str, str], *, again: bool) -> dict[str, str]:
    """Without the empty ones, unless a former attempt may have left something in their place."""
    return {_key(name): cut(value, TAG_LIMIT) for name, value in tags.items() if value or again}


def _places(side: str, values: Values) -> dict[str, str]:
    """Artifacts by their URIs, nothing of their content; parameters that are no metrics by their values."""
    found = {
        f"penstock.{side}.{name}": _text(value)
        for name, value in values.parameters.items()
        if not _is_number(value)
    }
    for name, many in values.artifacts.items():
        uris: list[Json] = [one.uri for one in many]
        found[f"penstock.{side}.{name}"] = _text(uris[0] if len(uris) == 1 else uris)
    return found


def _metrics(outputs: Values, ended: float | None, step: int) -> tuple[Metric, ...]:
    """Numbers that are put out: as parameters, and in the metadata of system.Metrics.

    The names are as they are; where several artifacts hold metrics, each one's stand below its output's name.
    """
    if ended is None:
        return ()
    found = {name: value for name, value in outputs.parameters.items() if _is_number(value)}
    sheets = {
        (name if len(many) == 1 else f"{name}/{position}"): one.metadata
        for name, many in outputs.artifacts.items()
        for position, one in enumerate(many)
        if one.type.schema_title == _METRICS
    }
    for name, sheet in sheets.items():
        under = f"{name}/" if len(sheets) > 1 else ""
        found |= {f"{under}{key}": value for key, value in sheet.items() if _is_number(value)}
    moment = _ms(ended)
    return tuple(Metric(_key(name), cast("float", value), moment, step) for name, value in found.items())


def _datasets(inputs: Values) -> Iterator[DatasetInput]:
    for name, many in inputs.artifacts.items():
        for one in many:
            if one.type.schema_title == _DATASET:
                yield DatasetInput(cut(name, 500), (one.sha256 or one.id)[:36], one.uri, one.type.name)


def _models(run: RunRecord, task: TaskRun) -> Iterator[ModelVersion]:
    for output, many in task.outputs.artifacts.items():
        for one in many:
            name = one.metadata.get(REGISTERED_NAME)
            if isinstance(name, str) and name:
                yield ModelVersion(name, one.id, _source(one), _model_tags(run, task, output, one))


def _source(artifact: Artifact) -> str:
    """MLflow refuses a path of another machine as a model's source, and takes every path for one."""
    return f"penstock:/artifacts/{artifact.id}" if artifact.uri.startswith("file:") else artifact.uri


def _model_tags(run: RunRecord, task: TaskRun, output: str, artifact: Artifact) -> dict[str, str]:
    tags = {
        ARTIFACT_TAG: artifact.id,
        RUN_TAG: run.id,
        TASK_TAG: task.path,
        "penstock.output": output,
        "penstock.uri": artifact.uri,
        "penstock.sha256": artifact.sha256 or "",
        "penstock.pipeline": run.pipeline,
        "penstock.pipeline_digest": run.digest,
    }
    for name, many in task.inputs.artifacts.items():
        ids: list[Json] = [one.id for one in many]
        tags[f"penstock.input.{name}"] = _text(ids[0] if len(ids) == 1 else ids)
    return _tags(tags, again=False)


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return _NOT_IN_KEYS.sub("_", name)[:KEY_LIMIT]


def _ms(moment: float) -> int:
    return int(moment * 1000)

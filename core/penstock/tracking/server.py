"""An MLflow server: the few things that are asked of it; all but creating a run may be asked twice."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from penstock.model import ROOT, Json, JsonObject
from penstock.tracking.entity import (
    ARTIFACT_TAG,
    CHANGED_TAG,
    PARENT_TAG,
    RUN_TAG,
    TAG_LIMIT,
    TASK_TAG,
    Entity,
    ModelVersion,
    Status,
    cut,
)
from penstock.tracking.transport import RefusedError, Transport, UnavailableError

_ALREADY_THERE: Final = "RESOURCE_ALREADY_EXISTS"
_NOT_THERE: Final = "RESOURCE_DOES_NOT_EXIST"
_PAGE: Final = 1000
_BATCH: Final = 50
"""Parameters, tags and metrics at once: MLflow takes twice as many, and a megabyte in all."""

_NAME_LIMIT: Final = 500


class DeletedError(UnavailableError):
    """What is to be recorded in was deleted in MLflow; other runs are not concerned."""


@dataclass(frozen=True, slots=True)
class FoundRun:
    """An MLflow run with our tags. `path` is the task's, ROOT for the parent; `fullness` counts what it
    holds.
    """

    id: str
    path: str
    parent: str
    deleted: bool
    fullness: int


@dataclass(slots=True)
class Server:
    """`timeout` is in seconds, for each request; none goes on past `deadline`, in monotonic time."""

    transport: Transport
    timeout: float
    deadline: float = math.inf

    def greet(self) -> None:
        """Ask for something that every server has. Raises UnavailableError."""
        self._post("experiments/search", {"max_results": 1})

    def experiment(self, name: str) -> str:
        """Its id; it is made unless it exists. Raises DeletedError."""
        name = cut(name, _NAME_LIMIT)
        found = self._experiment(name)
        if found is None:
            try:
                return str(self._post("experiments/create", {"name": name})["experiment_id"])
            except RefusedError as error:
                if error.code != _ALREADY_THERE:
                    raise
            found = self._experiment(name) or {}
        experiment_id = str(found["experiment_id"])
        if found.get("lifecycle_stage") == "deleted":
            raise DeletedError(
                f"the experiment '{name}' is deleted in MLflow at {self.transport.place}; "
                f"`mlflow experiments restore --experiment-id {experiment_id}` brings it back"
            )
        return experiment_id

    def find(self, experiment_id: str, run_id: str) -> list[FoundRun]:
        """Every MLflow run that has our run's tag, deleted ones too."""
        wanted: JsonObject = {
            "experiment_ids": [experiment_id],
            "filter": f"tags.`{RUN_TAG}` = '{run_id}'",
            "max_results": _PAGE,
            "run_view_type": "ALL",
        }
        found: list[FoundRun] = []
        while True:
            page = self._post("runs/search", wanted)
            found += map(_found, cast("list[JsonObject]", page.get("runs", [])))
            token = page.get("next_page_token")
            if not token:
                return found
            wanted["page_token"] = token

    def create(self, experiment_id: str, entity: Entity, parent: str = "") -> str:
        """A new run with the entity's tags, as many as go with it; its id.

        After an UnavailableError only `find` can tell whether there is one.
        """
        tags = _pairs({**entity.tags, **({PARENT_TAG: parent} if parent else {})}.items())
        made = self._post(
            "runs/create",
            {
                "experiment_id": experiment_id,
                "run_name": cut(entity.name, _NAME_LIMIT),
                "start_time": entity.started_at,
                "tags": tags[:_BATCH],
            },
        )
        return str(cast("JsonObject", cast("JsonObject", made["run"])["info"])["run_id"])

    def log(self, mlflow_id: str, entity: Entity, parent: str = "") -> None:
        """Tags, parameters, metrics and data sets. MLflow never changes a parameter: another value that one
        has by now goes into a tag.
        """
        tags = {**entity.tags, **({PARENT_TAG: parent} if parent else {})}
        try:
            self._log(mlflow_id, entity, entity.params, tags)
        except RefusedError:
            there = self._params(mlflow_id)
            changed = {
                name: value for name, value in entity.params.items() if there.get(name, value) != value
            }
            if not changed:
                raise
            tags[CHANGED_TAG] = cut(json.dumps(changed, ensure_ascii=False), TAG_LIMIT)
            self._log(
                mlflow_id,
                entity,
                {name: value for name, value in entity.params.items() if name not in changed},
                tags,
            )
        if entity.datasets:
            self._log_datasets(mlflow_id, entity)

    def set_status(self, mlflow_id: str, status: Status, ended_at: int | None = None) -> None:
        change: JsonObject = {"run_id": mlflow_id, "status": status.value}
        if ended_at is not None:
            change["end_time"] = ended_at
        self._post("runs/update", change)

    def delete(self, mlflow_id: str) -> None:
        self._post("runs/delete", {"run_id": mlflow_id})

    def register(self, model: ModelVersion, mlflow_id: str) -> None:
        """A version of the model for its artifact, unless it has one, whichever run asked for that."""
        try:
            self._post("registered-models/create", {"name": model.name})
        except RefusedError as error:
            if error.code != _ALREADY_THERE:
                raise
        name = model.name.replace("'", "\\'")
        wanted = f"name = '{name}' and tags.`{ARTIFACT_TAG}` = '{model.artifact_id}'"
        if self._get("model-versions/search", {"filter": wanted}).get("model_versions"):
            return
        version: JsonObject = {"name": model.name, "source": model.source, "run_id": mlflow_id}
        self._post("model-versions/create", {**version, "tags": _pairs(model.tags.items())})

    def _experiment(self, name: str) -> JsonObject | None:
        try:
            found = self._get("experiments/get-by-name", {"experiment_name": name})
        except RefusedError as error:
            if error.code != _NOT_THERE:
                raise
            return None
        return cast("JsonObject", found["experiment"])

    def _params(self, mlflow_id: str) -> Mapping[str, str]:
        run = cast("JsonObject", self._get("runs/get", {"run_id": mlflow_id})["run"])
        data = cast("JsonObject", run.get("data", {}))
        return dict(_read_pairs(data.get("params")))

    def _log(
        self, mlflow_id: str, entity: Entity, params: Mapping[str, str], tags: Mapping[str, str]
    ) -> None:
        metrics: list[Json] = [
            {"key": one.key, "value": one.value, "timestamp": one.timestamp, "step": one.step}
            for one in entity.metrics
        ]
        queues = {"params": _pairs(params.items()), "tags": _pairs(tags.items()), "metrics": metrics}
        while any(queues.values()):
            batch: JsonObject = {name: queue[:_BATCH] for name, queue in queues.items() if queue}
            self._post("runs/log-batch", {"run_id": mlflow_id, **batch})
            queues = {name: queue[_BATCH:] for name, queue in queues.items()}

    def _log_datasets(self, mlflow_id: str, entity: Entity) -> None:
        given: list[Json] = [
            {
                "tags": [{"key": "mlflow.data.context", "value": "input"}],
                "dataset": {
                    "name": one.name,
                    "digest": one.digest,
                    "source_type": "penstock",
                    "source": json.dumps({"uri": one.uri, "type": one.type}),
                },
            }
            for one in entity.datasets
        ]
        for start in range(0, len(given), _BATCH):
            self._post("runs/log-inputs", {"run_id": mlflow_id, "datasets": given[start : start + _BATCH]})

    def _get(self, endpoint: str, query: JsonObject) -> JsonObject:
        return self.transport.call("GET", endpoint, query, self._patience())

    def _post(self, endpoint: str, body: JsonObject) -> JsonObject:
        return self.transport.call("POST", endpoint, body, self._patience())

    def _patience(self) -> float:
        return max(0.1, min(self.timeout, self.deadline - time.monotonic()))


def _found(run: JsonObject) -> FoundRun:
    info, data = cast("JsonObject", run["info"]), cast("JsonObject", run.get("data", {}))
    tags = dict(_read_pairs(data.get("tags")))
    sizes = (len(cast("Sequence[Json]", data.get(name) or ())) for name in ("params", "metrics", "tags"))
    return FoundRun(
        id=str(info["run_id"]),
        path=tags.get(TASK_TAG, ROOT),
        parent=tags.get(PARENT_TAG, ""),
        deleted=info.get("lifecycle_stage") == "deleted",
        fullness=sum(sizes),
    )


def _pairs(items: Iterable[tuple[str, str]]) -> list[Json]:
    return [{"key": key, "value": value} for key, value in items]


def _read_pairs(found: Json | None) -> Iterator[tuple[str, str]]:
    for one in cast("Sequence[JsonObject]", found or ()):
        yield str(one["key"]), str(one.get("value", ""))

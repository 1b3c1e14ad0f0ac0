"""What an MLflow server holds of our runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Records:
    """The runs of one experiment."""

    uri: str
    experiment: str

    @property
    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.uri)

    def all(self) -> list[Any]:
        found = self.client.get_experiment_by_name(self.experiment)
        return [] if found is None else list(self.client.search_runs([found.experiment_id], max_results=1000))

    def tree(self, run_id: str) -> tuple[Any, dict[str, Any]]:
        """The parent of our run, and its nested runs by task; each must be there once."""
        own = [one for one in self.all() if one.data.tags.get("penstock.run_id") == run_id]
        (parent,) = [one for one in own if "penstock.task" not in one.data.tags]
        nested = [one for one in own if one is not parent]
        assert {one.data.tags["mlflow.parentRunId"] for one in nested} <= {parent.info.run_id}
        by_task = {one.data.tags["penstock.task"]: one for one in nested}
        assert len(by_task) == len(nested), "a task has several MLflow runs"
        return parent, by_task

    def points(self, run: Any, metric: str) -> list[float]:
        return [point.value for point in self.client.get_metric_history(run.info.run_id, metric)]

    def remove(self) -> None:
        found = self.client.get_experiment_by_name(self.experiment)
        if found is not None and found.lifecycle_stage == "active":
            self.client.delete_experiment(found.experiment_id)

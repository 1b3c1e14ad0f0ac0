"""An MLflow server of the tests' own, to be stopped and suspended; and what one holds."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class OwnServer:
    """`script` starts and stops it; its state lies in `folder`. It is not started yet."""

    script: Path
    folder: Path

    def __post_init__(self) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port: int = found.getsockname()[1]

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._call("start")

    def stop(self) -> None:
        self.resume()
        self._call("stop")

    def suspend(self) -> None:
        """From now on it takes connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        pid = self.folder / "mlflow" / "pid"
        if pid.exists():
            os.killpg(int(pid.read_text()), number)

    def _call(self, verb: str) -> None:
        own = {"SERVICES_STATE": str(self.folder), "MLFLOW_PORT": str(self.port)}
        subprocess.run([self.script, verb], env={**os.environ, **own}, check=True, capture_output=True)


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

"""penstock: run unmodified Kubeflow pipelines without a Kubeflow install.

    import penstock

    pipeline = penstock.load("pipeline.yaml")
    run = penstock.run(pipeline, {"n_estimators": 100})
    run.state, run.outputs["accuracy"], run.tasks["train"].outputs["model"].path

Everything is loaded on first use: `import penstock` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock._version import __version__

if TYPE_CHECKING:
    from penstock.api import lineage, load, resume, run
    from penstock.errors import InvalidArgumentError, InvalidInputError, InvalidPipelineError, PenstockError
    from penstock.execution.result import OutputArtifact, Run, TaskResult
    from penstock.model import Pipeline, State
    from penstock.store import Lineage

__all__ = [
    "InvalidArgumentError",
    "InvalidInputError",
    "InvalidPipelineError",
    "Lineage",
    "OutputArtifact",
    "PenstockError",
    "Pipeline",
    "Run",
    "State",
    "TaskResult",
    "__version__",
    "lineage",
    "load",
    "resume",
    "run",
]

_HOMES = {
    "lineage": "penstock.api",
    "load": "penstock.api",
    "resume": "penstock.api",
    "run": "penstock.api",
    "InvalidArgumentError": "penstock.errors",
    "InvalidInputError": "penstock.errors",
    "InvalidPipelineError": "penstock.errors",
    "PenstockError": "penstock.errors",
    "OutputArtifact": "penstock.execution.result",
    "Run": "penstock.execution.result",
    "TaskResult": "penstock.execution.result",
    "Pipeline": "penstock.model",
    "State": "penstock.model",
    "Lineage": "penstock.store",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'penstock' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(home), name)

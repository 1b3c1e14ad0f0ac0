"""Orders, and the parts of pods, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from penstock.execution.order import LaunchOrder
from penstock.model import ContainerExecutor, Json
from penstock_workers.kubernetes.pod import MAIN, STAGE_IN, STAGE_OUT, PodSettings, build_pod
from penstock_workers.kubernetes.shape import Shape
from penstock_workers.kubernetes.task import PodTask, pod_task
from tests.unit.execution import launching

SETTINGS = PodSettings(installation="ours", namespace="ns", image="helper:1")
ROOT = "s3://bucket/root"
_INSTALL = (
    "PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet --no-warn-script-location "
    "'kfp==2.9.0' '--no-deps'  &&  python3 -m pip install --quiet --no-warn-script-location 'pandas'"
)
PIP = (
    *("sh", "-c", f'\n{_INSTALL} && "$0" "$@"\n'),
    *("sh", "-ec", "python3 -m kfp.dsl.executor_main --component_module_path x", "source"),
)


def order(
    *words: str,
    image: str = "alpine",
    platform: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    root: str = ROOT,
    **more: Any,
) -> LaunchOrder:
    """An order whose pipeline root pods can reach."""
    executor = launching.container(*words, image=image, env=env)
    made = launching.order(Path("/nowhere"), executor, **more)
    uri = f"{root}/pipeline/{launching.RUN}/train/{made.attempt_id}"
    return replace(
        made,
        run=replace(made.run, pipeline_root=root),
        task_uri=uri,
        output_uris={name: f"{uri}/{name}" for name in made.output_uris},
        platform=cast("Mapping[str, Json]", platform or {}),
    )


def planned(made: LaunchOrder, *, archive: bool = False) -> PodTask:
    executor = made.executor
    assert isinstance(executor, ContainerExecutor)
    return pod_task(made, executor, archive=archive)


def pod(made: LaunchOrder, settings: PodSettings = SETTINGS, *, archive: bool = False) -> dict[str, Any]:
    task = planned(made, archive=archive)
    names = {Shape.PLAIN: [], Shape.IN_PLACE: [MAIN], Shape.BESIDE: [STAGE_IN, STAGE_OUT]}[task.shape]
    return cast(
        "dict[str, Any]", build_pod(made, task, {name: {"PENSTOCK_SHEET": "{}"} for name in names}, settings)
    )


def main(found: Mapping[str, Any]) -> dict[str, Any]:
    """The task's own container."""
    return next(one for one in found["spec"]["containers"] if one["name"] == MAIN)

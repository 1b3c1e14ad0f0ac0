"""Things to record."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.model import (
    Artifact,
    ArtifactType,
    Component,
    Dag,
    Interface,
    Json,
    JsonObject,
    Pipeline,
    State,
    TaskKind,
    TaskRun,
    Values,
)
from penstock.store import ExecutionState, RunRecord, Store, new_id

MODEL = ArtifactType("system.Model", "0.0.1")


def pipeline(name: str = "iris", digest: str = "d1", platform: JsonObject | None = None) -> Pipeline:
    return Pipeline(
        name=name,
        root=Component("root", Interface(), Dag({})),
        components={},
        executors={},
        schema_version="2.1.0",
        digest=digest,
        document={"pipelineInfo": {"name": name}, "zero": "\0 and \ud800"},
        platform=platform or {},
    )


def new_run(
    store: Store,
    *,
    name: str = "a run",
    arguments: Mapping[str, Json] | None = None,
    of: Pipeline | None = None,
    namespace: str = "default",
    experiment: str | None = None,
    run_id: str | None = None,
    pipeline_root: str = "",
) -> RunRecord:
    version_id = store.pipelines.save(of or pipeline(), namespace)
    return store.runs.create(
        run_id or new_id(),
        version_id=version_id,
        name=name,
        arguments=arguments or {},
        namespace=namespace,
        experiment=experiment,
        pipeline_root=pipeline_root,
    )


def end(
    store: Store, run: RunRecord, state: State = State.SUCCEEDED, *, ended_at: float | None = None
) -> RunRecord:
    store.runs.transition(run.id, [State.PENDING], State.RUNNING)
    store.runs.transition(run.id, [State.RUNNING], state, ended_at=ended_at)
    return store.runs.get(run.id)


def task(path: str = "train", state: State = State.RUNNING, **fields: object) -> TaskRun:
    return TaskRun(path, TaskKind.CONTAINER, state, **fields)  # pyright: ignore[reportArgumentType]


def model(uri: str = "file:///m", **fields: object) -> Artifact:
    return Artifact(new_id(), "model", MODEL, uri, **fields)  # pyright: ignore[reportArgumentType]


def execute(
    store: Store,
    run: RunRecord,
    path: str,
    inputs: Mapping[str, tuple[Artifact, ...]] | None = None,
    outputs: Mapping[str, tuple[Artifact, ...]] | None = None,
    *,
    state: ExecutionState = ExecutionState.COMPLETE,
    fingerprint: str = "",
    cached_execution: str | None = None,
) -> str:
    return store.executions.record(
        run.id,
        path,
        0,
        state,
        inputs=Values(artifacts=inputs or {}),
        outputs=Values(artifacts=outputs or {}),
        fingerprint=fingerprint,
        cache_scope=f"pipeline/{run.pipeline}",
        cached_execution=cached_execution,
    )

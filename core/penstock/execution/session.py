"""One run as the verbs need it: its record, its pipeline, and the ledger of its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256

from penstock.artifacts import ArtifactError, path_of, scheme_of, under
from penstock.artifacts.content import describe, examine
from penstock.execution.options import RunOptions
from penstock.execution.order import LaunchOrder, RunFields
from penstock.execution.platform import workspace_fields
from penstock.execution.taskconfig import task_config_parameters
from penstock.ir import load
from penstock.model import ROOT, Artifact, ArtifactType, Json, Pipeline, TaskRun, Values
from penstock.model import path as paths
from penstock.planner.ledger import Ledger
from penstock.planner.platform import resolve_platform
from penstock.store import RunRecord, Store


@dataclass(frozen=True, slots=True)
class Session:
    """`cache_scope` is KFP's: hits are looked up per pipeline name (`pipeline/<name>`)."""

    run: RunRecord
    options: RunOptions
    pipeline: Pipeline
    fields: RunFields
    ledger: Ledger

    @property
    def cache_scope(self) -> str:
        return f"pipeline/{self.pipeline.name}"

    @property
    def deadline(self) -> float | None:
        """When the run has taken too long, in seconds since the epoch; None for one that may take for ever,
        or has not started. KFP: `pipelineConfig.activeDeadlineSeconds`, counted from the start of the run.
        """
        root = self.ledger.get(ROOT)
        limit = self._time_limit
        return None if limit is None or root is None or root.started_at is None else root.started_at + limit

    def overdue(self, now: float) -> str:
        """Why the run is to be given up at that time, or nothing."""
        deadline = self.deadline
        if deadline is None or now <= deadline:
            return ""
        return f"the run exceeded its deadline of {self._time_limit:g} seconds"

    @property
    def _time_limit(self) -> float | None:
        limit = self.pipeline.kubernetes_config.get("activeDeadlineSeconds")
        return limit if isinstance(limit, int | float) else None

    def order(self, record: TaskRun, attempt_id: str, number: int) -> LaunchOrder:
        """The order for an attempt of a recorded leaf task; the same for everyone who asks."""
        place = self.ledger.place(record.path)
        name = paths.split(record.path)[1]
        made = place_of_run(self.fields.pipeline_root, self.pipeline.name, self.run.id)
        task_uri = under(made, f"{name}/{attempt_id}")
        platform = resolve_platform(
            self.ledger, record.path, self.pipeline.executor_platform(place.component)
        )
        deadline = platform.get("activeDeadlineSeconds")
        order = LaunchOrder(
            attempt_id=attempt_id,
            run=self.fields,
            path=record.path,
            task_name=name,
            component=place.component,
            executor=self.pipeline.executor_of(place.component),
            inputs=record.inputs,
            output_uris={
                output: under(task_uri, output) for output in place.component.interface.output_artifacts
            },
            task_uri=task_uri,
            number=number,
            generation=record.generation,
            retry_index=record.retries,
            timeout=float(deadline) if isinstance(deadline, int | float | str) and deadline else None,
            platform=platform,
            workspace=has_workspace(self.pipeline),
            workspace_spec=workspace_spec(self.pipeline),
        )
        handed = task_config_parameters(order)
        if not handed:
            return order
        return replace(order, inputs=Values({**record.inputs.parameters, **handed}, record.inputs.artifacts))


def open_session(store: Store, run_id: str, known: dict[str, Pipeline] | None = None) -> Session:
    """Read a run and everything recorded of it. Raises NotFoundError.

    `known` keeps pipelines by version, which never changes, for the next time.
    """
    run = store.runs.get(run_id)
    pipeline = known.get(run.version_id) if known is not None else None
    if pipeline is None:
        pipeline = load(store.pipelines.document(run.version_id), source=run.name)
        if known is not None:
            known[run.version_id] = pipeline
    fields = run_fields(run, pipeline)
    options = RunOptions.from_json(run.options)
    records = store.tasks.load(run.id)
    root = next((record for record in records if record.path == ROOT), None)
    ledger = Ledger(
        pipeline,
        root.inputs.parameters if root is not None else root_parameters(pipeline, run.arguments),
        {**fields.placeholders(), **workspace_fields(has_workspace(pipeline))},
        fail_fast=options.fail_fast,
        records=records,
    )
    ledger.canceled = run.cancel_requested_at is not None
    return Session(run, options, pipeline, fields, ledger)


def place_of_run(pipeline_root: str, pipeline: str, run_id: str) -> str:
    """The URI below which everything stands that a run's tasks make, and nothing else."""
    return under(pipeline_root, f"{pipeline}/{run_id}")


def has_workspace(pipeline: Pipeline) -> bool:
    return "workspace" in pipeline.kubernetes_config


def workspace_spec(pipeline: Pipeline) -> Mapping[str, Json]:
    found = pipeline.kubernetes_config.get("workspace")
    return found if isinstance(found, dict) else {}


def root_parameters(pipeline: Pipeline, arguments: Mapping[str, Json]) -> dict[str, Json]:
    """A run's arguments as parameters of its own DAG."""
    declared = pipeline.root.interface.input_artifacts
    return {name: value for name, value in arguments.items() if name not in declared}


def root_values(pipeline: Pipeline, run: RunRecord) -> Values:
    """A run's arguments as inputs of its own DAG: an argument for an input artifact is the place of its
    content. Reads all content that is on this machine.
    """
    artifacts = {
        name: (_given(name, spec.type, str(run.arguments[name]), run),)
        for name, spec in pipeline.root.interface.input_artifacts.items()
        if name in run.arguments
    }
    return Values(root_parameters(pipeline, run.arguments), artifacts)


def _given(name: str, kind: ArtifactType, uri: str, run: RunRecord) -> Artifact:
    """The same content in the same place is the same artifact in every run, so that tasks that read it are
    found in the cache (KFP's fingerprint has the names of input artifacts). Where the content is not known it
    is another one in each run: it may have changed.
    """
    stored = None
    if scheme_of(uri) == "file":
        with suppress(OSError, ArtifactError):
            stored = describe(examine(path_of(uri)), uri)
    if stored is None:
        return Artifact(f"{run.id}-{name}", name, kind, uri)
    parts = (run.namespace, name, repr(kind), uri, str(stored.size), stored.sha256)
    digest = sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
    identity = "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))
    return Artifact(identity, name, kind, uri, size=stored.size, sha256=stored.sha256)


def run_fields(run: RunRecord, pipeline: Pipeline) -> RunFields:
    created = datetime.fromtimestamp(run.created_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return RunFields(
        run_id=run.id,
        name=run.name,
        resource_name=run.resource_name,
        pipeline_name=pipeline.name,
        pipeline_root=run.pipeline_root,
        create_time=created,
        schedule_time=created,
    )

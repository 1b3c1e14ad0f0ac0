"""A pipeline as the IR describes it: components, and DAGs of tasks that use them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from penstock.model.executor import Executor
from penstock.model.interface import Interface
from penstock.model.source import ArtifactSource, DagOutput, ParameterSource
from penstock.model.value import Json, JsonObject


class TriggerStrategy(StrEnum):
    """KFP's `TriggerPolicy.TriggerStrategy`."""

    ALL_UPSTREAM_TASKS_SUCCEEDED = "ALL_UPSTREAM_TASKS_SUCCEEDED"
    ALL_UPSTREAM_TASKS_COMPLETED = "ALL_UPSTREAM_TASKS_COMPLETED"


@dataclass(frozen=True, slots=True)
class Trigger:
    """`condition` is a CEL expression over the task's inputs; empty means always."""

    condition: str = ""
    strategy: TriggerStrategy = TriggerStrategy.ALL_UPSTREAM_TASKS_SUCCEEDED


@dataclass(frozen=True, slots=True)
class Caching:
    """`key`, when set, replaces the fingerprint of inputs and container (KFP's `cachingOptions.cacheKey`)."""

    enabled: bool = False
    key: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """`max_retries` launches after the first. Delays in seconds: `backoff * factor**n`, at most
    `backoff_max`.
    """

    max_retries: int
    backoff: float = 0.0
    factor: float = 2.0
    backoff_max: float = 3600.0


@dataclass(frozen=True, slots=True)
class ParameterLoop:
    """Items: the literal list `raw` (as parsed JSON), or the value of the task's input `items_input`."""

    item: str
    raw: tuple[Json, ...] | None = None
    items_input: str = ""
    parallelism: int = 0


@dataclass(frozen=True, slots=True)
class ArtifactLoop:
    """Items: the artifacts of the task's input `items_input`, one at a time."""

    item: str
    items_input: str
    parallelism: int = 0


Loop: TypeAlias = ParameterLoop | ArtifactLoop


@dataclass(frozen=True, slots=True)
class TaskConfigPassthrough:
    """A field of the task's configuration (`RESOURCES`, `KUBERNETES_VOLUMES`, …) handed on to user code."""

    field: str
    apply_to_task: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """A use of a component in a DAG. `upstream` names every task that must end before this one is judged.

    `upstream` joins the IR's `dependentTasks` with the producers of the task's inputs (the compiler lists
    both, hand-written IR may not), in a stable order; `dependencies` is `dependentTasks` as written.
    """

    name: str
    component: str
    parameters: Mapping[str, ParameterSource] = field(default_factory=dict[str, ParameterSource])
    artifacts: Mapping[str, ArtifactSource] = field(default_factory=dict[str, ArtifactSource])
    upstream: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    trigger: Trigger = Trigger()
    loop: Loop | None = None
    retry: Retry | None = None
    caching: Caching = Caching()
    display_name: str = ""


@dataclass(frozen=True, slots=True)
class Dag:
    """Tasks by name, in the document's order. `dependents` is the inverse of the tasks' `upstream`."""

    tasks: Mapping[str, Task]
    parameters: Mapping[str, DagOutput] = field(default_factory=dict[str, DagOutput])
    artifacts: Mapping[str, DagOutput] = field(default_factory=dict[str, DagOutput])
    dependents: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def first(self) -> Iterator[str]:
        """Names of the tasks that wait for nothing."""
        return (name for name, task in self.tasks.items() if not task.upstream)


@dataclass(frozen=True, slots=True)
class Component:
    """`body` is a DAG, or the label of an executor."""

    name: str
    interface: Interface
    body: Dag | str
    passthroughs: tuple[TaskConfigPassthrough, ...] = ()

    @property
    def dag(self) -> Dag | None:
        return self.body if isinstance(self.body, Dag) else None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A whole pipeline. `platform` is the IR's second document, kept as it was written (`{}` without one).

    `document` is the first document in canonical form, `digest` the sha256 (hex) of the canonical JSON of
    both. `notes` tell what the document said without effect; where it comes from may add to them.
    """

    name: str
    root: Component
    components: Mapping[str, Component]
    executors: Mapping[str, Executor]
    schema_version: str
    sdk_version: str = ""
    display_name: str = ""
    description: str = ""
    default_pipeline_root: str = ""
    platform: JsonObject = field(default_factory=dict[str, Json])
    digest: str = ""
    document: JsonObject = field(default_factory=dict[str, Json])
    notes: tuple[str, ...] = field(default=(), compare=False)

    def component_of(self, task: Task) -> Component:
        return self.components[task.component]

    def executor_of(self, component: Component) -> Executor:
        """The executor of a leaf component. Raises KeyError for a component whose body is a DAG."""
        if isinstance(component.body, Dag):
            raise KeyError(component.name)
        return self.executors[component.body]

    def executor_platform(self, component: Component) -> Mapping[str, Json]:
        """The Kubernetes platform configuration of a leaf component's executor, `{}` without one."""
        if isinstance(component.body, Dag):
            return {}
        found: Json = self.platform
        for key in (
            "platforms",
            "kubernetes",
            "deploymentSpec",
            "executors",
            component.body,
        ):
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

    @property
    def kubernetes_config(self) -> Mapping[str, Json]:
        """`platforms.kubernetes.pipelineConfig`: workspace, time limit, time to live."""
        found: Json = self.platform
        for key in ("platforms", "kubernetes", "pipelineConfig"):
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

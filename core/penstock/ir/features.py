"""Which features of the IR a pipeline uses, and where."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from penstock.ir.fault import place
from penstock.model import (
    ArtifactLoop,
    Component,
    ComponentInput,
    Constant,
    ContainerExecutor,
    Dag,
    FinalStatus,
    ImporterExecutor,
    Interface,
    Json,
    ParameterType,
    Pipeline,
    RuntimeParameter,
    Task,
    TaskOutput,
    TriggerStrategy,
)


class FeatureName(StrEnum):
    """In the words of KFP's users. Its members are what `doctor` and the conformance page speak of."""

    PYTHON_COMPONENT = "python component"
    NOTEBOOK_COMPONENT = "notebook component"
    CONTAINER_COMPONENT = "container component"
    IMPORTER = "importer"
    IMPORTER_IN_LOOP = "importer in a loop"
    CONDITION = "condition"
    LOOP = "loop"
    ARTIFACT_LOOP = "loop over artifacts"
    NESTED_LOOP = "nested loop"
    PARALLELISM_LIMIT = "parallelism limit"
    COLLECTED_PARAMETERS = "collected parameters"
    COLLECTED_ARTIFACTS = "collected artifacts"
    ONE_OF_PARAMETERS = "one-of of parameters"
    ONE_OF_ARTIFACTS = "one-of of artifacts"
    NESTED_PIPELINE = "nested pipeline"
    EXIT_HANDLER = "exit handler"
    IGNORE_UPSTREAM_FAILURE = "ignore upstream failure"
    FINAL_STATUS = "task final status"
    RETRY = "retry"
    NESTED_RETRY = "retry of a nested pipeline"
    CACHE_KEY = "cache key"
    SELECTOR = "parameter selector"
    PLACEHOLDER_IN_CONSTANT = "placeholder in a constant"
    LEGACY_RUNTIME_PARAMETER = "runtime parameter"
    CONCAT = "concat placeholder"
    IF_PRESENT = "if-present placeholder"
    ENVIRONMENT_VARIABLE = "environment variable"
    RESOURCES = "resources"
    ACCELERATOR = "accelerator"
    OPTIONAL_INPUT = "optional input"
    LITERALS = "literals"
    ARTIFACT_LIST = "list of artifacts"
    TASK_CONFIG = "task config"
    WORKSPACE = "workspace"
    PIPELINE_ROOT = "default pipeline root"
    PIPELINE_DEADLINE = "pipeline deadline"
    TIME_TO_LIVE = "time to live"
    CREATE_PVC = "PVC creation"
    DELETE_PVC = "PVC deletion"
    PVC_MOUNT = "PVC mount"
    SECRET_AS_ENV = "secret as environment variable"
    SECRET_AS_VOLUME = "secret as volume"
    CONFIG_MAP_AS_ENV = "config map as environment variable"
    CONFIG_MAP_AS_VOLUME = "config map as volume"
    FIELD_PATH_AS_ENV = "field path as environment variable"
    IMAGE_PULL_SECRET = "image pull secret"
    IMAGE_PULL_POLICY = "image pull policy"
    TASK_DEADLINE = "task deadline"
    NODE_SELECTOR = "node selector"
    TOLERATIONS = "tolerations"
    NODE_AFFINITY = "node affinity"
    POD_AFFINITY = "pod affinity"
    POD_METADATA = "pod metadata"
    EPHEMERAL_VOLUME = "ephemeral volume"
    SHARED_MEMORY = "shared memory"
    EMPTY_DIR = "empty dir"
    SECURITY_CONTEXT = "security context"
    INIT_CONTAINER = "init container"


@dataclass(frozen=True, slots=True)
class Feature:
    """`place` is the path in the document; one feature stands in the list once for each of its places."""

    name: FeatureName
    place: str


_EXECUTOR_CONFIG: Final = {
    "pvcMount": FeatureName.PVC_MOUNT,
    "secretAsEnv": FeatureName.SECRET_AS_ENV,
    "secretAsVolume": FeatureName.SECRET_AS_VOLUME,
    "configMapAsEnv": FeatureName.CONFIG_MAP_AS_ENV,
    "configMapAsVolume": FeatureName.CONFIG_MAP_AS_VOLUME,
    "fieldPathAsEnv": FeatureName.FIELD_PATH_AS_ENV,
    "imagePullSecret": FeatureName.IMAGE_PULL_SECRET,
    "imagePullPolicy": FeatureName.IMAGE_PULL_POLICY,
    "activeDeadlineSeconds": FeatureName.TASK_DEADLINE,
    "nodeSelector": FeatureName.NODE_SELECTOR,
    "tolerations": FeatureName.TOLERATIONS,
    "nodeAffinity": FeatureName.NODE_AFFINITY,
    "podAffinity": FeatureName.POD_AFFINITY,
    "podMetadata": FeatureName.POD_METADATA,
    "genericEphemeralVolume": FeatureName.EPHEMERAL_VOLUME,
    "enabledSharedMemory": FeatureName.SHARED_MEMORY,
    "emptyDirMounts": FeatureName.EMPTY_DIR,
    "securityContext": FeatureName.SECURITY_CONTEXT,
    "initContainers": FeatureName.INIT_CONTAINER,
}
_PIPELINE_CONFIG: Final = {
    "workspace": FeatureName.WORKSPACE,
    "activeDeadlineSeconds": FeatureName.PIPELINE_DEADLINE,
    "resourceTtlOnCompletion": FeatureName.TIME_TO_LIVE,
    "resourceTtlOnSuccess": FeatureName.TIME_TO_LIVE,
    "resourceTtlOnFailure": FeatureName.TIME_TO_LIVE,
}
_PVC_IMAGES: Final = {
    "argostub/createpvc": FeatureName.CREATE_PVC,
    "argostub/deletepvc": FeatureName.DELETE_PVC,
}
_PYTHON: Final = re.compile(r"kfp(\.v2)?\.(dsl|components)\.executor_main")
_NOTEBOOK: Final = re.compile(r"\b(kfp_run_notebook|dsl\.run_notebook)\b")
_CONCAT: Final = re.compile(r'^\s*\{\s*"Concat"\s*:|"Concat"\s*:\s*\[')
_IF_PRESENT: Final = re.compile(r'^\s*\{\s*"IfPresent"\s*:|"IfPresent"\s*:\s*\{')


def features(pipeline: Pipeline) -> list[Feature]:
    """In the order of the document: root, components, executors, platform."""
    looped = _looped(pipeline)
    found: list[Feature] = []
    if pipeline.default_pipeline_root:
        found.append(Feature(FeatureName.PIPELINE_ROOT, "defaultPipelineRoot"))
    for steps, component in (
        (("root",), pipeline.root),
        *((("components", name), one) for name, one in pipeline.components.items()),
    ):
        pairs = _component(pipeline, component, looped)
        found += [Feature(name, place(*steps, *rest)) for name, rest in pairs]
    for label, executor in pipeline.executors.items():
        pairs = _container(executor) if isinstance(executor, ContainerExecutor) else _importer(executor)
        found += [Feature(name, place("deploymentSpec", "executors", label, *rest)) for name, rest in pairs]
    found += [Feature(name, place("platforms", "kubernetes", *rest)) for name, rest in _platform(pipeline)]
    return found


_Found = Iterator[tuple[FeatureName, tuple[str, ...]]]


def _component(pipeline: Pipeline, component: Component, looped: frozenset[str]) -> _Found:
    yield from _interface(component.interface)
    dag = component.dag
    if dag is None:
        return
    for task in dag.tasks.values():
        for name, steps in _task(pipeline, dag, task, component.name in looped):
            yield name, ("dag", "tasks", task.name, *steps)
    for group, outputs, one_of, collected in (
        ("parameters", dag.parameters, FeatureName.ONE_OF_PARAMETERS, FeatureName.COLLECTED_PARAMETERS),
        ("artifacts", dag.artifacts, FeatureName.ONE_OF_ARTIFACTS, FeatureName.COLLECTED_ARTIFACTS),
    ):
        for name, output in outputs.items():
            if output.one_of:
                yield one_of, ("dag", "outputs", group, name)
            if any(dag.tasks[selector.task].loop is not None for selector in output.selectors):
                yield collected, ("dag", "outputs", group, name)


def _interface(interface: Interface) -> _Found:
    for name, parameter in interface.input_parameters.items():
        steps = ("inputDefinitions", "parameters", name)
        if parameter.optional:
            yield FeatureName.OPTIONAL_INPUT, steps
        if parameter.literals:
            yield FeatureName.LITERALS, steps
        if parameter.type is ParameterType.TASK_CONFIG:
            yield FeatureName.TASK_CONFIG, steps
    for name, artifact in interface.input_artifacts.items():
        steps = ("inputDefinitions", "artifacts", name)
        if artifact.optional:
            yield FeatureName.OPTIONAL_INPUT, steps
        if artifact.is_list:
            yield FeatureName.ARTIFACT_LIST, steps
    for name, artifact in interface.output_artifacts.items():
        if artifact.is_list:
            yield FeatureName.ARTIFACT_LIST, ("outputDefinitions", "artifacts", name)


def _task(pipeline: Pipeline, dag: Dag, task: Task, in_loop: bool) -> _Found:
    component = pipeline.component_of(task)
    if task.trigger.condition:
        yield FeatureName.CONDITION, ("triggerPolicy", "condition")
    if task.loop is not None:
        iterator = "artifactIterator" if isinstance(task.loop, ArtifactLoop) else "parameterIterator"
        yield FeatureName.LOOP, (iterator,)
        if isinstance(task.loop, ArtifactLoop):
            yield FeatureName.ARTIFACT_LOOP, (iterator,)
        if in_loop:
            yield FeatureName.NESTED_LOOP, (iterator,)
        if task.loop.parallelism:
            yield FeatureName.PARALLELISM_LIMIT, ("iteratorPolicy", "parallelismLimit")
    if task.trigger.strategy is TriggerStrategy.ALL_UPSTREAM_TASKS_COMPLETED:
        after_dag = any(pipeline.component_of(dag.tasks[name]).dag is not None for name in task.upstream)
        name = FeatureName.EXIT_HANDLER if after_dag else FeatureName.IGNORE_UPSTREAM_FAILURE
        yield name, ("triggerPolicy", "strategy")
    if task.retry is not None:
        yield FeatureName.RETRY, ("retryPolicy",)
        if component.dag is not None:
            yield FeatureName.NESTED_RETRY, ("retryPolicy",)
    if _is_nested_pipeline(pipeline, dag, task):
        yield FeatureName.NESTED_PIPELINE, ()
    if task.caching.key:
        yield FeatureName.CACHE_KEY, ("cachingOptions", "cacheKey")
    leaf = pipeline.executor_of(component) if component.dag is None else None
    if isinstance(leaf, ImporterExecutor) and (in_loop or task.loop is not None):
        yield FeatureName.IMPORTER_IN_LOOP, ()
    yield from _inputs(dag, task)


def _inputs(dag: Dag, task: Task) -> _Found:
    for name, source in task.parameters.items():
        steps = ("inputs", "parameters", name)
        if source.selector:
            yield FeatureName.SELECTOR, (*steps, "parameterExpressionSelector")
        match source.origin:
            case TaskOutput(producer) if dag.tasks[producer].loop is not None:
                yield FeatureName.COLLECTED_PARAMETERS, steps
            case Constant(str() as text) if "{{$" in text:
                yield FeatureName.PLACEHOLDER_IN_CONSTANT, steps
                if "{{$.workspace_path}}" in text:
                    yield FeatureName.WORKSPACE, steps
            case RuntimeParameter():
                yield FeatureName.LEGACY_RUNTIME_PARAMETER, steps
            case FinalStatus():
                yield FeatureName.FINAL_STATUS, steps
            case _:
                pass
    for name, artifact in task.artifacts.items():
        if isinstance(artifact, ComponentInput):
            continue
        if dag.tasks[artifact.task].loop is not None:
            yield FeatureName.COLLECTED_ARTIFACTS, ("inputs", "artifacts", name)


def _is_nested_pipeline(pipeline: Pipeline, dag: Dag, task: Task) -> bool:
    """A DAG that is neither a loop, nor a condition, nor a group of branches, nor an exit handler's body."""
    inner = pipeline.component_of(task).dag
    if inner is None or task.loop is not None or task.trigger.condition:
        return False
    if all(one.trigger.condition for one in inner.tasks.values()):
        return False
    completed = TriggerStrategy.ALL_UPSTREAM_TASKS_COMPLETED
    waiting = dag.dependents.get(task.name, ())
    return not any(dag.tasks[name].trigger.strategy is completed for name in waiting)


def _container(executor: ContainerExecutor) -> _Found:
    text = "\n".join((*executor.command, *executor.args))
    image = executor.image.rpartition(":")[0] or executor.image
    if image in _PVC_IMAGES:
        yield _PVC_IMAGES[image], ("container", "image")
    elif _PYTHON.search(text):
        yield FeatureName.PYTHON_COMPONENT, ("container",)
    else:
        yield FeatureName.CONTAINER_COMPONENT, ("container",)
    if _NOTEBOOK.search(text):
        yield FeatureName.NOTEBOOK_COMPONENT, ("container", "command")
    for field, parts in (("command", executor.command), ("args", executor.args)):
        for index, part in enumerate(parts):
            if _CONCAT.search(part):
                yield FeatureName.CONCAT, ("container", field, str(index))
            if _IF_PRESENT.search(part):
                yield FeatureName.IF_PRESENT, ("container", field, str(index))
            if "{{$.workspace_path}}" in part:
                yield FeatureName.WORKSPACE, ("container", field, str(index))
    if executor.env:
        yield FeatureName.ENVIRONMENT_VARIABLE, ("container", "env")
    resources = executor.resources
    if resources.cpu_request or resources.cpu_limit or resources.memory_request or resources.memory_limit:
        yield FeatureName.RESOURCES, ("container", "resources")
    if resources.accelerator is not None:
        yield FeatureName.ACCELERATOR, ("container", "resources", "accelerator")


def _importer(executor: ImporterExecutor) -> _Found:
    yield FeatureName.IMPORTER, ("importer",)
    if executor.download_to_workspace:
        yield FeatureName.WORKSPACE, ("importer", "downloadToWorkspace")


def _platform(pipeline: Pipeline) -> _Found:
    for key in pipeline.kubernetes_config:
        if key in _PIPELINE_CONFIG:
            yield _PIPELINE_CONFIG[key], ("pipelineConfig", key)
    for label, config in _configs(pipeline).items():
        for key in config if isinstance(config, dict) else ():
            if key in _EXECUTOR_CONFIG:
                yield _EXECUTOR_CONFIG[key], ("deploymentSpec", "executors", label, key)


def _configs(pipeline: Pipeline) -> Mapping[str, Json]:
    found: Json = pipeline.platform
    for key in ("platforms", "kubernetes", "deploymentSpec", "executors"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _looped(pipeline: Pipeline) -> frozenset[str]:
    """Names of the components that run inside a loop, however deep."""
    found: set[str] = set()
    ahead: list[str] = []
    for component in (pipeline.root, *pipeline.components.values()):
        if component.dag is not None:
            ahead += [task.component for task in component.dag.tasks.values() if task.loop is not None]
    while ahead:
        name = ahead.pop()
        if name in found:
            continue
        found.add(name)
        dag = pipeline.components[name].dag
        if dag is not None:
            ahead += [task.component for task in dag.tasks.values()]
    return frozenset(found)

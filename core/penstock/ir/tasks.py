"""Tasks and DAGs: who uses which component with what, and in which order."""

from __future__ import annotations

from typing import Final

from penstock.ir import schema
from penstock.ir.conform import conform
from penstock.ir.executors import read_constant
from penstock.ir.fault import FaultError, IrregularError, excerpt, kind
from penstock.ir.json_text import read_json
from penstock.ir.names import check_name
from penstock.ir.shapes import (
    flag,
    integer,
    items,
    mapping,
    message,
    number,
    text,
    texts,
)
from penstock.model import (
    ArtifactLoop,
    ArtifactSource,
    Caching,
    ComponentInput,
    Constant,
    Dag,
    DagOutput,
    FinalStatus,
    Json,
    JsonObject,
    Loop,
    OutputSelector,
    ParameterLoop,
    ParameterSource,
    Retry,
    RuntimeParameter,
    Task,
    TaskOutput,
    Trigger,
    TriggerStrategy,
)

MAX_EXPRESSION: Final = 16_384
"""Characters of a condition or selector; the evaluator takes no longer ones."""

MAX_BACKOFF: Final = 3600.0
"""Seconds. KFP caps `backoffMaxDuration` at an hour."""

_ALWAYS: Final = Trigger()
_CACHED: Final = Caching(enabled=True)
_UNCACHED: Final = Caching()
_STRATEGIES: Final = {
    "TRIGGER_STRATEGY_UNSPECIFIED": TriggerStrategy.ALL_UPSTREAM_TASKS_SUCCEEDED,
    **{one.value: one for one in TriggerStrategy},
}


def read_dag(value: Json) -> Dag:
    """Raises FaultError and IrregularError. What the tasks refer to is checked by `references`, not here."""
    spec = message(value, schema.DAG.names)
    tasks: dict[str, Task] = {}
    for name, one in mapping(spec.get("tasks")).items():
        try:
            check_name(name, "the task name")
            tasks[name] = _task(name, message(one, schema.TASK.names))
        except FaultError as fault:
            raise fault.within("tasks", name) from None
    if not tasks:
        raise FaultError("the DAG has no tasks", "tasks")
    try:
        outputs = message(spec.get("outputs"), schema.DAG_OUTPUTS.names)
        parameters = _outputs("parameters", outputs.get("parameters"))
        artifacts = _outputs("artifacts", outputs.get("artifacts"))
    except FaultError as fault:
        raise fault.within("outputs") from None
    return Dag(tasks, parameters, artifacts, _dependents(tasks))


def _task(name: str, spec: JsonObject) -> Task:
    component = text(message(spec.get("componentRef"), schema.NAMED.names).get("name"))
    if not component:
        raise FaultError("the task names no component", "componentRef", "name")
    inputs = message(spec.get("inputs"), schema.TASK_INPUTS.names)
    producers: set[str] = set()
    try:
        parameters = {
            key: _parameter(key, one, producers) for key, one in mapping(inputs.get("parameters")).items()
        }
        artifacts = {
            key: _artifact(key, one, producers) for key, one in mapping(inputs.get("artifacts")).items()
        }
    except FaultError as fault:
        raise fault.within("inputs") from None
    dependencies = texts(spec.get("dependentTasks"))
    producers.difference_update(dependencies)
    return Task(
        name,
        component,
        parameters,
        artifacts,
        (*dict.fromkeys(dependencies), *sorted(producers)),
        dependencies,
        _trigger(spec.get("triggerPolicy")),
        _loop(spec),
        _retry(spec.get("retryPolicy")),
        _caching(spec.get("cachingOptions")),
        text(message(spec.get("taskInfo"), schema.NAMED.names).get("name")),
    )


def _parameter(name: str, value: Json, producers: set[str]) -> ParameterSource:
    try:
        spec = message(value, schema.PARAMETER_SOURCE.names)
        selector = ""
        if len(spec) > 1:
            selector = _expression(spec, "parameterExpressionSelector")
            if len(spec) > 2 or "parameterExpressionSelector" not in spec:
                raise IrregularError
        for kind_, body in spec.items():
            if kind_ == "componentInputParameter":
                return ParameterSource(ComponentInput(_named(body, kind_)), selector)
            if kind_ == "runtimeValue":
                return ParameterSource(_runtime_value(body), selector)
            if kind_ == "taskOutputParameter":
                output = message(body, schema.TASK_OUTPUT_PARAMETER.names)
                task = _named(output.get("producerTask"), kind_, "producerTask")
                producers.add(task)
                key = _named(output.get("outputParameterKey"), kind_, "outputParameterKey")
                return ParameterSource(TaskOutput(task, key), selector)
            if kind_ == "taskFinalStatus":
                status = message(body, schema.FINAL_STATUS.names)
                task = _named(status.get("producerTask"), kind_, "producerTask")
                producers.add(task)
                return ParameterSource(FinalStatus(task), selector)
        raise FaultError(
            "the input has no source",
            remedy="Give it a constant, an input of the DAG, or a task's output.",
        )
    except FaultError as fault:
        raise fault.within("parameters", name) from None


def _runtime_value(value: Json) -> Constant | RuntimeParameter:
    spec = message(value, schema.RUNTIME_VALUE.names)
    try:
        constant = read_constant(spec)
        if "runtimeParameter" in spec:
            return RuntimeParameter(_named(spec["runtimeParameter"], "runtimeParameter"))
        if not spec:
            raise FaultError("the value is missing", remedy="Set constant.")
    except FaultError as fault:
        raise fault.within("runtimeValue") from None
    return Constant(constant)


def _artifact(name: str, value: Json, producers: set[str]) -> ArtifactSource:
    try:
        spec = message(value, schema.ARTIFACT_SOURCE.names)
        if len(spec) > 1:
            raise IrregularError
        if "componentInputArtifact" in spec:
            return ComponentInput(_named(spec["componentInputArtifact"], "componentInputArtifact"))
        if "taskOutputArtifact" in spec:
            output = message(spec["taskOutputArtifact"], schema.TASK_OUTPUT_ARTIFACT.names)
            task = _named(output.get("producerTask"), "taskOutputArtifact", "producerTask")
            producers.add(task)
            key = _named(
                output.get("outputArtifactKey"),
                "taskOutputArtifact",
                "outputArtifactKey",
            )
            return TaskOutput(task, key)
        raise FaultError(
            "the input has no source",
            remedy="Give it an input of the DAG, or a task's output.",
        )
    except FaultError as fault:
        raise fault.within("artifacts", name) from None


def _named(value: Json, *steps: str) -> str:
    found = text(value)
    if not found:
        raise FaultError("a name is missing", *steps)
    return found


def _expression(spec: JsonObject, field: str) -> str:
    found = text(spec.get(field))
    if len(found) > MAX_EXPRESSION:
        raise FaultError(
            f"the expression has {len(found)} characters, more than the {MAX_EXPRESSION} that are allowed",
            field,
            remedy="Move the decision into a component.",
        )
    return found


def _trigger(value: Json) -> Trigger:
    if value is None:
        return _ALWAYS
    spec = message(value, schema.TRIGGER.names)
    strategy = _STRATEGIES.get(text(spec.get("strategy")) or "TRIGGER_STRATEGY_UNSPECIFIED")
    if strategy is None:
        raise IrregularError
    try:
        return Trigger(_expression(spec, "condition"), strategy)
    except FaultError as fault:
        raise fault.within("triggerPolicy") from None


def _caching(value: Json) -> Caching:
    spec = message(value, schema.CACHING.names)
    enabled, key = flag(spec.get("enableCache")), text(spec.get("cacheKey"))
    if key:
        return Caching(enabled, key)
    return _CACHED if enabled else _UNCACHED


def _retry(value: Json) -> Retry | None:
    if value is None:
        return None
    spec = message(value, schema.RETRY.names)
    count, factor = (
        integer(spec.get("maxRetryCount")),
        number(spec.get("backoffFactor")),
    )
    wait, longest = (
        _seconds(spec.get("backoffDuration")),
        _seconds(spec.get("backoffMaxDuration")),
    )
    if count < 0 or (factor or 0) < 0:
        field = "maxRetryCount" if count < 0 else "backoffFactor"
        raise FaultError("must not be negative", "retryPolicy", field)
    return (
        Retry(count, wait, float(factor or 2.0), min(longest or MAX_BACKOFF, MAX_BACKOFF)) if count else None
    )


def _seconds(value: Json) -> float:
    """A protobuf Duration: `60s`, `1.5s`."""
    if value is None:
        return 0.0
    try:
        conform(value, schema.DURATION)
    except FaultError:
        raise IrregularError from None
    return float(text(value)[:-1])


def _loop(spec: JsonObject) -> Loop | None:
    parameter, artifact = spec.get("parameterIterator"), spec.get("artifactIterator")
    policy = message(spec.get("iteratorPolicy"), schema.ITERATOR_POLICY.names)
    parallelism = integer(policy.get("parallelismLimit"))
    if parallelism < 0:
        raise FaultError("must not be negative", "iteratorPolicy", "parallelismLimit")
    if parameter is not None:
        if artifact is not None:
            raise IrregularError
        try:
            return _parameter_loop(message(parameter, schema.PARAMETER_ITERATOR.names), parallelism)
        except FaultError as fault:
            raise fault.within("parameterIterator") from None
    if artifact is None:
        return None
    loop = message(artifact, schema.ARTIFACT_ITERATOR.names)
    source = message(loop.get("items"), schema.ARTIFACT_ITEMS.names)
    try:
        return ArtifactLoop(
            _named(loop.get("itemInput"), "itemInput"),
            _named(source.get("inputArtifact"), "items", "inputArtifact"),
            parallelism,
        )
    except FaultError as fault:
        raise fault.within("artifactIterator") from None


def _parameter_loop(spec: JsonObject, parallelism: int) -> ParameterLoop:
    item = _named(spec.get("itemInput"), "itemInput")
    source = message(spec.get("items"), schema.PARAMETER_ITEMS.names)
    if len(source) > 1:
        raise IrregularError
    if "raw" not in source:
        name = _named(source.get("inputParameter"), "items", "inputParameter")
        return ParameterLoop(item, None, name, parallelism)
    try:
        values = read_json(text(source["raw"]))
        if not isinstance(values, list):
            raise FaultError(f"must be a JSON list, but is {kind(values)}: {excerpt(source['raw'])}")
    except FaultError as fault:
        raise fault.within("items", "raw") from None
    return ParameterLoop(item, tuple(values), "", parallelism)


def _outputs(group: str, value: Json) -> dict[str, DagOutput]:
    found: dict[str, DagOutput] = {}
    for name, one in mapping(value).items():
        try:
            check_name(name, "the output name")
            found[name] = _parameter_output(one) if group == "parameters" else _artifact_output(one)
        except FaultError as fault:
            raise fault.within(group, name) from None
    return found


def _parameter_output(value: Json) -> DagOutput:
    spec = message(value, schema.DAG_PARAMETER.names)
    if len(spec) > 1:
        raise IrregularError
    if "valueFromParameter" in spec:
        return DagOutput(
            (
                _selector(
                    spec["valueFromParameter"],
                    "outputParameterKey",
                    "valueFromParameter",
                ),
            )
        )
    several = message(spec.get("valueFromOneof"), schema.ONE_OF_PARAMETERS.names)
    selectors = tuple(
        _selector(
            one,
            "outputParameterKey",
            "valueFromOneof",
            "parameterSelectors",
            str(index),
        )
        for index, one in enumerate(items(several.get("parameterSelectors")))
    )
    if not selectors:
        raise FaultError("the output selects no task's output")
    return DagOutput(selectors, one_of=True)


def _artifact_output(value: Json) -> DagOutput:
    spec = message(value, schema.DAG_ARTIFACT.names)
    selectors = tuple(
        _selector(one, "outputArtifactKey", "artifactSelectors", str(index))
        for index, one in enumerate(items(spec.get("artifactSelectors")))
    )
    if not selectors:
        raise FaultError("the output selects no task's output")
    return DagOutput(selectors, one_of=len(selectors) > 1)


def _selector(value: Json, key: str, *steps: str) -> OutputSelector:
    spec = message(value, frozenset({"producerSubtask", key}))
    return OutputSelector(
        _named(spec.get("producerSubtask"), *steps, "producerSubtask"),
        _named(spec.get(key), *steps, key),
    )


def _dependents(tasks: dict[str, Task]) -> dict[str, tuple[str, ...]]:
    """The inverse of `upstream`, in alphabetical order, so that it does not depend on the document's."""
    found: dict[str, list[str]] = {}
    for task in tasks.values():
        for name in task.upstream:
            found.setdefault(name, []).append(task.name)
    return {name: tuple(sorted(waiting)) for name, waiting in found.items()}

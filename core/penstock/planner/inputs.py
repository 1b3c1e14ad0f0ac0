"""The inputs of a task, found from what is recorded. Mirrors KFP's driver
(`backend/src/v2/driver/resolve.go`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from hashlib import sha256
from typing import Final, cast

from penstock.errors import ResolutionError
from penstock.model import (
    NOTHING,
    Artifact,
    Component,
    ComponentInput,
    Constant,
    FinalStatus,
    Json,
    ParameterLoop,
    ParameterSource,
    ParameterType,
    RuntimeParameter,
    State,
    Task,
    TaskOutput,
    TaskRun,
    Values,
)
from penstock.model import path as paths
from penstock.planner.expressions import select
from penstock.planner.ledger import Ledger
from penstock.planner.placeholders import resolve_constant
from penstock.planner.values import coerce, normalize, text_to_value, to_text


class _Missing(Enum):
    MISSING = "missing"


MISSING: Final = _Missing.MISSING

LEGACY_SCHEMA: Final = "2.0.0"
"""The schema of SDK 1.8, which knows texts, integers and doubles only, and whose conditions may read
`inputs.parameters['x'].string_value`.
"""

_MLMD_STATE = {State.SUCCEEDED: "COMPLETE", State.FAILED: "FAILED"}


def resolve_inputs(ledger: Ledger, path: str, task: Task, component: Component) -> Values:
    """The inputs of the task at `path`, converted to their declared types.

    A missing optional input is left out for a container (user code has its own default) and becomes the
    default, else null, for a DAG, which hands it down. Raises ResolutionError for anything required that
    cannot be had.
    """
    scope = paths.split(path)[0]
    return Values(
        _parameters(ledger, scope, task, component),
        _artifacts(ledger, scope, task, component),
    )


def resolve_item(ledger: Ledger, loop_path: str, index: int) -> Values:
    """The loop item of one iteration, by its input name."""
    place = ledger.place(loop_path)
    record = ledger.get(loop_path)
    assert place.task is not None and place.task.loop is not None and record is not None
    loop = place.task.loop
    interface = place.component.interface
    if loop.item in interface.input_artifacts:
        return Values({}, {loop.item: (record.inputs.artifacts[loop.items_input][index],)})
    items = loop_items(place.task, record.inputs)
    value: Json = normalize(items[index])
    declared = interface.input_parameters.get(loop.item)
    if declared is not None and place.component.dag is not None:
        value = _handed_down(value, declared.type)
    elif declared is not None:
        value = coerce(value, declared.type.value, where=f"item {index} of loop '{loop_path}'")
    return Values({loop.item: value})


def loop_items(task: Task, inputs: Values) -> list[Json]:
    """The items of a parameter loop: the literal list, or the input's value, a list or the JSON text of
    one.
    """
    loop = task.loop
    assert isinstance(loop, ParameterLoop)
    if loop.raw is not None:
        return list(loop.raw)
    return cast("list[Json]", inputs.parameters[loop.items_input])


def scope_parameter(ledger: Ledger, scope: str, name: str) -> Json | _Missing:
    """An input parameter of the DAG at `scope`; an iteration sees its item first, then its loop's inputs."""
    record = ledger.get(scope)
    if record is not None and name in record.inputs.parameters:
        return record.inputs.parameters[name]
    if scope.endswith("]"):
        return scope_parameter(ledger, scope[: scope.rindex("[")], name)
    return MISSING


def scope_artifacts(ledger: Ledger, scope: str, name: str) -> tuple[Artifact, ...] | None:
    record = ledger.get(scope)
    if record is not None and name in record.inputs.artifacts:
        return record.inputs.artifacts[name]
    if scope.endswith("]"):
        return scope_artifacts(ledger, scope[: scope.rindex("[")], name)
    return None


def final_status(ledger: Ledger, record: TaskRun) -> Json:
    """KFP's `PipelineTaskFinalStatus` of an ended task. Its `state` is MLMD's word: COMPLETE, not SUCCEEDED.

    KFP's driver never fills `error`; pipelines that print it see None there, and here.
    """
    return {
        "state": "CACHED" if record.cached else _MLMD_STATE.get(record.state, "CANCELED"),
        "pipelineJobResourceName": ledger.fields.get("pipeline_job_resource_name", ""),
        "pipelineTaskName": paths.split(record.path)[1],
        "error": {},
    }


def task_fields(fields: Mapping[str, str], path: str) -> dict[str, str]:
    """What the placeholders of run and task stand for in the constants of the task at `path`.

    KFP puts the id of an execution record for `{{$.pipeline_task_uuid}}`; here it is made of the run's id and
    the path, because constants are judged before there is an attempt.
    """
    digest = sha256(f"{fields.get('pipeline_job_uuid', '')}/{path}".encode()).hexdigest()
    identifier = "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))
    return {
        **fields,
        "pipeline_task_name": paths.split(path)[1],
        "pipeline_task_uuid": identifier,
    }


def _parameters(ledger: Ledger, scope: str, task: Task, component: Component) -> dict[str, Json]:
    found: dict[str, Json] = {}
    constants: dict[str, Json] = {}
    legacy = ledger.pipeline.schema_version == LEGACY_SCHEMA
    for name, source in task.parameters.items():
        if isinstance(source.origin, Constant):
            constants[name] = source.origin.value
            continue
        value = _origin(ledger, scope, source)
        if value is not MISSING and value is not None and source.selector:
            value = select(source.selector, value)
        from_text = legacy or (isinstance(value, str) and _is_text(ledger, scope, source))
        _take(found, name, value, task, component, from_text=from_text)
    fields = task_fields(ledger.fields, paths.child(scope, task.name))
    for name, constant in constants.items():
        value = resolve_constant(constant, found, fields)
        if task.parameters[name].selector:
            value = select(task.parameters[name].selector, value)
        _take(found, name, value, task, component, from_text=legacy)
    if component.dag is not None:
        for name, declared in component.interface.input_parameters.items():
            if name not in found and (task.loop is None or task.loop.item != name):
                found[name] = declared.default
    return {name: found[name] for name in (*task.parameters, *found) if name in found}


def _take(
    found: dict[str, Json],
    name: str,
    value: Json | _Missing,
    task: Task,
    component: Component,
    *,
    from_text: bool,
) -> None:
    """Convert and keep one value, or leave it out when it is missing and may be.

    `from_text`: a text may stand for a value of another type. SDK 1.8 writes a component's own default of a
    number as one, and items of a plain `list` are texts to the compiler whatever they are. For the same
    reason a DAG, which only hands its inputs down, takes what is not of the declared type (KFP fails).
    """
    declared = component.interface.input_parameters.get(name)
    is_items = task.loop is not None and task.loop.items_input == name
    if value is MISSING or value is None:
        if declared is not None and declared.required:
            raise ResolutionError(
                f"input '{name}' of task '{task.name}' is required and has no value: "
                f"{_origin_text(task, name)}"
            )
        if component.dag is not None:
            found[name] = declared.default if declared is not None else None
        return
    where = f"input '{name}' of task '{task.name}'"
    if declared is None or is_items:
        found[name] = normalize(value)
    elif isinstance(value, str) and from_text and declared.type is not ParameterType.STRING:
        found[name] = text_to_value(value, declared.type.value, where=where)
    elif component.dag is not None:
        found[name] = _handed_down(value, declared.type)
    else:
        found[name] = coerce(value, declared.type.value, where=where)


def _handed_down(value: Json, kind: ParameterType) -> Json:
    return to_text(normalize(value)) if kind is ParameterType.STRING else normalize(value)


def _origin(ledger: Ledger, scope: str, source: ParameterSource) -> Json | _Missing:
    origin = source.origin
    match origin:
        case Constant(value):
            return value
        case ComponentInput(name):
            return scope_parameter(ledger, scope, name)
        case TaskOutput(task, output):
            outputs = _outputs(ledger, scope, task)
            return outputs.parameters.get(output, MISSING)
        case FinalStatus(task):
            record = ledger.get(paths.child(scope, task))
            return MISSING if record is None else final_status(ledger, record)
        case RuntimeParameter(name):
            return ledger.arguments.get(name, MISSING)


def _is_text(ledger: Ledger, scope: str, source: ParameterSource) -> bool:
    """Whether the value is an input that the DAG at `scope` declares as a STRING."""
    if not isinstance(source.origin, ComponentInput):
        return False
    declared = ledger.place(scope).component.interface.input_parameters.get(source.origin.name)
    return declared is not None and declared.type is ParameterType.STRING


def _artifacts(
    ledger: Ledger, scope: str, task: Task, component: Component
) -> Mapping[str, tuple[Artifact, ...]]:
    found: dict[str, tuple[Artifact, ...]] = {}
    for name, source in task.artifacts.items():
        many = (
            scope_artifacts(ledger, scope, source.name)
            if isinstance(source, ComponentInput)
            else _outputs(ledger, scope, source.task).artifacts.get(source.output)
        )
        if many is not None:
            found[name] = many
            continue
        declared = component.interface.input_artifacts.get(name)
        if declared is not None and not declared.optional:
            raise ResolutionError(
                f"input artifact '{name}' of task '{task.name}' is required and was not written: "
                f"{_origin_text(task, name)}"
            )
    return found


def _outputs(ledger: Ledger, scope: str, task: str) -> Values:
    record = ledger.get(paths.child(scope, task))
    return record.outputs if record is not None else NOTHING


def _origin_text(task: Task, name: str) -> str:
    """Where the missing value was to come from, for an error."""
    parameter = task.parameters.get(name)
    origin = parameter.origin if parameter is not None else task.artifacts.get(name)
    match origin:
        case TaskOutput(producer, output):
            return f"task '{producer}' left no output '{output}'"
        case ComponentInput(given):
            return f"the pipeline around it was given no '{given}'"
        case FinalStatus(producer):
            return f"task '{producer}' has not ended"
        case RuntimeParameter(argument):
            return f"the run has no argument '{argument}'"
        case _:
            return "it is null"

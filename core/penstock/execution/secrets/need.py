"""Which secrets a task needs, by its Kubernetes configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from penstock.model import (
    Component,
    ComponentInput,
    Constant,
    Dag,
    Json,
    JsonObject,
    ParameterLoop,
    Pipeline,
    RuntimeParameter,
    Task,
    TriggerStrategy,
)
from penstock.model import path as paths

_Known: TypeAlias = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class SecretNeed:
    """The value of `key`, for the environment `variable`; or, without a key, all of the secret as files below
    `mount`.
    """

    name: str
    key: str = ""
    optional: bool = False
    variable: str = ""
    mount: str = ""

    def __str__(self) -> str:
        return f"{self.name}/{self.key}" if self.key else self.name


@dataclass(frozen=True, slots=True)
class TaskNeed:
    """`executor` is its label. `certain`: the task comes up in every run with these arguments, unless
    something before it fails. A name that is not known yet stands as `<parameter>`.
    """

    path: str
    executor: str
    need: SecretNeed
    certain: bool


def needs(platform: Mapping[str, Json]) -> Iterator[SecretNeed]:
    """Of a task whose configuration is resolved. A name that is null asks for nothing."""
    for entry in _entries(platform.get("secretAsEnv")):
        optional = bool(entry.get("optional"))
        for one in _entries(entry.get("keyToEnv")) if _name(entry) else ():
            key, variable = _text(one, "secretKey"), _text(one, "envVar")
            yield SecretNeed(_name(entry), key, optional, variable=variable)
    for entry in _entries(platform.get("secretAsVolume")):
        if _name(entry):
            yield SecretNeed(_name(entry), "", bool(entry.get("optional")), mount=_text(entry, "mountPath"))


def pipeline_needs(pipeline: Pipeline, arguments: Mapping[str, Json]) -> Iterator[TaskNeed]:
    """Of every task that the document has, in its order; `arguments` are those of the run."""
    return _Walk(pipeline, arguments).dag(pipeline.root, arguments, "", certain=True)


@dataclass(frozen=True, slots=True)
class _Walk:
    pipeline: Pipeline
    arguments: _Known

    def dag(self, component: Component, known: _Known, path: str, *, certain: bool) -> Iterator[TaskNeed]:
        """`known` are the inputs of the DAG whose values do not depend on what a task puts out."""
        assert component.dag is not None
        uncertain = _uncertain(component.dag)
        for task in component.dag.tasks.values():
            inner = self.pipeline.component_of(task)
            place = paths.child(path, task.name)
            sure = certain and task.name not in uncertain
            if inner.dag is not None:
                yield from self.dag(inner, self._inputs(task, inner, known), place, certain=sure)
                continue
            found = {
                name: _with_names(value, known)
                for name, value in self.pipeline.executor_platform(inner).items()
                if name in ("secretAsEnv", "secretAsVolume")
            }
            for need in needs(found):
                yield TaskNeed(place, str(inner.body), need, sure and not need.name.startswith("<"))

    def _inputs(self, task: Task, component: Component, known: _Known) -> dict[str, Json]:
        declared = component.interface.input_parameters
        found: dict[str, Json] = {name: one.default for name, one in declared.items() if one.has_default}
        for name, source in task.parameters.items():
            found.pop(name, None)
            match source.origin:
                case Constant(str(text)) if "{{" in text:
                    continue
                case Constant(value) if not source.selector:
                    found[name] = value
                case ComponentInput(outer) if not source.selector and outer in known:
                    found[name] = known[outer]
                case RuntimeParameter(outer) if not source.selector and outer in self.arguments:
                    found[name] = self.arguments[outer]
                case _:
                    continue
        return found


def _uncertain(dag: Dag) -> set[str]:
    """Names of the tasks that a condition, or a loop without items, may keep from coming up."""
    found: set[str] = set()
    todo = [
        name
        for name, task in dag.tasks.items()
        if task.trigger.condition or (task.loop is not None and not _has_items(task))
    ]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += (
                one
                for one in dag.dependents.get(name, ())
                if dag.tasks[one].trigger.strategy is not TriggerStrategy.ALL_UPSTREAM_TASKS_COMPLETED
            )
    return found


def _has_items(task: Task) -> bool:
    return isinstance(task.loop, ParameterLoop) and bool(task.loop.raw)


def _with_names(value: Json, known: _Known) -> Json:
    """The entries with their names' parameters put in, as far as they are known."""
    return [{**entry, **_named(entry, known)} for entry in _entries(value)]


def _named(entry: JsonObject, known: _Known) -> JsonObject:
    match entry.get("secretNameParameter", entry):
        case {"runtimeValue": {"constant": name}} | {"constant": name}:
            return {"secretNameParameter": name}
        case {"componentInputParameter": str(name)}:
            return {"secretNameParameter": known.get(name, f"<{name}>")}
        case {"taskOutputParameter": {"producerTask": str(task), "outputParameterKey": str(output)}}:
            return {"secretNameParameter": f"<{task}.{output}>"}
        case _:
            return {}


def _name(entry: JsonObject) -> str:
    """After its parameter was resolved; older compilers' is then under `name`."""
    if "secretNameParameter" in entry:
        return _text(entry, "secretNameParameter")
    return _text(entry, "secretName") or _text(entry, "name")


def _entries(value: Json) -> Iterator[JsonObject]:
    return (one for one in (value if isinstance(value, list) else ()) if isinstance(one, dict))


def _text(entry: Mapping[str, Json], key: str) -> str:
    found = entry.get(key)
    return found if isinstance(found, str) else ""

"""Inputs that the SDK's compiler looks for where they are not (kubeflow/pipelines#13273).

Where an author's text, list or struct holds the item of a loop, and more control flow stands around the
loop or inside it, the SDK (1.8 to 2.17) gives the DAGs on the way an input for the item that nothing can
fill, or forgets to hand it down, and at times what stands beside it. KFP fails such a run. Names of channels
are unique in a pipeline, so what was meant is certain: the input is taken from the scope around it that has
it, and an input that only the loop inside can fill is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from penstock.ir.fault import place
from penstock.model import Component, ComponentInput, InputParameter, ParameterSource, Task, TaskOutput

_CHANNEL: Final = "pipelinechannel--"
_PREFIX: Final = re.compile("^pipeline(?:channel|param)--")
_ITEM: Final = re.compile(r"(?P<item>.*loop-item(?:-param-\d+)?)-subvar-(?P<field>\w+)")
_ROOT: Final = ""


def reconnect_channels(
    root: Component, components: Mapping[str, Component]
) -> tuple[Component, Mapping[str, Component], tuple[str, ...]]:
    """The pipeline with such inputs connected, and one sentence for each.

    What cannot be connected is left as it is, for the checks that follow.
    """
    every = {_ROOT: root, **components}
    if not any(_strays(component, every) for component in every.values()):
        return root, components, ()
    found = _Wiring(every)
    for name in found.outermost_first():
        found.connect(name)
    mended = found.mended()
    return mended.pop(_ROOT), mended, tuple(found.notes)


def _strays(component: Component, components: Mapping[str, Component]) -> bool:
    dag, inputs = component.dag, component.interface.input_parameters
    return dag is not None and any(
        _channel(source, inputs, dag.tasks, components)
        for task in dag.tasks.values()
        for source in task.parameters.values()
    )


def _channel(
    source: ParameterSource,
    inputs: Mapping[str, InputParameter],
    tasks: Mapping[str, Task],
    components: Mapping[str, Component],
) -> str:
    """The channel that the source looks for where there is none; "" for a sound source."""
    origin = source.origin
    if isinstance(origin, ComponentInput):
        name = origin.name
        if name not in inputs and (_PREFIX.match(name) or "loop-item" in name):
            return _plain(name)
    elif isinstance(origin, TaskOutput) and "loop-item" in origin.output:
        task = tasks.get(origin.task)
        made = components.get(task.component) if task is not None else None
        if made is not None and origin.output not in made.interface.output_parameters:
            return f"{origin.task}-{origin.output}"
    return ""


def _plain(name: str) -> str:
    """The channel that an input stands for: below the root its name has a prefix, another in SDK 1.8."""
    return _PREFIX.sub("", name, count=1)


class _Wiring:
    """Inputs and tasks of the components that are DAGs, by name, the root under ""."""

    def __init__(self, components: Mapping[str, Component]) -> None:
        self.components = components
        dags = {name: one.dag for name, one in components.items() if one.dag is not None}
        self.inputs = {name: dict(components[name].interface.input_parameters) for name in dags}
        self.tasks = {name: dict(dag.tasks) for name, dag in dags.items()}
        self.users: dict[str, list[tuple[str, str]]] = {}
        """Where a component is used: (DAG, task)."""
        for name, tasks in self.tasks.items():
            for task in tasks.values():
                self.users.setdefault(task.component, []).append((name, task.name))
        self.notes: list[str] = []

    def outermost_first(self) -> list[str]:
        order: list[str] = []
        seen = {_ROOT}
        ahead = [(_ROOT, False)]
        while ahead:
            name, done = ahead.pop()
            if done:
                order.append(name)
                continue
            ahead.append((name, True))
            for task in self.tasks[name].values():
                if task.component in self.tasks and task.component not in seen:
                    seen.add(task.component)
                    ahead.append((task.component, False))
        return order[::-1]

    def mended(self) -> dict[str, Component]:
        return {
            name: replace(
                one,
                interface=replace(one.interface, input_parameters=self.inputs[name]),
                body=replace(one.dag, tasks=self.tasks[name]),
            )
            if one.dag is not None
            else one
            for name, one in self.components.items()
        }

    def connect(self, dag: str) -> None:
        for task in list(self.tasks[dag].values()):
            for key, source in task.parameters.items():
                if channel := self._missing(dag, source):
                    self._connect(dag, task.name, key, source, channel)

    def _connect(self, dag: str, task: str, key: str, source: ParameterSource, channel: str) -> None:
        match = _ITEM.fullmatch(channel)
        item, field = (match["item"], match["field"]) if match else (channel, "")
        if self._reaches(dag, item, {}) and not (field and source.selector):
            own = self._hand_down(dag, item)
            selector = f'parseJson(string_value)["{field}"]' if field else source.selector
            self._put(dag, task, key, ParameterSource(ComponentInput(own), selector))
            self._note(dag, task, key, f"it is taken from {own}")
            return
        inner = self.tasks[dag][task].component
        if "loop-item" not in channel or _plain(key) != channel or inner not in self.tasks:
            return
        users = self.users[inner]
        if any(self._missing(around, source) != channel for around, source in self._sources(users, key)):
            return
        loop = self.tasks[dag][task].loop
        if loop is None or loop.item != key:
            self.inputs[inner].pop(key, None)
        for around, user in users:
            if key in self.tasks[around][user].parameters:
                self._put(around, user, key, None)
        self._note(dag, task, key, "the loop itself has the item")

    def _sources(self, users: list[tuple[str, str]], key: str) -> Iterator[tuple[str, ParameterSource]]:
        for around, user in users:
            source = self.tasks[around][user].parameters.get(key)
            if source is not None:
                yield around, source

    def _missing(self, dag: str, source: ParameterSource) -> str:
        return _channel(source, self.inputs[dag], self.tasks[dag], self.components)

    def _reaches(self, dag: str, channel: str, known: dict[str, bool]) -> bool:
        """Whether the DAG has the channel, or every DAG around it can hand it down."""
        if dag not in known:
            known[dag] = False  # as seen from inside, where a component uses itself
            users = self.users.get(dag, [])
            known[dag] = bool(self._own(dag, channel)) or (
                bool(users) and all(self._reaches(around, channel, known) for around, _ in users)
            )
        return known[dag]

    def _own(self, dag: str, channel: str) -> str:
        """The input under which the DAG has the channel."""
        return next((name for name in self.inputs[dag] if _plain(name) == channel), "")

    def _hand_down(self, dag: str, channel: str) -> str:
        """The input under which the DAG has the channel now."""
        if own := self._own(dag, channel):
            return own
        name = _CHANNEL + channel
        for around, user in self.users[dag]:
            given = self._hand_down(around, channel)
            self._put(around, user, name, ParameterSource(ComponentInput(given)))
            self.inputs[dag][name] = InputParameter(self.inputs[around][given].type)
        return name

    def _put(self, dag: str, task: str, key: str, source: ParameterSource | None) -> None:
        found = self.tasks[dag][task]
        parameters = {name: one for name, one in found.parameters.items() if name != key}
        if source is not None:
            parameters[key] = source
        self.tasks[dag][task] = replace(found, parameters=parameters)

    def _note(self, dag: str, task: str, key: str, instead: str) -> None:
        steps = ("components", dag) if dag else ("root",)
        where = place(*steps, "dag", "tasks", task, "inputs", "parameters", key)
        self.notes.append(
            f"{where} leads nowhere, and KFP fails there (kubeflow/pipelines#13273); {instead}."
        )

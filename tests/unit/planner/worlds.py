"""Random pipelines, a world that decides how each attempt ends, and an oracle that runs a pipeline by plain
recursion.

The oracle shares no code with the planner: it is what the planner's answers are judged by.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.model import (
    Caching,
    Component,
    ComponentInput,
    Constant,
    ContainerExecutor,
    Dag,
    DagOutput,
    InputParameter,
    Interface,
    Json,
    OutputParameter,
    OutputSelector,
    ParameterLoop,
    ParameterSource,
    ParameterType,
    Pipeline,
    Retry,
    Task,
    TaskOutput,
    Trigger,
    TriggerStrategy,
)

INT, LIST = ParameterType.NUMBER_INTEGER, ParameterType.LIST
FAIL_PERCENT = 15


def attempt_succeeds(seed: int, path: str, launch: int) -> bool:
    """How the `launch`-th start (from 0) of the leaf at `path` ends, over the whole run."""
    return random.Random(f"{seed}/{path}/{launch}").randrange(100) >= FAIL_PERCENT


def leaf_output(inputs: Mapping[str, Json]) -> int:
    """What a leaf writes: a number that depends on every input."""
    return (7 + sum(_weight(value) * (i + 1) for i, (_, value) in enumerate(sorted(inputs.items())))) % 1009


def _weight(value: Json) -> int:
    if isinstance(value, list):
        return sum(_weight(one) * (i + 3) for i, one in enumerate(value)) + 11
    return int(value) if isinstance(value, int | float) else 0


@dataclass
class Builder:
    """Grows a random pipeline. A leaf reads up to two ints and writes one, `out`; so does a DAG; a loop's
    `out` is a list.
    """

    rng: random.Random
    components: dict[str, Component] = field(default_factory=dict)
    retries: bool = True

    def pipeline(self) -> Pipeline:
        root = self.dag("root", depth=0, inputs={"n": INT})
        component = Component(
            "root", Interface({"n": InputParameter(INT)}, {}, {"out": OutputParameter(INT)}), root
        )
        return Pipeline(
            name="random",
            root=component,
            components=self.components,
            executors={"exec-leaf": ContainerExecutor("python:3.11", ("true",))},
            schema_version="2.1.0",
        )

    def dag(self, name: str, depth: int, inputs: Mapping[str, ParameterType]) -> Dag:
        tasks: dict[str, Task] = {}
        types: dict[str, ParameterType] = {}
        for index in range(self.rng.randint(1, 4 if depth else 6)):
            task_name = f"{name}-t{index}"
            task, out = self.task(task_name, depth, inputs, types)
            tasks[task_name] = task
            types[task_name] = out
        dependents: dict[str, list[str]] = {}
        for task in tasks.values():
            for up in task.upstream:
                dependents.setdefault(up, []).append(task.name)
        ints = [task for task, kind in types.items() if kind is INT]
        outputs: dict[str, DagOutput] = {}
        if ints:
            chosen = self.rng.sample(ints, k=min(len(ints), self.rng.randint(1, 2)))
            selectors = tuple(OutputSelector(task, "out") for task in chosen)
            outputs["out"] = DagOutput(selectors, one_of=len(selectors) > 1)
        return Dag(tasks, outputs, {}, {up: tuple(down) for up, down in dependents.items()})

    def task(
        self, name: str, depth: int, scope: Mapping[str, ParameterType], siblings: Mapping[str, ParameterType]
    ) -> tuple[Task, ParameterType]:
        rng = self.rng
        parameters: dict[str, ParameterSource] = {}
        declared: dict[str, InputParameter] = {}
        optional = rng.random() < 0.3
        for slot in ("a", "b"):
            choice = rng.randrange(4)
            if choice == 0 and siblings:
                producer = rng.choice(sorted(siblings))
                parameters[slot] = ParameterSource(TaskOutput(producer, "out"))
                declared[slot] = InputParameter(siblings[producer], optional=optional)
            elif choice == 1 and scope:
                given = rng.choice(sorted(scope))
                parameters[slot] = ParameterSource(ComponentInput(given))
                declared[slot] = InputParameter(scope[given], optional=optional)
            elif choice == 2:
                parameters[slot] = ParameterSource(Constant(rng.randrange(10)))
                declared[slot] = InputParameter(INT)
        upstream = dict.fromkeys(
            source.origin.task for source in parameters.values() if isinstance(source.origin, TaskOutput)
        )
        if siblings and rng.random() < 0.25:
            upstream[rng.choice(sorted(siblings))] = None
        strategy = TriggerStrategy.ALL_UPSTREAM_TASKS_SUCCEEDED
        if upstream and optional and rng.random() < 0.6:
            strategy = TriggerStrategy.ALL_UPSTREAM_TASKS_COMPLETED
        condition = ""
        scalars = [slot for slot in parameters if declared[slot].type is INT]
        if scalars and rng.random() < 0.25:
            condition = f"int(inputs.parameter_values['{scalars[0]}']) > {rng.randrange(8)}"
        retry = Retry(rng.randint(1, 2)) if self.retries and rng.random() < 0.3 else None
        kind = rng.random() if depth < 3 else 0.0
        loop = None
        out = INT
        if kind > 0.8:
            item = f"{name}-item"
            items = tuple(rng.randrange(10) for _ in range(rng.choice((0, 1, 2, 3, 5))))
            loop = ParameterLoop(item, raw=items, parallelism=rng.choice((0, 0, 1, 2)))
            declared[item] = InputParameter(INT)
            out = LIST
            retry = None
        component = f"comp-{name}"
        interface = Interface(declared, {}, {"out": OutputParameter(INT)})
        if kind > 0.55:
            types = {slot: spec.type for slot, spec in declared.items()}
            body: Dag | str = self.dag(name, depth + 1, types)
        else:
            body = "exec-leaf"
        self.components[component] = Component(component, interface, body)
        return (
            Task(
                name,
                component,
                parameters,
                {},
                tuple(upstream),
                tuple(upstream),
                Trigger(condition, strategy),
                loop,
                retry,
                Caching(enabled=False),
                display_name=name,
            ),
            out,
        )


@dataclass
class Expected:
    """The oracle's account: final state by path, and how often each leaf was launched."""

    states: dict[str, str] = field(default_factory=dict)
    launches: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, dict[str, Json]] = field(default_factory=dict)


class Oracle:
    """Runs the pipeline one task at a time, in document order, by recursion."""

    def __init__(self, pipeline: Pipeline, seed: int, arguments: Mapping[str, Json]) -> None:
        self.pipeline, self.seed = pipeline, seed
        self.found = Expected()
        dag = pipeline.root.body
        assert isinstance(dag, Dag)
        state, outputs = self._dag("", dag, dict(arguments))
        self._note("", state, outputs)

    def _note(self, path: str, state: str, outputs: dict[str, Json]) -> tuple[str, dict[str, Json]]:
        self.found.states[path] = state
        self.found.outputs[path] = outputs
        return state, outputs

    def _dag(self, path: str, dag: Dag, scope: dict[str, Json]) -> tuple[str, dict[str, Json]]:
        ends: dict[str, tuple[str, dict[str, Json]]] = {}
        for name, task in dag.tasks.items():
            child = f"{path}/{name}" if path else name
            ends[name] = self._note(child, *self._task(child, task, scope, ends))
        failed = any(state == "FAILED" for state, _ in ends.values())
        outputs: dict[str, Json] = {}
        for name, output in dag.parameters.items():
            for selector in output.selectors:
                state, produced = ends[selector.task]
                if selector.output in produced and (state == "SUCCEEDED" or not output.one_of):
                    outputs[name] = produced[selector.output]
                    break
        return ("FAILED" if failed else "SUCCEEDED"), outputs

    def _task(
        self, path: str, task: Task, scope: dict[str, Json], ends: dict[str, tuple[str, dict[str, Json]]]
    ) -> tuple[str, dict[str, Json]]:
        wants_success = task.trigger.strategy is TriggerStrategy.ALL_UPSTREAM_TASKS_SUCCEEDED
        if wants_success and any(ends[up][0] != "SUCCEEDED" for up in task.upstream):
            return "SKIPPED", {}
        component = self.pipeline.components[task.component]
        inputs: dict[str, Json] = {}
        for slot, source in task.parameters.items():
            origin = source.origin
            if isinstance(origin, Constant):
                value = origin.value
            elif isinstance(origin, ComponentInput):
                value = scope.get(origin.name)
            else:
                assert isinstance(origin, TaskOutput)
                value = ends[origin.task][1].get(origin.output)
            if value is None and not component.interface.input_parameters[slot].optional:
                return "FAILED", {}
            if value is not None or isinstance(component.body, Dag):
                inputs[slot] = value
        if task.trigger.condition:
            slot, limit = task.trigger.condition.split("'")[1], int(task.trigger.condition.rsplit(" ", 1)[1])
            value = inputs.get(slot)
            if not isinstance(value, int):
                return "FAILED", {}
            if value <= limit:
                return "SKIPPED", {}
        if task.loop is not None:
            return self._loop(path, task, component, inputs)
        return self._body(path, task, component, inputs, task.retry)

    def _loop(
        self, path: str, task: Task, component: Component, inputs: dict[str, Json]
    ) -> tuple[str, dict[str, Json]]:
        assert isinstance(task.loop, ParameterLoop) and task.loop.raw is not None
        collected: list[Json] = []
        failed = False
        for index, item in enumerate(task.loop.raw):
            child = f"{path}[{index}]"
            end = self._body(child, task, component, {**inputs, task.loop.item: item}, task.retry)
            state, outputs = self._note(child, *end)
            failed = failed or state == "FAILED"
            if "out" in outputs:
                collected.append(outputs["out"])
        declares = component.body.parameters if isinstance(component.body, Dag) else {"out": None}
        return ("FAILED" if failed else "SUCCEEDED"), ({"out": collected} if "out" in declares else {})

    def _body(
        self, path: str, task: Task, component: Component, inputs: dict[str, Json], retry: Retry | None
    ) -> tuple[str, dict[str, Json]]:
        end: tuple[str, dict[str, Json]] = ("FAILED", {})
        for _ in range(1 + (retry.max_retries if retry else 0)):
            if isinstance(component.body, Dag):
                for stale in [known for known in self.found.states if known.startswith(f"{path}/")]:
                    del self.found.states[stale], self.found.outputs[stale]
                end = self._dag(path, component.body, inputs)
            else:
                launch = self.found.launches.get(path, 0)
                self.found.launches[path] = launch + 1
                good = attempt_succeeds(self.seed, path, launch)
                end = ("SUCCEEDED", {"out": leaf_output(inputs)}) if good else ("FAILED", {})
            if end[0] == "SUCCEEDED":
                break
        return end

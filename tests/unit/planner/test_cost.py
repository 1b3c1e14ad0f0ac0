"""Finishing a task costs in proportion to what depends on it, not to the run: the ledger is asked linearly
often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from penstock.model import (
    ROOT,
    Component,
    ContainerExecutor,
    Dag,
    DagOutput,
    InputParameter,
    Interface,
    OutputParameter,
    OutputSelector,
    ParameterLoop,
    ParameterSource,
    ParameterType,
    Pipeline,
    State,
    Task,
    TaskKind,
    TaskOutput,
    TaskRun,
    Values,
)
from penstock.planner.following import following
from penstock.planner.ledger import Ledger
from penstock.planner.settle import settle
from penstock.planner.verdict import Launch, Record, verdict

INT = ParameterType.NUMBER_INTEGER
LEAF = Component(
    "comp-leaf",
    Interface({"x": InputParameter(INT, optional=True)}, {}, {"out": OutputParameter(INT)}),
    "exec",
)


class Counting(Ledger):
    """Counts every question."""

    asked = 0

    def get(self, path: str) -> TaskRun | None:
        self.asked += 1
        return super().get(path)

    def place(self, path: str):
        self.asked += 1
        return super().place(path)

    def open_upstreams(self, path: str) -> int:
        self.asked += 1
        return super().open_upstreams(path)

    def counts(self, path: str) -> tuple[int, int, int, int]:
        self.asked += 1
        return super().counts(path)

    def children(self, path: str) -> Iterable[str]:
        for child in super().children(path):
            self.asked += 1
            yield child


def pipeline(tasks: dict[str, Task], components: dict[str, Component]) -> Pipeline:
    dependents: dict[str, list[str]] = {}
    for task in tasks.values():
        for up in task.upstream:
            dependents.setdefault(up, []).append(task.name)
    body = Dag(tasks, dependents={up: tuple(down) for up, down in dependents.items()})
    executors = {"exec": ContainerExecutor("alpine", ("true",))}
    return Pipeline("cost", Component("root", Interface(), body), components, executors, "2.1.0")


def fan_in(size: int) -> Pipeline:
    """Many tasks, and one that takes an output of each."""
    tasks = {f"task-{n}": Task(f"task-{n}", "comp-leaf") for n in range(size)}
    inputs = {f"x{n}": ParameterSource(TaskOutput(f"task-{n}", "out")) for n in range(size)}
    gather = Component("comp-gather", Interface(dict.fromkeys(inputs, InputParameter(INT))), "exec")
    last = Task("last", "comp-gather", inputs, upstream=tuple(tasks), dependencies=tuple(tasks))
    return pipeline({**tasks, "last": last}, {"comp-leaf": LEAF, "comp-gather": gather})


def fan_out(size: int) -> Pipeline:
    source = ParameterSource(TaskOutput("first", "out"))
    tasks = {
        f"task-{n}": Task(
            f"task-{n}", "comp-leaf", {"x": source}, upstream=("first",), dependencies=("first",)
        )
        for n in range(size)
    }
    return pipeline({"first": Task("first", "comp-leaf"), **tasks}, {"comp-leaf": LEAF})


def chain(size: int) -> Pipeline:
    tasks = {"task-0": Task("task-0", "comp-leaf")}
    for n in range(1, size):
        before = f"task-{n - 1}"
        source = ParameterSource(TaskOutput(before, "out"))
        tasks[f"task-{n}"] = Task(
            f"task-{n}", "comp-leaf", {"x": source}, upstream=(before,), dependencies=(before,)
        )
    return pipeline(tasks, {"comp-leaf": LEAF})


def loop(size: int) -> Pipeline:
    """A loop whose outputs are collected."""
    body = Dag(
        {"each": Task("each", "comp-leaf")},
        {"out": DagOutput((OutputSelector("each", "out"),))},
    )
    inner = Component(
        "comp-loop", Interface({"item": InputParameter(INT)}, {}, {"out": OutputParameter(INT)}), body
    )
    task = Task("loop", "comp-loop", loop=ParameterLoop("item", raw=tuple(range(size))))
    return pipeline({"loop": task}, {"comp-leaf": LEAF, "comp-loop": inner})


def questions(built: Pipeline) -> int:
    """How often the ledger is asked over a whole run, each task ending before the next one starts."""
    ledger = Counting(built, {}, {})
    todo: list[str] = []

    def write(record: TaskRun) -> None:
        ledger.apply(record)
        for path in (record.path, *(one.path for one in settle(ledger, record.path).ended)):
            todo.extend(following(ledger, path))

    write(TaskRun(ROOT, TaskKind.ROOT, State.RUNNING))
    while todo:
        path = todo.pop()
        answer = verdict(ledger, path)
        if isinstance(answer, Record):
            write(answer.task)
        else:
            assert isinstance(answer, Launch), answer
            record = TaskRun(path, TaskKind.CONTAINER, State.RUNNING, inputs=answer.inputs)
            write(record)
            write(replace(record, state=State.SUCCEEDED, outputs=Values({"out": 1})))
    root = ledger.get(ROOT)
    assert root is not None and root.state is State.SUCCEEDED
    return ledger.asked


@pytest.mark.parametrize("shape", [fan_in, fan_out, chain, loop])
def test_twice_the_tasks_are_twice_the_questions(shape: Callable[[int], Pipeline]) -> None:
    once, twice = questions(shape(1_000)), questions(shape(2_000))

    assert twice / once < 2.1
    assert twice / 2_000 < 60, "questions a task"

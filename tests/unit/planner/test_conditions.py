"""Errors in conditions and selectors end a task FAILED, never skipped and never run: they are no false."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from penstock.model import (
    ROOT,
    Component,
    ComponentInput,
    ContainerExecutor,
    Dag,
    InputParameter,
    Interface,
    Json,
    ParameterSource,
    ParameterType,
    Pipeline,
    Reason,
    State,
    Task,
    TaskKind,
    TaskRun,
    Trigger,
    Values,
)
from penstock.planner.inputs import LEGACY_SCHEMA
from penstock.planner.ledger import Ledger
from penstock.planner.settle import settle
from penstock.planner.verdict import Record, Verdict, verdict
from tests.unit.planner.vectors import read_vectors


def vectors(kind: str) -> Iterator[dict[str, Any]]:
    for line in read_vectors("cel.jsonl").splitlines():
        vector = json.loads(line)
        if vector["kind"] == kind:
            yield vector


def ledger(
    values: Mapping[str, Json], *, condition: str = "", selector: str = "", legacy: bool = False
) -> Ledger:
    """A run whose task `judged`, a DAG as the compiler makes of `dsl.If`, gets the values; `after` waits for
    it.
    """
    declared = {name: InputParameter(_type(value), optional=True) for name, value in values.items()}
    sources = {name: ParameterSource(ComponentInput(name), selector) for name in values}
    judged = Task("judged", "comp-inner", sources, trigger=Trigger(condition))
    after = Task("after", "comp-after", upstream=("judged",), dependencies=("judged",))
    body = Dag({"judged": judged, "after": after}, dependents={"judged": ("after",)})
    text = InputParameter(ParameterType.STRING, optional=True)
    inner = dict.fromkeys(values, text) if selector else declared
    pipeline = Pipeline(
        "conditions",
        Component("root", Interface(declared), body),
        {
            "comp-inner": Component(
                "comp-inner", Interface(inner), Dag({"leaf": Task("leaf", "comp-after")})
            ),
            "comp-after": Component("comp-after", Interface(), "exec-leaf"),
        },
        {"exec-leaf": ContainerExecutor("alpine", ("true",))},
        LEGACY_SCHEMA if legacy else "2.1.0",
    )
    found = Ledger(pipeline, values, {})
    found.apply(TaskRun(ROOT, TaskKind.ROOT, State.RUNNING, inputs=Values(values)))
    return found


def _type(value: Json) -> ParameterType:
    match value:
        case bool():
            return ParameterType.BOOLEAN
        case int() | float():
            return ParameterType.NUMBER_DOUBLE
        case list():
            return ParameterType.LIST
        case dict():
            return ParameterType.STRUCT
        case _:
            return ParameterType.STRING


def check_failure(run: Ledger, reason: Reason) -> None:
    """The task failed with a sentence; what waits for it is skipped for that; and the run fails."""
    answer = verdict(run, "judged")
    assert isinstance(answer, Record), answer
    record = answer.task
    assert (record.state, record.reason) == (State.FAILED, reason)
    assert record.error and "\n" not in record.error
    run.apply(record)
    settle(run, "judged")
    after = verdict(run, "after")
    assert isinstance(after, Record)
    assert (after.task.state, after.task.reason) == (State.SKIPPED, Reason.UPSTREAM_FAILED)
    run.apply(after.task)
    (root,) = settle(run, "after").ended
    assert root.state is State.FAILED and record.error in root.error


def outcome(answer: Verdict) -> bool:
    """Whether the task opens; skipped by its condition otherwise."""
    assert isinstance(answer, Record), answer
    record = answer.task
    assert (record.state, record.reason) in ((State.RUNNING, None), (State.SKIPPED, Reason.CONDITION)), record
    return record.state is State.RUNNING


@pytest.mark.corpus
def test_every_condition_of_the_vectors_ends_its_task_as_the_reference_says() -> None:
    counted = {"true": 0, "false": 0, "error": 0}
    for vector in vectors("cond"):
        inputs = json.loads(vector["input"])["inputs"]
        old = inputs.get("parameters", {})
        values = {
            **inputs.get("parameterValues", {}),
            **{
                name: int(one["intValue"]) if "intValue" in one else one["stringValue"]
                for name, one in old.items()
            },
        }
        run = ledger(values, condition=vector["expr"], legacy=bool(old))
        if "result" in vector:
            assert outcome(verdict(run, "judged")) is vector["result"], vector
            counted["true" if vector["result"] else "false"] += 1
        else:
            check_failure(run, Reason.CONDITION)
            counted["error"] += 1
    assert counted["error"] >= 100 and counted["true"] > 20 and counted["false"] > 20


@pytest.mark.corpus
def test_every_selector_of_the_vectors_gives_its_task_the_value_that_the_reference_gives() -> None:
    counted = {"value": 0, "error": 0}
    for vector in vectors("select"):
        value = json.loads(vector["input"])
        run = ledger({"x": value}, selector=vector["expr"])
        if "result" in vector:
            answer = verdict(run, "judged")
            assert isinstance(answer, Record) and answer.task.state is State.RUNNING, vector
            counted["value"] += 1
        else:
            check_failure(run, Reason.INPUT)
            counted["error"] += 1
    assert counted["error"] >= 20 and counted["value"] >= 10


@pytest.mark.parametrize(
    "condition",
    [
        "1 +",
        "inputs.parameter_values['y'] == 'a'",
        "int(inputs.parameter_values['x']) > 1",
        "inputs.parameter_values['x'] > 1",
        "inputs.parameter_values['x']",
        "1 / 0 == 1",
        "no_such_function(1)",
        "'" + "x" * 100_000 + "' == 'x'",
        "(" * 5_000 + "true" + ")" * 5_000,
    ],
)
def test_a_condition_that_has_no_truth_fails_its_task(condition: str) -> None:
    check_failure(ledger({"x": "a"}, condition=condition), Reason.CONDITION)


def test_a_false_condition_skips_and_the_run_succeeds() -> None:
    run = ledger({"x": "a"}, condition="inputs.parameter_values['x'] == 'b'")
    answer = verdict(run, "judged")
    assert isinstance(answer, Record) and answer.task.reason is Reason.CONDITION
    run.apply(answer.task)
    after = verdict(run, "after")
    assert isinstance(after, Record) and after.task.reason is Reason.UPSTREAM_SKIPPED
    run.apply(after.task)

    (root,) = settle(run, "after").ended

    assert root.state is State.SUCCEEDED

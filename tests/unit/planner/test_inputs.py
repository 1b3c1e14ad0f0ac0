"""What reaches a task besides what other tasks made."""

from __future__ import annotations

import json

import pytest

from penstock.errors import ResolutionError
from penstock.ir import load
from penstock.model import ROOT, Json, State, TaskKind, TaskRun
from penstock.planner.ledger import Ledger
from penstock.planner.verdict import Launch, Record, verdict
from tests.unit.ir.documents import constant, hello, tasks


def inputs(value: Json, path: str = "greet", run: str = "r1") -> dict[str, Json]:
    document = hello()
    tasks(document)["greet"]["inputs"]["parameters"]["name"] = constant(value)
    tasks(document)["again"] = tasks(document)["greet"] | {"taskInfo": {"name": "again"}}
    pipeline = load(json.dumps(document))
    root = TaskRun(path=ROOT, kind=TaskKind.ROOT, state=State.RUNNING)
    found = verdict(Ledger(pipeline, {}, {"pipeline_job_uuid": run}, records=[root]), path)
    assert isinstance(found, Launch)
    return dict(found.inputs.parameters)


def test_a_task_sees_its_own_name() -> None:
    assert inputs("I am {{$.pipeline_task_name}}") == {"name": "I am greet"}


def test_a_task_has_an_id_that_stays_and_that_no_other_task_or_run_has() -> None:
    value = "{{$.pipeline_task_uuid}}"
    assert inputs(value) == inputs(value)
    ids = {str(inputs(value, *other)["name"]) for other in (("greet",), ("again",), ("greet", "r2"))}
    assert len(ids) == 3
    assert all(len(one) == 36 for one in ids)


def test_a_number_that_sdk_1_8_wrote_as_a_text_is_a_number() -> None:
    document = hello()
    document["schemaVersion"] = "2.0.0"
    document["components"]["comp-greet"]["inputDefinitions"] = {"parameters": {"name": {"type": "INT"}}}
    source = {"runtimeValue": {"constantValue": {"stringValue": "7"}}}
    tasks(document)["greet"]["inputs"]["parameters"]["name"] = source
    root = TaskRun(path=ROOT, kind=TaskKind.ROOT, state=State.RUNNING)
    found = verdict(Ledger(load(json.dumps(document)), {}, {}, records=[root]), "greet")
    assert isinstance(found, Launch)
    assert found.inputs.parameters == {"name": 7}


def item_in_loop(item: Json, item_type: str, input_type: str) -> Json:
    """What a container in a loop gets of its loop's only item; the compiler took it for `item_type`."""
    document = hello()
    document["components"]["comp-greet"]["inputDefinitions"] = {
        "parameters": {"name": {"parameterType": input_type}}
    }
    greet = tasks(document)["greet"] | {
        "inputs": {"parameters": {"name": {"componentInputParameter": "item"}}}
    }
    document["components"]["comp-loop"] = {
        "dag": {"tasks": {"greet": greet}},
        "inputDefinitions": {"parameters": {"item": {"parameterType": item_type}}},
    }
    loop = {"itemInput": "item", "items": {"raw": json.dumps([item])}}
    document["root"]["dag"]["tasks"] = {
        "loop": {"componentRef": {"name": "comp-loop"}, "parameterIterator": loop}
    }
    ledger = Ledger(
        load(json.dumps(document)),
        {},
        {},
        records=[TaskRun(path=ROOT, kind=TaskKind.ROOT, state=State.RUNNING)],
    )
    for path in ("loop", "loop[0]"):
        opened = verdict(ledger, path)
        assert isinstance(opened, Record)
        ledger.apply(opened.task)
    found = verdict(ledger, "loop[0]/greet")
    if isinstance(found, Record):
        raise ResolutionError(found.task.error)
    assert isinstance(found, Launch)
    return found.inputs.parameters["name"]


@pytest.mark.parametrize(
    ("item", "kind"), [(1, "NUMBER_INTEGER"), (0.5, "NUMBER_DOUBLE"), (True, "BOOLEAN"), ([1], "LIST")]
)
def test_an_item_that_the_compiler_took_for_a_text_is_what_the_component_asks_for(
    item: Json, kind: str
) -> None:
    assert item_in_loop(item, "STRING", kind) == item


def test_an_item_that_the_compiler_took_for_what_the_first_one_was_is_what_it_is() -> None:
    assert item_in_loop("a", "NUMBER_INTEGER", "STRING") == "a"
    assert item_in_loop(0.5, "NUMBER_INTEGER", "NUMBER_DOUBLE") == 0.5


def test_an_item_that_is_not_what_the_component_asks_for_is_an_error() -> None:
    for item_type in ("STRING", "NUMBER_INTEGER"):
        with pytest.raises(ResolutionError, match="input 'name' of task 'greet' must be an integer"):
            item_in_loop("a", item_type, "NUMBER_INTEGER")

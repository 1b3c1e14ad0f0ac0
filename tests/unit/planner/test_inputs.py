"""What reaches a task besides what other tasks made."""

from __future__ import annotations

import json

from penstock.ir import load
from penstock.model import ROOT, Json, State, TaskKind, TaskRun
from penstock.planner.ledger import Ledger
from penstock.planner.verdict import Launch, verdict
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

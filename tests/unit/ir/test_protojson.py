"""The other spellings that protojson accepts, and what it refuses."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from penstock.ir import load
from penstock.ir.conform import conform
from penstock.ir.schema import PIPELINE, snake_case
from tests.unit.ir.documents import changed, hello, looped, refusal, tasks

NAMES_OF_OTHERS = {"parameters", "artifacts", "tasks", "components", "executors", "constant", "defaultValue"}


def snaked(value: Any, own: bool = False) -> Any:
    """The document with the proto's original field names; keys that people chose stay."""
    if isinstance(value, list):
        return [snaked(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name if own else snake_case(name): snaked(one, not own and name in NAMES_OF_OTHERS)
        for name, one in value.items()
    }


def test_original_field_names_are_accepted() -> None:
    document = looped({"raw": "[1]"}, retryPolicy={"maxRetryCount": 2, "backoffDuration": "3s"})
    snake = snaked(document)
    assert "pipeline_info" in snake
    assert "component_ref" in snake["root"]["dag"]["tasks"]["use"]
    assert load(json.dumps(snake)) == load(json.dumps(document))


def test_a_field_in_both_spellings_is_refused() -> None:
    document = changed(hello(), "root/dag/tasks/use/component_ref", {"name": "comp-use"})
    assert "the field componentRef is given twice, as componentRef and as component_ref" in refusal(document)


def test_numbers_as_texts_and_enums_as_numbers() -> None:
    document = hello()
    tasks(document)["use"]["retryPolicy"] = {"maxRetryCount": "2", "backoffFactor": "3"}
    tasks(document)["use"]["triggerPolicy"] = {"strategy": 2}
    document["components"]["comp-use"]["inputDefinitions"]["parameters"]["text"]["parameterType"] = 3
    regular = hello()
    tasks(regular)["use"]["retryPolicy"] = {"maxRetryCount": 2, "backoffFactor": 3}
    tasks(regular)["use"]["triggerPolicy"] = {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert load(json.dumps(document)) == load(json.dumps(regular))


def test_null_is_not_set() -> None:
    document = changed(hello(), "root/dag/tasks/use/retryPolicy", None)
    document["root"]["dag"]["outputs"] = None
    dag = load(json.dumps(document)).root.dag
    assert dag is not None
    assert dag.tasks["use"].retry is None


def test_the_type_url_of_an_old_deployment_is_dropped() -> None:
    document = changed(hello(), "deploymentSpec/@type", "type.googleapis.com/x.PipelineDeploymentConfig")
    pipeline = load(json.dumps(document))
    assert pipeline == load(json.dumps(hello()))


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("rooot", "the field 'rooot' is not known. Did you mean root?"),
        ("pipelineInfo/nam", "pipelineInfo: the field 'nam' is not known. Did you mean name?"),
        ("root/dag/task", "root.dag: the field 'task' is not known. Did you mean tasks?"),
        ("root/dag/tasks/use/cachingOption", "root.dag.tasks.use: the field 'cachingOption' is not known"),
        (
            "root/dag/tasks/use/inputs/parameters/text/zzz",
            "root.dag.tasks.use.inputs.parameters.text: the field 'zzz'",
        ),
        ("components/comp-use/x", "components.comp-use: the field 'x' is not known. Known here: "),
        (
            "deploymentSpec/executors/exec-use/container/imageName",
            "exec-use.container: the field 'imageName'",
        ),
        ("deploymentSpec/executors/exec-use/vm", "deploymentSpec.executors.exec-use: the field 'vm'"),
        (
            "components/comp-use/inputDefinitions/parameters/text/optional",
            "parameters.text: the field 'optional'",
        ),
    ],
)
def test_an_unknown_field_is_refused_with_its_place(path: str, says: str) -> None:
    assert says in refusal(changed(hello(), path, {}))


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("root", [], "root: must be a mapping, but is a list"),
        ("components", "x", "components: must be a mapping, but is a text ('x')"),
        ("root/dag/tasks/use", 5, "root.dag.tasks.use: must be a mapping, but is a number (5)"),
        (
            "root/dag/tasks/use/dependentTasks",
            "greet",
            "dependentTasks: must be a list, but is a text ('greet')",
        ),
        ("root/dag/tasks/use/dependentTasks", [1], "dependentTasks.0: must be a text, but is a number (1)"),
        (
            "root/dag/tasks/use/cachingOptions",
            {"enableCache": "yes"},
            "enableCache: must be a boolean, but is a text",
        ),
        (
            "root/dag/tasks/use/retryPolicy",
            {"maxRetryCount": 1.5},
            "maxRetryCount: must be an integer, but is a number",
        ),
        (
            "root/dag/tasks/use/retryPolicy",
            {"maxRetryCount": True},
            "maxRetryCount: must be an integer, but is a boolean",
        ),
        (
            "root/dag/tasks/use/retryPolicy",
            {"backoffDuration": "1m"},
            "backoffDuration: must be a duration such as 30s",
        ),
        (
            "root/dag/tasks/use/triggerPolicy",
            {"strategy": "X"},
            "strategy: must be one of TRIGGER_STRATEGY_UNSPECIFIED, ",
        ),
        (
            "deploymentSpec/executors/exec-use/container/command",
            "ls",
            "command: must be a list, but is a text",
        ),
        (
            "deploymentSpec/executors/exec-use/container/image",
            5,
            "image: must be a text, but is a number (5)",
        ),
        ("root/inputDefinitions/parameters/name/parameterType", "STR", "parameterType: must be one of"),
        ("pipelineInfo/name", None, "pipelineInfo.name: the pipeline's name is empty"),
    ],
)
def test_a_wrong_type_is_refused_with_its_place(path: str, value: object, says: str) -> None:
    assert says in refusal(changed(hello(), path, value))


@pytest.mark.parametrize(
    "both",
    [
        {"runtimeValue": {"constant": 1}, "componentInputParameter": "name"},
        {"runtimeValue": {"constant": 1, "runtimeParameter": "name"}},
        {"runtimeValue": {"constantValue": {"intValue": 1, "stringValue": "1"}}},
    ],
)
def test_two_of_one_kind_are_refused(both: object) -> None:
    message = refusal(changed(hello(), "root/dag/tasks/use/inputs/parameters/text", both))
    assert re.search(r"has both \w+ and \w+, of which only one may be set", message)


def test_conforming_a_regular_document_changes_nothing() -> None:
    document = looped({"raw": "[1]"})
    assert conform(document, PIPELINE) == document

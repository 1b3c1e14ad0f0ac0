"""What is wrong inside a pipeline: the place and the problem, each in one sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.ir import load
from tests.unit.ir.documents import Document, changed, constant, hello, leaf, looped, output, refusal, tasks


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (
            "root/dag/tasks/use/componentRef/name",
            "comp-us",
            "root.dag.tasks.use.componentRef.name: there is no component 'comp-us' (did you mean 'comp-use'",
        ),
        (
            "components/comp-use/executorLabel",
            "exec-x",
            "components.comp-use.executorLabel: there is no executor 'exec-x' in deploymentSpec.executors",
        ),
        (
            "root/dag/tasks/use/dependentTasks",
            ["great"],
            "root.dag.tasks.use.dependentTasks: there is no task 'great' in this DAG (did you mean 'greet'?)",
        ),
        (
            "root/dag/tasks/use/inputs/parameters/text",
            output("gret", "text"),
            "there is no task 'gret' in this DAG",
        ),
        (
            "root/dag/tasks/use/inputs/parameters/text",
            output("greet", "txt"),
            "the task 'greet' (comp-greet) has no output parameter 'txt' (did you mean 'text'?)",
        ),
        (
            "root/dag/tasks/use/inputs/parameters/text",
            output("greet", "model"),
            "has no output parameter 'model'",
        ),
        (
            "root/dag/tasks/use/inputs/parameters/text",
            {"componentInputParameter": "nme"},
            "the surrounding DAG has no input parameter 'nme' (did you mean 'name'?)",
        ),
        (
            "root/dag/tasks/use/inputs/parameters/text",
            {"runtimeValue": {"runtimeParameter": "x"}},
            "the pipeline has no parameter 'x'",
        ),
        (
            "root/dag/tasks/use/inputs/parameters/text",
            {"taskFinalStatus": {"producerTask": "x"}},
            "there is no task 'x' in this DAG",
        ),
        ("root/dag/tasks/use/inputs/parameters/text", {}, "inputs.parameters.text: the input has no source"),
        (
            "root/dag/tasks/use/inputs/parameters/text",
            {"runtimeValue": {}},
            "inputs.parameters.text.runtimeValue: the value is missing",
        ),
        (
            "root/dag/tasks/use/inputs/parameters",
            {},
            "root.dag.tasks.use.inputs.parameters: the required parameter 'text' of comp-use has no source",
        ),
        (
            "root/dag/tasks/use/inputs/parameters",
            {"txt": constant("a")},
            "has no source, but the task gives 'txt'",
        ),
        (
            "root/dag/tasks/use/inputs/artifacts",
            {},
            "the required artifact 'model' of comp-use has no source",
        ),
        (
            "root/dag/tasks/use/inputs/artifacts/model",
            {"componentInputArtifact": "m"},
            "the surrounding DAG has no input artifact 'm'",
        ),
        (
            "root/dag/tasks/use/inputs/artifacts/extra",
            {"taskOutputArtifact": {"producerTask": "greet", "outputArtifactKey": "model"}},
            "comp-use has no input artifact 'extra'",
        ),
        (
            "root/dag/tasks/use/componentRef",
            ...,
            "root.dag.tasks.use.componentRef.name: the task names no component",
        ),
        ("root/dag/tasks", {}, "root.dag.tasks: the DAG has no tasks"),
        ("root", ..., "root: the pipeline has no root"),
        ("root", {"executorLabel": "exec-use"}, "root.executorLabel: the root must be a DAG"),
        (
            "components/comp-use/executorLabel",
            ...,
            "components.comp-use: the component has neither a dag nor an executorLabel",
        ),
        ("components/comp-use/dag", {"tasks": {}}, "components.comp-use: has both dag and executorLabel"),
        (
            "components/comp-use/inputDefinitions/parameters/text",
            {},
            "components.comp-use.inputDefinitions.parameters.text: the parameter has no type",
        ),
        (
            "components/comp-use/inputDefinitions/artifacts/model",
            {},
            "inputDefinitions.artifacts.model.artifactType: the artifact type is missing",
        ),
        (
            "components/comp-use/inputDefinitions/artifacts/model/artifactType",
            {"schemaUri": "gs://x"},
            "an artifact type by schemaUri is not supported",
        ),
        (
            "deploymentSpec/executors/exec-use/container/image",
            ...,
            "deploymentSpec.executors.exec-use.container.image: the container has no image",
        ),
        ("deploymentSpec/executors/exec-use", {}, "deploymentSpec.executors.exec-use: the executor is empty"),
        (
            "deploymentSpec/executors/exec-use/container/env",
            [{"value": "x"}],
            "container.env.0.name: the environment variable has no name",
        ),
        (
            "deploymentSpec/executors/exec-use/container/resources",
            {"cpuLimit": -1},
            "container.resources.cpuLimit: must not be negative",
        ),
        (
            "root/dag/tasks/use/retryPolicy",
            {"maxRetryCount": -1},
            "root.dag.tasks.use.retryPolicy.maxRetryCount: must not be negative",
        ),
        (
            "root/dag/tasks/use/triggerPolicy",
            {"condition": "x" * 20_000},
            "triggerPolicy.condition: the expression has 20000 characters",
        ),
        (
            "root/dag/tasks/use/inputs/parameters/text/parameterExpressionSelector",
            "x" * 20_000,
            "parameterExpressionSelector: the expression has 20000 characters",
        ),
        (
            "root/dag/outputs",
            {"parameters": {"x": {}}},
            "root.dag.outputs.parameters.x: the output selects no task's output",
        ),
        ("pipelineInfo/name", "", "pipelineInfo.name: the pipeline's name is empty"),
    ],
)
def test_a_fault_has_its_place_and_its_sentence(path: str, value: object, says: str) -> None:
    assert says in refusal(changed(hello(), path, value))


@pytest.mark.parametrize(
    ("iterator", "says"),
    [
        ({"inputParameter": "items"}, "the loop's items come from the input 'items', which the task lacks"),
        ({}, "root.dag.tasks.loop.parameterIterator.items.inputParameter: a name is missing"),
    ],
)
def test_a_loop_without_items(iterator: Document, says: str) -> None:
    assert says in refusal(looped(iterator))


def test_a_loop_whose_item_goes_nowhere() -> None:
    document = looped({"raw": "[1]"})
    tasks(document)["loop"]["parameterIterator"]["itemInput"] = "itm"
    assert "the loop's item goes to the input 'itm', which comp-loop lacks (did you mean" in refusal(document)


def test_a_parameter_that_only_placeholders_see_need_not_be_declared() -> None:
    document = hello()
    tasks(document)["use"]["inputs"]["parameters"]["pipelinechannel--name"] = {
        "componentInputParameter": "name"
    }
    assert load(json.dumps(document)).name == "hello"


def test_a_loop_item_leaked_by_the_compiler_is_told_apart() -> None:
    document = hello()
    tasks(document)["use"]["inputs"]["parameters"]["text"] = {"componentInputParameter": "loop-item-param-2"}
    assert "KFP's compiler leaks loop items" in refusal(document)


# circles


def chain(document: Document, *names: str) -> Document:
    """Tasks of which each waits for the one before it, and the first for the last."""
    document["components"]["comp-step"] = leaf()
    for name, before in zip(names, (names[-1], *names), strict=False):
        tasks(document)[name] = {"componentRef": {"name": "comp-step"}, "dependentTasks": [before]}
    return document


def test_tasks_in_a_circle() -> None:
    message = refusal(chain(hello(), "b", "c", "a"))
    assert "root.dag.tasks.a: the tasks wait for each other in a circle: a -> c -> b -> a" in message


def test_a_task_that_waits_for_itself() -> None:
    assert "in a circle: a -> a" in refusal(chain(hello(), "a"))


def test_a_long_circle_is_found_without_recursion() -> None:
    assert "in a circle: t0 -> " in refusal(chain(hello(), *(f"t{index}" for index in range(5000))))


def dag_of(*components: str) -> Document:
    return {
        "dag": {"tasks": {f"t{i}": {"componentRef": {"name": name}} for i, name in enumerate(components)}}
    }


def test_components_that_use_each_other() -> None:
    document = hello()
    document["components"] |= {
        "a": dag_of("b"),
        "b": dag_of("c", "comp-c"),
        "c": dag_of("a"),
        "comp-c": leaf(),
    }
    message = refusal(document)
    assert "a component uses itself: a -> b -> c -> a" in message


def test_a_component_that_uses_itself() -> None:
    document = hello()
    document["components"]["a"] = dag_of("a")
    assert "components.a: a component uses itself: a -> a" in refusal(document)


def test_a_component_used_twice_is_no_circle() -> None:
    document = hello()
    document["components"] |= {"a": dag_of("b", "b", "c"), "b": dag_of("c"), "c": leaf()}
    assert load(json.dumps(document)).components["a"].dag


@pytest.mark.parametrize("depth", [98, 101, 5000])
def test_nesting_has_a_limit(depth: int) -> None:
    document = hello()
    for level in range(depth):
        document["components"][f"c{level}"] = dag_of(f"c{level + 1}")
    document["components"][f"c{depth}"] = leaf()
    tasks(document)["deep"] = {"componentRef": {"name": "c0"}}
    if depth > 100:
        assert "DAGs are nested deeper than 100 levels" in refusal(document)
    else:
        assert load(json.dumps(document))


# names


BAD_NAMES = [
    "",
    "a/b",
    "..",
    ".",
    "a..b",
    "a[0]",
    "a]",
    "\0",
    "a\nb",
    "a\x1b[31m",
    "a\\b",
    "x" * 300,
    "a\u2028b",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_task_name_that_is_no_part_of_a_path(name: str) -> None:
    document = hello()
    tasks(document)[name] = tasks(document).pop("use")
    message = refusal(document)
    assert "the task name" in message
    assert message.isprintable()


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("group", ["parameters", "artifacts"])
@pytest.mark.parametrize("side", ["inputDefinitions", "outputDefinitions"])
def test_a_parameter_or_artifact_name_that_is_no_file_name(name: str, group: str, side: str) -> None:
    kind: dict[str, Any] = (
        {"parameterType": "STRING"} if group == "parameters" else {"artifactType": {"schemaTitle": "x"}}
    )
    document = hello()
    document["components"]["comp-greet"].setdefault(side, {}).setdefault(group, {})[name] = kind
    assert "the name" in refusal(document)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_pipeline_name_that_is_no_part_of_a_path(name: str) -> None:
    assert "pipelineInfo.name: the pipeline's name" in refusal(changed(hello(), "pipelineInfo/name", name))


@pytest.mark.parametrize(
    "name", ["train", "Train 2", "a.b", "für", "模型", "x" * 240, "a-b_c", "-", "pipelinechannel--a"]
)
def test_good_names(name: str) -> None:
    document = hello()
    tasks(document)[name] = tasks(document).pop("use")
    dag = load(json.dumps(document)).root.dag
    assert dag is not None
    assert name in dag.tasks


def test_strange_names_in_places_are_quoted() -> None:
    document = hello()
    document["components"]["a.b\x1b"] = {}
    message = refusal(document)
    assert r"components['a.b\x1b']: the component has neither" in message

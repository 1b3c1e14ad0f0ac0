"""From the document to the model, field by field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.ir import load
from penstock.model import (
    Accelerator,
    ArtifactLoop,
    ArtifactType,
    Caching,
    ComponentInput,
    Constant,
    ContainerExecutor,
    DagOutput,
    EnvVar,
    FinalStatus,
    ImporterExecutor,
    InputArtifact,
    InputParameter,
    OutputArtifact,
    OutputParameter,
    OutputSelector,
    ParameterLoop,
    ParameterSource,
    ParameterType,
    Pipeline,
    Resources,
    Retry,
    RuntimeParameter,
    Task,
    TaskConfigPassthrough,
    TaskOutput,
    Trigger,
    TriggerStrategy,
)
from tests.unit.ir.documents import (
    artifact,
    changed,
    constant,
    hello,
    leaf,
    looped,
    output,
    refusal,
    tasks,
)


def read(document: object) -> Pipeline:
    return load(json.dumps(document))


def task(**fields: Any) -> Task:
    """The task `use` of `hello` with these fields."""
    document = hello()
    tasks(document)["use"].update(fields)
    dag = read(document).root.dag
    assert dag is not None
    return dag.tasks["use"]


def test_the_head_of_a_pipeline() -> None:
    document = hello()
    document["pipelineInfo"] |= {"displayName": "Hello!", "description": "says it"}
    document["defaultPipelineRoot"] = "s3://bucket/root"
    pipeline = read(document)
    assert (pipeline.name, pipeline.display_name, pipeline.description) == ("hello", "Hello!", "says it")
    assert (pipeline.schema_version, pipeline.sdk_version) == ("2.1.0", "kfp-2.17.0")
    assert pipeline.default_pipeline_root == "s3://bucket/root"
    assert pipeline.document == document
    assert pipeline.notes == ()


def test_a_component_and_its_executor() -> None:
    pipeline = read(hello())
    greet = pipeline.components["comp-greet"]
    model = ArtifactType("system.Model", "0.0.1")
    assert greet.interface.input_parameters == {"name": InputParameter(ParameterType.STRING)}
    assert greet.interface.output_parameters == {"text": OutputParameter(ParameterType.STRING)}
    assert greet.interface.output_artifacts == {"model": OutputArtifact(model)}
    assert pipeline.executor_of(greet) == ContainerExecutor("python:3.11", ("greet",))


def parameter(**spec: Any) -> InputParameter:
    document = changed(hello(), "root/inputDefinitions/parameters/name", spec)
    return read(document).root.interface.input_parameters["name"]


@pytest.mark.parametrize("kind", [one.value for one in ParameterType])
def test_every_parameter_type(kind: str) -> None:
    assert parameter(parameterType=kind).type == kind


@pytest.mark.parametrize(
    ("legacy", "kind"), [("STRING", "STRING"), ("INT", "NUMBER_INTEGER"), ("DOUBLE", "NUMBER_DOUBLE")]
)
def test_legacy_parameter_types(legacy: str, kind: str) -> None:
    assert parameter(type=legacy).type == kind
    assert parameter(type=legacy, parameterType="BOOLEAN").type == "BOOLEAN"


def test_a_default_of_null_is_a_default() -> None:
    found = parameter(parameterType="STRING", defaultValue=None)
    assert (found.has_default, found.default, found.required) == (True, None, False)
    assert not parameter(parameterType="STRING").has_default


def test_numbers_are_protobufs() -> None:
    default = [1.0, 2.5, 2**53 + 1, {"a": 3.0}]
    found = parameter(parameterType="LIST", defaultValue=default)
    assert found.default == [1, 2.5, 2**53, {"a": 3}]
    assert [type(one) for one in found.default][:3] == [int, float, int]  # type: ignore[union-attr]


def test_optional_literals_and_description() -> None:
    found = parameter(parameterType="STRING", isOptional=True, literals=["a", "b"], description="which")
    assert found == InputParameter(
        ParameterType.STRING, optional=True, literals=("a", "b"), description="which"
    )


def test_artifacts_of_a_component() -> None:
    document = hello()
    interface = document["components"]["comp-use"]["inputDefinitions"]["artifacts"]
    interface["many"] = {
        "artifactType": artifact("system.Dataset"),
        "isArtifactList": True,
        "isOptional": True,
    }
    interface["old"] = {
        "artifactType": {"instanceSchema": "title: Old"},
        "isOptional": True,
        "description": "d",
    }
    found = read(document).components["comp-use"].interface.input_artifacts
    assert found["many"] == InputArtifact(
        ArtifactType("system.Dataset", "0.0.1"), optional=True, is_list=True
    )
    assert found["old"] == InputArtifact(ArtifactType("", "", "title: Old"), optional=True, description="d")


def test_metadata_of_an_output() -> None:
    path = "components/comp-greet/outputDefinitions/artifacts/model/metadata"
    pipeline = read(changed(hello(), path, {"a": [1.0]}))
    assert pipeline.components["comp-greet"].interface.output_artifacts["model"].metadata == {"a": [1]}


# tasks


def test_where_inputs_come_from() -> None:
    dag = read(hello()).root.dag
    assert dag is not None
    assert dag.tasks["greet"].parameters == {"name": ParameterSource(ComponentInput("name"))}
    use = dag.tasks["use"]
    assert use.parameters == {"text": ParameterSource(TaskOutput("greet", "text"))}
    assert use.artifacts == {"model": TaskOutput("greet", "model")}


@pytest.mark.parametrize("value", [None, "text", 5, 2.5, True, [1, "a"], {"a": {"b": None}}])
def test_constants(value: Any) -> None:
    document = hello()
    tasks(document)["use"]["inputs"]["parameters"]["text"] = constant(value)
    dag = read(document).root.dag
    assert dag is not None
    assert dag.tasks["use"].parameters["text"] == ParameterSource(Constant(value))


@pytest.mark.parametrize(
    ("legacy", "value"),
    [({"stringValue": "a"}, "a"), ({"intValue": 5}, 5), ({"intValue": "5"}, 5), ({"doubleValue": 2.0}, 2)],
)
def test_legacy_constants(legacy: object, value: Any) -> None:
    document = hello()
    tasks(document)["use"]["inputs"]["parameters"]["text"] = {"runtimeValue": {"constantValue": legacy}}
    dag = read(document).root.dag
    assert dag is not None
    assert dag.tasks["use"].parameters["text"].origin == Constant(value)


def test_a_runtime_parameter() -> None:
    document = hello()
    tasks(document)["use"]["inputs"]["parameters"]["text"] = {"runtimeValue": {"runtimeParameter": "name"}}
    dag = read(document).root.dag
    assert dag is not None
    assert dag.tasks["use"].parameters["text"].origin == RuntimeParameter("name")


def test_a_selector() -> None:
    document = hello()
    selector = 'parseJson(string_value)["a"]'
    tasks(document)["use"]["inputs"]["parameters"]["text"]["parameterExpressionSelector"] = selector
    dag = read(document).root.dag
    assert dag is not None
    assert dag.tasks["use"].parameters["text"] == ParameterSource(TaskOutput("greet", "text"), selector)


def test_a_final_status() -> None:
    document = hello()
    path = "components/comp-use/inputDefinitions/parameters/status"
    document = changed(document, path, {"parameterType": "TASK_FINAL_STATUS", "isOptional": True})
    use = tasks(document)["use"]
    use["inputs"]["parameters"]["status"] = {"taskFinalStatus": {"producerTask": "greet"}}
    dag = read(document).root.dag
    assert dag is not None
    assert dag.tasks["use"].parameters["status"] == ParameterSource(FinalStatus("greet"))


def test_upstream_is_what_is_written_and_then_the_producers_by_name() -> None:
    document = hello()
    document["components"]["comp-join"] = leaf("a", "b", "c")
    for name in ("z", "y", "x", "w"):
        document["components"][f"comp-{name}"] = leaf(outputs=("out",))
        tasks(document)[name] = {"componentRef": {"name": f"comp-{name}"}}
    tasks(document)["join"] = {
        "componentRef": {"name": "comp-join"},
        "dependentTasks": ["y", "greet", "y"],
        "inputs": {"parameters": {"a": output("z", "out"), "b": output("x", "out"), "c": output("y", "out")}},
    }
    dag = read(document).root.dag
    assert dag is not None
    assert dag.tasks["join"].upstream == ("y", "greet", "x", "z")
    assert dag.tasks["join"].dependencies == ("y", "greet", "y")
    assert dag.dependents == {
        "greet": ("join", "use"),
        "y": ("join",),
        "x": ("join",),
        "z": ("join",),
    }
    assert list(dag.first()) == ["greet", "z", "y", "x", "w"]


def test_triggers() -> None:
    assert task().trigger == Trigger()
    completed = TriggerStrategy.ALL_UPSTREAM_TASKS_COMPLETED
    policy = {"condition": "1 == 1", "strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert task(triggerPolicy=policy).trigger == Trigger("1 == 1", completed)
    assert task(triggerPolicy={"strategy": "TRIGGER_STRATEGY_UNSPECIFIED"}).trigger == Trigger()


def test_retries() -> None:
    assert task().retry is None
    assert task(retryPolicy={"maxRetryCount": 0}).retry is None
    assert task(retryPolicy={"maxRetryCount": 2}).retry == Retry(2, 0.0, 2.0, 3600.0)
    policy = {
        "maxRetryCount": 3,
        "backoffDuration": "1.5s",
        "backoffFactor": 3.0,
        "backoffMaxDuration": "60s",
    }
    assert task(retryPolicy=policy).retry == Retry(3, 1.5, 3.0, 60.0)


def test_the_longest_backoff_is_an_hour() -> None:
    policy = {"maxRetryCount": 1, "backoffMaxDuration": "7200s"}
    assert task(retryPolicy=policy).retry == Retry(1, 0.0, 2.0, 3600.0)


def test_caching() -> None:
    assert task().caching == Caching()
    assert task(cachingOptions={}).caching == Caching()
    assert task(cachingOptions={"enableCache": True}).caching == Caching(enabled=True)
    assert task(cachingOptions={"enableCache": True, "cacheKey": "k"}).caching == Caching(True, "k")


# loops


def loop_of(document: Any) -> object:
    dag = read(document).root.dag
    assert dag is not None
    return dag.tasks["loop"].loop


def test_a_loop_over_literal_items() -> None:
    found = loop_of(looped({"raw": '[1.0, "a", {"k": [2.5]}]'}, iteratorPolicy={"parallelismLimit": 2}))
    assert found == ParameterLoop("item", (1, "a", {"k": [2.5]}), "", 2)
    assert loop_of(looped({"raw": "[]"})) == ParameterLoop("item", ())


def test_a_loop_over_an_input() -> None:
    inputs = {"parameters": {"items": constant([1, 2])}}
    assert loop_of(looped({"inputParameter": "items"}, inputs=inputs)) == ParameterLoop("item", None, "items")


def test_a_loop_over_artifacts() -> None:
    document = looped({"raw": "[]"})
    del tasks(document)["loop"]["parameterIterator"]
    tasks(document)["loop"] |= {
        "artifactIterator": {"itemInput": "model", "items": {"inputArtifact": "models"}},
        "inputs": {"artifacts": tasks(document)["use"]["inputs"]["artifacts"] | {}},
    }
    inputs = tasks(document)["loop"]["inputs"]["artifacts"]
    inputs["models"] = inputs.pop("model")
    document["components"]["comp-loop"]["inputDefinitions"] = {
        "artifacts": {"model": {"artifactType": artifact("system.Model")}},
        "parameters": {"item": {"parameterType": "NUMBER_INTEGER", "isOptional": True}},
    }
    assert loop_of(document) == ArtifactLoop("model", "models")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ("", "is not JSON"),
        ("[1,", "is not JSON"),
        ('{"a": 1}', "must be a JSON list, but is a mapping"),
        ('"text"', "must be a JSON list, but is a text"),
        ("[" * 5000, "deeper than 200 levels"),
        ("[NaN]", "NaN is not a number"),
    ],
)
def test_raw_items_that_are_no_list(raw: str, says: str) -> None:
    message = refusal(looped({"raw": raw}))
    assert "root.dag.tasks.loop.parameterIterator.items.raw" in message
    assert says in message


# outputs of DAGs


def test_outputs_of_a_dag() -> None:
    document = hello()
    kind = {"parameterType": "STRING"}
    model = {"artifactType": artifact("system.Model")}
    document["root"]["outputDefinitions"] = {
        "parameters": {"text": kind, "either": kind},
        "artifacts": {"model": model, "models": model},
    }
    text = {"producerSubtask": "greet", "outputParameterKey": "text"}
    written = {"producerSubtask": "greet", "outputArtifactKey": "model"}
    document["root"]["dag"]["outputs"] = {
        "parameters": {
            "text": {"valueFromParameter": text},
            "either": {"valueFromOneof": {"parameterSelectors": [text]}},
        },
        "artifacts": {
            "model": {"artifactSelectors": [written]},
            "models": {"artifactSelectors": [written, written]},
        },
    }
    dag = read(document).root.dag
    assert dag is not None
    selected, chosen = OutputSelector("greet", "text"), OutputSelector("greet", "model")
    assert dag.parameters == {"text": DagOutput((selected,)), "either": DagOutput((selected,), one_of=True)}
    assert dag.artifacts == {
        "model": DagOutput((chosen,)),
        "models": DagOutput((chosen, chosen), one_of=True),
    }


# executors


def container(**fields: Any) -> ContainerExecutor:
    path = "deploymentSpec/executors/exec-use/container"
    found = read(changed(hello(), path, {"image": "alpine", **fields})).executors["exec-use"]
    assert isinstance(found, ContainerExecutor)
    return found


def test_a_container() -> None:
    env = [{"name": "A", "value": "b=c"}, {"name": "EMPTY"}]
    found = container(command=["sh", "-c"], args=["{{$}}"], env=env)
    assert found == ContainerExecutor(
        "alpine", ("sh", "-c"), ("{{$}}",), (EnvVar("A", "b=c"), EnvVar("EMPTY", ""))
    )


def test_resources_as_texts() -> None:
    spec = {
        "resourceCpuLimit": "{{$.inputs.parameters['cpu']}}",
        "resourceCpuRequest": "500m",
        "resourceMemoryLimit": "2Gi",
        "accelerator": {"resourceType": "nvidia.com/gpu", "resourceCount": "2"},
    }
    assert container(resources=spec).resources == Resources(
        "500m", "{{$.inputs.parameters['cpu']}}", "", "2Gi", Accelerator("nvidia.com/gpu", "2")
    )


def test_legacy_resources_become_quantities() -> None:
    spec = {
        "cpuLimit": 4.0,
        "cpuRequest": 0.5,
        "memoryLimit": 15.032385536,
        "memoryRequest": 0.0,
        "accelerator": {"type": "tpu-v3", "count": "1"},
    }
    assert container(resources=spec).resources == Resources(
        "0.5", "4", "", "15.032385536G", Accelerator("tpu-v3", "1")
    )


def test_the_newer_resource_field_wins() -> None:
    assert container(resources={"cpuLimit": 1.0, "resourceCpuLimit": "2"}).resources.cpu_limit == "2"


def test_an_accelerator_without_a_type_is_none_and_without_a_count_is_one() -> None:
    assert container(resources={"accelerator": {"count": "1"}}).resources.accelerator is None
    assert container(resources={"accelerator": {"type": "gpu"}}).resources.accelerator == Accelerator(
        "gpu", "1"
    )


@pytest.mark.parametrize("kind", ["resolver", "customJob"])
def test_executors_that_kfp_refuses_too(kind: str) -> None:
    message = refusal(changed(hello(), "deploymentSpec/executors/exec-use", {kind: {"a": 1}}))
    assert f"deploymentSpec.executors.exec-use.{kind}: the executor is a" in message
    assert "which only Vertex AI runs" in message


def importer(spec: Any) -> object:
    document = hello()
    document["deploymentSpec"]["executors"]["exec-import"] = {"importer": spec}
    document["components"]["comp-import"] = {
        **leaf("uri", kind="STRING", label="exec-import"),
        "outputDefinitions": {"artifacts": {"artifact": {"artifactType": artifact("system.Dataset")}}},
    }
    return read(document).executors["exec-import"]


def test_importers() -> None:
    kind = artifact("system.Dataset")
    found = importer({"artifactUri": {"constant": "s3://a"}, "typeSchema": kind, "metadata": {"k": 1.0}})
    dataset = ArtifactType("system.Dataset", "0.0.1")
    assert found == ImporterExecutor(dataset, "s3://a", None, {"k": 1})
    found = importer({"artifactUri": {"runtimeParameter": "uri"}, "typeSchema": kind, "reimport": True})
    assert found == ImporterExecutor(dataset, None, "uri", reimport=True)
    spec = {"artifactUri": {"constantValue": {"stringValue": "s3://a"}}, "typeSchema": kind}
    assert importer({**spec, "downloadToWorkspace": True}) == ImporterExecutor(
        dataset, "s3://a", download_to_workspace=True
    )


def test_old_properties_of_an_importer_are_metadata() -> None:
    spec = {
        "artifactUri": {"constant": "s3://a"},
        "typeSchema": artifact("system.Dataset"),
        "properties": {"a": {"constantValue": {"intValue": 1}}, "b": {"constant": "old"}},
        "customProperties": {"c": {"runtimeParameter": "uri"}},
        "metadata": {"b": "new"},
    }
    found = importer(spec)
    assert isinstance(found, ImporterExecutor)
    assert found.metadata == {"a": 1, "b": "new", "c": "{{$.inputs.parameters['uri']}}"}


def test_task_config_passthroughs() -> None:
    document = hello()
    document["components"]["comp-use"]["taskConfigPassthroughs"] = [
        {"field": "ENV", "applyToTask": True},
        {"field": "RESOURCES"},
    ]
    assert read(document).components["comp-use"].passthroughs == (
        TaskConfigPassthrough("ENV", apply_to_task=True),
        TaskConfigPassthrough("RESOURCES"),
    )


# notes


def test_what_has_no_effect_is_noted() -> None:
    document = hello()
    document["components"]["comp-spare"] = leaf(label="exec-use")
    document["components"]["comp-greet"]["singlePlatformSpecs"] = [{"platform": "kubernetes"}]
    document["deploymentSpec"]["executors"]["exec-use"]["container"]["lifecycle"] = {"preCacheCheck": {}}
    tasks(document)["use"]["iteratorPolicy"] = {"parallelismLimit": 1}
    model = document["components"]["comp-greet"]["outputDefinitions"]["artifacts"]["model"]
    model["customProperties"] = {"a": {"constant": 1}}
    assert [note.split(" ", 1)[0] for note in read(document).notes] == [
        "components.comp-greet.outputDefinitions.artifacts.model.customProperties",
        "components.comp-greet.singlePlatformSpecs",
        "components.comp-spare",
        "deploymentSpec.executors.exec-use.container.lifecycle",
        "root.dag.tasks.use.iteratorPolicy",
    ]

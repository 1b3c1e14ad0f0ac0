"""Which features a pipeline uses, and where."""

from __future__ import annotations

import json
from typing import Any

import yaml

from penstock.ir import FeatureName, features, load
from tests.unit.ir.documents import constant, hello, leaf, looped, output, tasks


def found(document: Any) -> set[tuple[str, str]]:
    return {(one.name.value, one.place) for one in features(load(json.dumps(document)))}


def test_a_plain_pipeline_has_containers_only() -> None:
    assert found(hello()) == {
        ("container component", "deploymentSpec.executors.exec-greet.container"),
        ("container component", "deploymentSpec.executors.exec-use.container"),
    }


def test_a_python_component() -> None:
    document = hello()
    container = document["deploymentSpec"]["executors"]["exec-use"]["container"]
    container["command"] = ["sh", "-ec", "python3 -m kfp.dsl.executor_main", "dsl.run_notebook()"]
    container["args"] = ['{"IfPresent": {"InputName": "a"}}', '{"Concat": ["a"]}', "{{$.workspace_path}}"]
    container["env"] = [{"name": "A"}]
    container["resources"] = {"resourceCpuLimit": "1", "accelerator": {"resourceType": "gpu"}}
    place = "deploymentSpec.executors.exec-use.container"
    assert found(document) >= {
        ("python component", place),
        ("notebook component", f"{place}.command"),
        ("if-present placeholder", f"{place}.args.0"),
        ("concat placeholder", f"{place}.args.1"),
        ("workspace", f"{place}.args.2"),
        ("environment variable", f"{place}.env"),
        ("resources", f"{place}.resources"),
        ("accelerator", f"{place}.resources.accelerator"),
    }


def test_a_loop_with_a_limit_and_what_is_collected_from_it() -> None:
    document = looped({"raw": "[1]"}, iteratorPolicy={"parallelismLimit": 2})
    loop = document["components"]["comp-loop"]
    document["components"]["comp-body"] = leaf("item", outputs=("out",))
    loop["outputDefinitions"] = {"parameters": {"out": {"parameterType": "LIST"}}}
    selector = {"producerSubtask": "body", "outputParameterKey": "out"}
    loop["dag"]["outputs"] = {"parameters": {"out": {"valueFromParameter": selector}}}
    document["components"]["comp-sum"] = leaf("all", kind="LIST")
    tasks(document)["sum"] = {
        "componentRef": {"name": "comp-sum"},
        "inputs": {"parameters": {"all": output("loop", "out")}},
    }
    assert found(document) >= {
        ("loop", "root.dag.tasks.loop.parameterIterator"),
        ("parallelism limit", "root.dag.tasks.loop.iteratorPolicy.parallelismLimit"),
        ("collected parameters", "root.dag.tasks.sum.inputs.parameters.all"),
    }


def test_a_loop_in_a_loop_in_a_pipeline() -> None:
    document = looped({"raw": "[1]"})
    iterator = {"itemInput": "item", "items": {"raw": "[1]"}}
    document["components"]["comp-outer"] = {
        "dag": {"tasks": {"inner": {"componentRef": {"name": "comp-loop"}, "parameterIterator": iterator}}},
        "inputDefinitions": {"parameters": {"item": {"parameterType": "NUMBER_INTEGER"}}},
    }
    tasks(document)["loop"]["componentRef"]["name"] = "comp-outer"
    assert ("nested loop", "components.comp-outer.dag.tasks.inner.parameterIterator") in found(document)
    assert ("nested loop", "root.dag.tasks.loop.parameterIterator") not in found(document)


def test_exit_handlers_and_ignored_failures() -> None:
    document = hello()
    document["components"]["comp-group"] = {
        "dag": {"tasks": {"step": {"componentRef": {"name": "comp-step"}}}}
    }
    document["components"]["comp-step"] = leaf()
    completed = {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    step = {"componentRef": {"name": "comp-step"}, "triggerPolicy": completed}
    tasks(document)["group"] = {"componentRef": {"name": "comp-group"}}
    tasks(document)["exit"] = {**step, "dependentTasks": ["group"]}
    tasks(document)["anyway"] = {**step, "dependentTasks": ["greet"]}
    names = found(document)
    assert ("exit handler", "root.dag.tasks.exit.triggerPolicy.strategy") in names
    assert ("ignore upstream failure", "root.dag.tasks.anyway.triggerPolicy.strategy") in names
    assert ("nested pipeline", "root.dag.tasks.group") not in names


def test_what_tasks_use() -> None:
    document = hello()
    document["components"]["comp-group"] = {
        "dag": {"tasks": {"step": {"componentRef": {"name": "comp-step"}}}}
    }
    document["components"]["comp-step"] = leaf()
    tasks(document)["group"] = {"componentRef": {"name": "comp-group"}, "retryPolicy": {"maxRetryCount": 1}}
    use = tasks(document)["use"]
    use["triggerPolicy"] = {"condition": "1 == 1"}
    use["cachingOptions"] = {"cacheKey": "k"}
    use["inputs"]["parameters"]["text"] = constant("{{$.pipeline_job_name}}")
    place = "root.dag.tasks.use"
    assert found(document) >= {
        ("nested pipeline", "root.dag.tasks.group"),
        ("retry of a nested pipeline", "root.dag.tasks.group.retryPolicy"),
        ("condition", f"{place}.triggerPolicy.condition"),
        ("cache key", f"{place}.cachingOptions.cacheKey"),
        ("placeholder in a constant", f"{place}.inputs.parameters.text"),
    }


def test_what_the_platform_brings() -> None:
    config = {"secretAsEnv": [], "pvcMount": [], "activeDeadlineSeconds": 5}
    kubernetes = {
        "deploymentSpec": {"executors": {"exec-use": config}},
        "pipelineConfig": {"workspace": {"size": "1Gi"}},
    }
    pipeline = load(yaml.safe_dump_all([hello(), {"platforms": {"kubernetes": kubernetes}}]))
    names = {one.name for one in features(pipeline) if one.place.startswith("platforms.")}
    assert names == {
        FeatureName.WORKSPACE,
        FeatureName.SECRET_AS_ENV,
        FeatureName.PVC_MOUNT,
        FeatureName.TASK_DEADLINE,
    }

"""The second document: kept whole, made regular, strangers noted."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from penstock.ir import load
from penstock.model import Pipeline
from tests.unit.ir.documents import hello, refusal


def read(kubernetes: Any) -> Pipeline:
    return load(yaml.safe_dump_all([hello(), {"platforms": {"kubernetes": kubernetes}}]))


def executor(config: Any) -> Any:
    pipeline = read({"deploymentSpec": {"executors": {"exec-use": config}}})
    return pipeline.executor_platform(pipeline.components["comp-use"])


def test_a_regular_configuration_is_kept_as_it_is() -> None:
    config = {
        "secretAsEnv": [
            {"secretName": "s", "keyToEnv": [{"secretKey": "k", "envVar": "V"}], "optional": False}
        ],
        "podMetadata": {"labels": {"some_label": "x"}, "annotations": {"a.b/c": "y"}},
        "nodeAffinity": [{"nodeAffinityJson": {"runtimeValue": {"constant": {"some_key": None}}}}],
    }
    assert executor(config) == config


def test_original_field_names_become_regular_and_names_of_people_stay() -> None:
    config = {
        "secret_as_env": [{"secret_name": "s", "key_to_env": [{"secret_key": "k", "env_var": "V"}]}],
        "pod_metadata": {"labels": {"some_label": "x"}},
        "active_deadline_seconds": "60",
    }
    assert executor(config) == {
        "secretAsEnv": [{"secretName": "s", "keyToEnv": [{"secretKey": "k", "envVar": "V"}]}],
        "podMetadata": {"labels": {"some_label": "x"}},
        "activeDeadlineSeconds": 60,
    }


def test_the_configuration_of_the_pipeline() -> None:
    config = {"workspace": {"size": "1Gi", "kubernetes": {"pvcSpecPatch": {"storage_class": "x"}}}}
    assert read({"pipelineConfig": config}).kubernetes_config == config


def test_strangers_are_kept_and_noted() -> None:
    pipeline = read(
        {
            "deploymentSpec": {
                "executors": {
                    "exec-use": {"teleport": 1, "pvcMount": [{"mountPath": "/x", "speed": 2}]},
                    "exec-no": {},
                }
            },
            "pipelineConfig": {"mutexName": "m"},
        }
    )
    assert pipeline.executor_platform(pipeline.components["comp-use"])["teleport"] == 1
    executors = "platforms.kubernetes.deploymentSpec.executors"
    assert pipeline.notes == (
        f"{executors}.exec-no has no effect: 'exec-no' is no container of this pipeline.",
        f"{executors}.exec-use.pvcMount.0.speed is not known and has no effect.",
        f"{executors}.exec-use.teleport is not known and has no effect.",
        "platforms.kubernetes.pipelineConfig.mutexName is not known and has no effect.",
    )


def test_another_platform_is_kept_and_noted() -> None:
    pipeline = load(yaml.safe_dump_all([hello(), {"platforms": {"google_cloud": {"a_b": 1}}}]))
    assert pipeline.platform == {"platforms": {"google_cloud": {"a_b": 1}}}
    assert "platforms.google_cloud has no effect" in pipeline.notes[0]


@pytest.mark.parametrize(
    ("platform", "says"),
    [
        ({"platforms": []}, "must be a mapping, but is a list"),
        ({"platforms": {"kubernetes": 5}}, "kubernetes: must be a mapping, but is a number"),
        ({"platforms": {}, "x": 1}, "the platform spec has the field 'x'"),
        (
            {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"e": {"secretAsEnv": {}}}}}}},
            "platforms.kubernetes.deploymentSpec.executors.e.secretAsEnv: must be a list, but is a mapping",
        ),
        (
            {"platforms": {"kubernetes": {"pipelineConfig": {"activeDeadlineSeconds": "soon"}}}},
            "platforms.kubernetes.pipelineConfig.activeDeadlineSeconds: must be an integer",
        ),
    ],
)
def test_a_platform_spec_of_a_wrong_shape(platform: object, says: str) -> None:
    assert says in refusal(yaml.safe_dump_all([hello(), platform]))

"""What becomes of a launch order: the pod's name and shape, and everything that kfp-kubernetes can say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from penstock.errors import TaskError
from penstock.model import Accelerator, ContainerExecutor, ParameterType, Resources
from penstock_workers.kubernetes import names
from penstock_workers.kubernetes.environments import environment_key
from penstock_workers.kubernetes.pod import STAGE_IN, STAGE_OUT, PodSettings, program, program_map
from penstock_workers.kubernetes.shape import Shape
from tests.unit.workers.launching import PIP, SETTINGS, main, order, planned, pod

TEXT = {"n": ParameterType.STRING}


class TestNames:
    def test_the_same_attempt_has_the_same_name(self) -> None:
        assert names.pod_name("ours", order("true")) == names.pod_name("ours", order("true"))

    @pytest.mark.parametrize(
        "change",
        [{"path": "loop[1]/train"}, {"attempt_id": "attempt-2"}, {"generation": 1}],
        ids=["iteration", "attempt", "generation"],
    )
    def test_another_iteration_attempt_or_generation_has_another_name(self, change: dict[str, Any]) -> None:
        made = order("true")

        assert names.pod_name("ours", replace(made, **change)) != names.pod_name("ours", made)

    def test_another_installation_has_another_name(self) -> None:
        assert names.pod_name("ours", order("true")) != names.pod_name("theirs", order("true"))

    @pytest.mark.parametrize("task", ["train", "Train_The Model", "7-days", "ä" * 300, "x" * 300, "-"])
    def test_a_name_is_a_dns_label_whatever_the_task_is_called(self, task: str) -> None:
        name = names.pod_name("ours", replace(order("true"), task_name=task))

        assert len(name) <= 63
        assert name == name.lower()
        assert name[0].isalpha()
        assert all(char.isalnum() or char == "-" for char in name)
        assert name.isascii()

    def test_labels_tell_installation_run_and_attempt(self) -> None:
        labels = pod(order("true"))["metadata"]["labels"]

        assert labels[names.INSTALLATION] == "ours"
        assert labels[names.RUN] == "run-1"
        assert labels[names.ATTEMPT] == "attempt-1"

    def test_other_inputs_are_another_order(self) -> None:
        assert names.order_digest(order("true", inputs={"a": "1"})) != names.order_digest(
            order("true", inputs={"a": "2"})
        )


class TestShape:
    def test_a_task_with_nothing_to_stage_is_plain(self) -> None:
        found = pod(order("echo", "hi"))

        assert main(found)["command"] == ["echo", "hi"]
        assert "initContainers" not in found["spec"]
        assert "volumes" not in found["spec"]

    def test_a_python_component_is_staged_in_place_even_without_outputs(self) -> None:
        assert planned(order(*PIP, image="whatever")).shape is Shape.IN_PLACE

    @pytest.mark.parametrize("image", ["python:3.9-slim", "registry:5000/team/python:3.12"])
    def test_an_image_named_python_is_staged_in_place(self, image: str) -> None:
        assert planned(order("sh", "-c", "true", image=image, outputs=TEXT)).shape is Shape.IN_PLACE

    def test_a_command_that_is_python3_is_staged_in_place(self) -> None:
        assert planned(order("python3", "-c", "1", image="mine", outputs=TEXT)).shape is Shape.IN_PLACE

    def test_any_other_image_with_outputs_is_staged_from_beside(self) -> None:
        assert planned(order("cp", "a", "b", image="distroless", outputs=TEXT)).shape is Shape.BESIDE

    def test_without_a_command_nobody_knows_what_to_run_in_place(self) -> None:
        assert planned(order(image="python:3.11", outputs=TEXT)).shape is Shape.BESIDE

    def test_in_place_the_staging_program_stands_for_the_command(self) -> None:
        found = pod(order("sh", "-c", "true", image="python:3.9", outputs=TEXT))

        assert main(found)["command"] == ["python3", "-ISu", "/penstock"]
        assert {"name": "PENSTOCK_SHEET", "value": "{}"} in main(found)["env"]
        volume = next(one for one in found["spec"]["volumes"] if one["name"] == "penstock")
        assert volume["configMap"]["name"] == program()[0]

    def test_from_beside_the_sidecar_comes_first_and_the_command_is_unchanged(self) -> None:
        found = pod(order("cp", "a", "b", outputs=TEXT))

        first, second = found["spec"]["initContainers"]
        assert (first["name"], first["restartPolicy"]) == (STAGE_OUT, "Always")
        assert second["name"] == STAGE_IN
        assert "restartPolicy" not in second
        assert main(found)["command"] == ["cp", "a", "b"]
        assert found["spec"]["terminationGracePeriodSeconds"] == SETTINGS.upload_seconds

    def test_our_containers_may_do_nothing(self) -> None:
        for one in pod(order("cp", outputs=TEXT))["spec"]["initContainers"]:
            context = one["securityContext"]
            assert context["runAsNonRoot"]
            assert context["readOnlyRootFilesystem"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert not context["allowPrivilegeEscalation"]

    def test_outputs_lie_in_empty_volumes_that_task_and_sidecar_share(self) -> None:
        found = pod(order("cp", outputs=TEXT, output_artifacts=["model"]))

        places = {one["mountPath"]: one["name"] for one in main(found)["volumeMounts"]}
        sidecar = {
            one["mountPath"]: one["name"] for one in found["spec"]["initContainers"][0]["volumeMounts"]
        }
        assert places.keys() == {"/s3", "/tmp/kfp/outputs"}
        assert places.items() <= sidecar.items()

    def test_the_program_has_a_config_map_named_after_its_content(self) -> None:
        found: Any = program_map()

        assert found["immutable"] is True
        assert found["metadata"]["name"] == program()[0]
        assert found["data"] == program()[1]
        assert "__main__.py" in found["data"]

    def test_a_root_that_pods_cannot_reach_is_refused_by_name(self) -> None:
        made = replace(order("true", outputs=TEXT), task_uri="file:///home/artifacts/x/attempt-1")

        with pytest.raises(TaskError, match="pods cannot reach the pipeline root"):
            planned(replace(made, task_uri="hf://x/attempt-1"))


class TestPackages:
    def test_the_pip_step_comes_off_where_packages_are_kept(self) -> None:
        task = planned(order(*PIP, image="python:3.11"), archive=True)

        assert task.command[:2] == ("sh", "-ec")
        assert task.bootstrap == PIP[:3]
        assert [one.requirements for one in task.installs] == [("kfp==2.9.0",), ("pandas",)]

    def test_in_pod_the_command_is_kubeflows_own(self) -> None:
        assert planned(order(*PIP, image="python:3.11")).command == PIP

    def test_the_same_packages_in_another_image_are_another_environment(self) -> None:
        one, other = (
            planned(order(*PIP, image=image), archive=True) for image in ("python:3.11", "python:3.12")
        )

        assert environment_key(one) != environment_key(other)
        assert environment_key(one) == environment_key(
            planned(order(*PIP, image="python:3.11"), archive=True)
        )

    def test_what_the_task_tells_pip_counts(self) -> None:
        one = planned(order(*PIP), archive=True)
        other = planned(order(*PIP, env={"PIP_INDEX_URL": "https://other"}), archive=True)

        assert environment_key(one) != environment_key(other)


class TestContainer:
    def test_dollar_signs_stay_what_they_are(self) -> None:
        found = main(pod(order("sh", "-c", "echo $(HOME) $HOME", env={"A": "$(B)"})))

        assert found["command"][2] == "echo $$(HOME) $$HOME"
        assert {"name": "A", "value": "$$(B)"} in found["env"]

    def test_resources_and_accelerators(self) -> None:
        made = order("true")
        accelerator = Accelerator("nvidia.com/gpu", "2")
        resources = Resources("500m", "2", "1G", "4G", accelerator)
        executor = ContainerExecutor("alpine", ("true",), resources=resources)

        found = main(pod(replace(made, executor=executor)))["resources"]

        assert found == {
            "limits": {"cpu": "2", "memory": "4G", "nvidia.com/gpu": "2"},
            "requests": {"cpu": "500m", "memory": "1G"},
        }

    def test_resources_that_come_from_inputs(self) -> None:
        template = "{{$.inputs.parameters['memory']}}"
        made = order("true", inputs={"memory": "2Gi"})
        executor = ContainerExecutor("alpine", ("true",), resources=Resources(memory_limit=template))

        assert main(pod(replace(made, executor=executor)))["resources"] == {"limits": {"memory": "2Gi"}}

    def test_the_time_limit_is_the_pods(self) -> None:
        assert pod(order("true", timeout=7.0))["spec"]["activeDeadlineSeconds"] == 7

    def test_a_service_account_brings_its_token_and_none_brings_none(self) -> None:
        assert pod(order("true"))["spec"]["automountServiceAccountToken"] is False
        spec = pod(order("true"), PodSettings("ours", "ns", "i", service_account="runner"))["spec"]
        assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("runner", True)


CLAIM = {"persistentVolumeClaim": {"claimName": "data"}}


@pytest.mark.parametrize(
    ("platform", "where", "expected"),
    [
        (
            {"secretAsEnv": [{"secretName": "s", "keyToEnv": [{"secretKey": "k", "envVar": "V"}]}]},
            "env",
            [{"name": "V", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        ),
        (
            {
                "configMapAsEnv": [
                    {
                        "configMapName": "c",
                        "keyToEnv": [{"configMapKey": "k", "envVar": "V"}],
                        "optional": True,
                    }
                ]
            },
            "env",
            [{"name": "V", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k", "optional": True}}}],
        ),
        (
            {"fieldPathAsEnv": [{"name": "N", "fieldPath": "metadata.name"}]},
            "env",
            [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        ),
        (
            {"secretAsVolume": [{"secretName": "s", "mountPath": "/s", "optional": False}]},
            "volumes",
            [{"name": "s", "secret": {"secretName": "s"}}],
        ),
        (
            {"configMapAsVolume": [{"configMapNameParameter": "c", "mountPath": "/c", "optional": True}]},
            "volumes",
            [{"name": "c", "configMap": {"name": "c", "optional": True}}],
        ),
        (
            {"pvcMount": [{"pvcNameParameter": "data", "mountPath": "/d", "subPath": "in"}]},
            "volumes",
            [{"name": "data", **CLAIM}],
        ),
        (
            {"pvcMount": [{"name": "data", "mountPath": "/d", "subPath": "in"}]},
            "volumeMounts",
            [{"name": "data", "mountPath": "/d", "subPath": "in"}],
        ),
        (
            {
                "emptyDirMounts": [
                    {"volumeName": "e", "mountPath": "/e", "medium": "Memory", "sizeLimit": "1Gi"}
                ]
            },
            "volumes",
            [{"name": "e", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}],
        ),
        (
            {"enabledSharedMemory": {"volumeName": "shm", "size": "1Gi"}},
            "volumeMounts",
            [{"name": "shm", "mountPath": "/dev/shm"}],
        ),
        (
            {
                "genericEphemeralVolume": [
                    {"volumeName": "g", "mountPath": "/g", "accessModes": ["ReadWriteOnce"], "size": "1Gi"}
                ]
            },
            "volumes",
            [
                {
                    "name": "g",
                    "ephemeral": {
                        "volumeClaimTemplate": {
                            "spec": {
                                "accessModes": ["ReadWriteOnce"],
                                "resources": {"requests": {"storage": "1Gi"}},
                            }
                        }
                    },
                }
            ],
        ),
        ({"imagePullSecret": [{"secretName": "r"}]}, "imagePullSecrets", [{"name": "r"}]),
        ({"imagePullPolicy": "Always"}, "imagePullPolicy", "Always"),
        ({"nodeSelector": {"labels": {"disk": "ssd"}}}, "nodeSelector", {"disk": "ssd"}),
        (
            {"tolerations": [{"key": "gpu", "operator": "Exists", "tolerationSeconds": "30"}]},
            "tolerations",
            [{"key": "gpu", "operator": "Exists", "tolerationSeconds": 30}],
        ),
        (
            {"securityContext": {"runAsUser": "1000", "runAsGroup": 0, "runAsNonRoot": True}},
            "securityContext",
            {"runAsUser": 1000, "runAsGroup": 0, "runAsNonRoot": True},
        ),
        (
            {"nodeAffinity": [{"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]},
            "affinity",
            {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}
                        ]
                    }
                }
            },
        ),
        (
            {
                "podAffinity": [
                    {"matchPodLabels": {"a": "b"}, "topologyKey": "zone", "weight": 5, "anti": True}
                ]
            },
            "affinity",
            {
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 5,
                            "podAffinityTerm": {
                                "labelSelector": {"matchLabels": {"a": "b"}},
                                "topologyKey": "zone",
                            },
                        }
                    ]
                }
            },
        ),
        (
            {"initContainers": [{"name": "first", "image": "busybox", "command": ["echo", "$(X)"]}]},
            "initContainers",
            [{"name": "first", "image": "busybox", "command": ["echo", "$$(X)"]}],
        ),
    ],
)
def test_what_kfp_kubernetes_says_is_in_the_pod(platform: dict[str, Any], where: str, expected: Any) -> None:
    found = pod(order("true", platform=platform))
    container = main(found)

    if where == "env":
        assert expected == container["env"][-len(expected) :]
    else:
        assert (container.get(where) or found["spec"].get(where)) == expected


@pytest.mark.parametrize("feature", ["secretAsEnv", "secretAsVolume", "configMapAsEnv", "configMapAsVolume"])
def test_a_name_that_became_null_asks_for_nothing(feature: str) -> None:
    kind = feature.partition("As")[0]
    entry = {f"{kind}NameParameter": None, "mountPath": "/x", "keyToEnv": [{"envVar": "V"}]}

    assert pod(order("true", platform={feature: [entry]})) == pod(order("true"))


def test_the_users_labels_stand_beside_ours_which_win() -> None:
    labels = {"team": "a", names.RUN: "forged"}
    found = pod(order("true", platform={"podMetadata": {"labels": labels, "annotations": {"n": "1"}}}))

    assert found["metadata"]["labels"]["team"] == "a"
    assert found["metadata"]["labels"][names.RUN] == "run-1"
    assert found["metadata"]["annotations"]["n"] == "1"


def test_the_workspace_is_a_claim_of_the_run() -> None:
    found = pod(replace(order("true"), workspace=True))

    assert found["spec"]["volumes"] == [
        {"name": "kfp-workspace", "persistentVolumeClaim": {"claimName": "pipeline-x-kfp-workspace"}}
    ]

"""What kfp-kubernetes asks of pods, emulated for processes: secrets, config maps, volumes, fields, placement."""

from typing import List

from kfp import dsl, kubernetes
from kfp.dsl import Dataset
from parts import join, read, say, show


@dsl.component
def variables(names: list) -> str:
    import os

    return ",".join(os.environ.get(name, "-") for name in names)


@dsl.component
def cat(path: str) -> str:
    return open(path).read()


@dsl.component
def put(path: str, text: str):
    import os

    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


@dsl.pipeline
def secrets_and_config_maps_as_env(secret: str = "account") -> str:
    task = variables(names=["USER_NAME", "MISSING", "LEVEL", "OTHER"])
    kubernetes.use_secret_as_env(task, secret_name=secret, secret_key_to_env={"user": "USER_NAME"})
    kubernetes.use_secret_as_env(
        task, secret_name="nowhere", secret_key_to_env={"user": "MISSING"}, optional=True
    )
    kubernetes.use_config_map_as_env(
        task, config_map_name="settings", config_map_key_to_env={"level": "LEVEL", "other.txt": "OTHER"}
    )
    return task.output


@dsl.pipeline
def secrets_and_config_maps_as_volumes() -> str:
    a = cat(path="/mnt/secret/user")
    kubernetes.use_secret_as_volume(a, secret_name="account", mount_path="/mnt/secret")
    b = cat(path="/mnt/deep/er/level")
    kubernetes.use_config_map_as_volume(b, config_map_name="settings", mount_path="/mnt/deep/er")
    kubernetes.use_secret_as_volume(b, secret_name="nowhere", mount_path="/mnt/none", optional=True)
    return join(a=a.output, b=b.output).output


@dsl.pipeline
def secret_of_each_item(names: List[str] = ["one", "two"]) -> str:
    with dsl.ParallelFor(names) as name:
        task = variables(names=["TOKEN"])
        kubernetes.use_secret_as_env(task, secret_name=name, secret_key_to_env={"token": "TOKEN"})
    return show(xs=dsl.Collected(task.output)).output


@dsl.pipeline
def volume_claim() -> str:
    claim = kubernetes.CreatePVC(
        pvc_name_suffix="-mine", access_modes=["ReadWriteOnce"], size="1Gi", storage_class_name="standard"
    )
    written = put(path="/mnt/data/sub/file", text="kept")
    kubernetes.mount_pvc(written, pvc_name=claim.outputs["name"], mount_path="/mnt/data")
    found = cat(path="/mnt/other/sub/file").after(written)
    kubernetes.mount_pvc(found, pvc_name=claim.outputs["name"], mount_path="/mnt/other")
    kubernetes.DeletePVC(pvc_name=claim.outputs["name"]).after(found)
    return found.output


@dsl.component
def listed(path: str) -> str:
    import os

    return ",".join(sorted(os.listdir(path)))


@dsl.pipeline
def claims_in_pipelines(name: str) -> str:
    inner = listed(path="/in")
    kubernetes.mount_pvc(inner, pvc_name=name, mount_path="/in")
    return inner.output


@dsl.pipeline
def claim_handed_to_a_pipeline() -> str:
    claim = kubernetes.CreatePVC(pvc_name="handed-on", access_modes=["ReadWriteMany"], size="5Mi")
    written = put(path="/out/file", text="x")
    kubernetes.mount_pvc(written, pvc_name=claim.outputs["name"], mount_path="/out")
    return claims_in_pipelines(name=claim.outputs["name"]).after(written).output


@dsl.component
def uses_scratch() -> str:
    import os

    found = []
    for folder in ("/mnt/scratch", "/mnt/own"):
        found.append(str(os.listdir(folder)))
        with open(os.path.join(folder, "x"), "w") as file:
            file.write("x")
    return " ".join(found)


@dsl.pipeline
def scratch_volumes() -> str:
    other = uses_scratch()
    kubernetes.empty_dir_mount(
        other, volume_name="scratch", mount_path="/mnt/scratch", medium="Memory", size_limit="1Gi"
    )
    kubernetes.add_ephemeral_volume(
        other, volume_name="own", mount_path="/mnt/own", access_modes=["ReadWriteOnce"], size="1Gi"
    )
    return other.output


@dsl.pipeline
def placement_and_metadata(
    selector: dict = {"disk": "ssd"}, toleration: dict = {"key": "k", "operator": "Exists"}
) -> str:
    task = say(x="placed")
    kubernetes.add_node_selector_json(task, selector)
    kubernetes.add_toleration_json(task, toleration)
    kubernetes.add_toleration(task, key="z", operator="Exists", effect="NoExecute", toleration_seconds=10)
    kubernetes.add_node_affinity(
        task, match_expressions=[{"key": "a", "operator": "In", "values": ["x"]}], weight=5
    )
    kubernetes.add_pod_label(task, "team", "ml")
    kubernetes.add_pod_annotation(task, "note", "é")
    kubernetes.set_image_pull_secrets(task, ["registry"])
    kubernetes.set_image_pull_policy(task, "Always")
    kubernetes.set_timeout(task, 100)
    kubernetes.set_security_context(task, run_as_user=1000, run_as_group=1000, run_as_non_root=True)
    other = say(x="selected")
    kubernetes.add_node_selector(other, "disk", "ssd")
    return join(a=task.output, b=other.output).output


@dsl.pipeline
def fields_of_the_pod() -> str:
    task = variables(names=["LABEL", "NOTE", "SPACE", "NONE"])
    kubernetes.add_pod_label(task, "team", "ml")
    kubernetes.add_pod_annotation(task, "note", "a note")
    for name, path in (
        ("LABEL", "metadata.labels['team']"),
        ("NOTE", "metadata.annotations['note']"),
        ("SPACE", "metadata.namespace"),
    ):
        kubernetes.use_field_path_as_env(task, name, path)
    named = say(x="x")
    kubernetes.use_field_path_as_env(named, "POD", "metadata.name")
    kubernetes.use_field_path_as_env(named, "UID", "metadata.uid")
    kubernetes.use_field_path_as_env(named, "NODE", "spec.nodeName")
    return task.output


@dsl.component
def slow():
    import time

    time.sleep(60)


@dsl.pipeline
def timeout():
    kubernetes.set_timeout(slow(), 1)


@dsl.pipeline(
    pipeline_config=dsl.PipelineConfig(
        workspace=dsl.WorkspaceConfig(
            size="1Gi",
            kubernetes=dsl.KubernetesWorkspaceConfig(pvcSpecPatch={"accessModes": ["ReadWriteOnce"]}),
        ),
        ttl_seconds_after_finished=100,
        active_deadline_seconds=300,
    )
)
def workspace(file: str) -> str:
    written = put(path=dsl.WORKSPACE_PATH_PLACEHOLDER + "/sub/a.txt", text="shared")
    found = cat(path=f"{dsl.WORKSPACE_PATH_PLACEHOLDER}/sub/a.txt").after(written)
    imported = dsl.importer(artifact_uri=file, artifact_class=Dataset, download_to_workspace=True)
    return join(a=found.output, b=read(data=imported.output).output).output


@dsl.pipeline(pipeline_config=dsl.PipelineConfig(active_deadline_seconds=2))
def deadline():
    slow()


@dsl.component(
    task_config_passthroughs=[
        dsl.TaskConfigField.RESOURCES,
        dsl.TaskConfigField.KUBERNETES_TOLERATIONS,
        dsl.TaskConfigField.KUBERNETES_NODE_SELECTOR,
        dsl.TaskConfigPassthrough(field=dsl.TaskConfigField.ENV, apply_to_task=True),
    ]
)
def configured(config: dsl.TaskConfig) -> str:
    import json
    import os

    return json.dumps(
        [config.resources, config.tolerations, config.node_selector, config.env, os.environ.get("A")],
        sort_keys=True,
    )


@dsl.pipeline
def task_config() -> str:
    task = configured().set_env_variable("A", "b").set_cpu_limit("2").set_memory_request("1Gi")
    kubernetes.add_toleration(task, key="k", operator="Equal", value="v", effect="NoSchedule")
    kubernetes.add_node_selector(task, "disk", "ssd")
    return task.output


PIPELINES = [
    secrets_and_config_maps_as_env,
    secrets_and_config_maps_as_volumes,
    secret_of_each_item,
    volume_claim,
    claim_handed_to_a_pipeline,
    scratch_volumes,
    placement_and_metadata,
    fields_of_the_pod,
    timeout,
    workspace,
    deadline,
    task_config,
]

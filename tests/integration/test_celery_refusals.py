"""What cannot work on workers is one clear sentence, before anything is recorded or in the task's error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
import yaml
from kubernetes import client  # pyright: ignore[reportMissingTypeStubs]

from penstock.errors import NotFoundError
from penstock.execution.workspace import Workspace
from penstock.model import JsonObject
from tests.cluster import Cluster
from tests.documents import Shell, pipeline
from tests.installation import Installation
from tests.integration.celery_runs import PYTHON, Runs

pytestmark = [pytest.mark.service(name) for name in ("postgres", "redis", "s3", "kubernetes")]

ONE = pipeline("one", Shell("one", image=PYTHON))


@pytest.fixture
def runs(installation: Installation, tmp_path: Path) -> Iterator[Runs]:
    with Workspace(installation.settings) as workspace:
        yield Runs(installation, workspace, tmp_path)


def ended(runs: Runs, document: JsonObject, **settings: str) -> str:
    """The error of the task `one` of a run on a worker with these settings, in which the run failed."""
    queue = f"refusing-{uuid4().hex[:6]}"
    with runs.installation.worker("--queue", queue, "--no-watcher", **settings) as worker:
        found = runs.run(document, "--queue", queue)
        assert "Traceback" not in worker.log.read_text()
    assert found["state"] == "FAILED"
    assert not runs.pods(found["id"])
    return found["tasks"]["one"]["error"]


@pytest.mark.parametrize(
    ("settings", "options", "told"),
    [
        ({"PENSTOCK_BROKER_URL": ""}, [], "engine 'celery' needs a broker: set PENSTOCK_BROKER_URL"),
        (
            {"PENSTOCK_BROKER_URL": "redis://:tiger@127.0.0.1:1/0"},
            [],
            "the broker at redis://:***@127.0.0.1:1/0 cannot be used: ",
        ),
        ({"PENSTOCK_BROKER_URL": "nonsense"}, [], "the broker at nonsense cannot be used: "),
        ({"PENSTOCK_BROKER_URL": "what://host/0"}, [], "the broker at what://host/0 cannot be used: "),
        ({"PENSTOCK_DATABASE_URL": "sqlite:///here.db"}, [], "SQLite is a file on this machine"),
        (
            {"PENSTOCK_PIPELINE_ROOT": "artifacts"},
            [],
            "is a folder on this machine: set PENSTOCK_PIPELINE_ROOT",
        ),
        ({}, ["--pipeline-root", "artifacts"], "is a folder on this machine: set PENSTOCK_PIPELINE_ROOT"),
        ({}, ["--launcher", "process"], "launcher 'process' cannot be used by engine 'celery'"),
        ({"PENSTOCK_LAUNCHER": "process"}, [], "launcher 'process' cannot be used by engine 'celery'"),
        ({}, ["--launcher", "docker"], "no launcher 'docker' is installed"),
        ({"PENSTOCK_PIPELINE_ROOT": "s3://penstock-no-such-bucket/x"}, [], "there is no bucket"),
    ],
)
def test_what_no_worker_could_use_is_refused_before_anything_is_recorded(
    runs: Runs, settings: dict[str, str], options: list[str], told: str
) -> None:
    name = f"refused {uuid4()}"
    words = ("run", runs.document(ONE), "--on", "celery", "--name", name)
    complaint = runs.penstock(*words, *options, **settings).complaint

    assert told in complaint and "tiger" not in complaint
    with pytest.raises(NotFoundError):
        runs.workspace.store.runs.find(name)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"PENSTOCK_BROKER_URL": "redis://127.0.0.1:1/0"},
            "the broker at redis://127.0.0.1:1/0 cannot be used",
        ),
        ({"PENSTOCK_DATABASE_URL": ""}, "SQLite is a file on this machine"),
        ({"PENSTOCK_PIPELINE_ROOT": ""}, "is a folder on this machine"),
        ({"KUBECONFIG": "/no/such/file"}, "there is no Kubernetes configuration to use"),
        ({"PENSTOCK_MAX_PODS": "many"}, "max_pods must be a number from 0, not 'many'"),
        ({"PENSTOCK_GIVE_UP_SECONDS": "soon"}, "give_up_seconds must be a number from 0, not 'soon'"),
    ],
)
def test_a_worker_that_could_drive_nothing_does_not_start(
    runs: Runs, settings: dict[str, str], told: str
) -> None:
    assert told in runs.penstock("worker", **settings).complaint


def test_a_machine_that_only_submits_needs_no_cluster(runs: Runs) -> None:
    assert runs.run(ONE, KUBECONFIG="/no/such/file")["state"] == "SUCCEEDED"


def test_an_unreachable_cluster_is_asked_for_a_while(runs: Runs) -> None:
    place = kubeconfig(runs, server="https://127.0.0.1:1")

    error = ended(runs, ONE, KUBECONFIG=str(place), PENSTOCK_GIVE_UP_SECONDS="6")

    assert error.startswith(
        "task 'one' was given up after 6 s: the Kubernetes API server https://127.0.0.1:1 cannot be reached: "
    )


def test_an_unreachable_store_is_asked_for_a_while(runs: Runs) -> None:
    document = pipeline(
        "one", Shell("one", 'echo 1 >"$made"', made={"made": "system.Artifact"}, image=PYTHON)
    )

    error = ended(runs, document, AWS_ENDPOINT_URL_S3="http://127.0.0.1:1", PENSTOCK_GIVE_UP_SECONDS="6")

    assert error.startswith("task 'one' was given up after 6 s: ") and "http://127.0.0.1:1" in error


@pytest.mark.parametrize(
    ("made", "resource"),
    [({}, "pods"), ({"made": "system.Artifact"}, "configmaps")],
    ids=["plain", "in-place"],
)
def test_a_missing_permission_is_named(runs: Runs, made: dict[str, str], resource: str) -> None:
    kinds = [one for one in ("pods", "configmaps") if one != resource]
    place = kubeconfig(runs, token=account_that_may_make(runs, kinds))
    document = pipeline("one", Shell("one", 'touch "$made"' if made else "true", made=made, image=PYTHON))

    error = ended(runs, document, KUBECONFIG=str(place))

    assert f"a role must grant it the verb 'create' on '{resource}'" in error
    assert "compose/kubernetes/rbac.yaml" in error


def test_an_image_that_never_comes(runs: Runs) -> None:
    document = pipeline("one", Shell("one", image="no.such.registry.invalid/x:1"))

    error = ended(runs, document)

    assert "image 'no.such.registry.invalid/x:1'" in error and "\n" not in error


def test_an_image_that_none_can_be_called(runs: Runs) -> None:
    error = ended(runs, pipeline("one", Shell("one", image="A B")))

    assert "'A B'" in error and "\n" not in error


def test_a_pod_that_the_api_server_refuses(runs: Runs) -> None:
    document = cast("dict[str, Any]", pipeline("one", Shell("one", image=PYTHON)))
    container = document["deploymentSpec"]["executors"]["exec-one"]["container"]
    container["resources"] = {"accelerator": {"type": "NVIDIA_TESLA_P4", "count": "1"}}

    error = ended(runs, document)

    assert error.startswith("task 'one' cannot be started: ") and "\n" not in error
    assert "NVIDIA_TESLA_P4" in error


def kubeconfig(runs: Runs, server: str = "", token: str = "") -> Path:
    """That of the cluster, changed."""
    found = yaml.safe_load(Path(runs.installation.variables["KUBECONFIG"]).read_text("utf-8"))
    if server:
        found["clusters"][0]["cluster"]["server"] = server
    if token:
        found["users"][0]["user"] = {"token": token}
    place = runs.folder / "kubeconfig"
    place.write_text(yaml.safe_dump(found), "utf-8")
    return place


def account_that_may_make(runs: Runs, resources: list[str]) -> str:
    """The token of a new account that may do all with these, and nothing else."""
    cluster = Cluster(runs.installation.namespace)
    space, name = cluster.namespace, f"limited-{uuid4().hex[:6]}"
    roles = cast("Any", client).RbacAuthorizationV1Api(cluster.api.api_client)
    cluster.api.create_namespaced_service_account(space, {"metadata": {"name": name}})
    rules = [{"apiGroups": [""], "resources": resources, "verbs": ["*"]}]
    roles.create_namespaced_role(space, {"metadata": {"name": name}, "rules": rules})
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": space}],
    }
    roles.create_namespaced_role_binding(space, binding)
    return cluster.api.create_namespaced_service_account_token(name, space, {"spec": {}}).status.token

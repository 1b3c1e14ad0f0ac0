"""What penstock may do in a cluster: the role that we ship is enough, and what is missing is named."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
import yaml

from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.options import RunOptions
from penstock.execution.workspace import Workspace
from penstock.model import Reason
from penstock_workers.kubernetes.launcher import KubernetesLauncher
from penstock_workers.remote import Waits
from tests.integration.kubernetes_service import PYTHON, kubernetes_workspace
from tests.integration.test_kubernetes_remote import Told, until, watching
from tests.services import need
from tests.unit.workers import launching

pytestmark = [pytest.mark.service("kubernetes"), pytest.mark.service("s3")]

MANIFEST = Path(__file__).resolve().parents[2] / "compose" / "kubernetes" / "rbac.yaml"


class Admin:
    """Who may do all, with a namespace of the test's own."""

    def __init__(self) -> None:
        from kubernetes import client, config  # pyright: ignore[reportMissingTypeStubs]

        found = cast("Any", client.Configuration())
        cast("Any", config).load_kube_config(need("kubernetes"), client_configuration=found)
        api = cast("Any", client.ApiClient(found))
        self.core = cast("Any", client.CoreV1Api(api))
        self.rbac = cast("Any", client.RbacAuthorizationV1Api(api))
        self.host, self.authority = found.host, Path(found.ssl_ca_cert).read_bytes()
        self.namespace = f"penstock-{uuid4().hex[:8]}"
        self.core.create_namespace({"metadata": {"name": self.namespace}})

    def apply_role(self, without: str = "") -> None:
        """The manifest as shipped, or `without` one verb on pods."""
        account, role, binding = yaml.safe_load_all(MANIFEST.read_text())
        for rule in role["rules"]:
            if rule["resources"] == ["pods"]:
                rule["verbs"] = [verb for verb in rule["verbs"] if verb != without]
        self.core.create_namespaced_service_account(self.namespace, account)
        self.rbac.create_namespaced_role(self.namespace, role)
        self.rbac.create_namespaced_role_binding(self.namespace, binding)

    def kubeconfig(self) -> str:
        """Of penstock's own service account."""
        request = {"spec": {"audiences": None, "expirationSeconds": 3600}}
        token = self.core.create_namespaced_service_account_token("penstock", self.namespace, request)
        cluster = {
            "server": self.host,
            "certificate-authority-data": base64.b64encode(self.authority).decode(),
        }
        context = {"cluster": "c", "user": "u", "namespace": self.namespace}
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": cluster}],
                "users": [{"name": "u", "user": {"token": token.status.token}}],
                "contexts": [{"name": "limited", "context": context}],
                "current-context": "limited",
            }
        )


@pytest.fixture
def admin() -> Iterator[Admin]:
    found = Admin()
    yield found
    found.core.delete_namespace(found.namespace)


@pytest.fixture
def workspace(
    home: Path, monkeypatch: pytest.MonkeyPatch, admin: Admin, tmp_path: Path
) -> Iterator[Workspace]:
    with kubernetes_workspace(home, monkeypatch, kubernetes_namespace=admin.namespace) as found:
        yield found


def as_penstock(
    admin: Admin, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> KubernetesLauncher:
    file = folder / "limited"
    file.write_text(admin.kubeconfig())
    monkeypatch.setenv("KUBECONFIG", str(file))
    return cast("KubernetesLauncher", workspace.launcher(RunOptions()))


def test_the_role_that_we_ship_is_enough_for_an_attempts_whole_life(
    workspace: Workspace, admin: Admin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    admin.apply_role()
    launcher = as_penstock(admin, workspace, monkeypatch, tmp_path)
    root = workspace.settings.pipeline_root
    first = launching.order("echo", "hello", image=PYTHON, root=root, attempt_id="first")
    second = launching.order("sleep", "100", image=PYTHON, root=root, attempt_id="second")
    with watching(launcher) as told:
        assert launcher.launch(first) is None
        found = launcher.collect(first, told.end(first).what)
        launcher.forget(first, found)
        assert launcher.launch(second) is None
        assert launcher.end(second, 1.0)
        canceled = launcher.collect(second, told.end(second).what)

    assert found.outcome is Outcome.SUCCEEDED
    assert list(launcher.log(first.run.run_id, "first", place=found.log)) == ["hello"]
    assert canceled.outcome is Outcome.CANCELED
    launcher.forget(second, canceled)
    assert launcher.reap(lambda run, attempt: False) == 0
    launcher.close()
    until(lambda: not admin.core.list_namespaced_pod(admin.namespace).items)


def test_a_missing_permission_is_named_in_the_tasks_error(
    workspace: Workspace, admin: Admin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    admin.apply_role(without="create")
    launcher = as_penstock(admin, workspace, monkeypatch, tmp_path)
    order = launching.order("true", image=PYTHON, root=workspace.settings.pipeline_root)

    found = launcher.launch(order)

    assert isinstance(found, OutputManifest)
    assert found.reason is Reason.REFUSED
    assert f"may not create pods in namespace '{admin.namespace}'" in found.error
    assert "verb 'create' on 'pods' (compose/kubernetes/rbac.yaml" in found.error
    launcher.close()


def test_a_full_quota_is_waited_for(workspace: Workspace, admin: Admin) -> None:
    limited = {"metadata": {"name": "small"}, "spec": {"hard": {"pods": "1"}}}
    admin.core.create_namespaced_resource_quota(admin.namespace, limited)
    launcher = cast("KubernetesLauncher", workspace.launcher(RunOptions()))
    first, second = (
        launching.order("true", image=PYTHON, root=workspace.settings.pipeline_root, attempt_id=one)
        for one in ("first", "second")
    )
    told, heard = Told(), threading.Event()
    with watching(launcher, told):
        waits = launcher.launch(first)
        for _ in range(100):  # the quota's own controller has to see it first
            if not isinstance(waits, Waits):
                break
            heard.wait(0.1)
            waits = launcher.launch(first)
        assert waits is None
        full = launcher.launch(second)
        launcher.forget(first, launcher.collect(first, told.end(first).what))
        for _ in range(100):
            if launcher.launch(second) is None:
                break
            heard.wait(0.1)
        launcher.forget(second, launcher.collect(second, told.end(second).what))
    launcher.close()

    assert isinstance(full, Waits)
    assert full.why.startswith("the quota of the namespace is used up: small, requested: pods=1")

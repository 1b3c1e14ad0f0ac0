"""A namespace of the cluster that is there, with what pipelines expect of one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

import urllib3
from kubernetes import client, config  # pyright: ignore[reportMissingTypeStubs]
from kubernetes.client.exceptions import ApiException  # pyright: ignore[reportMissingTypeStubs]

from tests.services import need

GPU, GPUS = "nvidia.com/gpu", "8"
LABELS = {"disktype": "ssd", "disk": "ssd"}
"""What the pipelines select nodes by."""
_PATIENCE = 60.0
_LOOK = 0.1
_PROVISION_EVERY = 0.3


@dataclass
class Cluster:
    """One namespace; `api` is the plain client, to look at what is really there."""

    namespace: str
    api: Any = field(init=False)

    def __post_init__(self) -> None:
        self.api = cast("Any", client).CoreV1Api(
            cast("Any", config).new_client_from_config(need("kubernetes"))
        )

    def make(self) -> None:
        """Comes back when pods can be made in it."""
        self.api.create_namespace({"metadata": {"name": self.namespace}})
        until = time.monotonic() + _PATIENCE
        while not self._has_account():
            assert time.monotonic() < until, f"namespace {self.namespace} does not get its service account"
            time.sleep(_LOOK)
        self._prepare_nodes()

    def remove(self) -> None:
        """With all that is in it, also pods whose end nobody recorded."""
        self.api.delete_namespace(self.namespace)
        for pod in self.pods():
            with suppress(ApiException):
                patch = {"metadata": {"finalizers": None}}
                self.api.patch_namespaced_pod(pod.metadata.name, self.namespace, patch)
        for volume in self.api.list_persistent_volume().items:
            claim = volume.spec.claim_ref
            if claim is not None and claim.namespace == self.namespace:
                self.api.delete_persistent_volume(volume.metadata.name)

    def pods(self, selector: str = "") -> list[Any]:
        return self.api.list_namespaced_pod(self.namespace, label_selector=selector).items

    def delete_pod(self, name: str, grace: int | None = None) -> None:
        """As a person does; `grace` in seconds, what the pod says by default."""
        self.api.delete_namespaced_pod(name, self.namespace, grace_period_seconds=grace)

    def give_secret(self, name: str, values: Mapping[str, str]) -> None:
        with _once():
            self.api.create_namespaced_secret(
                self.namespace, {"metadata": {"name": name}, "stringData": dict(values)}
            )

    def give_config_map(self, name: str, values: Mapping[str, str]) -> None:
        with _once():
            self.api.create_namespaced_config_map(
                self.namespace, {"metadata": {"name": name}, "data": dict(values)}
            )

    def give_claim(self, name: str) -> None:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        with _once():
            self.api.create_namespaced_persistent_volume_claim(
                self.namespace, {"metadata": {"name": name}, "spec": spec}
            )

    def settle(self) -> None:
        """Comes back when claims that were deleted are gone, and their names free."""
        until = time.monotonic() + _PATIENCE
        while any(one.metadata.deletion_timestamp for one in self._claims()):
            assert time.monotonic() < until, f"claims of namespace {self.namespace} do not go away"
            time.sleep(_LOOK)

    @contextmanager
    def provisioning(self) -> Iterator[None]:
        """Meanwhile claims get volumes, as a provisioner would give them, where the cluster has none."""
        storage = cast("Any", client).StorageV1Api(self.api.api_client)
        known = {one.metadata.name: one for one in storage.list_storage_class().items}
        stopped = threading.Event()

        def provision() -> None:
            while not stopped.wait(_PROVISION_EVERY):
                # Another test may have the API server down.
                with suppress(ApiException, urllib3.exceptions.HTTPError):
                    self._give_volumes(known)

        thread = threading.Thread(target=provision, name="test-provisioner", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def _give_volumes(self, classes: Mapping[str, Any]) -> None:
        for claim in self._claims():
            wanted = claim.spec.storage_class_name
            if claim.spec.volume_name or (classes if wanted is None else wanted in classes):
                continue
            name = f"test-{claim.metadata.uid}"
            reference = {"namespace": self.namespace, "name": claim.metadata.name, "uid": claim.metadata.uid}
            spec = {
                "accessModes": claim.spec.access_modes,
                "capacity": {"storage": claim.spec.resources.requests["storage"]},
                "claimRef": reference,
                "storageClassName": wanted,
                "hostPath": {"path": f"/var/tmp/penstock-volumes/{name}", "type": "DirectoryOrCreate"},
                "persistentVolumeReclaimPolicy": "Retain",
            }
            with _once():
                self.api.create_persistent_volume({"metadata": {"name": name}, "spec": spec})

    def _claims(self) -> list[Any]:
        return self.api.list_namespaced_persistent_volume_claim(self.namespace).items

    def _has_account(self) -> bool:
        try:
            self.api.read_namespaced_service_account("default", self.namespace)
        except ApiException as problem:
            if cast("Any", problem).status != 404:
                raise
            return False
        return True

    def _prepare_nodes(self) -> None:
        """Labels, and GPUs by name only (Kubernetes: "Advertise Extended Resources for a Node")."""
        for node in self.api.list_node().items:
            if not node.status.capacity.get(GPU):
                patch = {"status": {"capacity": {GPU: GPUS}}}
                self.api.patch_node_status(node.metadata.name, patch)
            self.api.patch_node(node.metadata.name, {"metadata": {"labels": LABELS}})


@contextmanager
def _once() -> Iterator[None]:
    """What is there already stays as it is."""
    try:
        yield
    except ApiException as problem:
        if cast("Any", problem).status != 409:
            raise

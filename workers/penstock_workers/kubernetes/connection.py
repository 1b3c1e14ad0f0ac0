"""Where the cluster is and as whom it is asked: the one module that touches the `kubernetes` client, and of
that only how it reads its configuration and sets up its connections.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from penstock.errors import InvalidInputError
from penstock_workers.kubernetes.api import KubernetesApi

if TYPE_CHECKING:
    import urllib3


def connect(context: str = "", namespace: str = "", *, patience: float = 120.0) -> KubernetesApi:
    """The cluster that KUBECONFIG (else ~/.kube/config) names, or inside a pod its own; nothing is sent yet.

    Raises InvalidInputError for a configuration that cannot be used.
    """
    from kubernetes.client.configuration import Configuration  # pyright: ignore[reportMissingTypeStubs]
    from kubernetes.client.rest import RESTClientObject  # pyright: ignore[reportMissingTypeStubs]

    configuration = cast("Any", Configuration)()
    current, own = _read_configuration(configuration, context)
    client = cast("Any", RESTClientObject)(configuration)
    pool = cast("urllib3.PoolManager", client.pool_manager)
    pool.connection_pool_kw |= {"maxsize": 64, "block": False}

    def token() -> str | None:
        return cast("str | None", configuration.get_api_key_with_prefix("authorization")) or cast(
            "str | None", configuration.get_api_key_with_prefix("BearerToken")
        )

    return KubernetesApi(
        cast("str", configuration.host),
        pool,
        token,
        context=current,
        namespace=namespace or own or "default",
        patience=patience,
    )


def _read_configuration(configuration: Any, context: str) -> tuple[str, str]:
    """(the context's name, its namespace)."""
    from kubernetes import config  # pyright: ignore[reportMissingTypeStubs]
    from kubernetes.config import incluster_config  # pyright: ignore[reportMissingTypeStubs]

    api = cast("Any", config)
    try:
        file = os.environ.get("KUBECONFIG") or None
        api.load_kube_config(file, context=context or None, client_configuration=configuration)
        contexts, current = api.list_kube_config_contexts(file)
        found = next((one for one in contexts if one["name"] == context), current)
        return str(found["name"]), str(found["context"].get("namespace") or "")
    except Exception as problem:
        inside = cast("Any", incluster_config)
        with suppress(Exception):
            inside.load_incluster_config(client_configuration=configuration)
            folder = "/var/run/secrets/kubernetes.io/serviceaccount"
            with open(f"{folder}/namespace", encoding="utf-8") as file:
                return "in-cluster", file.read().strip()
        text = " ".join(str(problem).split()) or type(problem).__name__
        raise InvalidInputError(
            f"there is no Kubernetes configuration to use: {text}; set KUBECONFIG to the file of a cluster"
        ) from problem

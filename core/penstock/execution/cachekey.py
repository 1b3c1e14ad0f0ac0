"""The cache key: KFP's fingerprint, plus where the artifacts live and what isolates the task."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from penstock.execution.platform import claims_of
from penstock.execution.session import Session
from penstock.execution.volumes import is_volume_task
from penstock.model import Component, ContainerExecutor, Executor, ImporterExecutor, Values
from penstock.planner.fingerprint import CacheKey, OutputArtifactSpec, custom_key_fingerprint
from penstock.planner.platform import resolve_platform
from penstock.planner.values import go_json
from penstock.planner.verdict import Launch

_READ: Final = frozenset(
    {
        "configMapAsEnv",
        "configMapAsVolume",
        "fieldPathAsEnv",
        "initContainers",
        "secretAsEnv",
        "secretAsVolume",
    }
)
"""What of a pod's configuration a task reads, besides volume claims, which KFP's own key covers."""


def cache_key(session: Session, launch: Launch, isolation: str) -> str:
    """What a hit must agree in, as one sha256 in hex; empty for what is never served from the cache:
    importers, and the making and removing of volumes (KFP serves those too, and then mounts what is no longer
    there).

    KFP's fingerprint leaves out environment variables of the executor, and which secrets and config maps it
    is given (#10189); they are part of the key here, since a task that reads another value is another task.
    """
    if isinstance(launch.executor, ImporterExecutor) or is_volume_task(launch.executor):
        return ""
    reads = ""
    if launch.task.caching.key:
        found = custom_key_fingerprint(launch.component.name, launch.task.caching.key)
    else:
        platform = resolve_platform(
            session.ledger, launch.path, session.pipeline.executor_platform(launch.component)
        )
        found = kfp_fingerprint(launch.component, launch.executor, launch.inputs, claims_of(platform))
        read = {name: value for name, value in platform.items() if name in _READ}
        reads = go_json(read) if read else ""
    root = urlsplit(session.fields.pipeline_root)
    environment = "\0".join(f"{one.name}={one.value}" for one in launch.executor.env)
    parts = [found, f"{root.scheme}://{root.netloc}", isolation, environment]
    if reads:
        parts.append(reads)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def kfp_fingerprint(
    component: Component, executor: Executor, inputs: Values, claims: Sequence[str] = ()
) -> str:
    """KFP's own (`cacheutils/cache.go`): inputs, declared outputs, image, command and arguments unresolved,
    volume claims.
    """
    assert isinstance(executor, ContainerExecutor)
    interface = component.interface
    key = CacheKey(
        image=executor.image,
        command=executor.command,
        args=executor.args,
        input_parameters=inputs.parameters,
        input_artifacts={name: [one.id for one in many] for name, many in inputs.artifacts.items()},
        output_parameters={name: output.type.value for name, output in interface.output_parameters.items()},
        output_artifacts={
            name: OutputArtifactSpec(
                name,
                output.type.schema_title,
                output.type.schema_version,
                output.type.instance_schema,
                output.metadata or None,
            )
            for name, output in interface.output_artifacts.items()
        },
        pvc_names=claims,
    )
    return key.fingerprint()

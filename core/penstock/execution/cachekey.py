"""The cache key: KFP's fingerprint, plus where the artifacts live and what isolates the task."""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit

from penstock.execution.session import Session
from penstock.model import Component, ContainerExecutor, Executor, ImporterExecutor, Values
from penstock.planner.fingerprint import CacheKey, OutputArtifactSpec, custom_key_fingerprint
from penstock.planner.verdict import Launch


def cache_key(session: Session, launch: Launch, isolation: str) -> str:
    """What a hit must agree in, as one sha256 in hex; empty for an importer, which is never served from the cache.

    KFP's fingerprint leaves out environment variables of the executor; they are part of the key here, since a
    task that reads another value is another task.
    """
    if isinstance(launch.executor, ImporterExecutor):
        return ""
    if launch.task.caching.key:
        found = custom_key_fingerprint(launch.component.name, launch.task.caching.key)
    else:
        found = kfp_fingerprint(launch.component, launch.executor, launch.inputs)
    root = urlsplit(session.fields.pipeline_root)
    environment = "\0".join(f"{one.name}={one.value}" for one in launch.executor.env)
    parts = (found, f"{root.scheme}://{root.netloc}", isolation, environment)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def kfp_fingerprint(component: Component, executor: Executor, inputs: Values) -> str:
    """KFP's own (`cacheutils/cache.go`): inputs, declared outputs, image, command and arguments unresolved."""
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
    )
    return key.fingerprint()

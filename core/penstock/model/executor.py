"""What a leaf component runs: a container, or an import of an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from penstock.model.interface import ArtifactType
from penstock.model.value import Json


@dataclass(frozen=True, slots=True)
class EnvVar:
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Accelerator:
    """`type` such as `nvidia.com/gpu`; both fields may hold placeholders until they are resolved."""

    type: str
    count: str


@dataclass(frozen=True, slots=True)
class Resources:
    """Requests and limits as Kubernetes quantities (`500m`, `2G`), or placeholders resolved at run time.

    The IR's older numeric fields (`cpuLimit` in cores, `memoryLimit` in GB) are read into the same text form.
    """

    cpu_request: str = ""
    cpu_limit: str = ""
    memory_request: str = ""
    memory_limit: str = ""
    accelerator: Accelerator | None = None


@dataclass(frozen=True, slots=True)
class ContainerExecutor:
    """A container. `command` and `args` hold placeholders, and JSON texts of Concat and IfPresent."""

    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    resources: Resources = Resources()


@dataclass(frozen=True, slots=True)
class ImporterExecutor:
    """An artifact brought in by URI. Exactly one of `uri` (constant) and `uri_parameter` (an input's name) is
    set.
    """

    type: ArtifactType
    uri: str | None = None
    uri_parameter: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Json])
    reimport: bool = False
    download_to_workspace: bool = False


Executor: TypeAlias = ContainerExecutor | ImporterExecutor

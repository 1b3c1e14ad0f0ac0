"""What identifies a task for the cache: KFP's fingerprint, bit for bit (KFP: cacheutils/cache.go).

It covers neither environment variables nor defaults, resources, image digests or the task's name, and input
artifacts by their ids, not their content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from penstock.model.value import Json
from penstock.planner.values import go_json, normalize


@dataclass(frozen=True, slots=True)
class OutputArtifactSpec:
    """A declared output artifact as KFP provisions it, without URI. `metadata` is None when undeclared."""

    name: str
    schema_title: str = ""
    schema_version: str = ""
    instance_schema: str = ""
    metadata: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class CacheKey:
    """KFP's `CacheKey`: everything that the fingerprint of a container task is made of.

    `input_artifacts` holds ids by input name, `output_parameters` type names (`STRING`, `NUMBER_INTEGER`, …)
    by output name; `command` and `args` still hold their placeholders.
    """

    image: str
    command: Sequence[str] = ()
    args: Sequence[str] = ()
    input_parameters: Mapping[str, Json] = field(default_factory=dict[str, Json])
    input_artifacts: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    output_parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    output_artifacts: Mapping[str, OutputArtifactSpec] = field(default_factory=dict[str, OutputArtifactSpec])
    pvc_names: Sequence[str] = ()

    def message(self) -> dict[str, Json]:
        """The key as protojson writes it: what is empty is left out."""
        container = _filled(
            image=self.image,
            cmdArgs=[*self.command, *self.args],
            pvcNames=[*sorted(set(self.pvc_names))],
        )
        found = _filled(
            inputArtifactNames={
                name: _filled(artifactNames=[*ids]) for name, ids in self.input_artifacts.items()
            },
            inputParameterValues={name: normalize(value) for name, value in self.input_parameters.items()},
            outputArtifactsSpec={name: _artifact(spec) for name, spec in self.output_artifacts.items()},
            outputParametersSpec=dict[str, Json](self.output_parameters),
        )
        found["containerSpec"] = container
        return found

    def fingerprint(self) -> str:
        """SHA-256 in hex."""
        return fingerprint(self.message())


def fingerprint(cache_key: Mapping[str, Json]) -> str:
    """SHA-256, in hex, of a `CacheKey` message in protojson's form, as Go's encoding/json prints it."""
    return hashlib.sha256(go_json(dict(cache_key)).encode()).hexdigest()


def custom_key_fingerprint(component_name: str, cache_key: str) -> str:
    """The fingerprint of a task whose caching options hold a `cacheKey`; only its component counts too."""
    return hashlib.sha256(f"{component_name}\0{cache_key}".encode()).hexdigest()


def _artifact(spec: OutputArtifactSpec) -> dict[str, Json]:
    if spec.instance_schema:
        kind = _filled(instanceSchema=spec.instance_schema)
    else:
        kind = _filled(schemaTitle=spec.schema_title, schemaVersion=spec.schema_version)
    found = _filled(name=spec.name)
    found["type"] = kind
    if spec.metadata is not None:
        found["metadata"] = {name: normalize(value) for name, value in spec.metadata.items()}
    return found


def _filled(**fields: Json) -> dict[str, Json]:
    return {name: value for name, value in fields.items() if value}

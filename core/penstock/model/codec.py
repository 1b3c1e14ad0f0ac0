"""Recorded values as JSON and back: what the store keeps and the verbs exchange."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from penstock.model.artifact import Artifact
from penstock.model.interface import ArtifactType
from penstock.model.run import NOTHING, Values
from penstock.model.value import Json, JsonObject


def artifact_to_json(artifact: Artifact) -> JsonObject:
    found: JsonObject = {"id": artifact.id, "name": artifact.name, "uri": artifact.uri}
    kind = artifact.type
    if kind.schema_title:
        found["schema_title"] = kind.schema_title
    if kind.schema_version:
        found["schema_version"] = kind.schema_version
    if kind.instance_schema:
        found["instance_schema"] = kind.instance_schema
    if artifact.metadata:
        found["metadata"] = dict(artifact.metadata)
    if artifact.size is not None:
        found["size"] = artifact.size
    if artifact.sha256 is not None:
        found["sha256"] = artifact.sha256
    return found


def artifact_from_json(found: Mapping[str, Json]) -> Artifact:
    size, sha256 = found.get("size"), found.get("sha256")
    return Artifact(
        id=cast("str", found["id"]),
        name=cast("str", found["name"]),
        type=ArtifactType(
            cast("str", found.get("schema_title", "")),
            cast("str", found.get("schema_version", "")),
            cast("str", found.get("instance_schema", "")),
        ),
        uri=cast("str", found["uri"]),
        metadata=cast("JsonObject", found.get("metadata", {})),
        size=cast("int | None", size),
        sha256=cast("str | None", sha256),
    )


def values_to_json(values: Values) -> JsonObject:
    """`{}` for nothing; else `parameters` and `artifacts`, each left out when empty."""
    found: JsonObject = {}
    if values.parameters:
        found["parameters"] = dict(values.parameters)
    if values.artifacts:
        found["artifacts"] = {
            name: [artifact_to_json(one) for one in many] for name, many in values.artifacts.items()
        }
    return found


def values_from_json(found: Mapping[str, Json]) -> Values:
    if not found:
        return NOTHING
    artifacts = cast("Mapping[str, list[JsonObject]]", found.get("artifacts", {}))
    return Values(
        cast("JsonObject", found.get("parameters", {})),
        {name: tuple(artifact_from_json(one) for one in many) for name, many in artifacts.items()},
    )

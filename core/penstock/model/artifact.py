"""An artifact: something a task wrote or brought in, with its place and its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.model.interface import ArtifactType
from penstock.model.value import Json, JsonObject


@dataclass(frozen=True, slots=True)
class Artifact:
    """`size` in bytes and `sha256` (hex) describe the content; None where there is no content of ours (an
    import).

    For a directory, `sha256` is that of the sorted listing of its files with their digests, and `size` their
    sum.
    """

    id: str
    name: str
    type: ArtifactType
    uri: str
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Json])
    size: int | None = None
    sha256: str | None = None

    def runtime(self, uri: str | None = None) -> JsonObject:
        """The `RuntimeArtifact` of KFP's ExecutorInput; `uri` replaces the recorded place by a local one."""
        kind: JsonObject = {}
        if self.type.schema_title:
            kind = {
                "schemaTitle": self.type.schema_title,
                "schemaVersion": self.type.schema_version or "0.0.1",
            }
        elif self.type.instance_schema:
            kind = {"instanceSchema": self.type.instance_schema}
        return {
            "name": self.name,
            "type": kind,
            "uri": self.uri if uri is None else uri,
            "metadata": dict(self.metadata),
        }

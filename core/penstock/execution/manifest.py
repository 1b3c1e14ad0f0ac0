"""The output manifest: what an attempt leaves behind, and all that *publish* reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import cast

from penstock.errors import PenstockError
from penstock.model import Artifact, Json, JsonObject, Reason
from penstock.model.codec import artifact_from_json, artifact_to_json

VERSION = 1


class Outcome(StrEnum):
    """How an attempt ended. LOST: nobody can tell (the machine went down); it is launched again at no
    charge.
    """

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    LOST = "LOST"


@dataclass(frozen=True, slots=True)
class OutputManifest:
    """Times are seconds since the epoch. `log` is the place of the attempt's log (a path or a URI).

    `notes` are facts about how it ran that a person may want (`python`: the interpreter chosen for the
    image). `error` is one sentence; of an attempt that succeeded it is empty, or tells of processes that it
    left behind.
    """

    attempt_id: str
    outcome: Outcome
    exit_code: int | None = None
    reason: Reason | None = None
    error: str = ""
    parameters: Mapping[str, Json] = field(default_factory=dict[str, Json])
    artifacts: Mapping[str, tuple[Artifact, ...]] = field(default_factory=dict[str, tuple[Artifact, ...]])
    log: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    notes: Mapping[str, str] = field(default_factory=dict[str, str])

    def to_json(self) -> JsonObject:
        return {
            "version": VERSION,
            "attempt_id": self.attempt_id,
            "outcome": self.outcome.value,
            "exit_code": self.exit_code,
            "reason": self.reason.value if self.reason else None,
            "error": self.error,
            "parameters": dict(self.parameters),
            "artifacts": {
                name: [artifact_to_json(one) for one in many] for name, many in self.artifacts.items()
            },
            "log": self.log,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "notes": dict(self.notes),
        }

    @staticmethod
    def from_json(found: Mapping[str, Json]) -> OutputManifest:
        """Raises PenstockError for a manifest of another version."""
        if found.get("version") != VERSION:
            raise PenstockError(
                f"the output manifest has version {found.get('version')}, this penstock reads version "
                f"{VERSION}; run the same penstock release on both sides"
            )
        reason = found.get("reason")
        artifacts = cast("Mapping[str, list[JsonObject]]", found["artifacts"])
        return OutputManifest(
            attempt_id=cast("str", found["attempt_id"]),
            outcome=Outcome(cast("str", found["outcome"])),
            exit_code=cast("int | None", found.get("exit_code")),
            reason=Reason(cast("str", reason)) if reason else None,
            error=cast("str", found.get("error", "")),
            parameters=cast("JsonObject", found["parameters"]),
            artifacts={
                name: tuple(artifact_from_json(one) for one in many) for name, many in artifacts.items()
            },
            log=cast("str", found.get("log", "")),
            started_at=cast("float | None", found.get("started_at")),
            ended_at=cast("float | None", found.get("ended_at")),
            notes=cast("dict[str, str]", found.get("notes", {})),
        )

"""How a run was asked for: what is kept with it, so that a resumed run goes on the same way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import cast

from penstock.model import Json, JsonObject


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`cache` false passes the cache over for the whole run. `parallel` is how many attempts may run at
    once. `launcher` is empty where the settings say it. `engine` is empty for the embedded one; `queue` and
    `priority` are for an engine that has such.
    """

    cache: bool = True
    fail_fast: bool = False
    parallel: int = 0
    strict_images: bool = False
    launcher: str = ""
    engine: str = ""
    queue: str = ""
    priority: int = 0

    def to_json(self) -> JsonObject:
        return asdict(self)

    @staticmethod
    def from_json(found: Mapping[str, Json]) -> RunOptions:
        return RunOptions(
            cache=bool(found.get("cache", True)),
            fail_fast=bool(found.get("fail_fast", False)),
            parallel=cast("int", found.get("parallel", 0)),
            strict_images=bool(found.get("strict_images", False)),
            launcher=cast("str", found.get("launcher", "")),
            engine=cast("str", found.get("engine", "")),
            queue=cast("str", found.get("queue", "")),
            priority=cast("int", found.get("priority", 0)),
        )

"""Provenance beside the record's own edges: what code ran, and which artifact is meant by a place."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from penstock.artifacts import ArtifactError, path_of, scheme_of, uri_of
from penstock.errors import NotFoundError, PenstockError
from penstock.ir import load
from penstock.ir.canonical import canonical_json
from penstock.model import Component, ContainerExecutor, Executor
from penstock.planner.ledger import Ledger
from penstock.store import ArtifactRecord, RunRecord, Store


@dataclass(frozen=True, slots=True)
class Code:
    """What a task runs. `digest` is the sha256 (hex) of the image, command, arguments and environment as the
    component declares them: a Python component's source is in its command. `image` is empty for an importer.
    """

    component: str
    image: str
    digest: str


@dataclass(slots=True)
class Codes:
    """The code of recorded tasks; each version of a pipeline is read once."""

    store: Store
    _ledgers: dict[str, Ledger | None] = field(default_factory=dict[str, "Ledger | None"])

    def of(self, run: RunRecord, path: str) -> Code | None:
        """None where the recorded document does not tell."""
        if run.version_id not in self._ledgers:
            self._ledgers[run.version_id] = self._read(run.version_id)
        ledger = self._ledgers[run.version_id]
        if ledger is None:
            return None
        try:
            component = ledger.place(path).component
            return code_of(component, ledger.pipeline.executor_of(component))
        except KeyError:
            return None

    def _read(self, version_id: str) -> Ledger | None:
        try:
            return Ledger(load(self.store.pipelines.document(version_id)), {}, {})
        except PenstockError:
            return None


def code_of(component: Component, executor: Executor) -> Code:
    if isinstance(executor, ContainerExecutor):
        parts = {name: value for name, value in asdict(executor).items() if name != "resources"}
        return Code(component.name, executor.image, _digest(parts))
    return Code(component.name, "", _digest(asdict(executor)))


def _digest(parts: dict[str, object]) -> str:
    return hashlib.sha256(canonical_json(parts).encode("utf-8", "surrogatepass")).hexdigest()  # pyright: ignore[reportArgumentType]


def artifact_at(store: Store, place: str) -> ArtifactRecord:
    """The newest artifact recorded at a URI or a path of this machine. Raises NotFoundError."""
    found: Sequence[ArtifactRecord] = [
        record for uri in spellings(place) for record in store.artifacts.list(uri=uri, limit=1)
    ]
    if not found:
        raise NotFoundError(
            f"no artifact is recorded at '{place}'; `penstock artifacts list` shows which are"
        )
    return max(found, key=lambda record: record.created_at)


def is_place(text: str) -> bool:
    return "://" in text or text.startswith("/")


def spellings(place: str) -> tuple[str, ...]:
    """The ways in which a place may be written: a file is known by its URI and by its path."""
    if scheme_of(place) != "file":
        return (place,)
    try:
        path = path_of(place)
    except ArtifactError:
        return (place,)
    return tuple(dict.fromkeys((place, uri_of(path), str(path))))

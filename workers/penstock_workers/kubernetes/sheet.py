"""What the staging program is told: where to fetch inputs, what to run, where outputs go."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from penstock.artifacts import scheme_of
from penstock.artifacts.web import SCHEMES as WEB
from penstock.errors import TaskError
from penstock.execution.order import LaunchOrder
from penstock.model import Json, JsonObject
from penstock_workers.kubernetes.pod import ENVIRONMENT, MAIN, SHARED, STAGE_IN, STAGE_OUT
from penstock_workers.kubernetes.shape import Shape
from penstock_workers.kubernetes.signing import SigningStore
from penstock_workers.kubernetes.task import Incoming, PodTask

INLINE_BYTES: Final = 48 << 10
"""A larger sheet is an object of its own: variables end at 128 KiB, and a pod at about 1 MiB."""
PIECE_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Environment:
    """Installed packages as an archive; `python` is what they fit, in the staging program's words."""

    uri: str
    sha256: str
    python: str


def report_uri(order: LaunchOrder) -> str:
    return f"{order.task_uri}.penstock/report.json"


def log_uri(order: LaunchOrder) -> str:
    return f"{order.task_uri}.penstock/log"


def sheets(
    order: LaunchOrder, task: PodTask, store: SigningStore, environment: Environment | None
) -> dict[str, dict[str, str]]:
    """The variables of each container that stages. `environment` is what the task's packages are in.

    Raises TaskError, naming the input, for one that cannot be had.
    """
    if task.shape is Shape.PLAIN:
        return {}
    shared: JsonObject = {"patience": 900, **({"ca": ca} if (ca := store.authorities) else {})}
    upload = upload_fields(order.task_uri, store)
    incoming: list[Json] = [found for one in task.incoming if (found := _input(one, store)) is not None]
    outgoing = task.outgoing
    outputs: JsonObject = {
        "executor_output": outgoing.executor_output,
        "parameters": dict(outgoing.parameters),
        "artifacts": {name: {"path": path, "uri": uri} for name, (path, uri) in outgoing.artifacts.items()},
        "task_uri": order.task_uri,
        "task_root": outgoing.task_root,
    }
    places: list[Json] = [
        outgoing.executor_output,
        *outgoing.parameters.values(),
        *(path for path, _ in outgoing.artifacts.values()),
    ]
    coming: JsonObject = {"inputs": incoming, "places": places, "upload": upload, **shared}
    beside = f"{order.task_uri}.penstock/sheet"
    if task.shape is Shape.BESIDE:
        return {
            STAGE_IN: bring_sheet(f"{beside}-in.json", {"mode": "in", "shared": SHARED, **coming}, store),
            STAGE_OUT: bring_sheet(
                f"{beside}-out.json",
                {"mode": "out", "shared": SHARED, "outputs": outputs, "upload": upload, **shared},
                store,
            ),
        }
    words: list[Json] = [*task.command, *task.args]
    sheet: JsonObject = {"mode": "run", **coming, "outputs": outputs, "command": words}
    if environment is not None:
        sheet["environment"] = {
            "url": store.get_url(environment.uri),
            "sha256": environment.sha256,
            "python": environment.python,
            "root": ENVIRONMENT,
            "command": [*task.bootstrap, *words],
        }
    return {MAIN: bring_sheet(f"{beside}.json", sheet, store)}


def upload_fields(prefix: str, store: SigningStore) -> JsonObject:
    """Leave to store what begins with the URI `prefix`: outputs below it, our own beside it."""
    policy = store.upload_policy(prefix)
    fields: JsonObject = dict(policy.fields)
    return {
        "url": policy.url,
        "fields": fields,
        "report": store.key(f"{prefix}.penstock/report.json"),
        "parts": store.key(f"{prefix}.penstock/parts/"),
        "piece": PIECE_BYTES,
    }


def _input(one: Incoming, store: SigningStore) -> JsonObject | None:
    """None for what nobody here can read, and for metadata without content."""
    artifact = one.artifact
    if not one.path:
        return None
    if scheme_of(artifact.uri) in WEB:
        files: list[Json] = [{"name": "", "url": artifact.uri}]
        return {"what": one.what, "path": one.path, "directory": False, "files": files}
    if not store.serves(artifact.uri):
        return None
    found = store.files(artifact.uri)
    if found is None:
        if artifact.sha256 is None:
            return None
        raise TaskError(
            f"{one.what} is gone: there is nothing at {artifact.uri!r} any more; run the task that made it "
            "again"
        )
    files = [{"name": name, "url": store.get_url(uri)} for name, uri in found.files]
    sheet: JsonObject = {
        "what": one.what,
        "path": one.path,
        "directory": found.is_directory,
        "files": files,
    }
    return {**sheet, "sha256": artifact.sha256} if artifact.sha256 else sheet


def bring_sheet(uri: str, sheet: JsonObject, store: SigningStore) -> dict[str, str]:
    """The variables that bring the sheet; a large one is stored at `uri`."""
    text = json.dumps(sheet, separators=(",", ":"))
    if len(text) <= INLINE_BYTES:
        return {"PENSTOCK_SHEET": text}
    store.write(uri, text.encode())
    return {"PENSTOCK_SHEET_URL": store.get_url(uri)}

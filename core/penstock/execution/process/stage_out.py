"""After the run: what the component says of its outputs, and what it left, become recorded values."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from penstock.artifacts import ArtifactError, Stored, path_of, scheme_of, under
from penstock.artifacts.error import cause_of
from penstock.artifacts.stores import Stores
from penstock.errors import TaskError
from penstock.execution.failpoints import failpoint
from penstock.execution.order import LaunchOrder
from penstock.execution.outputs import (
    MAX_TEXT,
    object_of,
    output_parameters,
    parse_executor_output,
    said_artifacts,
    undeclared,
)
from penstock.execution.process.attempt_folder import AttemptFolder
from penstock.execution.process.executor_input import Places, provisioned
from penstock.execution.process.transfer_log import reported
from penstock.model import Artifact, Json, Values
from penstock.planner.values import normalize


@dataclass(slots=True)
class StageOut:
    """One attempt's outputs. `host_path` says where on the machine lies what the task calls by a path; `tell`
    hears how a long transfer goes on.

    Doing it again after a crash in the middle gives the same.
    """

    order: LaunchOrder
    folder: AttemptFolder
    places: Places
    stores: Stores
    host_path: Callable[[Path], Path]
    new_id: Callable[[], str]
    tell: Callable[[str], None]
    notes: dict[str, str] = field(default_factory=dict[str, str])

    def run(self) -> Values:
        """Raises TaskError, naming the output, for what was not written or cannot be recorded."""
        said = parse_executor_output(self._executor_output(), self.order.task_name)
        component = self.order.component
        parameters = output_parameters(
            component, said, lambda name, where: read_text(self.places.parameters[name], where)
        )
        artifacts = {
            name: tuple(self._artifact(name, item) for item in said_artifacts(said, name))
            for name in component.interface.output_artifacts
        }
        self.notes |= undeclared(component, said)
        return Values(parameters, artifacts)

    def _executor_output(self) -> str | None:
        # Taken out of the task's root, where artifacts are; after a crash it may be here already.
        _take(self.places.executor_output, self.folder.executor_output)
        return read_text(self.folder.executor_output, f"the executor output of task '{self.order.task_name}'")

    def _artifact(self, name: str, said: Mapping[str, Json]) -> Artifact:
        artifact = provisioned(self.order, name)
        where = f"the metadata of output artifact '{name}'"
        metadata = {**artifact.metadata, **object_of(normalize(said.get("metadata"), where=where))}
        uri, source = self._locate(name, said)
        artifact = replace(
            artifact, id=self.new_id(), name=_text(said.get("name")) or name, uri=uri, metadata=metadata
        )
        stored = self._store(name, uri, source)
        if stored is None:
            return artifact
        return replace(artifact, size=stored.size, sha256=stored.sha256 or None)

    def _locate(self, name: str, said: Mapping[str, Json]) -> tuple[str, Path | None]:
        """The artifact's URI, and where its content lies when it is ours to store under that URI.

        We only ever write below the attempt's own `task_uri`. A URI of the component's own choice is
        recorded as it stands, and what it calls by a path in its private directories is stored as if it were
        in its place.
        """
        uri, provided = _text(said.get("uri")), self.places.artifacts[name]
        custom = _text(said.get("custom_path"))
        if uri in ("", str(provided), self.order.output_uris[name]):
            return self.order.output_uris[name], self._seen(custom) if custom else provided
        if scheme_of(uri) != "file":
            if uri.startswith(f"{self.order.task_uri.rstrip('/')}/") and ".." not in uri.split("/"):
                rest = uri[len(self.order.task_uri.rstrip("/")) + 1 :]
                return uri, self._seen(custom) if custom else self.places.task_root / rest
            return uri, None
        path = self._seen(uri) if "://" not in uri else path_of(uri)
        if path.is_relative_to(self.places.task_root) and path != self.places.task_root:
            rest = str(path.relative_to(self.places.task_root))
            return under(self.order.task_uri, rest), self._seen(custom) if custom else path
        source = self._seen(custom) if custom else self.host_path(path)
        if source.is_relative_to(self.folder.path):
            return self.order.output_uris[name], source
        return uri, None

    def _store(self, name: str, uri: str, source: Path | None) -> Stored | None:
        if source is None:
            return self._describe(uri)
        store = self.stores.of(self.order.task_uri)
        # A link is followed in the task's own view of the file system, which ours may not be.
        for _ in range(40):
            if not source.is_symlink():
                break
            source = self.host_path(Path(os.path.normpath(source.parent / os.readlink(source))))
        place = store.place(uri)
        if not os.path.lexists(source):
            if place is None and (found := store.stat(uri)) is not None:
                return found  # its own code wrote there, past us
            if place is None or not os.path.lexists(place):
                self.notes[f"artifact:{name}"] = (
                    f"output artifact '{name}' was not written; it has metadata only"
                )
                return None
            source = place  # moved there before a crash
        ours = source.is_relative_to(self.folder.path) or source.is_relative_to(self.places.task_root)
        reported_to_log = reported(f"storing output '{name}'", self.tell)

        def progress(done: int, total: int) -> None:
            reported_to_log(done, total)
            if done == total:
                failpoint("artifact.uploaded")

        try:
            stored = store.put(source, uri, move=ours and place is not None, progress=progress)
        except ArtifactError as problem:
            raise ArtifactError(f"output artifact '{name}' cannot be stored: {problem}") from problem
        failpoint("artifact.stored")
        return stored

    def _describe(self, uri: str) -> Stored | None:
        """Content at a place of the component's own choice: recorded where it can be read, never moved.

        Of object stores, only the one that the run's own artifacts are in is asked.
        """
        store = self.stores.of(self.order.task_uri)
        if scheme_of(uri) == "file" or scheme_of(uri) not in store.schemes:
            return describe_local(uri)
        try:
            return store.stat(uri)
        except ArtifactError:
            return None

    def _seen(self, text: str) -> Path:
        """A path as the task wrote it, on this machine; a relative one is in its working directory."""
        return self.host_path(Path(os.path.normpath(self.folder.work / text)))


def describe_local(uri: str) -> Stored | None:
    """Size and digest of what a file URI or a path names; None for another scheme, or where nothing is
    readable.
    """
    from penstock.artifacts.content import describe, examine

    if scheme_of(uri) != "file":
        return None
    try:
        return describe(examine(path_of(uri)), uri)
    except (OSError, ArtifactError):
        return None


def read_text(path: Path, where: str) -> str | None:
    """A file that a task wrote; None when there is none. Raises TaskError for what is not a text of its size.

    A link is not followed, and a pipe is not waited for: the task may have left anything.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as problem:
        cause = "it is a link" if problem.errno == errno.ELOOP else cause_of(problem)
        raise TaskError(f"{where} cannot be read: {cause}") from problem
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise TaskError(f"{where} cannot be read: {str(path)!r} is not a file")
        if found.st_size > MAX_TEXT:
            raise TaskError(
                f"{where} has {found.st_size} bytes, more than the {MAX_TEXT} that are recorded; "
                "write large values as an artifact"
            )
        with open(handle, "rb", closefd=False) as file:
            data = file.read(MAX_TEXT + 1)
    finally:
        os.close(handle)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise TaskError(
            f"{where} is binary: byte {problem.start + 1} of {len(data)} is not UTF-8; "
            "write binary data as an artifact"
        ) from problem


def _take(source: Path, target: Path) -> None:
    try:
        os.rename(source, target)
    except FileNotFoundError:
        return
    except OSError as problem:
        if problem.errno != errno.EXDEV:
            raise TaskError(
                f"the executor output {str(source)!r} cannot be read: {cause_of(problem)}"
            ) from problem
        # On another file system, which the system says before it looks for the source.
        text = read_text(source, "the executor output")
        if text is not None:
            target.write_text(text, encoding="utf-8")
            source.unlink()


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""

"""Outputs to their places below the attempt's own prefix, and what they are for the report."""

import errno
import io
import json
import os
import stat
from typing import Any, BinaryIO, Dict, List, Optional, Tuple

from store import Remote, Sheet, StageError

MAX_TEXT = 16 << 20
LISTING = ".penstock-listing.json"


def stage_out(sheet: Sheet, remote: Remote) -> Dict[str, Any]:
    outputs = sheet["outputs"]
    said = _read_text(outputs["executor_output"], "the executor output")
    report: Dict[str, Any] = {"executor_output": said, "parameters": {}, "artifacts": {}}
    for name, path in outputs["parameters"].items():
        report["parameters"][name] = _read_text(path, f"the output parameter '{name}'")
    upload = Upload(sheet, remote)
    for name, place in outputs["artifacts"].items():
        report["artifacts"][name] = [
            upload.artifact(name, place, one) for one in _said_artifacts(said, name) or [{}]
        ]
    return report


class Upload:
    """Artifacts to their places below the attempt's own prefix."""

    def __init__(self, sheet: Sheet, remote: Remote) -> None:
        self._outputs = sheet.get("outputs", {})
        self._target = sheet["upload"]
        self._remote = remote
        self._parts = 0

    def artifact(self, name: str, place: Dict[str, str], said: Dict[str, Any]) -> Dict[str, Any]:
        """{"uri"} alone for what is not ours to store, with "missing" for what was not written."""
        uri, source = self._locate(place, said)
        if source is None:
            return {"uri": uri}
        if not os.path.lexists(source):
            return {"uri": uri, "missing": source}
        what = f"output artifact '{name}'"
        directory, names = _examine(source, what)
        files: List[Dict[str, Any]] = []
        for one in names:
            path = os.path.join(source, one) if one else source
            files.append(self.file(path, one, uri, what))
        if directory:
            self._list(source, files, uri, what)
        return {"uri": uri, "directory": directory, "files": files}

    def _list(self, source: str, files: List[Dict[str, Any]], uri: str, what: str) -> None:
        """What makes a directory of many objects: penstock.artifacts.s3.listing."""
        if any(one["name"] == LISTING for one in files):
            raise StageError("{} holds a file with our name {!r}; rename it".format(what, LISTING))
        folders = [
            os.path.relpath(os.path.join(at, one), source) for at, many, _ in os.walk(source) for one in many
        ]
        entries = [{key: one[key] for key in ("name", "size", "sha256")} for one in files]
        listing: Dict[str, Any] = {
            "version": 1,
            "complete": True,
            "files": entries,
            "directories": sorted(folders),
            "links": {},
        }
        data = json.dumps(listing).encode()
        self._remote.put(io.BytesIO(data), 0, len(data), _key(uri, LISTING), what)

    def _locate(self, place: Dict[str, str], said: Dict[str, Any]) -> Tuple[str, Optional[str]]:
        """We only ever write below the attempt's own prefix; another URI is recorded as it stands."""
        uri, custom = str(said.get("uri") or ""), str(said.get("custom_path") or "")
        root, task_uri = str(self._outputs["task_root"]), str(self._outputs["task_uri"]) + "/"
        if uri in ("", place["uri"], place["path"]):
            return place["uri"], custom or place["path"]
        if uri.startswith(task_uri) and ".." not in uri.split("/"):
            return uri, custom or os.path.join(root, uri[len(task_uri) :])
        if "://" in uri:
            return uri, None
        path = os.path.normpath(os.path.join(os.getcwd(), uri))
        if path.startswith(root + "/"):
            return task_uri + path[len(root) + 1 :], custom or path
        return place["uri"], custom or path

    def file(self, path: str, name: str, uri: str, what: str) -> Dict[str, Any]:
        """A large one goes up in pieces, which the store puts together later."""
        key = _key(uri, name)
        piece = int(self._target["piece"])
        try:
            source = open(path, "rb")
        except OSError as problem:
            raise StageError(f"{what} cannot be read: {problem.strerror} ({path!r})")
        with source:
            size = os.fstat(source.fileno()).st_size
            reader = Hashing(source)
            if size <= piece:
                self._remote.put(reader, 0, size, key, what)  # type: ignore[arg-type]
                return {"name": name, "size": size, "sha256": reader.hexdigest()}
            pieces: List[str] = []
            for start in range(0, size, piece):
                self._parts += 1
                part = "{}{}".format(self._target["parts"], self._parts)
                self._remote.put(reader, start, min(piece, size - start), part, what)  # type: ignore[arg-type]
                pieces.append(part)
            return {"name": name, "size": size, "sha256": reader.hexdigest(), "pieces": pieces}


def _key(uri: str, name: str) -> str:
    return uri.split("://", 1)[1].split("/", 1)[1] + ("/" + name if name else "")


class Hashing:
    """A file read from its beginning to its end, with a digest that holds when a piece is read again."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        import hashlib

        self._digest = hashlib.sha256()
        self._kept = {0: self._digest.copy()}

    def seek(self, start: int) -> None:
        if start not in self._kept:
            self._kept = {start: self._digest.copy()}
        self._digest = self._kept[start].copy()
        self._source.seek(start)

    def read(self, size: int) -> bytes:
        found = self._source.read(size)
        self._digest.update(found)
        return found

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def _examine(root: str, what: str) -> Tuple[bool, List[str]]:
    """(is it a directory, the names of its files). Links may point to what is inside."""
    mode = os.stat(root).st_mode
    if stat.S_ISREG(mode):
        return False, [""]
    if not stat.S_ISDIR(mode):
        raise StageError(f"{what} is neither a file nor a directory")
    names: List[str] = []
    real = os.path.realpath(root)
    for folder, folders, files in os.walk(root):
        for name in files + [one for one in folders if os.path.islink(os.path.join(folder, one))]:
            path = os.path.join(folder, name)
            inside = os.path.realpath(path)
            if os.path.islink(path) and not inside.startswith(real + os.sep):
                raise StageError(
                    f"{what} holds a link that leads outside of it ({path!r}); copy the file instead"
                )
            if os.path.isfile(path):
                names.append(os.path.relpath(path, root))
            elif not os.path.isdir(path) and os.path.lexists(path) and not os.path.islink(path):
                raise StageError(f"{what} holds {path!r}, which is neither a file nor a directory")
    return True, sorted(names, key=os.fsencode)


def _said_artifacts(text: Optional[str], name: str) -> List[Dict[str, Any]]:
    """Whatever is wrong with the executor output is said by who reads the report."""
    try:
        found = json.loads(text or "{}")["artifacts"][name]["artifacts"]
        return [one for one in found if isinstance(one, dict)]
    except (ValueError, KeyError, TypeError):
        return []


def _read_text(path: str, what: str) -> Optional[str]:
    if not path:
        return None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as problem:
        if problem.errno == errno.ENOENT:
            return None
        raise StageError(f"{what} cannot be read: {problem.strerror} ({path!r})")
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise StageError(f"{what} cannot be read: {path!r} is not a file")
        data = file.read(MAX_TEXT + 1)
    if len(data) > MAX_TEXT:
        raise StageError(
            f"{what} has more than the {MAX_TEXT} bytes that are recorded; write large values as an artifact"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise StageError(f"{what} is binary; write binary data as an artifact")

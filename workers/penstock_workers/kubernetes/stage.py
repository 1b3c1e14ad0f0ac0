"""Runs inside pods: brings inputs in, runs the task's command as its child, brings outputs out. Never
imported by penstock.

It comes into any image by a ConfigMap, so it is one file, needs the standard library alone, and nothing newer
than Python 3.6. What it does is on its *sheet*, a JSON object in PENSTOCK_SHEET or behind PENSTOCK_SHEET_URL:

- `mode`: `run` (all of it, in the task's own container), `in` or `out` (in containers beside the task's), or
  `build` (install packages, and store them as an archive)
- `inputs`: [{"what", "path", "directory", "files": [{"name", "url", "size"}], "sha256"}]
- `environment`: {"url", "sha256", "root", "python", "command"} of an archive of installed packages, or
  absent; `command` installs them by itself and is run where the archive is for another Python
- `build`: {"root", "uri", "installs": [arguments of pip], "substitutes": {requirement: another}}
- `places`: paths whose folders are to be there
- `command`: what to run
- `outputs`: {"executor_output", "parameters": {name: path}, "artifacts": {name: {"path", "uri"}}, "task_uri",
  "task_root"}
- `upload`: {"url", "fields", "report", "parts", "piece"}: a POST policy for keys with one prefix, the key of
  the report, the key that pieces of large files begin with, and their size
- `shared`: a folder that the containers of one pod share; `ca`: certificates to trust, in PEM
- `patience`: seconds for which a store that does not answer is tried again

The report is uploaded last. Who has the pod's exit code and the report knows how the attempt ended.
"""

import errno
import hashlib
import http.client
import io
import json
import os
import platform
import random
import signal
import ssl
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from types import FrameType
from typing import Any, BinaryIO, Callable, Dict, List, Optional, Tuple

STAGE_IN_FAILED = 120
STAGE_OUT_FAILED = 121
MAX_TEXT = 16 << 20
CHUNK = 1 << 20
CONNECT_SECONDS = 3.0
SILENT_SECONDS = 120.0
LISTING = ".penstock-listing.json"
MESSAGE = "/dev/termination-log"
MESSAGE_BYTES = 4000
PASSED_ON = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH")

Sheet = Dict[str, Any]


class StageError(Exception):
    """One sentence for the person whose task it is."""


class PlainConnection(http.client.HTTPConnection):
    """Gives up connecting soon, to try it anew: the network of a pod that has just started may lose the first
    packets, and the system repeats them at ever longer intervals.
    """

    def connect(self) -> None:
        self.timeout = CONNECT_SECONDS
        super().connect()
        self.sock.settimeout(SILENT_SECONDS)


class SecureConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        self.timeout = CONNECT_SECONDS
        super().connect()
        self.sock.settimeout(SILENT_SECONDS)


class PlainHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(PlainConnection, req)


class SecureHandler(urllib.request.HTTPSHandler):
    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._trusting = context

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(SecureConnection, req, context=self._trusting)


class Remote:
    """The object store, by URLs that somebody else has signed."""

    def __init__(self, sheet: Sheet) -> None:
        context = ssl.create_default_context()
        if sheet.get("ca"):
            context.load_verify_locations(cadata=sheet["ca"])
        self._opener = urllib.request.build_opener(PlainHandler(), SecureHandler(context=context))
        self._patience = float(sheet.get("patience", 600))
        self._upload: Dict[str, Any] = sheet.get("upload") or {}

    def get(self, url: str, target: BinaryIO, what: str) -> Tuple[int, str]:
        """(size, sha256) of what was written to `target`."""

        def once() -> Tuple[int, str]:
            target.seek(0)
            target.truncate()
            digest, size = hashlib.sha256(), 0
            with self._opener.open(url) as response:
                length = response.headers.get("Content-Length")
                while True:
                    chunk = response.read(CHUNK)
                    if not chunk:
                        break
                    target.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
                if length is not None and int(length) != size:
                    raise ConnectionError("the connection ended too early")
            return size, digest.hexdigest()

        return self._again(once, "cannot fetch " + what)

    def put(self, source: BinaryIO, start: int, size: int, key: str, what: str) -> None:
        """Upload `size` bytes from `start` on as the object `key`."""

        def once() -> None:
            source.seek(start)
            form = Form(dict(self._upload["fields"], key=key), source, size)
            request = urllib.request.Request(self._upload["url"], data=form, method="POST")  # type: ignore[arg-type]
            request.add_header("Content-Type", "multipart/form-data; boundary=" + Form.BOUNDARY)
            request.add_header("Content-Length", str(form.size))
            self._opener.open(request).close()
            if form.missing:
                raise StageError(f"cannot store {what}: it became shorter while it was read")

        self._again(once, "cannot store " + what)

    def _again(self, once: Callable[[], Any], action: str) -> Any:
        started, pause = time.monotonic(), 0.1
        while True:
            try:
                return once()
            except urllib.error.HTTPError as problem:
                text = _said(problem)
                if problem.code < 500 and problem.code not in (408, 429):
                    raise StageError(f"{action}: the store says {text}")
            except (OSError, http.client.HTTPException) as problem:
                cause = getattr(problem, "reason", problem)
                if getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                    raise StageError(f"{action}: the pod's disk is full")
                text = str(cause) or type(cause).__name__
            pause = min(5.0, pause * 2)
            if time.monotonic() - started > self._patience:
                raise StageError(f"{action}: {text}")
            time.sleep(random.uniform(pause / 2, pause))


class Form:
    """A multipart form whose last field is a part of a file, read as it is sent."""

    BOUNDARY = "penstock-7f3b1d52c6e84a0f"

    def __init__(self, fields: Dict[str, str], source: BinaryIO, size: int) -> None:
        head = "".join(
            f'--{self.BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        head += (
            f'--{self.BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        self._head = io.BytesIO(head.encode())
        self._tail = io.BytesIO(f"\r\n--{self.BOUNDARY}--\r\n".encode())
        self._source = source
        self.missing = size
        self.size = len(self._head.getvalue()) + size + len(self._tail.getvalue())

    def read(self, size: int = CHUNK) -> bytes:
        size = max(size, CHUNK) if size > 0 else CHUNK
        found = self._head.read(size)
        if not found and self.missing:
            found = self._source.read(min(size, self.missing))
            self.missing -= len(found)
            if not found:
                raise StageError("a file became shorter while it was stored")
        return found or self._tail.read(size)


def _said(problem: urllib.error.HTTPError) -> str:
    """The store's own words: S3 answers errors in XML."""
    try:
        text = problem.read(2000).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        text = ""
    for tag in ("Message", "Code"):
        if "<" + tag + ">" in text:
            return text.split("<" + tag + ">", 1)[1].split("<", 1)[0]
    return f"{problem.code} {problem.reason}"


def stage_in(sheet: Sheet, remote: Remote) -> None:
    for path in sheet.get("places", []):
        _make_folder(os.path.dirname(path))
    for given in sheet.get("inputs", []):
        listing: List[Tuple[str, int, str]] = []
        for one in given["files"]:
            path = os.path.join(str(given["path"]), one["name"]) if one["name"] else str(given["path"])
            _make_folder(os.path.dirname(path))
            with open(path, "w+b") as target:
                size, digest = remote.get(one["url"], target, given["what"])
            listing.append((one["name"], size, digest))
        if given["directory"]:
            _make_folder(given["path"])
        wanted = given.get("sha256")
        if wanted and _digest(listing, given["directory"]) != wanted:
            raise StageError(
                "the content of {} has changed since it was recorded; run the task that made it again".format(
                    given["what"]
                )
            )
    environment = sheet.get("environment")
    if environment and environment["python"] != python_tag():
        # The image is no longer the one that the packages were installed in.
        sheet["command"] = environment["command"]
        sheet["environment"] = None
    elif environment:
        _unpack(environment, remote)


def python_tag() -> str:
    """What an archive of installed packages must agree in with who unpacks it."""
    return "{}-{}-{}".format(sys.implementation.cache_tag, platform.machine(), sys.base_prefix)


def _unpack(environment: Dict[str, str], remote: Remote) -> None:
    """To the very place where they were installed."""
    _make_folder(environment["root"])
    part = os.path.join(environment["root"], ".archive")
    with open(part, "w+b") as target:
        _, digest = remote.get(environment["url"], target, "the installed packages")
        if digest != environment["sha256"]:
            raise StageError("the archive of installed packages is damaged; `penstock gc` can remove it")
        target.seek(0)
        with tarfile.open(fileobj=target, mode="r:*") as archive:
            archive.extractall(environment["root"])
    os.unlink(part)


def _make_folder(path: str) -> None:
    """For all to write into: the task may run as another user than who stages."""
    missing: List[str] = []
    while path and not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for one in reversed(missing):
        try:
            os.mkdir(one)
            os.chmod(one, 0o777)
        except FileExistsError:
            pass


def run(command: List[str], environment: Optional[Dict[str, str]]) -> int:
    """The exit code of the command, 128 + n for signal n, with every signal to us passed on."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_SHEET")}
    home = variables.get("HOME", "/")
    if not os.access(home, os.W_OK):
        variables["HOME"] = "/tmp"
    if environment:
        programs = os.path.join(environment["root"], "bin")
        variables["PATH"] = programs + os.pathsep + variables.get("PATH", os.defpath)
        variables["VIRTUAL_ENV"] = environment["root"]
    early: List[int] = []
    child: Optional[subprocess.Popen[bytes]] = None

    def pass_on(number: int, _: Optional[FrameType]) -> None:
        if child is None:
            early.append(number)
        elif child.returncode is None:
            try:
                os.kill(child.pid, number)
            except OSError:
                pass

    for name in PASSED_ON:
        signal.signal(getattr(signal, name), pass_on)
    child = subprocess.Popen(command, env=variables)
    for number in early:
        pass_on(number, None)
    while True:
        # As process 1 we also inherit what the task leaves behind.
        pid, status = os.waitpid(-1, 0)
        if pid == child.pid:
            break
    code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    child.returncode = code
    if os.getpid() == 1:
        try:
            os.kill(-1, signal.SIGKILL)
        except OSError:
            pass
    return code


def start_failure(command: List[str], problem: OSError) -> Tuple[int, str]:
    if problem.errno == errno.E2BIG:
        return 126, "an argument is longer than the system takes; pass large values as artifacts"
    if problem.errno == errno.ENOENT:
        return 127, f"there is no program {command[0]!r} in the image"
    return 126, f"{command[0]!r} cannot be executed: {problem.strerror}"


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


def _digest(listing: List[Tuple[str, int, str]], directory: bool) -> str:
    if not directory:
        return listing[0][2] if listing else ""
    whole = hashlib.sha256()
    for name, _, digest in sorted(listing, key=lambda one: os.fsencode(one[0])):
        whole.update(digest.encode() + b"  " + os.fsencode(name) + b"\0")
    return whole.hexdigest()


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


def build(sheet: Sheet, remote: Remote) -> Dict[str, Any]:
    """A virtual environment on top of the image's own packages, installed by the image's own pip."""
    wanted = sheet["build"]
    root = str(wanted["root"])
    has_pip = subprocess.call([sys.executable, "-Ic", "import pip"], stderr=subprocess.DEVNULL) == 0
    options = ["--system-site-packages"] + (["--without-pip"] if has_pip else [])
    _checked([sys.executable, "-m", "venv", *options, root], {})
    pip = [os.path.join(root, "bin", "python"), "-m", "pip", "install", "--no-warn-script-location"]
    for arguments in wanted["installs"]:
        _checked([*pip, "--disable-pip-version-check", *arguments], wanted["substitutes"])
    with tempfile.NamedTemporaryFile(dir=root, prefix=".archive") as file:
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive:
            for name in sorted(os.listdir(root)):
                if not name.startswith(".archive"):
                    archive.add(os.path.join(root, name), name)
        file.flush()
        stored = Upload(sheet, remote).file(file.name, "", wanted["uri"], "the archive of packages")
    return dict(stored, python=python_tag())


def _checked(command: List[str], substitutes: Dict[str, str]) -> None:
    """Run it with its output in the log. A requirement that no index has may have a substitute."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert child.stdout is not None
    last, missing, said = "", "", ""
    for line in child.stdout:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        text = line.decode("utf-8", "replace").strip()
        last = text or last
        if text.startswith("ERROR: "):
            said = said or text[len("ERROR: ") :]
        if "No matching distribution found for " in text:
            missing = text.rpartition(" for ")[2]
    if child.wait() == 0:
        return None
    if missing in substitutes and missing in command:
        changed = [substitutes[one] if one == missing else one for one in command]
        return _checked(changed, {})
    no_index = "No matching distribution found for " + missing if missing else ""
    raise StageError("packages cannot be installed: {}".format(no_index or said or last))


def finish(sheet: Sheet, remote: Remote, report: Dict[str, Any]) -> None:
    """The report, last of all: uploaded, and where it is small also as the container's last words."""
    report["version"] = 1
    data = json.dumps(report).encode()
    try:
        remote.put(io.BytesIO(data), 0, len(data), sheet["upload"]["report"], "the report")
    finally:
        short = data if len(data) <= MESSAGE_BYTES else json.dumps({"version": 1, "long": True}).encode()
        try:
            with open(MESSAGE, "wb") as file:
                file.write(short)
        except OSError:
            pass


def main() -> int:
    """The exit code: the command's own, or one of the two above when staging failed."""
    signal.signal(signal.SIGTERM, _end)
    sheet = _sheet()
    remote = Remote(sheet)
    report: Dict[str, Any] = {"started": time.time()}
    code = 0
    mode, shared = str(sheet["mode"]), str(sheet.get("shared") or "")
    try:
        if mode == "build":
            report.update(build(sheet, remote))
        elif mode == "out":
            _await_end(shared)
        else:
            if shared:
                _await_sidecar(shared)
            stage_in(sheet, remote)
            if mode == "in":
                return 0
            report["began"] = time.time()
            try:
                code = run(sheet["command"], sheet.get("environment"))
            except OSError as problem:
                code, report["error"] = start_failure(sheet["command"], problem)
            report["exit_code"] = code
    except StageError as problem:
        code, report["failed"] = STAGE_IN_FAILED, {"stage": "in", "text": str(problem)}
    if code == 0 and mode != "build":
        try:
            report.update(stage_out(sheet, remote))
        except StageError as problem:
            code, report["failed"] = STAGE_OUT_FAILED, {"stage": "out", "text": str(problem)}
    report["ended"] = time.time()
    for text in (report.get("error"), report.get("failed", {}).get("text")):
        if text:
            sys.stderr.write(f"penstock: {text}\n")
    try:
        finish(sheet, remote, report)
    except StageError as problem:
        sys.stderr.write(f"penstock: {problem}\n")
        return code or STAGE_OUT_FAILED
    return code


def _end(number: int, _: Optional[FrameType]) -> None:
    sys.exit(128 + number)


def _await_end(shared: str) -> None:
    """Kubernetes asks a sidecar to end when the task's own container has ended.

    A signal that is blocked waits for us, which one without a handler would not do for process 1.
    """
    asked = (signal.SIGTERM, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, asked)
    with open(os.path.join(shared, "ready"), "w"):
        pass
    signal.sigwait(asked)


def _await_sidecar(shared: str) -> None:
    """A signal that came before the sidecar listens would be lost, and with it the outputs."""
    while not os.path.exists(os.path.join(shared, "ready")):
        time.sleep(0.02)


def _sheet() -> Sheet:
    text = os.environ.pop("PENSTOCK_SHEET", "")
    if not text:
        target = io.BytesIO()
        Remote({}).get(os.environ.pop("PENSTOCK_SHEET_URL"), target, "the sheet of the attempt")
        text = target.getvalue().decode()
    return dict(json.loads(text))


if __name__ == "__main__":
    sys.exit(main())

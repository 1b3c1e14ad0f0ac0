"""Runs inside pods: brings inputs in, runs the task's command as its child, brings outputs out. Never
imported by penstock.

It comes into any image by a ConfigMap, as a folder that Python runs: its modules import each other by their
bare names, need the standard library alone, and nothing newer than Python 3.6. Every pod pays for what is
loaded, so what few of them need (TLS, hashes, archives) is imported where it is needed.

What it does is on its *sheet*, a JSON object in PENSTOCK_SHEET or behind PENSTOCK_SHEET_URL:

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

import io
import json
import os
import signal
import sys
import time
from types import FrameType
from typing import Any, Dict, Optional

from store import Remote, Sheet, StageError

STAGE_IN_FAILED = 120
STAGE_OUT_FAILED = 121
MESSAGE = "/dev/termination-log"
MESSAGE_BYTES = 4000


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
            from build import build

            report.update(build(sheet, remote))
        elif mode == "out":
            _await_end(shared)
        else:
            if shared:
                _await_sidecar(shared)
            from inputs import stage_in

            stage_in(sheet, remote)
            if mode == "in":
                return 0
            from command import run, start_failure

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
            from outputs import stage_out

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
        Remote({}).get(os.environ.pop("PENSTOCK_SHEET_URL"), target, "the sheet", hashed=False)
        text = target.getvalue().decode()
    return dict(json.loads(text))


if __name__ == "__main__":
    sys.exit(main())

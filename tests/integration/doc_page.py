"""A page of the documentation, and its commands run as they are printed.

In a fenced `console` block a line that begins with `$ ` is a command (`> ` goes on with it), and what follows
is what it prints. An ellipsis (…) stands for anything within a line, and as a line of its own for any lines.
Ids, times, durations and the width of columns may differ. A fenced block with a title is a file of that name.
Comments before a block say more: `<!-- not run: reason -->`, `<!-- exit code: 1 -->`. A page with a comment
`<!-- service: NAME at ADDRESS -->` is run where that service of `tests.services` is, wherever that is; for
postgres with a database of its own.

`python -m tests.integration.doc_page PAGE…` runs pages and puts what was printed into them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.databases import Databases
from tests.integration.s3_service import fresh_bucket
from tests.services import SERVICES

ROOT = Path(__file__).resolve().parent.parent.parent
ENVIRONMENTS = ROOT / ".venvs" / "environments"
TIMEOUT = 600
HOME = "/home/you/.penstock"
BUCKET = "team-artifacts"
"""How pages call the bucket that they keep artifacts in."""

_BLOCK = re.compile(
    r"(?P<comments>(?:^ *<!--(?:(?!-->).)*-->\n\s*)*)"
    r"^(?P<indent> *)```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?[^\n]*\n(?P<body>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
_SERVICE = re.compile(r"<!-- service: (\w+) at (\S+) -->")
_COMMENT = re.compile(r"<!--\s*(.*?)\s*-->", re.DOTALL)
_FREE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # ids, and the ends of them
    r"|\b[0-9a-f]{64}\b|\b(?=[0-9a-f]*\d)[0-9a-f]{8}\b"
    r"|\d{4}-\d\d-\d\d[ T]\d\d[:-]\d\d[:-]\d\dZ?|\b\d\d:\d\d:\d\d\b|\b\d{10}\.\d+\b"  # times
    r"|\b\d+(?:\.\d+)?(?:s| s| seconds)(?![\w])|\b\d+[hm]\d\d[ms]?\b"  # durations
    r"|\b3\.\d+\.\d+(?:-[0-9a-f]{16})?\b"  # Pythons, environments
)


@dataclass(frozen=True, slots=True)
class Command:
    """`expected` are the lines that the page shows below it; `line` is where it stands in the page."""

    text: str
    expected: tuple[str, ...]
    exit_code: int
    line: int


@dataclass(frozen=True, slots=True)
class File:
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """`steps` are files and commands in their order; `not_run` why some blocks are not run. `services` are
    the addresses that the page gives to services, by their names.
    """

    path: Path
    steps: tuple[Command | File, ...]
    not_run: tuple[str, ...] = ()
    services: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class Session:
    """Runs commands in `folder`, a stand-in for the checkout, with a home of their own below it.

    `addresses` is what stands for the addresses in the page, `more` are variables.
    """

    folder: Path
    environments: Path = ENVIRONMENTS
    addresses: Mapping[str, str] = field(default_factory=dict[str, str])
    more: Mapping[str, str] = field(default_factory=dict[str, str])
    _variables: dict[str, str] = field(default_factory=dict[str, str], init=False)
    _background: list[subprocess.Popen[bytes]] = field(
        default_factory=list[subprocess.Popen[bytes]], init=False
    )

    def __post_init__(self) -> None:
        work, programs = self.folder / "checkout", self.folder / "bin"
        work.mkdir()
        programs.mkdir()
        for name in ("dags", "core", "pyproject.toml"):
            (work / name).symlink_to(ROOT / name)
        for name, arguments in (("penstock", " -m penstock"), ("python", "")):
            script = programs / name
            script.write_text(f'#!/bin/sh\nexec {sys.executable}{arguments} "$@"\n')
            script.chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        self._variables = {
            **kept,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PENSTOCK_HOME": str(self.folder / "home"),
            "PENSTOCK_ENVIRONMENTS": str(self.environments),
            "COLUMNS": "100",
            **self.more,
        }

    def write(self, file: File) -> None:
        path = self.folder / "checkout" / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._there(file.text), encoding="utf-8")

    def run(self, command: str) -> tuple[int, str]:
        """Exit code, and output with errors in between. A command in the background writes to a file."""
        script = self._there(command)
        if script.rstrip().endswith("&"):
            self._background.append(self._start(script.rstrip().removesuffix("&")))
            return 0, ""
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            cwd=self.folder / "checkout",
            env=self._variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
        printed = done.stdout
        for shown, real in self.addresses.items():
            printed = printed.replace(real, shown)
        return done.returncode, printed

    def close(self) -> None:
        """End what goes on in the background."""
        for process in self._background:
            process.terminate()
        for process in self._background:
            process.wait(TIMEOUT)

    def _start(self, script: str) -> subprocess.Popen[bytes]:
        with (self.folder / "background.log").open("ab") as log:
            return subprocess.Popen(
                ["/bin/sh", "-c", f"exec {script}"],
                cwd=self.folder / "checkout",
                env=self._variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _there(self, text: str) -> str:
        for shown, real in self.addresses.items():
            text = text.replace(shown, real)
        return text


def read_page(path: Path) -> Page:
    """Raises ValueError for a console block that does not begin with a command."""
    text = path.read_text(encoding="utf-8")
    steps: list[Command | File] = []
    not_run: list[str] = []
    for block in _BLOCK.finditer(text):
        said = _said(block["comments"])
        if "not run" in said:
            not_run.append(said["not run"])
            continue
        indent = len(block["indent"])
        body = "".join(f"{line[indent:]}\n" for line in block["body"].splitlines())
        if block["title"]:
            steps.append(File(block["title"], body))
        elif block["language"] == "console":
            line = text.count("\n", 0, block.start("body")) + 1
            steps.extend(_commands(body, int(said.get("exit code", "0")), line, path))
    return Page(path, tuple(steps), tuple(not_run), dict(_SERVICE.findall(text)))


def bucket_of(page: Page, opened: ExitStack) -> tuple[dict[str, str], dict[str, str]]:
    """What stands for BUCKET, and who may use it, for a page with S3 in it; and which cluster is there."""
    cluster = (
        {"KUBECONFIG": os.environ[SERVICES["kubernetes"].variable]} if "kubernetes" in page.services else {}
    )
    if "s3" not in page.services:
        return {}, cluster
    bucket = opened.enter_context(fresh_bucket())
    return {BUCKET: bucket.name}, {**cluster, **bucket.variables}


def unlike(expected: tuple[str, ...], printed: str) -> list[str]:
    """The expected lines that were not printed."""
    lines = [_even(line) for line in printed.splitlines()]
    return [line for line in expected if not any(_pattern(line).search(found) for found in lines)]


def _said(comments: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for comment in _COMMENT.findall(comments):
        key, _, value = comment.partition(":")
        if key in ("not run", "exit code"):
            found[key] = value.strip()
    return found


def _commands(body: str, exit_code: int, line: int, path: Path) -> Iterator[Command]:
    parts = re.split(r"^\$ ", body, flags=re.MULTILINE)
    if parts[0].strip():
        raise ValueError(f"{path}:{line}: a console block begins with a command")
    at = line + parts[0].count("\n")
    for part in parts[1:]:
        lines = part.splitlines()
        more = 1
        while more < len(lines) and lines[more].startswith("> "):
            more += 1
        text = "\n".join([lines[0], *(one[2:] for one in lines[1:more])])
        expected = tuple(one for one in lines[more:] if one.strip() and one.strip() != "…")
        yield Command(text, expected, exit_code, at)
        at += len(lines)


def _even(line: str) -> str:
    return " ".join(line.split())


def _pattern(line: str) -> re.Pattern[str]:
    """What is alike: the words between ellipses and whatever differs from run to run."""
    pieces = [_FREE.split(piece) for piece in _even(line).replace(HOME, "…").split("…")]
    found = ".*".join(".*?".join(re.escape(part) for part in piece) for piece in pieces)
    return re.compile(found)


def record(path: Path) -> None:
    """Write into a page what its commands print now. Where it leaves lines out (…), or all, it stays."""
    page = read_page(path)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    shift = 0
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, ExitStack() as opened:
        addresses = {address: os.environ[SERVICES[name].variable] for name, address in page.services.items()}
        if "postgres" in page.services:
            server = Databases(addresses[page.services["postgres"]])
            addresses[page.services["postgres"]] = opened.enter_context(server.fresh())
        names, more = bucket_of(page, opened)
        session = Session(
            Path(folder),
            Path(os.environ.get("PENSTOCK_ENVIRONMENTS", ENVIRONMENTS)),
            {**addresses, **names},
            more,
        )
        opened.callback(session.close)
        for step in page.steps:
            if isinstance(step, File):
                session.write(step)
                continue
            code, printed = session.run(step.text)
            if code != step.exit_code:
                sys.stderr.write(f"{path}:{step.line}: $ {step.text}\nended with {code}:\n{printed}\n")
            start = step.line - 1 + shift + step.text.count("\n") + 1
            end = start
            while not lines[end].startswith(("$ ", "```")) and lines[end].strip(" \n") != "```":
                end += 1
            former = [line.strip() for line in lines[start:end]]
            if not any(former) or "…" in former:
                continue
            fresh = [f"{line}\n" for line in _shown(printed, folder).splitlines()]
            lines[start:end] = fresh
            shift += len(fresh) - (end - start)
    path.write_text("".join(lines), encoding="utf-8")


def _shown(printed: str, folder: str) -> str:
    printed = printed.replace(f"{folder}/home", HOME).replace(f"{folder}/checkout/", "")
    printed = re.sub(rf"({HOME}/artifacts/[^/\s]+)/\S+/([^/\s\"]+)", r"\1/…/\2", printed)
    whole = r"([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}([0-9a-f]{8})"
    return re.sub(whole, r"\1-…-\2", printed)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        record(Path(argument))

"""The real command in a process of its own, with a bound on its memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMORY = 3 << 30
"""Bytes of address space: far more than any command needs, far less than a bomb would take."""


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """What a bad input is answered with: one line, and exit code 2."""
        assert "Traceback" not in self.err and "Traceback" not in self.out, self
        assert (self.code, self.out) == (2, ""), self
        assert self.err.startswith("error: ") and self.err.count("\n") == 1 and self.err.endswith("\n"), (
            self.err
        )
        return self.err.strip()

    @property
    def run(self) -> dict[str, Any]:
        """The last object of `--json`."""
        assert "Traceback" not in self.err, self.err
        return json.loads(self.out.splitlines()[-1])["run"]


@dataclass
class Command:
    """`folder` is where it is called, and `home` its home, which is not there yet."""

    folder: Path
    home: Path
    before: Sequence[str] = ()

    def __call__(self, *arguments: str | bytes | Path, **settings: str) -> Answer:
        done = subprocess.run(
            [*self.before, sys.executable, "-m", "penstock", *arguments],
            cwd=self.folder,
            env={**self.environment(), **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            preexec_fn=_bound_memory,
        )
        return Answer(
            done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )

    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "PENSTOCK_HOME": str(self.home)}


def _bound_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

"""The commit that a generated page tells of."""

from __future__ import annotations

import subprocess
from pathlib import Path


def revision() -> str:
    """Twelve digits; a `+` when files of the packages differ from it."""
    try:
        found = _git("rev-parse", "--short=12", "HEAD")
        return f"{found}+" if _git("status", "--porcelain", "--", "core", "workers") else found
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*words: str) -> str:
    root = Path(__file__).parents[1]
    return subprocess.run(
        ["git", *words], cwd=root, check=True, capture_output=True, text=True
    ).stdout.strip()

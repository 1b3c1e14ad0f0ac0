"""A command line that the system can take: nothing too long, and the SDK reached in the way that works."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from penstock.errors import TaskError
from penstock.model import Json
from penstock.planner.values import to_text

LIMIT = 32 * os.sysconf("SC_PAGE_SIZE") - 1
"""Bytes that one argument or environment variable may have (Linux: MAX_ARG_STRLEN, with its final NUL)."""

URIS = "PENSTOCK_URIS"
"""The variable that tells our entry of the file with URIs and the paths that stand for them."""

ENTRY = Path(os.path.abspath(__file__)).with_name("kfp_entry.py")

_SHELL_FLAGS = frozenset({"-c", "-ec", "-ce", "-exc", "-xec"})


def through_entry(words: Sequence[str], module: str) -> list[str]:
    """The command with `-m <module>` replaced by our entry to it, in its script or in its words."""
    found = list(words)
    if _is_script(found):
        entry = f"{shlex.quote(str(ENTRY))} {module}"
        found[2] = re.sub(rf"(?<!\S)-m\s+{re.escape(module)}(?![\w.])", lambda _: entry, found[2])
        return found
    for at in range(len(found) - 1):
        if found[at : at + 2] == ["-m", module]:
            found[at] = str(ENTRY)
            break
    return found


def by_file(words: Sequence[str], attempt_id: str, folder: Path) -> list[str]:
    """The command of a Python component, already going through our entry, with its long arguments in files.

    `sh -ec SCRIPT SOURCE ARGUMENT…`: the script writes the source, its `$0`, into a file and hands the
    arguments on. The shell reads a long source itself; the entry reads the long arguments. Raises OSError.
    """
    found = list(words)
    for at, word in enumerate(found):
        if size(word) <= LIMIT:
            continue
        folder.mkdir(exist_ok=True)
        path = folder / str(at)
        path.write_text(word, encoding="utf-8", errors="surrogateescape", newline="")
        if not _is_script(found) or at > 3:
            found[at] = f"penstock-argument:{attempt_id}:{path}"
        elif at == 3:
            source = f'"$(cat {shlex.quote(str(path))})"'
            found[2] = found[2].replace('"$0"', source)
            found[at] = "component"
    return found


def check(
    words: Sequence[str], environment: Mapping[str, str], parameters: Mapping[str, Json], task: str
) -> None:
    """Raises TaskError, naming the input to blame, for what the system would refuse with E2BIG."""
    for word in words:
        if "\0" in word:
            raise TaskError(f"an argument of task '{task}' holds a NUL character, which no argument can")
        if size(word) > LIMIT:
            raise TaskError(
                _sentence(f"an argument of task '{task}'", size(word), "one argument", LIMIT, parameters)
            )
    for name, value in environment.items():
        if "\0" in value or "\0" in name or "=" in name or not name:
            raise TaskError(
                f"the environment variable {name!r} of task '{task}' cannot be set to what it holds"
            )
        if size(name) + size(value) + 1 > LIMIT:
            what = f"the environment variable {name} of task '{task}'"
            raise TaskError(_sentence(what, size(value), "one variable", LIMIT, parameters))
    everything = sum(size(word) + 9 for word in words)
    everything += sum(size(name) + size(value) + 10 for name, value in environment.items())
    limit = os.sysconf("SC_ARG_MAX") - 4096
    if everything > limit:
        what = f"the command line of task '{task}' with its environment"
        raise TaskError(_sentence(what, everything, "all of it", limit, parameters))


def _is_script(words: Sequence[str]) -> bool:
    return len(words) > 3 and words[1] in _SHELL_FLAGS


def size(text: str) -> int:
    """In bytes, as the system counts."""
    return len(text) if text.isascii() else len(os.fsencode(text))


def _sentence(what: str, found: int, of: str, limit: int, parameters: Mapping[str, Json]) -> str:
    sizes = {name: size(to_text(value)) for name, value in parameters.items()}
    largest = max(sizes, key=lambda name: sizes[name], default="")
    blame = f"; its largest input is '{largest}' with {sizes[largest]} bytes" if largest else ""
    return (
        f"{what} has {found} bytes, over the system's limit of {limit} for {of}{blame}; "
        "pass large values as artifacts"
    )

"""Task paths: `for-loop-1[3]/train`. The empty path is the run's own DAG."""

from __future__ import annotations

import re

_STEP = re.compile(r"^(?P<name>.*?)(?:\[(?P<index>\d+)\])?$", re.DOTALL)


def child(parent: str, name: str) -> str:
    return f"{parent}/{name}" if parent else name


def iteration(loop: str, index: int) -> str:
    return f"{loop}[{index}]"


def split(path: str) -> tuple[str, str, int | None]:
    """(path of the DAG it stands in, task name, iteration or None) of a path that is not the root's.

    For an iteration `a/loop[3]` the answer is ("a", "loop", 3).
    """
    parent, _, last = path.rpartition("/")
    match = _STEP.match(last)
    assert match is not None
    index = match["index"]
    return parent, match["name"], None if index is None else int(index)


def container(path: str) -> str | None:
    """The path of the record right above: of an iteration its loop, of a task its DAG; None above the
    root.
    """
    if not path:
        return None
    if path.endswith("]"):
        return path[: path.rindex("[")]
    return path.rpartition("/")[0]


def ancestors(path: str) -> list[str]:
    """Every record above `path`, nearest first, ending with the root."""
    found: list[str] = []
    above = container(path)
    while above is not None:
        found.append(above)
        above = container(above)
    return found

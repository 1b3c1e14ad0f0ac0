"""docs/faults.md: what a full run killed, and what became of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from penstock.execution.failpoints import NAMES
from tests.revision import revision

ROOT = Path(__file__).resolve().parent.parent.parent
PLACE = ROOT / "docs" / "faults.md"
PROPERTY = "kill"

_HEAD = """\
# Faults

Written by `make faults` (commit {commit}). A pipeline with fans, loops, nested pipelines, conditions,
retries, cached tasks and artifacts is killed with SIGKILL and resumed, several times over. Each of its
components appends a line to a file when it starts and when it finishes. A checker that shares no code with
penstock compares with an undisturbed run: states, outputs, and artifacts by their sha256. Each attempt that
finished did so once and was not launched again; every recorded artifact is there, whole, and nothing else
lies beside it; no process of the run is left; the history leads to the final states.

*engine*: only the engine is killed, and its tasks go on. *frozen*: they are held up until the next engine has
come, so that it finds them alive. *machine*: everything is killed; attempts whose end nobody saw are LOST and
run again.

{kills} kills, {flying} attempts in flight at them; {lost} attempts lost, all of them with their machine;
{wrong} runs judged wrong.
"""


@dataclass(frozen=True)
class Note:
    """One test: what was killed when, attempts in flight at each kill, and what was wrong in the end."""

    group: str
    name: str
    whom: str
    moments: list[str]
    flying: list[int]
    lost: int
    problems: list[str]

    def to_text(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_text(text: str) -> Note:
        return Note(**json.loads(text))


def page(notes: Sequence[Note], others: Sequence[tuple[str, str]]) -> str:
    """`others` are further tests: what they say, and how they ended, each time."""
    kills = [note for note in notes if note.group != "server"]
    head = _HEAD.format(
        commit=revision(),
        kills=sum(len(note.flying) for note in kills),
        flying=sum(sum(note.flying) for note in kills),
        lost=sum(note.lost for note in kills),
        wrong=sum(1 for note in kills if note.problems),
    )
    lines = [
        head,
        *_failpoints(notes),
        "",
        *_random(notes),
        "",
        *_servers(notes),
        "",
        "## Also",
        "",
        "| what | outcome |",
        "|---|---|",
    ]
    outcomes: dict[str, Counter[str]] = {}
    for name, outcome in others:
        outcomes.setdefault(name, Counter())[outcome] += 1
    for name in sorted(outcomes):
        found = ", ".join(f"{count} {outcome}" for outcome, count in outcomes[name].items())
        lines.append(f"| {name} | {found} |")
    return "\n".join(lines) + "\n"


def _failpoints(notes: Sequence[Note]) -> Iterator[str]:
    yield "## At every failpoint"
    yield ""
    yield "The number says at which arrival."
    yield ""
    yield "| failpoint | killed | in flight | lost | verdict |"
    yield "|---|---|---|---|---|"
    for note in sorted((note for note in notes if note.group == "failpoint"), key=_place):
        yield f"| `{note.name}` | {note.whom} | {sum(note.flying)} | {note.lost} | {_verdict(note)} |"


def _place(note: Note) -> tuple[int, str, str]:
    name, _, turn = note.name.partition(":")
    return NAMES.index(name), turn, note.whom


def _random(notes: Sequence[Note]) -> Iterator[str]:
    yield "## At random moments"
    yield ""
    yield "After so many side effects of the components or changes of tasks, and writes to the database then."
    yield ""
    yield "| seed | killed | after | in flight | lost | verdict |"
    yield "|---|---|---|---|---|---|"
    for note in sorted((note for note in notes if note.group == "random"), key=lambda one: int(one.name)):
        moments, flying = "; ".join(note.moments), ", ".join(map(str, note.flying))
        yield f"| {note.name} | {note.whom} | {moments} | {flying} | {note.lost} | {_verdict(note)} |"


def _servers(notes: Sequence[Note]) -> Iterator[str]:
    yield "## Servers that go away"
    yield ""
    yield "Records in PostgreSQL and MinIO, the engine goes on; each at a random moment with tasks in flight."
    yield ""
    yield "| what | times | in flight | attempts lost | wrong |"
    yield "|---|---|---|---|---|"
    found: dict[str, list[Note]] = {}
    for note in notes:
        if note.group == "server":
            found.setdefault(note.name, []).append(note)
    for name, many in sorted(found.items()):
        flying = sum(sum(one.flying) for one in many)
        wrong = "; ".join(_verdict(one) for one in many if one.problems) or "0"
        yield f"| {name} | {len(many)} | {flying} | {sum(one.lost for one in many)} | {wrong} |"


def _verdict(note: Note) -> str:
    return "; ".join(note.problems) or "as undisturbed"

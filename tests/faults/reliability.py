"""docs/reliability.md: what a full run did to runs on workers, and what became of them.

The results are kept beside it, by fault and seed, so that a part of the seeds can be run at a time.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PLACE = ROOT / "docs" / "reliability.md"
KEPT = ROOT / "docs" / "reliability.json"
PROPERTY = "trouble"

_HEAD = """\
# Reliability

Written by `make faults`, which runs a pipeline on two Celery workers and Kubernetes pods, over and over, and
does one of these things to it at a random moment with attempts in flight. PostgreSQL, Redis, MinIO, workers,
watchers and the Kubernetes node are real.

The pipeline has a fan, a loop, a join, a retry, values and files. Each of its components reports its start
and its finish to a server of the test. A checker that shares no code with penstock reads PostgreSQL, S3,
these reports, and every pod that there ever was: each task came to one recorded end per attempt; no attempt
had two pods, or started twice; two minutes after the end no pod is left, also none that waits for its
finalizer; the history leads to the final states; every recorded artifact is there, whole; states, outputs
and artifacts (by sha256) are those of an undisturbed run. *Lost* are attempts whose pod somebody else
removed: each is recorded, and the task has another one. *In flight* are attempts that are recorded as begun
and not as ended, whether their pod runs yet or not; a worker that is killed is one of two, at a step or not.

`make faults` does each of these twenty times. Seeds can be run in parts, and the table says how many were;
what is not in it has not been run.

| what happened | seeds | attempts in flight | lost | judged wrong | longest, s | commit |
|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Trouble:
    """One run that was disturbed, and what was wrong in the end."""

    fault: str
    seed: int
    flying: int
    lost: int
    seconds: float
    problems: list[str]

    def to_text(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_text(text: str) -> Trouble:
        return Trouble(**json.loads(text))


def write(new: Sequence[Trouble]) -> None:
    """The page, with these results in place of earlier ones of the same faults and seeds."""
    kept: dict[str, dict[str, dict[str, object]]] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    commit = _commit()
    for one in new:
        kept.setdefault(one.fault, {})[str(one.seed)] = {**asdict(one), "commit": commit}
    KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", "utf-8")
    PLACE.write_text(_HEAD + "\n".join(_rows(kept)) + "\n", "utf-8")


def _rows(kept: dict[str, dict[str, dict[str, object]]]) -> Iterator[str]:
    for fault in sorted(kept):
        found = [Trouble(**{k: v for k, v in one.items() if k != "commit"}) for one in kept[fault].values()]  # pyright: ignore[reportArgumentType]
        commits = ", ".join(sorted({str(one["commit"]) for one in kept[fault].values()}))
        wrong = "; ".join(problem for one in found for problem in one.problems) or "0"
        flying, lost = sum(one.flying for one in found), sum(one.lost for one in found)
        longest = max(one.seconds for one in found)
        yield f"| {fault} | {len(found)} | {flying} | {lost} | {wrong} | {longest:.0f} | {commits} |"


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    changed = "+" if git("status", "--porcelain", "--", "core", "workers") else ""
    return (git("rev-parse", "--short", "HEAD") or "unknown") + changed

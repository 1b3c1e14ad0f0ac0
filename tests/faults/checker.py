"""Judges a finished run by what it left: the side-effect file, the database's rows, files and processes.

It shares no code with what it judges: plain SQL, plain files and objects, /proc.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.records import Records, Row, records_of

ENDED = {"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"}
RUN_MARK = "PENSTOCK_RUN_ID"


@dataclass(frozen=True)
class Line:
    """One line of the side-effect file."""

    phase: str
    path: str
    attempt: str
    retry: int
    code: str


def side_effects(side: Path) -> list[Line]:
    found: list[Line] = []
    for text in side.read_text().splitlines():
        phase, path, attempt, retry, code = text.split("\t")
        found.append(Line(phase, path, attempt, int(retry), code))
    return found


def in_flight(side: Path) -> set[str]:
    """Attempts that have said they started and not that they finished; also those that were killed since."""
    lines = side_effects(side)
    finished = {line.attempt for line in lines if line.phase == "finish"}
    return {line.attempt for line in lines if line.phase == "start"} - finished


def runs(home: Path, pipeline: str) -> dict[str, str]:
    """State by run id."""
    rows = records_of(home).rows(
        "SELECT r.id, r.state FROM runs r JOIN pipeline_versions v ON v.id = r.version_id"
        " JOIN pipelines p ON p.id = v.pipeline_id WHERE p.name = ?",
        pipeline,
    )
    return {row["id"]: row["state"] for row in rows}


def processes(run_id: str) -> list[int]:
    """Live processes that carry the run's mark."""
    mark = f"{RUN_MARK}={run_id}".encode()
    found: list[int] = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            environment = Path(f"/proc/{name}/environ").read_bytes()
        except OSError:
            continue
        if mark in environment.split(b"\0"):
            found.append(int(name))
    return found


def picture(home: Path, run_id: str) -> dict[str, Any]:
    """What must be the same whether or not the run was disturbed: states, values, artifacts by content.

    The error of a task that succeeded tells of processes that it left, which may have died with an engine.
    """
    records = records_of(home)
    run = records.rows("SELECT * FROM runs WHERE id = ?", run_id)[0]
    return {
        "state": run["state"],
        "error": run["error"],
        "outputs": _values(run["outputs"]),
        "tasks": {
            row["path"]: {
                **{
                    name: row[name]
                    for name in ("kind", "state", "reason", "error", "cached", "iterations", "retries")
                },
                "outputs": _values(row["outputs"]),
                **({"error": ""} if row["state"] == "SUCCEEDED" else {}),
            }
            for row in records.rows("SELECT * FROM tasks WHERE run_id = ?", run_id)
        },
    }


def count_attempts(home: Path, run_id: str) -> tuple[int, int]:
    """(all, those that are LOST)."""
    rows = records_of(home).rows("SELECT state FROM attempts WHERE run_id = ?", run_id)
    return len(rows), sum(1 for row in rows if row["state"] == "LOST")


def _values(text: str) -> dict[str, Any]:
    found = json.loads(text)
    return {
        "parameters": found.get("parameters", {}),
        "artifacts": {
            name: [(one["name"], one["schema_title"], one.get("size"), one.get("sha256")) for one in many]
            for name, many in found.get("artifacts", {}).items()
        },
    }


def judge(home: Path, side: Path, run_id: str, *, lost_allowed: bool) -> list[str]:
    """What is wrong, one sentence each. `lost_allowed`: tasks were killed too, so attempts may be LOST."""
    records = records_of(home)
    judgement = _Judgement(home, side, run_id, records, lost_allowed)
    return [
        *records.damage(),
        *judgement.states(),
        *judgement.history(),
        *judgement.attempts(),
        *judgement.effects(),
        *judgement.repetitions(),
        *judgement.lineage(),
        *judgement.artifacts(),
        *judgement.files(),
        *(f"process {pid} of the run is left" for pid in processes(run_id)),
    ]


class _Judgement:
    def __init__(self, home: Path, side: Path, run_id: str, records: Records, lost_allowed: bool) -> None:
        self._home = home
        self._records = records
        self._lost_allowed = lost_allowed
        self._run = self._rows("SELECT * FROM runs WHERE id = ?", run_id)[0]
        self._head = self._rows("SELECT * FROM run_heads WHERE run_id = ?", run_id)[0]
        self._tasks = self._rows("SELECT * FROM tasks WHERE run_id = ?", run_id)
        self._attempts = self._rows("SELECT * FROM attempts WHERE run_id = ? ORDER BY number", run_id)
        self._history = self._rows("SELECT * FROM task_history WHERE run_id = ? ORDER BY revision", run_id)
        self._executions = self._rows("SELECT * FROM executions WHERE run_id = ?", run_id)
        self._made = self._rows(
            "SELECT a.*, x.path AS path, x.attempt_id AS attempt_id FROM executions x"
            " JOIN lineage_edges e ON e.execution_id = x.id JOIN artifacts a ON a.id = e.artifact_id"
            " WHERE x.run_id = ? AND e.direction = 'OUTPUT' AND x.state <> 'CACHED'",
            run_id,
        )
        self._lines = side_effects(side)

    def _rows(self, query: str, *values: str) -> list[Row]:
        return self._records.rows(query, *values)

    def states(self) -> Iterator[str]:
        run = self._run
        if run["state"] not in ENDED or run["ended_at"] is None:
            yield f"the run is {run['state']}, ended at {run['ended_at']}"
        roots = [task for task in self._tasks if task["path"] == ""]
        if len(roots) != 1 or roots[0]["state"] != run["state"] or roots[0]["outputs"] != run["outputs"]:
            yield "the run and its own DAG differ"
        for task in self._tasks:
            if task["state"] not in ENDED or task["ended_at"] is None:
                yield f"task '{task['path']}' is {task['state']}, ended at {task['ended_at']}"
            elif task["started_at"] is not None and task["ended_at"] < task["started_at"] - 0.001:
                yield f"task '{task['path']}' ended before it started"

    def history(self) -> Iterator[str]:
        revisions = [row["revision"] for row in self._history]
        if revisions != list(range(1, len(revisions) + 1)) or self._head["revision"] != len(revisions):
            yield f"the history has gaps: {len(revisions)} entries, the head says {self._head['revision']}"
        last: dict[str, Row] = {}
        for row in self._history:
            former = last.get(row["path"])
            ended = (
                former is not None and former["state"] in ENDED and row["generation"] <= former["generation"]
            )
            if ended and row["state"] is not None:
                yield f"task '{row['path']}' became {row['state']} after it had ended"
            last[row["path"]] = row
        recorded = {task["path"]: task["state"] for task in self._tasks}
        told = {path: row["state"] for path, row in last.items() if row["state"] is not None}
        for path in recorded.keys() | told.keys():
            if recorded.get(path) != told.get(path):
                yield f"task '{path}' is {recorded.get(path)}, its history says {told.get(path)}"

    def attempts(self) -> Iterator[str]:
        by_launch: dict[tuple[str, int], list[Row]] = {}
        for attempt in self._attempts:
            by_launch.setdefault((attempt["path"], attempt["generation"]), []).append(attempt)
            if attempt["state"] == "RUNNING" or attempt["ended_at"] is None:
                yield f"attempt {attempt['id']} of '{attempt['path']}' is left {attempt['state']}"
            if attempt["state"] == "LOST" and not self._lost_allowed:
                yield f"attempt {attempt['id']} of '{attempt['path']}' is LOST, and nobody killed it"
            if attempt["state"] == "LOST" and self._exit_file(attempt["id"]):
                yield f"attempt {attempt['id']} of '{attempt['path']}' is LOST, and it had left its exit code"
        for (path, generation), many in by_launch.items():
            if [one["number"] for one in many] != list(range(1, len(many) + 1)):
                yield f"the attempts of '{path}' are numbered {[one['number'] for one in many]}"
            good = [one for one in many if one["state"] == "SUCCEEDED"]
            if len(good) > 1 or (good and good[0] is not many[-1]):
                yield f"'{path}' was attempted again after it had succeeded (generation {generation})"
        for task in self._tasks:
            if task["kind"] != "CONTAINER":
                continue
            many = by_launch.get((task["path"], task["generation"]), [])
            if task["attempts"] != len(many):
                yield f"task '{task['path']}' counts {task['attempts']} attempts, there are {len(many)}"
            if task["cached"] and many:
                yield f"task '{task['path']}' is cached, and was attempted"
            ran = task["state"] == "SUCCEEDED" and not task["cached"]
            if ran and not (many and many[-1]["state"] == "SUCCEEDED"):
                yield f"task '{task['path']}' SUCCEEDED without an attempt that did"

    def _exit_file(self, attempt: str) -> bool:
        return (self._home / "attempts" / self._run["id"] / attempt / "exit").exists()

    def effects(self) -> Iterator[str]:
        """What the user's components saw of it, by attempt."""
        known = {attempt["id"]: attempt for attempt in self._attempts}
        starts = Counter(line.attempt for line in self._lines if line.phase == "start")
        finishes = Counter(line.attempt for line in self._lines if line.phase == "finish")
        for attempt in starts | finishes:
            if attempt not in known:
                yield f"an attempt {attempt} ran that is recorded nowhere"
            if starts[attempt] != 1 or finishes[attempt] > 1:
                yield f"attempt {attempt} started {starts[attempt]} and finished {finishes[attempt]} times"
        loud = {line.path for line in self._lines}
        for attempt in self._attempts:
            if attempt["state"] == "SUCCEEDED" and attempt["path"] in loud and finishes[attempt["id"]] != 1:
                yield f"attempt {attempt['id']} of '{attempt['path']}' SUCCEEDED and never finished"

    def repetitions(self) -> Iterator[str]:
        """What the user's components saw of it, by task, generation and retry."""
        known = {attempt["id"]: attempt for attempt in self._attempts}
        done: Counter[tuple[str, int, int]] = Counter()
        begun: Counter[tuple[str, int, int]] = Counter()
        for line in self._lines:
            attempt = known.get(line.attempt)
            if attempt is None:
                continue
            if attempt["path"] != line.path:
                yield f"attempt {line.attempt} is recorded for '{attempt['path']}' and ran '{line.path}'"
            key = (line.path, attempt["generation"], line.retry)
            if line.phase == "start":
                begun[key] += 1
            elif line.phase == "finish":
                if attempt["state"] != "LOST":
                    done[key] += 1
                expected = {"0": "SUCCEEDED"}.get(line.code, "FAILED")
                # One that is told to stop may have written its last line and not yet ended.
                stopped = "CANCELED" if self._run["cancel_requested_at"] is not None else "LOST"
                if attempt["state"] not in (expected, stopped, "LOST"):
                    yield f"attempt {line.attempt} finished with {line.code} and is {attempt['state']}"
        for key, count in done.items():
            if count != 1:
                yield f"'{key[0]}' (generation {key[1]}, retry {key[2]}) finished {count} times"
        for key, count in begun.items():
            if count != 1 and not self._lost_allowed:
                yield f"'{key[0]}' (generation {key[1]}, retry {key[2]}) started {count} times"

    def lineage(self) -> Iterator[str]:
        counts = Counter(row["attempt_id"] for row in self._executions if row["attempt_id"] is not None)
        for attempt, count in counts.items():
            if count != 1:
                yield f"attempt {attempt} has {count} executions"
        for attempt in self._attempts:
            if attempt["state"] == "SUCCEEDED" and counts[attempt["id"]] != 1:
                yield f"attempt {attempt['id']} of '{attempt['path']}' SUCCEEDED without an execution"
        good = [row for row in self._executions if row["state"] in ("COMPLETE", "CACHED")]
        complete = Counter((row["path"], row["generation"]) for row in good)
        for (path, generation), count in complete.items():
            if count != 1:
                yield f"'{path}' (generation {generation}) has {count} good executions"

    def artifacts(self) -> Iterator[str]:
        for what in ("id", "uri"):
            for value, count in Counter(row[what] for row in self._made).items():
                if count != 1:
                    yield f"the artifact with {what} {value} is recorded {count} times"
        for row in self._made:
            if row["sha256"] is None:
                yield f"artifact '{row['name']}' of '{row['path']}' is recorded without content"
                continue
            found = self._records.content(row["uri"])
            if found != (row["size"], row["sha256"]):
                recorded = (row["size"], row["sha256"])
                yield f"artifact '{row['name']}' of '{row['path']}' is {found}, recorded as {recorded}"
        known = {row["id"] for row in self._rows("SELECT id FROM artifacts")}
        for task in self._tasks:
            for many in json.loads(task["outputs"]).get("artifacts", {}).values():
                for one in many:
                    if one["id"] not in known:
                        yield f"'{task['path']}' puts out an artifact {one['id']} that is not recorded"

    def files(self) -> Iterator[str]:
        """In the run's own folder of the artifact store there is nothing but what is recorded, and what pods
        say of themselves. Of one that was lost, what it had put out before may be there too.
        """
        recorded = [row["uri"] for row in self._made]
        lost = {
            one["id"] for one in self._attempts if one["state"] == "LOST" and one["launcher"] != "process"
        }
        said = lost | {f"{one['id']}.penstock" for one in self._attempts}
        for uri in self._records.stored(self._run["pipeline_root"]):
            if not said.isdisjoint(uri.split("/")):
                continue
            if self._records.is_unfinished(uri):
                yield f"an unfinished {uri} is left among the artifacts"
            elif f"/{self._run['id']}/" in uri and not any(_is_at_or_below(uri, one) for one in recorded):
                yield f"{uri} lies among the artifacts and is recorded nowhere"


def _is_at_or_below(uri: str, place: str) -> bool:
    return uri == place or uri.startswith(f"{place.rstrip('/')}/")

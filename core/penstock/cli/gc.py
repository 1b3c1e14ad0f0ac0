"""`penstock gc`: old runs go, with what they made."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from penstock.cli.age import seconds_of
from penstock.cli.artifacts import size_text
from penstock.cli.references import read_state, short
from penstock.cli.table import print_table, when
from penstock.errors import InvalidInputError
from penstock.execution.retention import Plan, Removed, Retention
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace
from penstock.model import JsonObject
from penstock.store import Footprint, Rule

_SHOWN = 20
_PROGRESS_SECONDS = 2.0

EXIT_UNFINISHED = 1


def gc(
    older_than: Annotated[
        str,
        typer.Option(
            metavar="AGE",
            help="Runs that ended so long ago, and environments not used since: 30d, 12h. "
            "With an experiment, pipeline or state, only runs.",
        ),
    ] = "",
    keep_last: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Keep the newest N runs of each pipeline in each experiment."),
    ] = None,
    experiment: Annotated[str, typer.Option(help="Only runs of this experiment.")] = "",
    pipeline: Annotated[str, typer.Option(help="Only runs of this pipeline.")] = "",
    state: Annotated[str, typer.Option(help="Only runs that ended so, such as FAILED.")] = "",
    yes: Annotated[
        bool, typer.Option("--yes", "-y", "--apply", help="Remove it; without, only say what would go.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go: the default.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Remove old runs with their records, logs and artifacts, and environments that nothing uses.

    What is removed ended, and fits everything that is given. Kept is whatever a kept run has from the cache,
    and what a registered model was made in.
    """
    if yes and dry_run:
        raise InvalidInputError("--yes and --dry-run exclude each other")
    if not (older_than or experiment or pipeline or state) and keep_last is None:
        raise InvalidInputError(
            "say which runs: --older-than 30d, --keep-last 10, --experiment, --pipeline or --state; "
            "all that are given have to fit"
        )
    age = seconds_of(older_than) if older_than else None
    rule = Rule(
        ended_before=None if age is None else time.time() - age,
        keep_last=keep_last,
        experiment=experiment or None,
        pipeline=pipeline or None,
        state=read_state(state, ended=True),
    )
    unused = None if experiment or pipeline or state else age
    with Workspace(load_settings()) as workspace:
        retention = Retention(workspace, Ticker().tell)
        plan = retention.plan(rule, unused)
        if yes:
            report(retention.apply(plan, unused), as_json)
        else:
            show(workspace, plan, as_json)


def show(workspace: Workspace, plan: Plan, as_json: bool = False) -> None:
    """What would go."""
    if as_json:
        typer.echo(json.dumps(_plan_json(plan), ensure_ascii=False))
        return
    waiting, error = workspace.store.removals.waiting()
    show_runs(workspace, plan)
    if plan.environments:
        total = size_text(sum(one.bytes for one in plan.environments))
        typer.echo(f"would remove {_many(len(plan.environments), 'environment')}, {total}")
    _show_kept(plan.kept)
    if waiting:
        reason = f": {error}" if error else ""
        typer.echo(f"would finish {_many(waiting, 'removal')} begun earlier{reason}")
    typer.echo("nothing was removed; add --yes to remove it")


def show_runs(workspace: Workspace, plan: Plan) -> None:
    if not plan.runs:
        typer.echo("would remove no run")
        return
    shown = workspace.store.runs.many([one.run_id for one in plan.runs[:_SHOWN]])
    print_table(
        ("RUN", "NAME", "PIPELINE", "EXPERIMENT", "STATE", "ENDED", "TASKS", "ARTIFACTS", "SIZE"),
        [
            (
                *(short(run.id), run.name, run.pipeline, run.experiment or "", run.state.value),
                *(when(run.ended_at or run.created_at), str(one.tasks), str(one.artifacts)),
                size_text(one.size),
            )
            for one in plan.runs[:_SHOWN]
            if (run := shown.get(one.run_id)) is not None
        ],
    )
    if len(plan.runs) > _SHOWN:
        typer.echo(f"… and {_many(len(plan.runs) - _SHOWN, 'run')} more")
    typer.echo(f"would remove {_sum(plan.runs)}")


def report(removed: Removed, as_json: bool = False) -> None:
    """What is gone. Ends with exit code 1 when something could not be deleted."""
    if as_json:
        typer.echo(json.dumps(_removed_json(removed), ensure_ascii=False))
    else:
        typer.echo(
            f"removed {_many(removed.runs, 'run')} with {_many(removed.tasks, 'task')}, "
            f"{_many(removed.artifacts, 'artifact')}, {size_text(removed.size)}"
        )
        if removed.environments:
            typer.echo(f"removed {_many(removed.environments, 'environment')}")
        _show_kept(removed.kept)
        if removed.shared:
            typer.echo(
                f"other runs imported some of what {_many(len(removed.shared), 'removed run')} had made; "
                "it goes with them"
            )
    if removed.failed:
        some = next(iter(removed.failed.values()))
        typer.echo(
            f"error: the content of {_many(len(removed.failed), 'run')} could not be deleted: {some}; "
            "the next `penstock gc` tries again",
            err=True,
        )
        raise typer.Exit(EXIT_UNFINISHED)


def _show_kept(kept: Mapping[str, str]) -> None:
    for run_id, why in list(kept.items())[:_SHOWN]:
        typer.echo(f"keeps run {short(run_id)}: {why}")
    if len(kept) > _SHOWN:
        typer.echo(f"keeps {_many(len(kept) - _SHOWN, 'run')} more for such reasons")


def _sum(runs: Sequence[Footprint]) -> str:
    tasks, artifacts = sum(one.tasks for one in runs), sum(one.artifacts for one in runs)
    size = size_text(sum(one.size for one in runs))
    return f"{_many(len(runs), 'run')} with {_many(tasks, 'task')}, {_many(artifacts, 'artifact')}, {size}"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _plan_json(plan: Plan) -> JsonObject:
    return {
        "dry_run": True,
        "runs": [
            {"id": one.run_id, "tasks": one.tasks, "artifacts": one.artifacts, "bytes": one.size}
            for one in plan.runs
        ],
        "environments": [{"key": one.key, "bytes": one.bytes} for one in plan.environments],
        "kept": dict(plan.kept),
    }


def _removed_json(removed: Removed) -> JsonObject:
    return {
        "dry_run": False,
        "runs": removed.runs,
        "tasks": removed.tasks,
        "artifacts": removed.artifacts,
        "bytes": removed.size,
        "environments": removed.environments,
        "kept": dict(removed.kept),
        "failed": dict(removed.failed),
        "shared": list(removed.shared),
    }


class Ticker:
    """Tells now and then on stderr how far a long removal has come."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _PROGRESS_SECONDS

    def tell(self, text: str) -> None:
        if time.monotonic() >= self._next:
            typer.echo(text, err=True)
            self._next = time.monotonic() + _PROGRESS_SECONDS

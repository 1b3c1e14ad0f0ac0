"""`penstock runs …`: what ran, and what to do about it."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated

import typer

from penstock.cli.display import choose
from penstock.cli.gc import Ticker, report, show_runs
from penstock.cli.progress import seconds_text, state_text
from penstock.cli.references import RunName, TaskPath, find_run, find_task, read_state, short
from penstock.cli.report import print_report
from penstock.cli.run import drive, read_arguments
from penstock.cli.table import print_table, when
from penstock.errors import InvalidInputError
from penstock.execution.reopening import reopen_run
from penstock.execution.result import TaskResult
from penstock.execution.retention import Retention
from penstock.execution.session import Session, open_session
from penstock.execution.settings import load_settings
from penstock.execution.why import why as explain
from penstock.execution.workspace import Workspace
from penstock.model import JsonObject, State
from penstock.store import AttemptRecord, AttemptState, RunRecord, Store

app = typer.Typer(help="Runs: list, look at, cancel, retry, resume, explain.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
JsonLines = Annotated[
    bool, typer.Option("--json", help="JSON Lines: one object per state change, the run last.")
]
WithLogs = Annotated[bool, typer.Option("--logs", help="Print the tasks' output as it comes.")]


@app.command("list")
def list_runs(
    state: Annotated[str, typer.Option(help="Only runs in this state, such as FAILED.")] = "",
    experiment: Annotated[str, typer.Option(help="Only runs of this experiment.")] = "",
    pipeline: Annotated[str, typer.Option(help="Only runs of this pipeline.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    with Workspace(load_settings()) as workspace:
        found = workspace.store.runs.list(
            state=read_state(state), experiment=experiment or None, pipeline=pipeline or None, limit=limit
        )
    if as_json:
        for record in found:
            typer.echo(json.dumps(_run_json(record), ensure_ascii=False))
        return
    print_table(
        ("RUN", "NAME", "PIPELINE", "EXPERIMENT", "STATE", "CREATED", "TIME"),
        [
            (
                short(record.id),
                record.name,
                record.pipeline,
                record.experiment or "",
                record.state.value,
                when(record.created_at),
                seconds_text(_took(record)),
            )
            for record in found
        ],
    )


@app.command("get")
def get_run(
    run: RunName,
    as_json: AsJson = False,
    output: Annotated[
        str, typer.Option("--output", "-o", help="text, or svg: the pipeline in the colours of its tasks.")
    ] = "text",
) -> None:
    """Show a run: its tasks with their states, outputs and artifacts."""
    if output not in ("text", "svg"):
        raise InvalidInputError(f"--output is text or svg, not '{output}'")
    with Workspace(load_settings()) as workspace:
        record = find_run(workspace, run)
        if output == "svg":
            from penstock.cli.svg import svg

            pipeline = open_session(workspace.store, record.id).pipeline
            typer.echo(svg(pipeline, workspace.result(record.id)))
            return
        result = workspace.result(record.id)
        abandoned = not record.state.ended and not workspace.is_driven(record)
    if as_json:
        typer.echo(json.dumps({"run": result.to_json()}, ensure_ascii=False))
        return
    typer.echo(f"{record.name}  pipeline {record.pipeline}, experiment {record.experiment}")
    typer.echo(
        f"created {when(record.created_at)}, arguments {json.dumps(record.arguments, ensure_ascii=False)}"
    )
    print_table(
        ("TASK", "KIND", "STATE", "TIME", "CACHED"),
        [
            (
                task.path,
                task.kind.value.lower(),
                state_text(task.state, task.reason),
                _task_time(task),
                "cached" if task.cached else "",
            )
            for task in result
        ],
    )
    print_report(result)
    if abandoned:
        typer.echo(f"no engine drives it: `penstock runs resume {short(record.id)}` goes on with it")


@app.command()
def logs(
    run: RunName,
    task: Annotated[
        str, typer.Argument(metavar="[TASK]", help="One task, by its path or the end of it; all by default.")
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the attempt ends.")] = False,
    attempt: Annotated[int, typer.Option(min=0, help="Which attempt; the last by default.")] = 0,
) -> None:
    """Print what tasks wrote to their output."""
    with Workspace(load_settings()) as workspace:
        session = open_session(workspace.store, find_run(workspace, run).id)
        task = find_task(session, task)
        launcher = workspace.launcher(session.options, session.run.pipeline_root)
        found = _last_attempts(workspace.store.attempts.list(session.run.id, task or None), attempt)
        if not found:
            typer.echo(_nothing_written(workspace.store, session, task), err=True)
        for one in found:
            for line in launcher.log(session.run.id, one.id, follow, one.log):
                typer.echo(line if task else f"[{one.path}] {line}")


@app.command()
def cancel(run: RunName) -> None:
    """Ask for a run's end; the engine that has it stops its tasks."""
    with Workspace(load_settings()) as workspace:
        store = workspace.store
        record = find_run(workspace, run)
        if not store.runs.request_cancel(record.id):
            raise InvalidInputError(f"run {record.id} has ended already: {record.state.value}")
        if workspace.is_driven(record):
            typer.echo(f"run {record.id} is being canceled")
            return
        workspace.drive(record.id)
        typer.echo(f"run {record.id} {store.runs.get(record.id).state.value}")


@app.command()
def resume(run: RunName, as_json: JsonLines = False, logs: WithLogs = False) -> None:
    """Go on with a run whose engine died, or that a reboot cut short."""
    with Workspace(load_settings()) as workspace:
        record = find_run(workspace, run)
        if record.state.ended:
            raise InvalidInputError(
                f"run {record.id} has ended {record.state.value}; "
                "`penstock runs retry` runs again what failed"
            )
        drive(workspace, record.id, record.name, choose(as_json, logs), logs=logs, quiet=as_json)


@app.command()
def retry(
    run: RunName,
    task: Annotated[
        str, typer.Option("--from", metavar="TASK", help="Run this task again, and all that follows.")
    ] = "",
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="KEY=VALUE", help="An argument to change; may be repeated."),
    ] = None,
    as_json: JsonLines = False,
    logs: WithLogs = False,
) -> None:
    """Run again what failed; what succeeded stays."""
    with Workspace(load_settings()) as workspace:
        record = find_run(workspace, run)
        session = open_session(workspace.store, record.id)
        arguments = read_arguments(session.pipeline, param or [], None)
        reopen_run(workspace.store, record.id, find_task(session, task), arguments)
        drive(workspace, record.id, record.name, choose(as_json, logs), logs=logs, quiet=as_json)


@app.command()
def delete(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs, by id, the end of it, or name.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove runs with their records, logs and artifacts."""
    with Workspace(load_settings()) as workspace:
        retention = Retention(workspace, Ticker().tell)
        plan = retention.plan_runs(list(dict.fromkeys(find_run(workspace, run).id for run in runs)))
        for run_id, why in plan.kept.items():
            raise InvalidInputError(f"run {run_id} cannot be removed: {why}")
        if not yes:
            if not sys.stdin.isatty():
                raise InvalidInputError("removing runs cannot be undone: add --yes if you mean it")
            show_runs(workspace, plan)
            typer.confirm("remove it?", abort=True)
        report(retention.apply(plan))


@app.command()
def why(run: RunName, task: TaskPath) -> None:
    """Say in one sentence why a task is as it is."""
    with Workspace(load_settings()) as workspace:
        session = open_session(workspace.store, find_run(workspace, run).id)
        typer.echo(explain(workspace.store, session.run.id, find_task(session, task)))


def _last_attempts(attempts: list[AttemptRecord], number: int) -> list[AttemptRecord]:
    if number:
        return [one for one in attempts if one.number == number]
    latest: dict[str, AttemptRecord] = {}
    for one in attempts:
        if one.state is not AttemptState.LOST or one.path not in latest:
            latest[one.path] = one
    return list(latest.values())


def _nothing_written(store: Store, session: Session, task: str) -> str:
    record = session.ledger.get(task)
    if not task:
        cached = any(one.cached for one in session.ledger.records())
        return f"the run has no log: {'all of it came from the cache' if cached else 'no task has run yet'}"
    if record is None:
        return f"task '{task}' has no log: it has not come up"
    if not record.cached:
        return f"task '{task}' has no log: it is {state_text(record.state, record.reason)}"
    executions = store.executions.list(session.run.id, task)
    source = next((one.cached_execution_id for one in reversed(executions) if one.cached_execution_id), None)
    origin = "" if source is None else short(store.executions.get(source).run_id)
    see = f"; the run that did the work has: `penstock runs logs {origin} {task}`" if origin else ""
    return f"task '{task}' has no log: its outputs came from the cache{see}"


def _run_json(record: RunRecord) -> JsonObject:
    return {
        "id": record.id,
        "name": record.name,
        "pipeline": record.pipeline,
        "experiment": record.experiment,
        "state": record.state.value,
        "error": record.error or None,
        "created_at": record.created_at,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
    }


def _took(record: RunRecord) -> float | None:
    if record.started_at is None:
        return None
    return (record.ended_at or time.time()) - record.started_at


def _task_time(task: TaskResult) -> str:
    if task.started_at is None or task.cached or task.state is State.SKIPPED:
        return ""
    return seconds_text((task.ended_at or time.time()) - task.started_at)

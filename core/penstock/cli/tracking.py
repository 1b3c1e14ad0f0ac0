"""`penstock tracking …`: what MLflow has been told of the runs, and telling it the rest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.references import find_run, short
from penstock.cli.table import print_table, when
from penstock.errors import InvalidInputError, NotFoundError
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace
from penstock.model import Json, JsonObject
from penstock.store import RunRecord, WaitingMessage

if TYPE_CHECKING:
    from penstock.tracking.tracker import MlflowTracker

app = typer.Typer(help="Records of runs in MLflow: what waits, and delivering it.", no_args_is_help=True)

_REQUEST_SECONDS = 30.0


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Say whether MLflow can be used, and which runs it has not all of yet."""
    with Workspace(load_settings()) as workspace:
        tracker = _tracker(workspace)
        trouble = tracker.trouble(_REQUEST_SECONDS)
        rows = [(one, tracker.backlog.count(one), _run(workspace, one)) for one in tracker.backlog.runs()]
    if as_json:
        waiting: list[Json] = [_row_json(one, count) for one, count, _ in rows]
        found: JsonObject = {"uri": tracker.place, "error": trouble or None, "runs": waiting}
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    typer.echo(trouble or f"MLflow at {tracker.place} answers")
    if not rows:
        typer.echo("nothing waits to be recorded there")
        return
    print_table(
        ("RUN", "NAME", "STATE", "SINCE", "WAITING", ""),
        [
            (
                short(_run_id(one)),
                run.name if run is not None else "",
                run.state.value if run is not None else "removed",
                when(one.message.created_at),
                str(count),
                _remark(one),
            )
            for one, count, run in rows
        ],
    )


@app.command()
def sync(
    run: Annotated[
        str,
        typer.Argument(metavar="[RUN]", help="Record this run from its start; all that wait by default."),
    ] = "",
) -> None:
    """Record in MLflow what it has not got yet."""
    from penstock.tracking.backlog import Outcome
    from penstock.tracking.server import DeletedError

    with Workspace(load_settings()) as workspace:
        tracker = _tracker(workspace)
        if run:
            run_id = find_run(workspace, run).id
            tracker.claims.offer(run_id)
            wanted = [run_id]
        else:
            wanted = [_run_id(one) for one in tracker.backlog.runs() if not one.refused]
        if not wanted:
            typer.echo("nothing waits to be recorded in MLflow")
        left = False
        server = tracker.server(_REQUEST_SECONDS)
        for run_id in wanted:
            try:
                outcome = tracker.backlog.deliver(server, run_id, from_start=bool(run))
            except DeletedError as error:
                outcome, text = Outcome.WAITING, f"waits: {error}"
            else:
                text = outcome.value
            left = left or outcome in (Outcome.WAITING, Outcome.REFUSED)
            typer.echo(f"run {run_id} {text}")
    if left:
        raise typer.Exit(1)


def _tracker(workspace: Workspace) -> MlflowTracker:
    if not workspace.settings.mlflow_tracking_uri:
        raise InvalidInputError(
            "no MLflow server is set; set MLFLOW_TRACKING_URI, or mlflow_tracking_uri in penstock.toml"
        )
    from penstock.tracking.tracker import MlflowTracker

    return MlflowTracker(workspace)


def _run_id(waiting: WaitingMessage) -> str:
    from penstock.tracking.claims import run_of

    return run_of(waiting)


def _run(workspace: Workspace, waiting: WaitingMessage) -> RunRecord | None:
    try:
        return workspace.store.runs.get(_run_id(waiting))
    except NotFoundError:
        return None


def _remark(waiting: WaitingMessage) -> str:
    if waiting.refused:
        return f"refused: {waiting.error}"
    return "being recorded" if waiting.held_seconds else waiting.error


def _row_json(waiting: WaitingMessage, count: int) -> JsonObject:
    from penstock.tracking.claims import refusals

    refused: dict[str, Json] = dict(refusals(waiting))
    return {
        "run": _run_id(waiting),
        "since": waiting.message.created_at,
        "waiting": count,
        "held": waiting.held_seconds > 0,
        "error": waiting.error or None,
        "refused": refused,
    }

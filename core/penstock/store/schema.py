"""The tables. Ids are UUIDv7 texts, times are seconds since the epoch (UTC), JSON stands as text.

Every change here needs a version in `migrations/versions`; a test holds the two together.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _table(name: str, *parts: sa.Column[Any] | sa.Constraint | sa.Index) -> sa.Table:
    return sa.Table(name, metadata, *parts, implicit_returning=False)


def _partial(
    name: str, *columns: sa.Column[Any], where: sa.ColumnElement[bool], unique: bool = False
) -> None:
    """An index on some of the rows. The condition is handed on when the tables are made: for one at once,
    `sa.Index` would load the dialects of all databases.
    """
    sa.Index(name, *columns, unique=unique, info={"where": where})


@event.listens_for(metadata, "before_create")
def _hand_on_conditions(target: sa.MetaData, connection: sa.Connection, **options: object) -> None:  # pyright: ignore[reportUnusedFunction]
    for index in (index for table in target.tables.values() for index in table.indexes):
        if "where" in index.info:
            index.dialect_options[connection.dialect.name]["where"] = index.info["where"]


def _key(name: str = "id") -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=True)


def _to(
    name: str, target: str, *, null: bool = False, key: bool = False, cascade: bool = False
) -> sa.Column[str]:
    foreign = sa.ForeignKey(target, ondelete="CASCADE" if cascade else None)
    return sa.Column(name, sa.Text, foreign, nullable=null, primary_key=key)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _time(name: str, *, null: bool = True) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=null)


def _count(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=null)


namespaces = _table("namespaces", _key("name"), _time("created_at", null=False))

experiments = _table(
    "experiments",
    _key(),
    _to("namespace", "namespaces.name"),
    _text("name"),
    _text("description"),
    _text("storage_state"),
    _time("created_at", null=False),
    sa.UniqueConstraint("namespace", "name"),
)

pipelines = _table(
    "pipelines",
    _key(),
    _to("namespace", "namespaces.name"),
    _text("name"),
    _text("display_name"),
    _text("description"),
    _time("created_at", null=False),
    sa.UniqueConstraint("namespace", "name"),
)

pipeline_versions = _table(
    "pipeline_versions",
    _key(),
    _to("pipeline_id", "pipelines.id", cascade=True),
    _text("digest"),
    _text("document"),
    _time("created_at", null=False),
    sa.UniqueConstraint("pipeline_id", "digest"),
)

runs = _table(
    "runs",
    _key(),
    _to("namespace", "namespaces.name"),
    _to("experiment_id", "experiments.id", null=True),
    _to("version_id", "pipeline_versions.id"),
    _text("name"),
    _text("resource_name"),
    _text("arguments"),
    _text("pipeline_root"),
    _text("options"),
    _text("state"),
    _text("error"),
    _text("outputs"),
    _text("storage_state"),
    _time("created_at", null=False),
    _time("started_at"),
    _time("ended_at"),
    _time("cancel_requested_at"),
    sa.Index(None, "created_at", "id"),
    sa.Index(None, "namespace", "created_at", "id"),
    sa.Index(None, "namespace", "name"),
    sa.Index(None, "state", "created_at", "id"),
    sa.Index(None, "experiment_id", "created_at", "id"),
    sa.Index(None, "version_id", "created_at", "id"),
)

run_heads = _table(
    "run_heads",
    _to("run_id", "runs.id", key=True, cascade=True),
    _count("revision"),
    _count("generation"),
    sa.Column("owner", sa.Text, nullable=True),
    _time("expires_at"),
    _count("token"),
)
"""What is written with every change of a run, kept apart so that large arguments are not written again.

`revision` counts the changes of the run's tasks, `generation` its reopenings; `owner`, `expires_at` and
`token` are the engine's lease. `heads` says who locks it when. A run without a head is being removed: nothing
finds it any more.
"""

tasks = _table(
    "tasks",
    _to("run_id", "runs.id", key=True, cascade=True),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("parent_path", sa.Text, nullable=True),
    _text("kind"),
    _text("state"),
    _text("inputs"),
    _text("outputs"),
    _count("iterations", null=True),
    sa.Column("cached", sa.Boolean, nullable=False),
    sa.Column("reason", sa.Text, nullable=True),
    _text("error"),
    _count("generation"),
    _count("attempts"),
    _count("retries"),
    _time("retry_at"),
    _text("fingerprint"),
    _time("started_at"),
    _time("ended_at"),
    _count("first_revision"),
    _count("revision"),
    sa.Index(None, "run_id", "parent_path"),
)
"""`first_revision` is the run's revision at which the record appeared, `revision` that of its last change."""

task_history = _table(
    "task_history",
    _to("run_id", "runs.id", key=True, cascade=True),
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    _text("path"),
    _count("generation"),
    sa.Column("state", sa.Text, nullable=True),
    sa.Column("reason", sa.Text, nullable=True),
    _time("at", null=False),
)
"""Append-only. A state of null says that the record was removed."""

attempts = _table(
    "attempts",
    _key(),
    _to("run_id", "runs.id", cascade=True),
    _text("path"),
    _count("generation"),
    _count("number"),
    _text("state"),
    _text("owner"),
    _text("launcher"),
    _text("isolation"),
    _time("started_at", null=False),
    _time("ended_at"),
    _count("exit_code", null=True),
    _text("error"),
    _text("log"),
    _text("notes"),
    sa.UniqueConstraint("run_id", "path", "generation", "number"),
)
_partial(
    "uq_attempts_live",
    attempts.c.run_id,
    attempts.c.path,
    unique=True,
    where=attempts.c.state == "RUNNING",
)

artifacts = _table(
    "artifacts",
    _key(),
    _to("namespace", "namespaces.name"),
    _text("schema_title"),
    _text("schema_version"),
    _text("instance_schema"),
    _text("name"),
    sa.Column("uri", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
    _text("metadata"),
    _count("size", null=True),
    sa.Column("sha256", sa.Text, nullable=True),
    _text("state"),
    _time("created_at", null=False),
    sa.Index(None, "uri"),
    sa.Index(None, "created_at", "id"),
    sa.Index(None, "namespace", "created_at", "id"),
    sa.Index(None, "schema_title", "created_at", "id"),
    sa.Index(None, "name", "created_at", "id"),
)
"""The URIs sort by their bytes, so that what lies below one is found in the index."""

pins = _table(
    "pins",
    _to("artifact_id", "artifacts.id", key=True),
    sa.Column("kept_by", sa.Text, primary_key=True),
    _time("created_at", null=False),
)
"""Artifacts that something outside of the record refers to, such as a registered model."""

executions = _table(
    "executions",
    _key(),
    _to("run_id", "runs.id", cascade=True),
    _text("path"),
    _count("generation"),
    sa.Column("attempt_id", sa.Text, nullable=True),
    _to("namespace", "namespaces.name"),
    _text("fingerprint"),
    _text("cache_scope"),
    _text("state"),
    sa.Column("cached_execution_id", sa.Text, nullable=True),
    _text("inputs"),
    _text("outputs"),
    _time("created_at", null=False),
    sa.Index(None, "fingerprint", "cache_scope", "namespace", "created_at"),
    sa.Index(None, "run_id", "path"),
)
"""What was executed or taken from the cache. Its values outlive the task's record."""
_partial(
    "ix_executions_cached_execution_id",
    executions.c.cached_execution_id,
    where=executions.c.cached_execution_id.is_not(None),
)

edges = _table(
    "lineage_edges",
    _to("execution_id", "executions.id", key=True, cascade=True),
    sa.Column("direction", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    _to("artifact_id", "artifacts.id"),
    sa.Index(None, "artifact_id", "direction", "execution_id"),
)
"""`name` is the input's or output's, `position` that of the artifact in its list."""

outbox = _table(
    "outbox",
    _key(),
    _text("topic"),
    sa.Column("run_id", sa.Text, nullable=True),
    _text("key"),
    _text("payload"),
    _text("error"),
    _count("attempts"),
    _time("created_at", null=False),
    _time("available_at", null=False),
    _time("delivered_at"),
    sa.UniqueConstraint("key"),
    sa.Index(None, "run_id"),
)
"""`run_id` names the run that a message tells of: it is not removed before the message is delivered."""
_partial(
    "ix_outbox_waiting",
    outbox.c.available_at,
    where=outbox.c.delivered_at.is_(None),
)

removals = _table(
    "removals",
    _key("run_id"),
    _text("pipeline_root"),
    _text("pipeline"),
    _count("tasks"),
    _count("size"),
    _text("error"),
    _time("marked_at", null=False),
    _time("purged_at"),
    sa.Index(None, "purged_at"),
)
"""Runs on their way out: so many tasks, and recorded bytes of what they made.

Once `purged_at` is set, the records are gone and the content and logs are next; the row goes last.
"""

agenda = _table(
    "agenda",
    _to("run_id", "runs.id", key=True, cascade=True),
    _text("engine"),
    _text("queue"),
    _count("priority"),
    _time("due_at", null=False),
    _count("failures"),
    _text("error"),
    sa.Index(None, "engine", "due_at"),
)
"""Runs that workers drive. `due_at` is the time of the next step; while one is being done, that at which it
is given up.
"""

launches = _table(
    "launches",
    _to("attempt_id", "attempts.id", key=True, cascade=True),
    _to("run_id", "runs.id", cascade=True),
    sa.Column("started", sa.Boolean, nullable=False),
    _text("waits_for"),
    _text("seen"),
    sa.Index(None, "run_id"),
)
"""Live attempts that nobody waits for. `seen` is empty until a watcher saw the end."""

leaders = _table("leaders", _key("name"), _text("owner"), _time("expires_at", null=False))

commits = _table("commits", _key("connection"), _count("number"), _time("at", null=False))
"""The last transaction that each connection to a server has committed (see `postgresql`)."""

schema_version = _table(
    "alembic_version",
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Alembic's own table, under its own names, read without Alembic."""

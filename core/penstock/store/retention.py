"""Which runs are to go: by age, number, experiment, pipeline and state."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.model import State
from penstock.store.records import Rule
from penstock.store.schema import experiments, pipeline_versions, pipelines, run_heads, runs

_r = runs.c
_ENDED = tuple(state.value for state in State if state.ended)


def choose(connection: sa.Connection, rule: Rule) -> list[str]:
    """Their ids, newest first."""
    newest_first = (_r.created_at.desc(), _r.id.desc())
    place = sa.func.row_number().over(
        partition_by=(_r.experiment_id, pipeline_versions.c.pipeline_id), order_by=newest_first
    )
    ranked = (
        sa.select(_r.id, _r.created_at, _r.ended_at, place.label("place"))
        .join(run_heads, run_heads.c.run_id == _r.id)
        .join(pipeline_versions, pipeline_versions.c.id == _r.version_id)
        .where(
            _r.namespace == rule.namespace,
            _r.state.in_(_ENDED) if rule.state is None else _r.state == rule.state.value,
        )
    )
    if rule.experiment is not None:
        named = sa.select(experiments.c.id).where(experiments.c.name == rule.experiment)
        ranked = ranked.where(_r.experiment_id.in_(named))
    if rule.pipeline is not None:
        named = sa.select(pipelines.c.id).where(pipelines.c.name == rule.pipeline)
        ranked = ranked.where(pipeline_versions.c.pipeline_id.in_(named))
    found = ranked.subquery("ranked")
    query = sa.select(found.c.id).order_by(found.c.created_at.desc(), found.c.id.desc())
    if rule.keep_last is not None:
        query = query.where(found.c.place > rule.keep_last)
    if rule.ended_before is not None:
        query = query.where(found.c.ended_at < rule.ended_before)
    return list(connection.execute(query).scalars())

"""Kubernetes configuration with its parameters put in (KFP: `backend/src/v2/driver/k8s.go`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from penstock.model import NOTHING, Json, JsonObject
from penstock.model import path as paths
from penstock.planner.inputs import MISSING, scope_parameter
from penstock.planner.ledger import Ledger

_SOURCES: Final = frozenset({"componentInputParameter", "taskOutputParameter", "runtimeValue", "constant"})


def resolve_platform(ledger: Ledger, path: str, config: Mapping[str, Json]) -> JsonObject:
    """The executor's configuration for the task at `path`: each reference to a parameter replaced by its
    value.

    References are to inputs of the DAG around the task and to outputs of its tasks; one without a value
    becomes null. Older compilers write the source of a name beside the fields it belongs to; the value is
    then under `name`.
    """
    scope = paths.split(path)[0]
    return {key: _resolved(ledger, scope, value) for key, value in config.items()}


def _resolved(ledger: Ledger, scope: str, value: Json) -> Json:
    if isinstance(value, list):
        return [_resolved(ledger, scope, one) for one in value]
    if not isinstance(value, dict):
        return value
    sources = _SOURCES & value.keys()
    if not sources:
        return {key: _resolved(ledger, scope, one) for key, one in value.items()}
    source = _value(ledger, scope, value)
    rest = {key: _resolved(ledger, scope, one) for key, one in value.items() if key not in sources}
    return {**rest, "name": source} if rest else source


def _value(ledger: Ledger, scope: str, source: Mapping[str, Json]) -> Json:
    match source:
        case {"componentInputParameter": str(name)}:
            found = scope_parameter(ledger, scope, name)
            return None if found is MISSING else found
        case {"taskOutputParameter": {"producerTask": str(task), "outputParameterKey": str(output)}}:
            record = ledger.get(paths.child(scope, task))
            return (record.outputs if record is not None else NOTHING).parameters.get(output)
        case {"runtimeValue": {"constant": constant}} | {"constant": constant}:
            return constant
        case _:
            return None

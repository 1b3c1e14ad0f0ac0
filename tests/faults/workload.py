"""The parts of pipelines that are to be disturbed, as IR: components that say when they start and finish.

They say it in a file. A line is `phase<TAB>task path<TAB>attempt id<TAB>retry index<TAB>exit code`, written
with one append.
The quiet component says nothing: its inputs must be the same everywhere, so that the cache can know it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from penstock.model import Json, JsonObject
from tests.documents import given

_PROLOGUE = """\
side=$0
attempt=$1
shift
say() {
    printf '%s\\t%s\\t%s\\t%s\\t%s\\n' \\
        "$1" "$PENSTOCK_TASK_PATH" "$attempt" "$KFP_RETRY_INDEX" "$2" >>"$side"
}
finish() { say finish "$1"; exit "$1"; }
say start -
"""

_BLOB = """\
sleep 0.15
yes "line of $1" | head -c 700000 >"$2" || finish 28
mkdir -p "${3%/*}"
printf %s $(($1 * $1)) >"$3"
finish 0
"""
_FOLDER = """\
sleep 0.1
mkdir -p "$3/parts/deep" &&
    cat "$1" "$2" >"$3/both" &&
    yes "$4" | head -c 300000 >"$3/parts/one" &&
    yes "$5" | head -c 300000 >"$3/parts/deep/two" &&
    ln -s parts/one "$3/link" || finish 28
mkdir -p "${6%/*}"
printf %s $(($4 + $5)) >"$6"
finish 0
"""
_WORK = """\
sleep 0.1
yes "item $1" | head -c 200000 >"$2" || finish 28
mkdir -p "${3%/*}"
printf %s "$1$1" >"$3"
finish 0
"""
_CHECK = """\
sleep 0.05
mkdir -p "${2%/*}"
printf '%s:%s' "$3" "$(wc -c <"$1" | tr -d ' ')" >"$2"
finish 0
"""
_JOIN = 'mkdir -p "${2%/*}"; printf %s "$1" >"$2"; sleep 0.05; finish 0'
_PYTHON = """\
import os, pathlib, sys, time
side, attempt, made, score = sys.argv[1:]
def say(phase, code):
    env = os.environ
    line = [phase, env["PENSTOCK_TASK_PATH"], attempt, env["KFP_RETRY_INDEX"], code]
    file = os.open(side, os.O_WRONLY | os.O_APPEND)
    os.write(file, ("\\t".join(line) + "\\n").encode())
    os.close(file)
say("start", "-")
time.sleep(0.1)
text = pathlib.Path(made).read_bytes()
out = pathlib.Path(score)
out.parent.mkdir(parents=True, exist_ok=True)
out.write_text(str(sum(text) % 100000))
say("finish", "0")
"""
_FLAKY = """\
sleep 0.05
[ "$KFP_RETRY_INDEX" -lt 2 ] && finish 7
mkdir -p "${1%/*}"
printf %s "$KFP_RETRY_INDEX" >"$1"
finish 0
"""
_FRAGILE = 'sleep 0.05; grep -q "^finish.$PENSTOCK_TASK_PATH.*.9\\$" "$side" || finish 9; finish 0'
_LEAVER = "sleep 600 & until grep -q sleep /proc/$!/comm; do sleep 0.05; done; finish 0"
_PAUSE = "sleep 0.05; finish 0"
_QUIET = 'yes quiet | head -c 50000 >"$0"'
_DOOMED = 'sleep 0.1; yes half | head -c 100000 >"$2"; [ "$1" = true ] && finish 3; finish 0'
_STUBBORN = """\
trap 'say term -' TERM
(trap '' TERM; exec sleep 600) &
say ready -
# A shell may miss a signal that comes just before it waits; so it does not wait for long.
while :; do sleep 0.2 & wait $!; done
"""
_LONG = "say ready -; sleep 600; finish 0"
_FAILING = "finish 5"
_GATE = 'read -r line <"$side.gate"; finish 0'


@dataclass(frozen=True)
class Part:
    """A component with its executor. `artifacts` go in, `made` come out."""

    script: str
    arguments: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict[str, str])
    artifacts: tuple[str, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict[str, str])
    made: tuple[str, ...] = ()
    program: str = "sh"


def _in(name: str) -> str:
    return f"{{{{$.inputs.parameters['{name}']}}}}"


def _from(name: str) -> str:
    return f"{{{{$.inputs.artifacts['{name}'].path}}}}"


def _to(name: str) -> str:
    return f"{{{{$.outputs.artifacts['{name}'].path}}}}"


def _out(name: str) -> str:
    return f"{{{{$.outputs.parameters['{name}'].output_file}}}}"


_ATTEMPT = "{{$.pipeline_task_uuid}}"
_INT, _TEXT, _BOOL, _LIST = "NUMBER_INTEGER", "STRING", "BOOLEAN", "LIST"

PARTS: dict[str, Part] = {
    "blob": Part(
        _BLOB, (_in("n"), _to("blob"), _out("square")), {"n": _INT}, (), {"square": _INT}, ("blob",)
    ),
    "folder": Part(
        _FOLDER,
        (_from("a"), _from("b"), _to("folder"), _in("x"), _in("y"), _out("total")),
        {"x": _INT, "y": _INT},
        ("a", "b"),
        {"total": _INT},
        ("folder",),
    ),
    "work": Part(
        _WORK, (_in("item"), _to("made"), _out("twice")), {"item": _TEXT}, (), {"twice": _TEXT}, ("made",)
    ),
    "check": Part(
        _CHECK,
        (_from("made"), _out("size"), _in("twice")),
        {"twice": _TEXT},
        ("made",),
        {"size": _TEXT},
    ),
    "join": Part(_JOIN, (_in("texts"), _out("joined")), {"texts": _LIST}, (), {"joined": _TEXT}),
    "score": Part(
        _PYTHON, (_from("made"), _out("score")), {}, ("made",), {"score": _INT}, (), program="python3"
    ),
    "flaky": Part(_FLAKY, (_out("tries"),), {}, (), {"tries": _INT}),
    "fragile": Part(_FRAGILE),
    "leaver": Part(_LEAVER),
    "pause": Part(_PAUSE),
    "quiet": Part(_QUIET, (_to("made"),), made=("made",)),
    "doomed": Part(_DOOMED, (_in("fails"), _to("half")), {"fails": _BOOL}, (), {}, ("half",)),
    "stubborn": Part(_STUBBORN),
    "long": Part(_LONG),
    "failing": Part(_FAILING),
    "gate": Part(_GATE),
}


def task(
    name: str,
    component: str,
    parameters: JsonObject | None = None,
    artifacts: JsonObject | None = None,
    *,
    after: Sequence[str] = (),
    cached: bool = False,
    **more: Json,
) -> JsonObject:
    """A task that gets the name of the side-effect file too, unless it is of the quiet component."""
    side: JsonObject = {} if component == "quiet" else {"side": given("side")}
    return {
        "cachingOptions": {"enableCache": True} if cached else {},
        "componentRef": {"name": f"comp-{component}"},
        "dependentTasks": list(after),
        "inputs": {"parameters": {**side, **(parameters or {})}, "artifacts": artifacts or {}},
        "taskInfo": {"name": name},
        **more,
    }


def retry(count: int, seconds: float) -> Json:
    return {
        "maxRetryCount": count,
        "backoffDuration": f"{seconds:g}s",
        "backoffFactor": 1.0,
        "backoffMaxDuration": "3600s",
    }


def dag(
    tasks: Sequence[JsonObject],
    *,
    inputs: Mapping[str, str] | None = None,
    outputs: Mapping[str, tuple[str, str, str]] | None = None,
    made: Mapping[str, tuple[str, str]] | None = None,
) -> JsonObject:
    """`outputs`: name to (type, task, its output); `made`: the same of artifacts, which are lists."""
    return {
        "dag": {
            "tasks": {_name(one): one for one in tasks},
            "outputs": {
                "parameters": {
                    name: {"valueFromParameter": {"producerSubtask": one, "outputParameterKey": key}}
                    for name, (_, one, key) in (outputs or {}).items()
                },
                "artifacts": {
                    name: {"artifactSelectors": [{"producerSubtask": one, "outputArtifactKey": key}]}
                    for name, (one, key) in (made or {}).items()
                },
            },
        },
        "inputDefinitions": {"parameters": _parameters({"side": _TEXT, **(inputs or {})})},
        "outputDefinitions": {
            "parameters": _parameters({name: kind for name, (kind, _, _) in (outputs or {}).items()}),
            "artifacts": {name: {**_DATASET, "isArtifactList": True} for name in (made or {})},
        },
    }


def pipeline(name: str, root: JsonObject, nested: Mapping[str, JsonObject] | None = None) -> JsonObject:
    """A pipeline of which `root` is the root component and `nested` are the DAG components."""
    return {
        "pipelineInfo": {"name": name},
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.14.3",
        "root": root,
        "components": {
            **{f"comp-{one}": _component(one, part) for one, part in PARTS.items()},
            **{f"comp-{one}": component for one, component in (nested or {}).items()},
        },
        "deploymentSpec": {"executors": {f"exec-{one}": _container(part) for one, part in PARTS.items()}},
    }


def write(document: JsonObject, path: Path) -> Path:
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


_DATASET: JsonObject = {"artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}


def _name(one: JsonObject) -> str:
    info = one["taskInfo"]
    assert isinstance(info, dict)
    return str(info["name"])


def _parameters(types: Mapping[str, str]) -> JsonObject:
    return {name: {"parameterType": kind} for name, kind in types.items()}


def _component(name: str, part: Part) -> JsonObject:
    return {
        "executorLabel": f"exec-{name}",
        "inputDefinitions": {
            "parameters": _parameters(part.inputs if name == "quiet" else {"side": _TEXT, **part.inputs}),
            "artifacts": dict.fromkeys(part.artifacts, _DATASET),
        },
        "outputDefinitions": {
            "parameters": _parameters(part.outputs),
            "artifacts": dict.fromkeys(part.made, _DATASET),
        },
    }


def _container(part: Part) -> JsonObject:
    if part.script == _QUIET:
        command: list[Json] = ["sh", "-c", _QUIET]
    elif part.program == "sh":
        command = ["sh", "-c", _PROLOGUE + part.script, _in("side"), _ATTEMPT]
    else:
        command = [part.program, "-I", "-S", "-c", part.script, _in("side"), _ATTEMPT]
    return {"container": {"image": "busybox", "command": command, "args": list(part.arguments)}}

"""A pipeline of pods that say when they start and finish: a fan, a loop, a join, a retry, values and files.

They say it to the address in the parameter `side`, in the words of `workload`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from penstock.model import Json, JsonObject
from tests.documents import INT, LIST, TEXT, Group, Shell, constant, given, made_by, output, pipeline, retries

NAME = "faults-workers"
_PYTHON = "docker.io/library/python:3.11"
_PROLOGUE = """\
import http.client, os, pathlib, sys, time
from urllib.parse import urlsplit
side, attempt, *given = sys.argv[1:]
def reach(place):
    # A new pod's first packets may be lost; nothing is said before there is a connection.
    until = time.monotonic() + 120
    while True:
        link = http.client.HTTPConnection(place.hostname, place.port, timeout=2)
        try:
            link.connect()
        except OSError:
            if time.monotonic() > until:
                raise
            continue
        link.sock.settimeout(60)
        return link
def say(phase, code):
    env = os.environ
    line = [phase, env["PENSTOCK_TASK_PATH"], attempt, env["KFP_RETRY_INDEX"], code]
    place = urlsplit(side)
    link = reach(place)
    link.request("POST", place.path, "\\t".join(line).encode())
    assert link.getresponse().status == 200
    link.close()
def give(path, text):
    place = pathlib.Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
say("start", "-")
"""
_FINISH = '\nsay("finish", "0")\n'
_BLOB = """\
n, blob, square = given
time.sleep(0.7)
give(blob, f"line of {n}\\n" * 50000)
give(square, str(int(n) ** 2))
"""
_GATHER = """\
a, b, x, y, total = given
time.sleep(0.3)
size = sum(len(pathlib.Path(one).read_bytes()) for one in (a, b))
give(total, str(int(x) + int(y) + size))
"""
_WORK = """\
item, made, twice = given
time.sleep(0.7)
give(made + "/deep/one", item * 1000)
give(made + "/two", item * 10)
give(twice, item * 2)
"""
_CHECK = """\
made, twice, size = given
time.sleep(0.3)
give(size, twice + str(sum(len(one.read_bytes()) for one in pathlib.Path(made).rglob("*") if one.is_file())))
"""
_JOIN = "texts, joined = given\ngive(joined, texts)\n"
_FLAKY = """\
tries, = given
time.sleep(0.5)
if os.environ["KFP_RETRY_INDEX"] == "0":
    say("finish", "7")
    sys.exit(7)
give(tries, os.environ["KFP_RETRY_INDEX"])
"""
_PLAIN = "time.sleep(0.5)\n"


def document() -> JsonObject:
    loop = Group(
        "loop",
        [
            _task("work", _WORK, {"item": (TEXT, given("item"))}, {"twice": TEXT}, made="made"),
            _task(
                "check",
                _CHECK,
                {"twice": (TEXT, output("work", "twice"))},
                {"size": TEXT},
                reads={"made": made_by("work", "made")},
                after=["work"],
            ),
        ],
        inputs={"side": (TEXT, given("side"))},
        outputs={"said": (TEXT, "check", "size")},
        items=["a", "b"],
        more={"iteratorPolicy": {"parallelismLimit": 2}},
    )
    fans = [_fan(n) for n in (1, 2)]
    gather = _task(
        "gather",
        _GATHER,
        {"x": (INT, output("fan-1", "square")), "y": (INT, output("fan-2", "square"))},
        {"total": INT},
        reads={"a": made_by("fan-1", "blob"), "b": made_by("fan-2", "blob")},
        after=["fan-1", "fan-2"],
    )
    join = _task("join", _JOIN, {"texts": (LIST, output("loop", "said"))}, {"joined": TEXT}, after=["loop"])
    flaky = _task("flaky", _FLAKY, {}, {"tries": INT}, more=retries(2, 0.2))
    plain = [_task("plain", _PLAIN, {}, {}), _task("last", _PLAIN, {}, {}, after=["gather", "join", "flaky"])]
    return pipeline(
        NAME,
        *fans,
        gather,
        loop,
        join,
        flaky,
        *plain,
        inputs={"side": TEXT},
        outputs={
            "total": (INT, "gather", "total"),
            "joined": (TEXT, "join", "joined"),
            "tries": (INT, "flaky", "tries"),
        },
    )


def _fan(n: int) -> Shell:
    return _task(f"fan-{n}", _BLOB, {"n": (INT, constant(n))}, {"square": INT}, made="blob")


def _task(
    name: str,
    script: str,
    inputs: Mapping[str, tuple[str, Json]],
    outputs: Mapping[str, str],
    *,
    made: str = "",
    reads: Mapping[str, Json] | None = None,
    after: Sequence[str] = (),
    more: Mapping[str, Json] | None = None,
) -> Shell:
    """Its script finds in `given`: artifacts in, parameters in, artifacts out, parameters out."""
    artifacts = reads or {}
    args = [
        *(f"{{{{$.inputs.artifacts['{one}'].path}}}}" for one in artifacts),
        *(f"{{{{$.inputs.parameters['{one}']}}}}" for one in inputs),
        *([f"{{{{$.outputs.artifacts['{made}'].path}}}}"] if made else []),
        *(f"{{{{$.outputs.parameters['{one}'].output_file}}}}" for one in outputs),
    ]
    marks = ["{{$.inputs.parameters['side']}}", "{{$.pipeline_task_uuid}}"]
    return Shell(
        name,
        inputs={"side": (TEXT, given("side")), **inputs},
        artifacts=artifacts,
        outputs=outputs,
        made={made: "system.Dataset"} if made else {},
        after=after,
        image=_PYTHON,
        command=["python3", "-c", _PROLOGUE + script + _FINISH, *marks],
        args=args,
        more=more or {},
    )

"""The command line, called in this process."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from penstock.cli import run_cli
from penstock.model import Json
from tests.documents import (
    INT,
    TEXT,
    Group,
    Shell,
    constant,
    given,
    made_by,
    output,
    pipeline,
    retries,
    when,
    write,
)


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    @property
    def complaint(self) -> str:
        """The one line that a bad input is answered with, and nothing else."""
        assert (self.code, self.out) == (2, ""), self
        assert self.err.startswith("error: ") and self.err.count("\n") == 1, self.err
        return self.err.strip()


Penstock = Callable[..., Answer]


@pytest.fixture
def penstock(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Penstock]:
    """Call the command in a folder and a home of the test's own."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    handler = signal.getsignal(signal.SIGTERM)

    def call(*arguments: str | Path) -> Answer:
        code = run_cli([str(one) for one in arguments])
        found = capfd.readouterr()
        return Answer(code, found.out, found.err)

    yield call
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def adding(tmp_path: Path) -> Path:
    """Adds 2 to the argument `x`; writes a model; reads it again in `use`. Cached."""
    add = Shell(
        "add",
        'echo adding; printf %s $((x + two)) >"$total"; echo "a model" >"$model"',
        {"x": (INT, given("x")), "two": (INT, constant(2))},
        outputs={"total": INT},
        made={"model": "system.Model"},
        cached=True,
    )
    use = Shell(
        "use",
        'cat "$model"; echo "total $total"; cp "$model" "$copy"',
        {"total": (INT, output("add", "total"))},
        {"model": made_by("add", "model")},
        made={"copy": "system.Dataset"},
        after=["add"],
        cached=True,
    )
    document = pipeline(
        "adding",
        add,
        use,
        inputs={"x": INT, "note": {"parameterType": TEXT, "isOptional": True, "defaultValue": "none"}},
        outputs={"total": (INT, "add", "total"), "model": ("system.Model", "add", "model")},
    )
    return write(document, tmp_path / "adding.yaml")


@pytest.fixture
def importing(tmp_path: Path) -> Path:
    """`read` copies the model that stands at the argument `data`, a place. Cached."""
    data: Json = {"componentInputArtifact": "data"}
    read = Shell(
        "read", 'cp "$data" "$copy"', {}, {"data": data}, made={"copy": "system.Dataset"}, cached=True
    )
    document: dict[str, Any] = {**pipeline("importing", read)}
    model = {"artifactType": {"schemaTitle": "system.Model", "schemaVersion": "0.0.1"}}
    document["root"]["inputDefinitions"] = {"artifacts": {"data": model}}
    return write(document, tmp_path / "importing.yaml")


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    """`broken` fails as long as the argument `fails` is yes, and `after` waits for it; `fine` succeeds."""
    broken = Shell("broken", 'echo "it broke"; test "$fails" != yes', {"fails": (TEXT, given("fails"))})
    document = pipeline(
        "failing", Shell("fine"), broken, Shell("after", after=["broken"]), inputs={"fails": TEXT}
    )
    return write(document, tmp_path / "failing.yaml")


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    """A loop, a condition that is false, a retry, an exit handler."""
    document = pipeline(
        "everything",
        Group(
            "loop",
            [
                Shell(
                    "say",
                    'printf %s "$word" >"$said"',
                    {"word": (TEXT, given("item"))},
                    outputs={"said": TEXT},
                )
            ],
            items=["a", "b"],
            outputs={"said": (TEXT, "say", "said")},
        ),
        Shell(
            "never",
            inputs={"x": (INT, constant(1))},
            more=when("int(inputs.parameter_values['x']) > 2"),
        ),
        Shell("flaky", 'test "$KFP_RETRY_INDEX" = 1', more=retries(1)),
        Shell("cleanup", after=["flaky"], more=when("", "ALL_UPSTREAM_TASKS_COMPLETED")),
    )
    return write(document, tmp_path / "everything.yaml")

"""Values by reference, else by files; and what is said of one that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.errors import InvalidInputError
from penstock.execution.secrets.need import SecretNeed, TaskNeed
from penstock.execution.secrets.provider import SecretError
from penstock.execution.secrets.reference import read_references
from penstock.execution.secrets.resolver import Secrets

PASSWORD = SecretNeed("db", "password", variable="PASSWORD")
WHOLE = SecretNeed("db", mount="/mnt/db")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "password").write_text("from the home")
    (tmp_path / "db" / "user").write_text("ann")
    return tmp_path


def secrets(folder: Path, **references: str) -> Secrets:
    found = {name.replace("_", "/"): value for name, value in references.items()}
    return Secrets(read_references(found, "[secrets]", folder), folder)


def test_without_a_reference_a_value_is_a_file_in_the_home(folder: Path) -> None:
    handed = secrets(folder).hand_out([PASSWORD])
    assert handed.variables == {"PASSWORD": b"from the home"}
    assert handed.names == ("db/password",)


def test_the_reference_of_a_key_wins_over_that_of_the_whole(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "password").write_text("from the other")
    (other / "port").write_text("5432")
    monkeypatch.setenv("DB_PASSWORD", "from the environment")

    assert secrets(folder, db=f"file:{other}").hand_out([PASSWORD]).variables == {
        "PASSWORD": b"from the other"
    }
    both = secrets(folder, db=f"file:{other}", db_password="env:DB_PASSWORD")
    assert both.hand_out([PASSWORD]).variables == {"PASSWORD": b"from the environment"}
    (volume,) = both.hand_out([WHOLE]).volumes
    assert (volume.mount, volume.files) == (
        "/mnt/db",
        {"password": b"from the environment", "port": b"5432"},
    )


def test_an_empty_value_is_a_value(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "")
    assert secrets(folder, db_password="env:DB_PASSWORD").hand_out([PASSWORD]).variables == {"PASSWORD": b""}


@pytest.mark.parametrize(
    ("need", "references", "words"),
    [
        (
            SecretNeed("db", "port", variable="X"),
            {},
            (
                "the key 'port' of the secret 'db' is needed and not there",
                '"db/port" = "env:NAME"',
                "/db/port",
            ),
        ),
        (SecretNeed("no", mount="/x"), {}, ("the secret 'no' is needed and not there", '"no/KEY" = ')),
        (
            PASSWORD,
            {"db_password": "env:NO_SUCH_VARIABLE"},
            (
                "'password' of the secret 'db' is needed and not at env:NO_SUCH_VARIABLE",
                "[secrets] of penstock",
            ),
        ),
        (
            WHOLE,
            {"db_password": "env:NO_SUCH_VARIABLE"},
            ("the key 'password' of the secret 'db' is needed and not at env:NO_SUCH_VARIABLE",),
        ),
        (PASSWORD, {"db": "file:/no/such"}, ("is needed and not at file:/no/such",)),
    ],
)
def test_what_is_not_there_is_named_with_where_to_say_what_it_is(
    folder: Path, need: SecretNeed, references: dict[str, str], words: tuple[str, ...]
) -> None:
    with pytest.raises(SecretError) as caught:
        secrets(folder, **references).hand_out([need])
    assert [one for one in words if one not in str(caught.value)] == []


def test_what_is_optional_may_be_missing(folder: Path) -> None:
    optional = [
        SecretNeed("db", "port", optional=True, variable="PORT"),
        SecretNeed("no", optional=True, mount="/x"),
        SecretNeed("db", "user", optional=True, variable="USER"),
    ]
    handed = secrets(folder).hand_out(optional)
    assert (handed.variables, handed.volumes) == ({"USER": b"ann"}, ())


@pytest.mark.parametrize("name", ["../db", "DB", "db/..", ""])
def test_a_name_from_a_pipeline_leads_nowhere_else(folder: Path, name: str) -> None:
    with pytest.raises(SecretError, match="is not a name that a secret can have"):
        secrets(folder / "sub").hand_out([SecretNeed(name, "password", variable="X")])


@pytest.mark.parametrize("key", ["../user", "..", "a/b"])
def test_nor_does_a_key(folder: Path, key: str) -> None:
    assert secrets(folder).problem(SecretNeed("db", key, variable="X")) is not None


def test_what_was_handed_out_is_masked_and_shown_nowhere(folder: Path) -> None:
    handed = secrets(folder).hand_out([PASSWORD, WHOLE])
    assert handed.masker.text("it is from the home") == "it is ***"
    assert "from the home" not in repr(handed)


def test_before_a_run_starts_only_what_is_certain_and_required_is_checked(folder: Path) -> None:
    missing = SecretNeed("db", "port", variable="PORT")
    optional = SecretNeed("db", "port", optional=True, variable="PORT")
    found = secrets(folder)
    found.check([TaskNeed("a", "e", PASSWORD, certain=True), TaskNeed("b", "e", optional, certain=True)])
    found.check([TaskNeed("c", "e", missing, certain=False)])
    with pytest.raises(InvalidInputError, match="task 'inner/d': the key 'port' of the secret 'db'"):
        found.check([TaskNeed("inner/d", "e", missing, certain=True)])


def test_the_variables_that_hold_values_are_known(folder: Path) -> None:
    assert secrets(folder, db_a="env:A", db_b="env:B", db="file:/x").variables == {"A", "B"}

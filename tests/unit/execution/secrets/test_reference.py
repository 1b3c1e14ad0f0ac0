"""References in penstock.toml and in PENSTOCK_SECRETS. What might be a value is never quoted."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.errors import InvalidInputError
from penstock.execution.secrets.reference import read_references
from penstock.execution.settings import load_settings

FOLDER = Path("/etc/penstock")


def read(found: object) -> dict[str, str]:
    return {name: str(one) for name, one in read_references(found, "[secrets]", FOLDER).items()}


def test_a_key_and_a_whole_secret_have_references() -> None:
    found = {
        "db/password": "env:DB_PASSWORD",
        "db": "file:/run/secrets/db/",
        "tls": "file:///run/tls",
        "near/by": "file:secrets/by",
        "nested": {"tls.key": "file:/run/tls.key"},
    }
    assert read(found) == {
        "db/password": "env:DB_PASSWORD",
        "db": "file:/run/secrets/db",
        "tls": "file:/run/tls",
        "near/by": "file:/etc/penstock/secrets/by",
        "nested/tls.key": "file:/run/tls.key",
    }


def test_a_text_has_entries_between_commas_or_on_lines() -> None:
    assert read("a/b=env:X, c=file:/c,\n d/e=env:Y\n") == {"a/b": "env:X", "c": "file:/c", "d/e": "env:Y"}
    assert read("") == {}


@pytest.mark.parametrize(
    "value", ["hunter2", "hunter2:x", "env:", "env:hunter2-x", "file:", "", 17, ["hunter2"]]
)
def test_a_value_in_the_place_of_a_reference_is_refused_and_not_quoted(value: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read({"db/password": value})
    assert str(caught.value) == (
        "[secrets] gives 'db/password' something that is no reference; it must say where to read the value, "
        'not what it is: "env:NAME" for an environment variable, "file:/path" for a file'
    )


def test_a_text_without_a_name_is_refused_and_not_quoted() -> None:
    with pytest.raises(InvalidInputError) as caught:
        read("a/b=env:X,hunter2")
    assert "entry 2 of [secrets]" in str(caught.value) and "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["Db", "db/", "/x", "db/a b", "db/..", "a/b/c", "_x", ""])
def test_what_kubernetes_would_not_name_a_secret_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="which is no secret: write NAME/KEY"):
        read({name: "env:X"})


def test_a_variable_is_no_whole_secret() -> None:
    with pytest.raises(InvalidInputError, match='give each key its own, such as "db/KEY" = "env:NAME"'):
        read({"db": "env:DB"})


def test_the_environment_wins_entry_by_entry_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text('[secrets]\n"db/user" = "env:A"\n"db/password" = "file:pw"\n')
    environ = {"HOME": "/h", "PENSTOCK_SECRETS": "db/user=env:B"}

    settings = load_settings({}, environ, tmp_path)

    assert {name: str(one) for name, one in settings.secrets.items()} == {
        "db/user": "env:B",
        "db/password": f"file:{tmp_path}/pw",
    }
    shown = {name: (value, origin) for name, value, origin in settings.shown()}
    assert shown["PENSTOCK_SECRETS"] == (
        f"db/user=env:B,db/password=file:{tmp_path}/pw",
        f"{tmp_path}/penstock.toml, environment PENSTOCK_SECRETS",
    )


def test_a_wrong_reference_names_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text('[secrets]\n"db/user" = "hunter2"\n')
    with pytest.raises(InvalidInputError) as caught:
        load_settings({}, {"HOME": "/h"}, tmp_path)
    assert str(caught.value).startswith(f"[secrets] of {tmp_path}/penstock.toml gives 'db/user'")
    with pytest.raises(InvalidInputError, match="environment PENSTOCK_SECRETS gives 'a/b'"):
        load_settings({}, {"HOME": "/h", "PENSTOCK_SECRETS": "a/b=x"}, Path("/"))

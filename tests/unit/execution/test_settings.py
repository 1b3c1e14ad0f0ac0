"""Where settings come from, and what cannot be one."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.errors import InvalidInputError
from penstock.execution.settings import SETTINGS, load_settings, mask_url


def test_without_any_word_of_the_user_everything_lies_in_the_home(tmp_path: Path) -> None:
    settings = load_settings({}, {"HOME": "/home/ann"}, tmp_path)

    assert settings.home == Path("/home/ann/.penstock")
    assert settings.database_url == "sqlite:////home/ann/.penstock/penstock.db"
    assert settings.pipeline_root == "file:///home/ann/.penstock/artifacts"
    assert settings.environments == Path("/home/ann/.penstock/environments")
    assert (settings.engine, settings.launcher, settings.pass_env) == ("embedded", "process", ())
    assert settings.parallel >= 1 and settings.private_tmp and not settings.strict_images
    assert set(settings.origins.values()) == {"default"}


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text('home = "/file"\nparallel = 3\nengine = "celery"\n')
    environ = {"PENSTOCK_HOME": "/environment", "PENSTOCK_PARALLEL": "5"}

    settings = load_settings({"home": "/command"}, environ, tmp_path)

    assert (settings.home, settings.parallel, settings.engine) == (Path("/command"), 5, "celery")
    origins = [settings.origins[name] for name in ("home", "parallel", "engine", "launcher")]
    assert origins == [
        "command line", "environment PENSTOCK_PARALLEL", str(tmp_path / "penstock.toml"), "default",
    ]  # fmt: skip


def test_an_empty_variable_counts_as_none(tmp_path: Path) -> None:
    settings = load_settings({}, {"HOME": "/h", "PENSTOCK_HOME": "", "PENSTOCK_PARALLEL": ""}, tmp_path)

    assert settings.home == Path("/h/.penstock") and settings.parallel >= 1


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("parallel = 3", {"parallel": 3}),
        ("private_tmp = false\nstrict_images = true", {"private_tmp": False, "strict_images": True}),
        ('private_tmp = "off"', {"private_tmp": False}),
        ('pass_env = ["A", "B"]', {"pass_env": ("A", "B")}),
        ('pass_env = " A , B,"', {"pass_env": ("A", "B")}),
    ],
)
def test_the_file_may_use_the_types_of_toml(tmp_path: Path, text: str, values: dict[str, object]) -> None:
    (tmp_path / "penstock.toml").write_text(text)
    settings = load_settings({}, {"HOME": "/h"}, tmp_path)

    assert {name: getattr(settings, name) for name in values} == values


def test_a_pipeline_root_may_be_a_folder_or_a_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def root(text: str) -> str:
        return load_settings({"pipeline_root": text}, {"HOME": "/h"}, tmp_path).pipeline_root

    assert root("some where") == (tmp_path / "some where").as_uri()
    assert root("s3://bucket/prefix/") == "s3://bucket/prefix"


def test_a_home_may_be_relative_to_here_or_to_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert load_settings({"home": "here"}, {}, tmp_path).home == tmp_path / "here"
    assert load_settings({"home": "~/there"}, {"HOME": "/h"}, tmp_path).home == Path("/h/there")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("home = ", "cannot be read"),
        ("homme = 'x'", "sets 'homme', which is no setting; did you mean 'home'?"),
        ("zzz = 1", "which is no setting; it knows home, database_url"),
        ("parallel = -1", "must be a whole number from 0, not '-1'"),
        ("parallel = 1.5", "must be a whole number from 0, not '1.5'"),
        ("private_tmp = 2", "must be true or false, not '2'"),
        ('home = "a\\u0000b"', "it holds a NUL character"),
        ("pipeline_root = 's3:/bucket/x'", "is 's3:/bucket/x', which is no URI such as s3://bucket/prefix"),
        ("pipeline_root = 'gs:x'", "for a folder of that name write './gs:x'"),
    ],
)
def test_what_cannot_be_names_the_setting_and_its_origin(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "penstock.toml"
    file.write_text(text)

    with pytest.raises(InvalidInputError) as caught:
        load_settings({}, {"HOME": "/h"}, tmp_path)

    assert words in str(caught.value) and str(file) in str(caught.value)


def test_every_setting_is_shown_with_its_variable(tmp_path: Path) -> None:
    settings = load_settings({}, {"HOME": "/h", "PENSTOCK_PASS_ENV": "A,B"}, tmp_path)
    shown = {name: (value, origin) for name, value, origin in settings.shown()}

    assert list(shown) == [setting.variable for setting in SETTINGS]
    assert shown["PENSTOCK_PASS_ENV"] == ("A,B", "environment PENSTOCK_PASS_ENV")
    assert shown["PENSTOCK_PRIVATE_TMP"] == ("true", "default")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://ann:s3cret@db:5432/x", "postgresql://ann:***@db:5432/x"),
        ("cannot reach redis://:s3cret@db/0, twice", "cannot reach redis://:***@db/0, twice"),
        ("a://u:p@h and b://v:q@i", "a://u:***@h and b://v:***@i"),
        ("postgresql://ann:p@ss:word@db/x", "postgresql://ann:***@db/x"),
        ("postgres://ann:p/w@db/x?password=y&a=b and c", "postgres://ann:***@db/x?password=***&a=b and c"),
        ("postgresql://db/x?options=a@b", "postgresql://db/x?options=a@b"),
        ("https://ghp_token@index/simple, ssh://git@host/x", "https://***@index/simple, ssh://git@host/x"),
        ("sqlite:////home/ann:bob@x/penstock.db", "sqlite:////home/ann:bob@x/penstock.db"),
        ("http://[not-an-address", "http://[not-an-address"),
        ("https://host:8080/a@b", "https://host:8080/a@b"),
        ("file:///a", "file:///a"),
    ],
)
def test_passwords_are_masked_wherever_they_stand(text: str, masked: str) -> None:
    assert mask_url(text) == masked


def test_a_launcher_may_have_a_name_and_settings_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text(
        'kubernetes_image = "python:3.12"\n[launchers.gpu]\nkind = "kubernetes"\nkubernetes_context = "far"\n'
    )
    settings = load_settings(environ={}, folder=tmp_path)
    kind, own = settings.of_launcher("gpu")
    assert kind == "kubernetes"
    assert own.foreign["kubernetes_context"] == "far"
    assert own.foreign["kubernetes_image"] == "python:3.12"
    assert settings.of_launcher("kubernetes") == ("kubernetes", settings)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("launchers = 3\n", "must be tables, such as [launchers.gpu]"),
        ("[launchers.gpu]\n", 'does not say what it is; write kind = "kubernetes"'),
        ("[launchers]\ngpu = 3\n", 'does not say what it is; write kind = "kubernetes"'),
        (
            '[launchers.gpu]\nkind = "kubernetes"\nhome = "x"\n',
            "sets 'home', which is nothing that a launcher",
        ),
        ('[launchers.process]\nkind = "kubernetes"\n', "'process' is the launcher that penstock brings"),
    ],
)
def test_a_launcher_that_is_described_badly(tmp_path: Path, table: str, told: str) -> None:
    (tmp_path / "penstock.toml").write_text(table)
    with pytest.raises(InvalidInputError) as caught:
        load_settings(environ={}, folder=tmp_path)
    assert told in str(caught.value)
    assert "penstock.toml" in str(caught.value)

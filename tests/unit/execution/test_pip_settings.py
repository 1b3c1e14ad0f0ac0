"""pip's configuration, as pip itself would read it, in the words of uv."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.execution.environments.bootstrap import PipInstall
from penstock.execution.environments.pipsettings import masked, pip_settings, uv_settings


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr("penstock.execution.environments.pipsettings._ETC", str(tmp_path / "etc"))
    return {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "xdg"), "PATH": "/usr/bin"}


def configure(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def index(base: dict[str, str]) -> str:
    return uv_settings(base).variables.get("UV_DEFAULT_INDEX", "")


def test_a_later_place_wins_and_the_section_of_the_command_before_the_global_one(
    base: dict[str, str], tmp_path: Path
) -> None:
    def says(host: str, section: str = "global") -> str:
        return f"[{section}]\nindex-url = https://{host}.example/simple\n"

    configure(tmp_path / "xdg/pip/pip.conf", says("system"))
    assert index(base) == "https://system.example/simple"
    configure(tmp_path / ".pip/pip.conf", says("legacy"))
    assert index(base) == "https://legacy.example/simple"
    configure(tmp_path / ".config/pip/pip.conf", says("user", "install") + says("global"))
    assert index(base) == "https://user.example/simple"
    assert index({**base, "PIP_INDEX_URL": "https://pip.example/simple"}) == "https://pip.example/simple"
    uv = {**base, "PIP_INDEX_URL": "https://pip.example/simple", "UV_INDEX_URL": "https://uv.example/simple"}
    assert index(uv) == "https://uv.example/simple"
    command = PipInstall(("a",), ("--index-url=https://command.example/simple",))
    assert uv_settings(uv, command).variables["UV_DEFAULT_INDEX"] == "https://command.example/simple"


def test_a_named_file_replaces_the_users_and_the_null_device_all(
    base: dict[str, str], tmp_path: Path
) -> None:
    configure(tmp_path / ".config/pip/pip.conf", "[global]\nindex-url = https://user.example\n")
    configure(tmp_path / "xdg/pip/pip.conf", "[global]\nextra-index-url = https://system.example\n")
    named = configure(tmp_path / "named", "[global]\nno_index = yes\n")
    assert pip_settings({**base, "PIP_CONFIG_FILE": str(named)}) == {
        "no-index": ("yes",),
        "extra-index-url": ("https://system.example",),
    }
    assert pip_settings({**base, "PIP_CONFIG_FILE": os.devnull}) == {}


def test_a_broken_file_counts_as_absent(base: dict[str, str], tmp_path: Path) -> None:
    configure(tmp_path / ".config/pip/pip.conf", "index-url = no section\n")
    assert pip_settings(base) == {}


def test_lists_are_joined_and_all_indexes_are_asked(base: dict[str, str]) -> None:
    base |= {
        "PIP_EXTRA_INDEX_URL": "https://a.example https://b.example",
        "PIP_FIND_LINKS": "wheels /opt/wheels",
    }
    command = PipInstall(("x",), ("--extra-index-url=https://c.example", "--find-links=https://w.example"))
    found = uv_settings(base, command).variables
    assert found["UV_EXTRA_INDEX_URL"] == "https://a.example https://b.example https://c.example"
    assert found["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert found["UV_FIND_LINKS"] == f"{os.path.abspath('wheels')},/opt/wheels,https://w.example"


def test_one_index_needs_no_strategy(base: dict[str, str]) -> None:
    assert "UV_INDEX_STRATEGY" not in uv_settings(base).variables


def test_hosts_are_trusted_only_where_pip_would_trust_them(base: dict[str, str]) -> None:
    command = PipInstall(("x",), ("--trusted-host=https://a.example/simple", "--trusted-host=b.example:8080"))
    assert uv_settings(base, command).variables["UV_INSECURE_HOST"] == "b.example:8080"


def test_flags_have_uvs_names(base: dict[str, str]) -> None:
    options = ("--no-deps", "--pre", "--force-reinstall", "--upgrade", "--no-binary=:all:", "--no-index")
    flags = uv_settings(base, PipInstall(("x",), options)).flags
    assert set(flags) == {
        "--no-deps", "--prerelease=allow", "--reinstall", "--upgrade", "--no-binary=:all:", "--no-index"
    }  # fmt: skip


def test_certificates_and_proxies_are_found_where_pip_finds_them(base: dict[str, str]) -> None:
    found = uv_settings({**base, "PIP_CERT": "/etc/ca.pem", "PIP_PROXY": "proxy.example:3128"}).variables
    assert found["SSL_CERT_FILE"] == "/etc/ca.pem"
    assert found["HTTPS_PROXY"] == found["HTTP_PROXY"] == "http://proxy.example:3128"
    assert (
        uv_settings({**base, "SSL_CERT_FILE": "/mine", "PIP_CERT": "/x"}).variables["SSL_CERT_FILE"]
        == "/mine"
    )


def test_only_the_users_own_uv_configuration_is_read(base: dict[str, str], tmp_path: Path) -> None:
    assert uv_settings(base).variables["UV_NO_CONFIG"] == "1"
    own = configure(tmp_path / ".config/uv/uv.toml", "")
    found = uv_settings(base).variables
    assert found["UV_CONFIG_FILE"] == str(own)
    assert "UV_NO_CONFIG" not in found


def test_nothing_of_the_caller_sends_uv_elsewhere(base: dict[str, str]) -> None:
    elsewhere = {"VIRTUAL_ENV": "/v", "UV_PYTHON": "3.8", "UV_SYSTEM_PYTHON": "1", "PYTHONPATH": "/p"}
    found = uv_settings({**base, **elsewhere}, offline=True).variables
    assert not found.keys() & elsewhere.keys()
    assert (found["UV_PYTHON_DOWNLOADS"], found["UV_OFFLINE"]) == ("never", "1")


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("https://me:secret@pypi.example/simple", "https://****@pypi.example/simple"),
        ("git+https://token@example.org/r.git@main", "git+https://****@example.org/r.git@main"),
        ("at https://a:b@c@host/x, https://d:e@f/", "at https://****@host/x, https://****@f/"),
        ("https://example.org/p@1 me@example.org", "https://example.org/p@1 me@example.org"),
    ],
)
def test_credentials_are_masked(text: str, safe: str) -> None:
    assert masked(text) == safe

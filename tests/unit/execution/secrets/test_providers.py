"""Environment variables and files; and providers that other distributions bring."""

from __future__ import annotations

import os
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from penstock.execution.secrets import provider as providers
from penstock.execution.secrets.provider import (
    LARGEST,
    EnvironmentSecrets,
    FileSecrets,
    SecretError,
    is_installed,
    provider,
)
from tests.unit.execution.secrets.contract import SecretProviderContract


class TestEnvironment(SecretProviderContract):
    provider = EnvironmentSecrets()
    nowhere = "NO_SUCH_VARIABLE_OF_PENSTOCK"

    def put(self, value: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setenv("A_SECRET", os.fsdecode(value))
        return "A_SECRET"


class TestFile(SecretProviderContract):
    provider = FileSecrets()
    nowhere = "/no/such/secret"

    def put(self, value: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        (tmp_path / "password").write_bytes(value)
        return str(tmp_path / "password")

    def test_a_folder_is_a_whole_secret_also_as_kubernetes_mounts_it(self, tmp_path: Path) -> None:
        data = tmp_path / "..2026_11_21"
        data.mkdir()
        (data / "user").write_text("ann")
        (tmp_path / "..data").symlink_to(data.name)
        (tmp_path / "user").symlink_to("..data/user")
        (tmp_path / "folder").mkdir()
        assert self.provider.keys(str(tmp_path)) == {"user": str(tmp_path / "user")}
        assert self.provider.resolve(str(tmp_path / "user")) == b"ann"

    def test_what_cannot_be_read_is_an_error_with_its_cause(self, tmp_path: Path) -> None:
        with pytest.raises(SecretError, match="cannot be read: Is a directory"):
            self.provider.resolve(str(tmp_path))
        (tmp_path / "loop").symlink_to("loop")
        with pytest.raises(SecretError, match="cannot be read"):
            self.provider.keys(str(tmp_path / "loop"))

    def test_more_than_a_secret_may_have_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "large").write_bytes(b"x" * (LARGEST + 1))
        with pytest.raises(SecretError, match="more than the 1048576 bytes"):
            self.provider.resolve(str(tmp_path / "large"))


def test_other_distributions_bring_providers_by_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    brought = EntryPoint("vault", "tests.unit.execution.secrets.test_providers:FileSecrets", providers.GROUP)

    def entry_points(*, group: str, name: str) -> list[EntryPoint]:
        return [brought] if (group, name) == (brought.group, brought.name) else []

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    provider.cache_clear()
    try:
        assert is_installed("vault") and isinstance(provider("vault"), FileSecrets)
        assert not is_installed("other")
        with pytest.raises(SecretError, match="no provider of secrets 'other' is installed"):
            provider("other")
    finally:
        provider.cache_clear()

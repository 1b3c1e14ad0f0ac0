"""What every provider of secrets does. A suite inherits from this and says how values are put in place."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.execution.secrets.provider import SecretProvider

VALUES = [b"hunter2", b"", b" two\nlines \n", "p\u00e4ss".encode(), b"\xff\xfe"]


class SecretProviderContract:
    """`put` puts a value in place and says where; `nowhere` is a place where there is none."""

    provider: SecretProvider
    nowhere: str

    def put(self, value: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        raise NotImplementedError

    @pytest.mark.parametrize("value", VALUES)
    def test_a_value_comes_as_it_is(
        self, value: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.provider.resolve(self.put(value, tmp_path, monkeypatch)) == value

    def test_a_value_that_changed_comes_as_it_is_now(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = self.put(b"before", tmp_path, monkeypatch)
        assert self.provider.resolve(place) == b"before"
        self.put(b"after", tmp_path, monkeypatch)
        assert self.provider.resolve(place) == b"after"

    def test_no_value_is_none(self) -> None:
        assert self.provider.resolve(self.nowhere) is None

    def test_no_whole_secret_is_none(self) -> None:
        assert self.provider.keys(self.nowhere) is None

    def test_the_places_of_a_whole_secret_can_be_resolved(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = str(Path(self.put(b"value", tmp_path, monkeypatch)).parent)
        for place in (self.provider.keys(whole) or {}).values():
            assert self.provider.resolve(place) is not None

    def test_the_provider_keeps_and_shows_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.provider.resolve(self.put(b"hunter2", tmp_path, monkeypatch))
        assert "hunter2" not in repr(self.provider) + repr(getattr(self.provider, "__dict__", {}))

"""The values of secrets on this machine: by configured references, else by files in the home."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from penstock.errors import InvalidInputError
from penstock.execution.secrets.forms import masker_of
from penstock.execution.secrets.masker import NO_MASKER, Masker
from penstock.execution.secrets.need import SecretNeed, TaskNeed
from penstock.execution.secrets.provider import SecretError, provider
from penstock.execution.secrets.reference import KEY, NAME, References, SecretReference


@dataclass(frozen=True, slots=True)
class SecretFiles:
    """All of a secret, as files named after its keys, in the folder `mount`."""

    mount: str
    files: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Handed:
    """What one attempt is given, in memory only. `names` says of what; `masker` masks each value."""

    variables: Mapping[str, bytes] = field(default_factory=dict[str, bytes], repr=False)
    volumes: tuple[SecretFiles, ...] = ()
    names: tuple[str, ...] = ()
    masker: Masker = NO_MASKER


NOTHING_HANDED = Handed()


@dataclass(frozen=True, slots=True)
class Secrets:
    """A secret without a reference is the folder of its name below `folder`, with a file for each key."""

    references: References
    folder: Path

    def sources(self, name: str) -> dict[str, SecretReference]:
        """Where the value of each key of a secret is to be read from. Raises SecretError."""
        if not NAME.fullmatch(name):
            raise SecretError(f"'{name}' is not a name that a secret can have in Kubernetes")
        whole = self._whole(name)
        places = provider(whole.scheme).keys(whole.place) or {}
        found = {key: SecretReference(whole.scheme, one) for key, one in places.items() if KEY.fullmatch(key)}
        own = f"{name}/"
        return found | {
            full.removeprefix(own): one for full, one in self.references.items() if full.startswith(own)
        }

    def hand_out(self, needs: Iterable[SecretNeed]) -> Handed:
        """Raises SecretError, naming the secret and where to say what it is, for one that is not there."""
        variables: dict[str, bytes] = {}
        volumes: list[SecretFiles] = []
        values: dict[str, bytes] = {}
        for need in needs:
            found = self.values(need)
            if not need.optional and (absent := self.absent(need, found)) is not None:
                raise self.missing(absent)
            values |= {f"{need.name}/{key}": value for key, value in found.items()}
            if need.key in found:
                variables[need.variable] = found[need.key]
            elif found:
                volumes.append(SecretFiles(need.mount, found))
        return Handed(variables, tuple(volumes), tuple(sorted(values)), masker_of(values))

    def check(self, needs: Iterable[TaskNeed]) -> None:
        """Raises InvalidInputError for what is not there and is certain to be needed."""
        problems = {
            str(problem): one.path
            for one in needs
            if one.certain and not one.need.optional and (problem := self.problem(one.need)) is not None
        }
        for text, path in problems.items():
            more = f" ({len(problems) - 1} more not there; `penstock doctor` lists them)"
            raise InvalidInputError(f"task '{path}': {text}{more if len(problems) > 1 else ''}")

    def problem(self, need: SecretNeed) -> SecretError | None:
        """Why it could not be handed out now; None when it could."""
        try:
            absent = self.absent(need, self.values(need))
        except SecretError as problem:
            return problem
        return None if absent is None else self.missing(absent)

    def values(self, need: SecretNeed) -> dict[str, bytes]:
        """By key, as far as they are there. Raises SecretError for one that cannot be read."""
        found = {
            key: provider(one.scheme).resolve(one.place)
            for key, one in self.sources(need.name).items()
            if need.key in ("", key)
        }
        return {key: value for key, value in found.items() if value is not None}

    def absent(self, need: SecretNeed, found: Collection[str]) -> SecretNeed | None:
        """What of a need has no value among `found`, the keys that have one."""
        if need.key or not found:
            return None if found else need
        keys = self.sources(need.name).keys() - found
        return replace(need, key=min(keys)) if keys else None

    def missing(self, need: SecretNeed) -> SecretError:
        what = f"{f'the key {need.key!r} of ' if need.key else ''}the secret '{need.name}'"
        given = self.references.get(str(need)) or self.references.get(need.name)
        if given is not None:
            return SecretError(
                f"{what} is needed and not at {given}, where it is to be read from: put it there, or correct "
                "the reference in [secrets] of penstock.toml"
            )
        line = f'"{need.name}/{need.key or "KEY"}" = "env:NAME"'
        file = self.folder / need.name / (need.key or "KEY")
        return SecretError(
            f"{what} is needed and not there: say where to read it in [secrets] of penstock.toml, such as "
            f"{line}, or write its value into the file {file}"
        )

    def described(self, need: SecretNeed) -> str:
        """Where its values come from, for a person."""
        given = self.references.get(str(need)) or self.references.get(need.name)
        if given is None:
            own = [one for key, one in self.references.items() if key.startswith(f"{need.name}/")]
            given = ", ".join(map(str, own)) if own and not need.key else None
        return str(given or SecretReference("file", str(self.folder / need.name / need.key)))

    @property
    def variables(self) -> frozenset[str]:
        """Names of the environment variables that hold values: for nobody but the tasks that ask for them."""
        return frozenset(one.place for one in self.references.values() if one.scheme == "env")

    def _whole(self, name: str) -> SecretReference:
        return self.references.get(name) or SecretReference("file", str(self.folder / name))

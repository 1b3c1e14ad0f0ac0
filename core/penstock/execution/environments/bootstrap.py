"""The pip bootstrap in front of Python components' commands: recognised as text, never run.

The KFP SDK (1.8 to 2.17) compiles a Python component to

    sh -c '<ensurepip guard> <pip installs> && "$0" "$@"'  sh -ec '<write and run the source>' '<source>'

so that every start of the container installs its packages first. What follows the script is the real command.
Only the exact grammar of `_script` below is recognised: the guard that makes sure of pip, `python3 -m pip
install …` joined by `&&`, SDK 1.8's `(install || install --user)`, and the temporary venv of `use_venv=True`.
Whatever else a shell would have to interpret (expansions, redirections, other programs) makes the command
"not a bootstrap".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.execution.environments.shellwords import Operator, Token, shell_tokens

_SHELLS = frozenset({"sh", "bash", "/bin/sh", "/bin/bash", "/usr/bin/sh", "/usr/bin/bash"})
_SHELL_FLAGS = frozenset({"-c", "-ec", "-ce", "-exc", "-xc"})

_GUARD = re.compile(
    r"""if \s+ ! \s+ \[ \s+ -x \s+ "\$\(command \s+ -v \s+ pip3?\)" \s+ \] \s* ; \s* then \s+
        python3? \s+ -m \s+ ensurepip \s+ \|\| \s+ python3? \s+ -m \s+ ensurepip \s+ --user \s+
        \|\| \s+ apt-get \s+ install \s+ (?:-y \s+)? python3-pip \s* ;? \s* fi \s*;?\s*""",
    re.VERBOSE,
)
_VENV = re.compile(
    r"""(?: ^ | (?<=\s) ) export \s+ PIP_DISABLE_PIP_VERSION_CHECK=1 \s*\n\s*
        tmp=\$\(mktemp \s+ -d\) \s*\n\s*
        python3 \s+ -m \s+ venv \s+ "\$tmp/venv" \s+ --system-site-packages \s*\n\s*
        \. \s+ "\$tmp/venv/bin/activate" \s*\n\s*""",
    re.VERBOSE,
)
_HANDOVER = re.compile(r"""&& \s* "\$0" \s+ "\$@" \s* ;? \s* $""", re.VERBOSE)
_EXECUTOR = re.compile(r"-m\s+(kfp(?:\.v2)?\.(?:dsl|components)\.executor_main)\b")

# What a pip option becomes: kept under its long name, with a value or without, or dropped because it has no
# meaning for a cached environment. An option in none of the tables makes the bootstrap unrecognised.
_FLAGS = {
    "--no-deps": "--no-deps",
    "--no-dependencies": "--no-deps",
    "--pre": "--pre",
    "-U": "--upgrade",
    "--upgrade": "--upgrade",
    "--force-reinstall": "--force-reinstall",
    "-I": "--force-reinstall",
    "--ignore-installed": "--force-reinstall",
    "--no-index": "--no-index",
    "--no-build-isolation": "--no-build-isolation",
    "--require-hashes": "--require-hashes",
}
_VALUED = {
    "-i": "--index-url",
    "--index-url": "--index-url",
    "--pypi-url": "--index-url",
    "--extra-index-url": "--extra-index-url",
    "--trusted-host": "--trusted-host",
    "-f": "--find-links",
    "--find-links": "--find-links",
    "--no-binary": "--no-binary",
    "--only-binary": "--only-binary",
}
_DROPPED_FLAGS = frozenset(
    """-q -qq -qqq --quiet -v --verbose --no-color --no-input --no-cache-dir --user --compile --prefer-binary
    --no-warn-script-location --no-warn-conflicts --disable-pip-version-check --no-python-version-warning
    --break-system-packages""".split()
)
_DROPPED_VALUED = frozenset(
    """--root-user-action --progress-bar --timeout --default-timeout --retries --upgrade-strategy
    --cache-dir""".split()
)
_PREFIXES = {
    "PIP_INDEX_URL": "--index-url",
    "PIP_EXTRA_INDEX_URL": "--extra-index-url",
    "PIP_TRUSTED_HOST": "--trusted-host",
    "PIP_FIND_LINKS": "--find-links",
}
_DROPPED_PREFIXES = frozenset(
    """PIP_DISABLE_PIP_VERSION_CHECK PIP_NO_INPUT PIP_NO_CACHE_DIR PIP_ROOT_USER_ACTION PIP_QUIET PIP_USER
    PIP_DEFAULT_TIMEOUT PIP_RETRIES PIP_BREAK_SYSTEM_PACKAGES PYTHONDONTWRITEBYTECODE""".split()
)


@dataclass(frozen=True, slots=True)
class PipInstall:
    """One `pip install`. `options` have their long names, a value joined by `=`: `--no-deps`,
    `--index-url=https://…`.

    Options apply to all requirements of the same call, as in pip, wherever they stand in it.
    """

    requirements: tuple[str, ...]
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """A recognised bootstrap. `command` is what it hands over to; empty when the program is in the args."""

    installs: tuple[PipInstall, ...]
    command: tuple[str, ...]


def parse_bootstrap(command: Sequence[str]) -> Bootstrap | None:
    """What `command` installs and what it runs then; None when it is not exactly a bootstrap.

    `command` is taken as written in the pipeline, before placeholders are resolved, so that no value of a run
    can turn into a requirement or into shell text. A placeholder in a requirement, a path on the container's
    disk (`-r`, `-e`, `./pkg`, `file:`) and an option that means nothing outside a container are not
    recognised: such a command runs as it stands, in an environment of its own that has pip.
    """
    if len(command) < 3 or command[0] not in _SHELLS or command[1] not in _SHELL_FLAGS:
        return None
    installs = _script(command[2])
    return Bootstrap(installs, tuple(command[3:])) if installs else None


def executor_module(command: Sequence[str]) -> str | None:
    """The KFP module that a Python component's command runs (`kfp.dsl.executor_main`), None for other
    commands.

    Together with no bootstrap this is a component compiled with `install_kfp_package=False`, which expects
    kfp in its image.
    """
    for word in command:
        if found := _EXECUTOR.search(word):
            return found[1]
    words = list(command)
    if "-m" in words[:-1]:
        module = words[words.index("-m") + 1]
        return module if _EXECUTOR.fullmatch(f"-m {module}") else None
    return None


@functools.lru_cache(maxsize=256)
def _script(text: str) -> tuple[PipInstall, ...] | None:
    """`[guard] install {&& install} && "$0" "$@"`."""
    text = text.strip()
    handover = _HANDOVER.search(text)
    if handover is None:
        return None
    text = text[: handover.start()]
    if guard := _GUARD.match(text):
        text = text[guard.end() :]
    if venv := _VENV.search(text):
        before = text[: venv.start()].strip()
        if before and not before.endswith(("&&", "PIP_DISABLE_PIP_VERSION_CHECK=1")):
            return None
        text = f"{before} {text[venv.end() :]}"
    tokens = shell_tokens(text)
    if not tokens:
        return None
    if tokens[0] is Operator.OPEN:
        return _either(tokens)
    installs = [_install(call) for call in _split(tokens, Operator.AND)]
    return tuple(one for one in installs if one) if all(installs) else None


def _either(tokens: list[Token]) -> tuple[PipInstall, ...] | None:
    """SDK 1.8's `(install || install --user)`: the second is the first again, for the user's site folder."""
    if tokens[-1] is not Operator.CLOSE:
        return None
    both = [_install(call) for call in _split(tokens[1:-1], Operator.OR)]
    if len(both) != 2 or both[0] is None or both[0] != both[1]:
        return None
    return (both[0],)


def _split(tokens: list[Token], at: Operator) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token is at:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _install(call: list[Token]) -> PipInstall | None:
    words: list[str] = []
    for token in call:
        if isinstance(token, Operator):
            return None
        words.append(token)
    options: list[str] = []
    while words and (assigned := re.match(r"([A-Z_][A-Z0-9_]*)=(.*)", words[0], re.DOTALL)):
        name, value = assigned[1], assigned[2]
        if name in _PREFIXES:
            options.extend(f"{_PREFIXES[name]}={one}" for one in value.split())
        elif name not in _DROPPED_PREFIXES:
            return None
        words.pop(0)
    rest = _after_pip_install(words)
    return None if rest is None else _arguments(rest, options)


def _after_pip_install(words: list[str]) -> list[str] | None:
    for start in (["python3", "-m", "pip"], ["python", "-m", "pip"], ["pip"], ["pip3"]):
        if words[: len(start) + 1] == [*start, "install"]:
            return words[len(start) + 1 :]
    return None


def _arguments(words: list[str], options: list[str]) -> PipInstall | None:
    requirements: list[str] = []
    rest = iter(words)
    for word in rest:
        name, joined, value = word.partition("=")
        if not word.startswith("-"):
            if not _is_requirement(word):
                return None
            requirements.append(word)
        elif word in _DROPPED_FLAGS or (joined and name in _DROPPED_VALUED):
            continue
        elif word in _DROPPED_VALUED:
            if next(rest, None) is None:
                return None
        elif word in _FLAGS:
            if _FLAGS[word] not in options:
                options.append(_FLAGS[word])
        elif name in _VALUED:
            given = value if joined else next(rest, None)
            if given is None or not _is_value(given):
                return None
            options.append(f"{_VALUED[name]}={given}")
        else:
            return None
    return PipInstall(tuple(requirements), tuple(options)) if requirements else None


def _is_value(word: str) -> bool:
    return bool(word) and "{{$" not in word and not re.search(r"\s", word)


def _is_requirement(word: str) -> bool:
    """A name or a URL; not a place on the container's disk, whose content no cache key could cover."""
    if not word.strip() or "{{$" in word or "\n" in word:
        return False
    if word.startswith((".", "/", "~")) or re.search(r"(^|[\s@+])file:", word):
        return False
    return "/" not in word or "://" in word

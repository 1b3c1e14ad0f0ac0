"""The user's pip configuration and a bootstrap's pip options, in the words of uv.

uv reads neither pip.conf nor `PIP_*`, yet whoever set an internal index there expects it to hold. Order, as
pip's own (a later one wins; lists are joined with the command's): the file of PIP_CONFIG_FILE, the system's
files, the user's files (not with PIP_CONFIG_FILE), the running environment's; in each file `[global]` before
`[install]`; then `PIP_*`; then the options of the command. Settings made for uv itself (`UV_*`, the user's
uv.toml) win over pip's. What says where packages go (`target`, `prefix`, `user`) is never taken over.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.execution.environments.bootstrap import PipInstall

_LISTS = frozenset(
    {"extra-index-url", "trusted-host", "find-links", "constraint", "no-binary", "only-binary"}
)
_SINGLES = frozenset({"index-url", "no-index", "pre", "cert", "client-cert", "proxy", "keyring-provider"})
_PATHS = frozenset({"find-links", "constraint", "cert", "client-cert"})
_TRUE = frozenset({"1", "true", "yes", "on", "y", "t"})

_ETC = "/etc"

_FOREIGN = frozenset(
    {
        "CONDA_PREFIX",
        "PYTHONHOME",
        "PYTHONPATH",
        "UV_BREAK_SYSTEM_PACKAGES",
        "UV_COMPILE_BYTECODE",
        "UV_MANAGED_PYTHON",
        "UV_NO_MANAGED_PYTHON",
        "UV_PROJECT",
        "UV_PROJECT_ENVIRONMENT",
        "UV_PYTHON",
        "UV_PYTHON_PREFERENCE",
        "UV_SYSTEM_PYTHON",
        "UV_VENV_CLEAR",
        "UV_VENV_SEED",
        "UV_WORKING_DIR",
        "VIRTUAL_ENV",
    }
)
"""What would send uv to another interpreter, environment or folder than ours."""

PipSettings = Mapping[str, tuple[str, ...]]
"""Values by long option name without dashes: `index-url`, `find-links`."""


@dataclass(frozen=True, slots=True)
class UvSettings:
    """How to call uv: its whole environment, which carries all that may hold a secret, and flags, which do
    not.
    """

    variables: Mapping[str, str]
    flags: tuple[str, ...] = ()


def masked(text: str) -> str:
    """`text` with the credentials of every URL in it replaced by `****`."""
    return re.sub(r"(?<=://)[^\s/'\"]+(?=@)", "****", text)


def pip_settings(variables: Mapping[str, str]) -> PipSettings:
    """What pip would be told by its files and by `PIP_*` of `variables`. Relative paths become absolute.

    A file that cannot be read or parsed counts as absent: pip says what is wrong with it, whoever runs pip.
    """
    found: dict[str, tuple[str, ...]] = {}
    for file in _files(variables):
        found.update(_read(file))
    for name in _LISTS | _SINGLES:
        value = variables.get("PIP_" + name.upper().replace("-", "_"))
        if value and value.strip():
            found[name] = tuple(value.split()) if name in _LISTS else (value.strip(),)
    return {
        name: tuple(_absolute(value) for value in values) if name in _PATHS else values
        for name, values in found.items()
    }


def uv_settings(
    base: Mapping[str, str], install: PipInstall | None = None, *, offline: bool = False
) -> UvSettings:
    """uv's environment and flags for `install` under the environment `base` and its pip configuration.

    As pip does, all indexes are asked and the best version wins, wherever it is (uv alone would take the
    first index that knows the name). A trusted host written as a URL, which the SDK does by default, is left
    out: pip takes it for a host named `https` and goes on checking certificates.
    """
    settings = {name: list(values) for name, values in pip_settings(base).items()}
    flags: list[str] = []
    index = ""
    for option in install.options if install else ():
        name, _, value = option[2:].partition("=")
        if name in _LISTS:
            settings.setdefault(name, []).append(value)
        elif name == "index-url":
            index = value
        elif name in _SINGLES:
            settings[name] = [value or "true"]
        else:
            flags.append({"force-reinstall": "--reinstall"}.get(name, option))
    if _is_set(settings, "no-index"):
        flags.append("--no-index")
    if _is_set(settings, "pre"):
        flags.append("--prerelease=allow")
    for name in ("no-binary", "only-binary"):
        flags.extend(f"--{name}={value}" for value in settings.get(name, []))
    variables = _variables(base, settings, offline)
    if index:
        variables["UV_DEFAULT_INDEX"] = index
    return UvSettings(variables, tuple(flags))


def _variables(base: Mapping[str, str], settings: Mapping[str, list[str]], offline: bool) -> dict[str, str]:
    found = {name: value for name, value in base.items() if name not in _FOREIGN}
    found |= {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
    if offline:
        found["UV_OFFLINE"] = "1"
    config = _uv_config(base)
    if config:
        found["UV_CONFIG_FILE"] = config
        found.pop("UV_NO_CONFIG", None)
    else:
        found["UV_NO_CONFIG"] = "1"
    _indexes(found, settings)
    _join(found, "UV_FIND_LINKS", ",", settings.get("find-links", []))
    _join(found, "UV_CONSTRAINT", " ", settings.get("constraint", []))
    hosts = [one for one in settings.get("trusted-host", []) if "://" not in one]
    _join(found, "UV_INSECURE_HOST", " ", hosts)
    _default(found, "SSL_CERT_FILE", *settings.get("cert", []), base.get("REQUESTS_CA_BUNDLE", ""))
    _default(found, "SSL_CLIENT_CERT", *settings.get("client-cert", []))
    _default(
        found,
        "UV_KEYRING_PROVIDER",
        *(one for one in settings.get("keyring-provider", []) if one == "subprocess"),
    )
    for proxy in settings.get("proxy", []):
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            if name not in found and name.lower() not in found:
                found[name] = proxy if "://" in proxy else f"http://{proxy}"
    return found


def _indexes(found: dict[str, str], settings: Mapping[str, list[str]]) -> None:
    _default(found, "UV_DEFAULT_INDEX", found.pop("UV_INDEX_URL", ""), *settings.get("index-url", []))
    _join(found, "UV_EXTRA_INDEX_URL", " ", settings.get("extra-index-url", []))
    if "UV_EXTRA_INDEX_URL" in found or "UV_INDEX" in found:
        _default(found, "UV_INDEX_STRATEGY", "unsafe-best-match")


def _join(found: dict[str, str], name: str, separator: str, values: Iterable[str]) -> None:
    parts = [part for part in found.get(name, "").split(separator) if part]
    parts += [value for value in values if value not in parts]
    if parts:
        found[name] = separator.join(parts)


def _default(found: dict[str, str], name: str, *values: str) -> None:
    for value in values:
        if value and not found.get(name):
            found[name] = value


def _is_set(settings: Mapping[str, list[str]], name: str) -> bool:
    return any(value.strip().lower() in _TRUE for value in settings.get(name, []))


def _uv_config(base: Mapping[str, str]) -> str:
    """The uv.toml that holds for the user everywhere; a project's must not decide what a task gets."""
    if base.get("UV_CONFIG_FILE"):
        return os.path.abspath(base["UV_CONFIG_FILE"])
    if base.get("UV_NO_CONFIG"):
        return ""
    home = base.get("XDG_CONFIG_HOME") or os.path.join(_home(base), ".config")
    return next((one for one in (f"{home}/uv/uv.toml", f"{_ETC}/uv/uv.toml") if os.path.isfile(one)), "")


def _files(variables: Mapping[str, str]) -> list[Path]:
    named = variables.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    home = Path(_home(variables))
    if sys.platform == "darwin":
        system = [Path("/Library/Application Support/pip")]
        application = home / "Library/Application Support/pip"
    else:
        roots = (variables.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
        system = [*(Path(root, "pip") for root in roots), Path(_ETC)]
        application = home / ".config/pip"
    if not (sys.platform == "darwin" and application.is_dir()):
        application = Path(variables.get("XDG_CONFIG_HOME") or home / ".config", "pip")
    user = [] if named and os.path.exists(named) else [home / ".pip", application]
    folders = [*system, *user, Path(sys.prefix)]
    return [*([Path(named)] if named else []), *(folder / "pip.conf" for folder in folders)]


def _read(file: Path) -> dict[str, tuple[str, ...]]:
    if not file.is_file():
        return {}
    import configparser  # slow to import, and most machines have no pip.conf

    parser = configparser.RawConfigParser()
    try:
        parser.read(file, encoding="utf-8")
    except (OSError, UnicodeDecodeError, configparser.Error):
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for section in ("global", "install"):
        if not parser.has_section(section):
            continue
        for key, value in parser.items(section):
            name = key.lower().replace("_", "-").removeprefix("--")
            if name in _LISTS:
                found[name] = tuple(value.split())
            elif name in _SINGLES:
                found[name] = (value.strip(),)
    return found


def _absolute(value: str) -> str:
    return value if "://" in value else os.path.abspath(os.path.expanduser(value))


def _home(variables: Mapping[str, str]) -> str:
    return variables.get("HOME") or os.path.expanduser("~")

"""Settings: the environment's PENSTOCK_*, then penstock.toml, then defaults that need nothing."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import cast

from penstock.errors import InvalidInputError
from penstock.execution.named_launchers import NamedLauncher, read_launchers
from penstock.execution.secrets.reference import References, SecretReference, read_references

FILE_NAME = "penstock.toml"
TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off", ""})


@dataclass(frozen=True, slots=True)
class Setting:
    """`name` is the key in penstock.toml; the environment variable is PENSTOCK_ and the name in capitals,
    or the name alone where the ecosystem has one (`known`).

    A `foreign` one belongs to another distribution, which reads it in `Settings.foreign`; one of a `store` to
    an artifact store, which is given it by its variable. `also` is a second variable for it. What is `secret`
    is not shown.
    """

    name: str
    help: str
    default: str = ""
    known: bool = False
    foreign: bool = False
    store: bool = False
    also: str = ""
    secret: bool = False

    @property
    def variable(self) -> str:
        return self.name.upper() if self.known else f"PENSTOCK_{self.name.upper()}"


SETTINGS = (
    Setting(
        "home", "where runs, logs, environments and, unless told otherwise, artifacts are kept", "~/.penstock"
    ),
    Setting("database_url", "the record of everything; SQLite in the home by default"),
    Setting("pipeline_root", "where artifacts go: a folder or a URI; `artifacts` in the home by default"),
    Setting("engine", "what runs a pipeline", "embedded"),
    Setting("launcher", "what runs a task", "process"),
    Setting("parallel", "how many tasks run at once; 0 means one per processor", "0"),
    Setting("environments", "cached Python environments; `environments` in the home by default"),
    Setting("private_tmp", "give each task its own /tmp where the system allows it", "true"),
    Setting("strict_images", "refuse an image whose exact Python is not on this machine", "false"),
    Setting("pass_env", "names of environment variables handed on to tasks, separated by commas"),
    Setting("secrets", "where to read tasks' secrets: NAME/KEY=REFERENCE, separated by commas"),
    Setting("kfp", "the kfp that compiles a .py pipeline, as a pip requirement", "kfp>=2.7,<3"),
    Setting(
        "aws_endpoint_url_s3",
        "the S3 service, such as https://minio.example:9000; AWS by default",
        known=True,
        store=True,
        also="AWS_ENDPOINT_URL",
    ),
    Setting(
        "aws_region",
        "the region of the buckets; where it is not said, AWS is asked and others take us-east-1",
        known=True,
        store=True,
        also="AWS_DEFAULT_REGION",
    ),
    Setting("aws_access_key_id", "who asks S3", known=True, store=True),
    Setting("aws_secret_access_key", "the secret of that access key", known=True, store=True, secret=True),
    Setting("aws_session_token", "its session, if it has one", known=True, store=True, secret=True),
    Setting("aws_profile", "the section of ~/.aws/credentials and ~/.aws/config", known=True, store=True),
    Setting("aws_ca_bundle", "a file of CA certificates for S3 over TLS", known=True, store=True),
    Setting(
        "s3_path_style",
        "have the bucket in the path of URLs, not in the host's name; by default everywhere but at AWS",
        store=True,
    ),
    Setting(
        "s3_task_credentials",
        "what tasks get to reach S3 with: none, sts (limited to their run), or inherit (what penstock has)",
        "none",
    ),
    Setting("s3_task_role", "the ARN of the role that sts takes on; AWS needs one, MinIO does not"),
    Setting("fetched_gib", "GiB of inputs from S3 that are kept for tasks to come; 0 keeps none", "10"),
    Setting("mlflow_tracking_uri", "the MLflow server that runs are recorded in", known=True),
    Setting("mlflow_in_tasks", "let `mlflow` in a task's own code log into the task's MLflow run", "true"),
    Setting(
        "broker_url", "the Celery broker of engine celery, such as redis://localhost:6379/0", foreign=True
    ),
    Setting(
        "max_pods", "how many pods of all runs there may be at once; 0 means no limit", "0", foreign=True
    ),
    Setting(
        "give_up_seconds",
        "how long workers ask what does not answer, cluster or store, until a task fails; 0 means for ever",
        "3600",
        foreign=True,
    ),
    Setting("installation", "tells this installation's pods from others'; by default from the database"),
    Setting("kubernetes_context", "the context in KUBECONFIG; its current one by default", foreign=True),
    Setting("kubernetes_namespace", "where pods are made; the context's namespace by default", foreign=True),
    Setting("kubernetes_service_account", "the service account of tasks; none by default", foreign=True),
    Setting(
        "kubernetes_pods",
        "what becomes of pods that ended: delete, keep, or keep-failed",
        "delete",
        foreign=True,
    ),
    Setting(
        "kubernetes_pod_ttl_seconds",
        "how long kept pods stay; 0 means for ever",
        "86400",
        foreign=True,
    ),
    Setting(
        "kubernetes_environments",
        "archive: packages are installed once and kept; in-pod: in every pod, as Kubeflow does",
        "archive",
        foreign=True,
    ),
    Setting(
        "kubernetes_pull_policy",
        "Always, IfNotPresent or Never; by default what Kubernetes makes of the image's tag",
        foreign=True,
    ),
    Setting(
        "kubernetes_image",
        "the image of our own containers, any with Python 3",
        "python:3.11-slim",
        foreign=True,
    ),
    Setting(
        "kubernetes_s3_endpoint", "the S3 endpoint as pods reach it, where theirs is another", foreign=True
    ),
    Setting(
        "kubernetes_pending_seconds",
        "how long a pod may wait for a node; 0 means for ever",
        "900",
        foreign=True,
    ),
    Setting("kubernetes_pull_seconds", "how long a failing image pull is tried again", "300", foreign=True),
    Setting(
        "kubernetes_upload_seconds",
        "how long a sidecar may take to store outputs once the task has ended",
        "3600",
        foreign=True,
    ),
)
_BY_NAME = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True, slots=True)
class Settings:
    """The effective values. `origins` says for each name where its value came from."""

    home: Path
    database_url: str
    pipeline_root: str
    engine: str
    launcher: str
    parallel: int
    environments: Path
    private_tmp: bool
    strict_images: bool
    pass_env: tuple[str, ...]
    kfp: str
    installation: str
    foreign: Mapping[str, str] = field(default_factory=dict[str, str])
    mlflow_tracking_uri: str = ""
    mlflow_in_tasks: bool = True
    stores: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    s3_task_credentials: str = "none"
    s3_task_role: str = ""
    fetched_gib: int = 10
    secrets: References = field(default_factory=dict[str, SecretReference])
    launchers: Mapping[str, NamedLauncher] = field(default_factory=dict[str, NamedLauncher])
    origins: Mapping[str, str] = field(default_factory=dict[str, str])

    def of_launcher(self, name: str) -> tuple[str, Settings]:
        """(kind, effective settings) of a launcher, which may have some for itself."""
        named = self.launchers.get(name)
        if named is None:
            return name, self
        return named.kind, replace(self, foreign={**self.foreign, **named.settings})

    def shown(self) -> list[tuple[str, str, str]]:
        """(environment variable, value with secrets masked, origin) of each setting."""
        rows: list[tuple[str, str, str]] = []
        for setting in SETTINGS:
            if setting.store:
                value = self.stores.get(setting.variable, "")
            else:
                value = self.foreign[setting.name] if setting.foreign else getattr(self, setting.name)
            if setting.secret and value:
                value = "***"
            if setting.name == "secrets":
                value = tuple(f"{name}={one}" for name, one in self.secrets.items())
            text = ",".join(value) if isinstance(value, tuple) else str(value)  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]
            if isinstance(value, bool):
                text = text.lower()
            rows.append((setting.variable, mask_url(text), self.origins[setting.name]))
        return rows


def load_settings(
    overrides: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Settings:
    """The effective settings. `overrides` (command-line options) win; `folder` is where penstock.toml may be.

    Raises InvalidInputError, naming the setting and its origin, for a value that cannot be used.
    """
    environ = os.environ if environ is None else environ
    folder = folder if folder is not None else _here()
    from_file, table, launchers, file_name = _read_file(folder)
    values: dict[str, str] = {}
    origins: dict[str, str] = {}
    for setting in SETTINGS:
        variable = setting.variable if environ.get(setting.variable) else setting.also
        if overrides and setting.name in overrides:
            values[setting.name], origins[setting.name] = overrides[setting.name], "command line"
        elif environ.get(variable):
            values[setting.name], origins[setting.name] = environ[variable], f"environment {variable}"
        elif setting.name in from_file:
            values[setting.name], origins[setting.name] = from_file[setting.name], file_name
        else:
            values[setting.name], origins[setting.name] = setting.default, "default"
    secrets = {**table, **read_references(values["secrets"], origins["secrets"], folder)}
    if table:
        origins["secrets"] = f"{file_name}, {origins['secrets']}" if values["secrets"] else file_name
    home = _folder(values, origins, "home", environ)
    database_url = values["database_url"] or f"sqlite:///{home / 'penstock.db'}"
    return Settings(
        home=home,
        database_url=database_url,
        pipeline_root=_pipeline_root(values, origins, home),
        engine=values["engine"],
        launcher=values["launcher"],
        parallel=_number(values, origins, "parallel") or _cores(),
        environments=_folder(values, origins, "environments", environ, home / "environments"),
        private_tmp=_truth(values, origins, "private_tmp"),
        strict_images=_truth(values, origins, "strict_images"),
        pass_env=tuple(name.strip() for name in values["pass_env"].split(",") if name.strip()),
        kfp=values["kfp"],
        installation=_installation(values, origins, database_url),
        foreign={one.name: values[one.name] for one in SETTINGS if one.foreign},
        mlflow_tracking_uri=values["mlflow_tracking_uri"],
        mlflow_in_tasks=_truth(values, origins, "mlflow_in_tasks"),
        stores={one.variable: values[one.name] for one in SETTINGS if one.store and values[one.name]},
        s3_task_credentials=_one_of(values, origins, "s3_task_credentials", ("none", "sts", "inherit")),
        s3_task_role=values["s3_task_role"],
        fetched_gib=_number(values, origins, "fetched_gib"),
        secrets=secrets,
        launchers=launchers,
        origins=origins,
    )


_PASSWORD = re.compile(r"(?<=://)([^\s:/@]*):[^\s/]*@")
_OF_DATABASE = re.compile(r"\b(postgres(?:ql)?(?:\+\w+)?://[^\s:/@]*):[^\s?]*@")  # slashes and all
_AS_OPTION = re.compile(r"([?&](?:ssl)?password=)[^\s&]*")
_LONE_USER = re.compile(r"\b(https?://)[^\s:/@]+@")
_HALF_URI = re.compile(r"[a-z][a-z0-9+.-]*:(?!//)", re.IGNORECASE)


def mask_url(text: str) -> str:
    """The text with the password of every URL in it replaced by ***, also where it stands alone, as tokens
    do.
    """
    text = _AS_OPTION.sub(r"\1***", _OF_DATABASE.sub(r"\1:***@", text))
    return _LONE_USER.sub(r"\1***@", _PASSWORD.sub(r"\1:***@", text))


def _here() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise InvalidInputError("the folder that you are in does not exist any more; go to another") from None


def _read_file(folder: Path) -> tuple[dict[str, str], References, dict[str, NamedLauncher], str]:
    """Settings, secrets, launchers, and the file's name."""
    path = folder / FILE_NAME
    try:
        with path.open("rb") as file:
            found = tomllib.load(file)
    except FileNotFoundError:
        return {}, {}, {}, ""
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}") from error
    secrets = read_references(found.pop("secrets", {}), f"[secrets] of {path}", folder)
    own = {one.name for one in SETTINGS if one.name.startswith("kubernetes_")}
    launchers = read_launchers(found.pop("launchers", {}), str(path), own)
    values: dict[str, str] = {}
    for key, given in found.items():
        if key not in _BY_NAME:
            close = difflib.get_close_matches(key, _BY_NAME, 1)
            hint = f"; did you mean '{close[0]}'?" if close else f"; it knows {', '.join(_BY_NAME)}"
            raise InvalidInputError(f"{path} sets '{key}', which is no setting{hint}")
        many = cast("list[object]", given if isinstance(given, list) else [given])
        values[key] = ",".join(str(one).lower() if isinstance(one, bool) else str(one) for one in many)
    return values, secrets, launchers, str(path)


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _folder(
    values: Mapping[str, str],
    origins: Mapping[str, str],
    name: str,
    environ: Mapping[str, str],
    default: Path | None = None,
) -> Path:
    text = values[name]
    if not text and default is not None:
        return default
    if text.startswith("~"):
        text = (environ.get("HOME") or str(Path.home())) + text[1:]
    if "\0" in text:
        raise InvalidInputError(f"{name} ({origins[name]}) is not a path: it holds a NUL character")
    return Path(text).absolute()


def _pipeline_root(values: Mapping[str, str], origins: Mapping[str, str], home: Path) -> str:
    text = values["pipeline_root"]
    if _HALF_URI.match(text):
        raise InvalidInputError(
            f"pipeline_root ({origins['pipeline_root']}) is '{mask_url(text)}', which is no URI such as "
            f"s3://bucket/prefix; for a folder of that name write './{mask_url(text)}'"
        )
    if not text:
        return (home / "artifacts").as_uri()
    scheme, mark, rest = text.partition("://")
    if mark:
        return f"{scheme}://{rest.rstrip('/')}"
    return Path(text).expanduser().absolute().as_uri()


def _number(values: Mapping[str, str], origins: Mapping[str, str], name: str) -> int:
    try:
        number = int(values[name])
    except ValueError:
        number = -1
    if number < 0:
        raise InvalidInputError(
            f"{name} ({origins[name]}) must be a whole number from 0, not '{values[name]}'"
        )
    return number


def _one_of(values: Mapping[str, str], origins: Mapping[str, str], name: str, words: tuple[str, ...]) -> str:
    if values[name] not in words:
        raise InvalidInputError(
            f"{name} ({origins[name]}) must be one of {', '.join(words)}, not '{values[name]}'"
        )
    return values[name]


def _installation(values: Mapping[str, str], origins: Mapping[str, str], database_url: str) -> str:
    """Fit for a Kubernetes label. All who share a database are one installation, whatever their password."""
    found = values["installation"] or sha256(mask_url(database_url).encode()).hexdigest()[:12]
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", found):
        raise InvalidInputError(
            f"installation ({origins['installation']}) may have letters, digits, '-', '_' and '.', at most "
            f"63, not '{found}'"
        )
    return found


def _truth(values: Mapping[str, str], origins: Mapping[str, str], name: str) -> bool:
    word = values[name].strip().lower()
    if word not in TRUE_WORDS | FALSE_WORDS:
        raise InvalidInputError(f"{name} ({origins[name]}) must be true or false, not '{values[name]}'")
    return word in TRUE_WORDS

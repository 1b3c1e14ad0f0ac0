"""The way to MLflow through `mlflow-skinny`: plugins for authentication, signed requests, Databricks."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from penstock.execution.settings import mask_url
from penstock.model import JsonObject
from penstock.tracking.transport import UnavailableError, read_answer, reason_of


class SkinnyTransport:
    """Imports mlflow with the first request."""

    def __init__(self, uri: str) -> None:
        self.place = mask_url(uri)
        self._uri = uri
        self._credentials: Any = None

    def call(self, method: str, endpoint: str, body: JsonObject, timeout: float) -> JsonObject:
        try:
            rest: Any = import_module("mlflow.utils.rest_utils")
            if self._credentials is None:
                self._credentials = self._find_credentials()
        except ImportError as error:
            raise UnavailableError(
                f"to record runs in MLflow at {self.place}, its client is needed: "
                "pip install 'penstock[mlflow]'"
            ) from error
        except Exception as error:
            raise UnavailableError(
                f"MLflow's client does not take {self.place}: {reason_of(error)}"
            ) from error
        given = {"params": body} if method == "GET" else {"json": body}
        try:
            answer = rest.http_request(
                self._credentials,
                f"/api/2.0/mlflow/{endpoint}",
                method,
                max_retries=0,
                raise_on_status=False,
                timeout=timeout,
                **given,
            )
        except Exception as error:
            raise UnavailableError(f"MLflow at {self.place} does not answer: {reason_of(error)}") from error
        return read_answer(self.place, answer.status_code, answer.content)

    def _find_credentials(self) -> Any:
        if self._uri.startswith("databricks"):
            databricks: Any = import_module("mlflow.utils.databricks_utils")
            return databricks.get_databricks_host_creds(self._uri)
        credentials: Any = import_module("mlflow.utils.credentials")
        return credentials.get_default_host_creds(self._uri)

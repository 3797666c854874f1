"""Asks models to rank texts, over HTTP."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from redkite.errors import FunctionFailed, InvalidParameter
from redkite.query.models import PROVIDERS, ModelRerank, bodies, read_scores

SECONDS = 30.0
"""How long one request may take to be answered."""
MAX_REPLY = 16 << 20
CREDENTIAL_PREFIX = "RERANK_CREDENTIAL_"
"""A credential that a function names is the value of this and its name in capitals, in the engine's environment."""
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")


def model_scores(
    model: ModelRerank, query: str, texts: Sequence[str], variables: Mapping[str, str] | None = None
) -> npt.NDArray[np.float64]:
    """(texts,) scores. `variables` is the environment. Raises FunctionFailed when the provider does not answer, and
    InvalidParameter for a credential that is not there. Redirects are not followed."""
    authorization = _authorization(model, os.environ if variables is None else variables)
    headers = {"Content-Type": "application/json", **authorization}
    parts = urlsplit(model.endpoint)
    path = parts.path + PROVIDERS[model.provider].path
    assert parts.hostname is not None, "checked with the function's parameters"
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=SECONDS)
    scores = []
    try:
        for number, body in enumerate(bodies(model, query, texts)):
            connection.request("POST", path, body, headers)
            reply = connection.getresponse()
            answer = reply.read(MAX_REPLY + 1)
            if reply.status != 200 or len(answer) > MAX_REPLY:
                shown = answer[:200].decode(errors="replace")
                raise FunctionFailed(f"rerank model provider {model.provider} answered {reply.status}: {shown}")
            count = min(model.batch, len(texts) - number * model.batch)
            scores.append(read_scores(model, answer, count))
    except (OSError, HTTPException) as error:
        text = f"rerank model provider {model.provider} at {model.endpoint} cannot be reached"
        raise FunctionFailed(f"{text}: {type(error).__name__} {error}") from error
    finally:
        connection.close()
    return np.concatenate(scores) if scores else np.empty(0)


def _authorization(model: ModelRerank, variables: Mapping[str, str]) -> dict[str, str]:
    """A provider's own key goes to that provider alone; elsewhere only a credential that the function names."""
    provider = PROVIDERS[model.provider]
    if model.credential:
        name = CREDENTIAL_PREFIX + model.credential.upper()
        key = variables.get(name, "") if _NAME.fullmatch(model.credential) else ""
        if not key:
            raise InvalidParameter(
                f"rerank model: credential {model.credential[:64]} is not set, the engine looks for {name[:90]}"
            )
    elif provider.home and model.endpoint == provider.home:
        key = variables.get(provider.key_variable, "")
        if not key:
            raise InvalidParameter(
                f"rerank model {model.provider} needs a key: set {provider.key_variable} for the engine, "
                "or name a credential"
            )
    else:
        return {}
    return {"Authorization": f"Bearer {key}"}

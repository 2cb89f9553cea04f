"""What a server says of itself: its models, and how much context a model has.

Owns the few GET requests for that, each short, bounded and allowed to fail. A server that says nothing is no error
where an assumption can stand in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from architect.model import complaints
from architect.model.profiles import Profile
from architect.model.types import Endpoint, ModelError

SECONDS = 3.0
BYTES_MAX = 4 << 20
_CONTEXT_KEYS = (
    "loaded_context_length", "context_length", "max_model_len", "n_ctx", "max_context_length",
)  # fmt: skip
_TOKENS_MIN, _TOKENS_MAX = 256, 100_000_000


def models(endpoint: Endpoint, seconds: float = SECONDS) -> list[str]:
    """The ids of the models that an endpoint offers.

    Raises:
        ModelError: it cannot be asked, or answers something else.
    """
    data = _get(endpoint, endpoint.base_url.rstrip("/") + "/models", seconds)
    rows = data.get("data") if isinstance(data, Mapping) else None
    if not isinstance(rows, list):
        where = complaints.place(endpoint)
        raise ModelError(f"{where}: GET /models gives no list of models; check --model-url", "provider")
    return [row["id"] for row in rows if isinstance(row, Mapping) and isinstance(row.get("id"), str)]


def only_model(endpoint: Endpoint) -> str:
    """The model of a server that has one.

    Raises:
        ModelError: it has none or several, or cannot be asked.
    """
    found = models(endpoint)
    if len(found) == 1:
        return found[0]
    where = complaints.place(endpoint)
    if not found:
        raise ModelError(f"{where}: no model is loaded there; load one, or name it with --model", "provider")
    listed = complaints.printable(", ".join(found))
    raise ModelError(f"{where}: there are several models; name one with --model ({listed})", "provider")


def context(endpoint: Endpoint, profile: Profile, model: str) -> int | None:
    """Tokens that fit, as the server tells; None where it does not."""
    if not profile.asks_context:
        return None
    parts = urlsplit(endpoint.base_url)
    url = f"{parts.scheme}://{parts.netloc}{profile.asks_context}"
    try:
        data = _get(endpoint, url, SECONDS)
    except ModelError:
        return None  # an older server: its profile's assumption stands
    return _context_in(data, model)


def _context_in(data: Any, model: str) -> int | None:
    """The context in any of the shapes that servers tell it: of the row of that model, or of the server."""
    if not isinstance(data, Mapping):
        return None
    rows = data.get("data", data.get("models"))
    if isinstance(rows, list):
        named = [row for row in rows if isinstance(row, Mapping)]
        mine = [row for row in named if model in (row.get("id"), row.get("name"), row.get("model"))]
        return next((found for row in mine if (found := _tokens(row)) is not None), None)
    settings = data.get("default_generation_settings")
    return _tokens(settings) if isinstance(settings, Mapping) else _tokens(data)


def _tokens(row: Mapping[str, Any]) -> int | None:
    for key in _CONTEXT_KEYS:
        value = row.get(key)
        if isinstance(value, int) and _TOKENS_MIN <= value <= _TOKENS_MAX:
            return value
    return None


def _get(endpoint: Endpoint, url: str, seconds: float) -> Any:
    """The JSON at ``url``; by the standard library, which is here before the SDK is."""
    import http.client

    parts = urlsplit(url)
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    headers = {"accept": "application/json", "user-agent": "pxos"}
    if endpoint.key:
        headers["authorization"] = f"Bearer {endpoint.key}"
    connection = kind(parts.hostname or "", parts.port, timeout=seconds)
    try:
        connection.request("GET", parts.path or "/", headers=headers)
        answer = connection.getresponse()
        data = answer.read(BYTES_MAX)
    except (OSError, http.client.HTTPException) as error:
        raise complaints.of_connection(error, endpoint, answered_before=False) from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        told = {name.lower(): value for name, value in answer.getheaders()}
        raise complaints.of_status(answer.status, told, data.decode("utf-8", "replace"), endpoint)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        where = complaints.place(endpoint)
        raise ModelError(f"{where}: what it answers is no JSON; check --model-url", "provider") from error

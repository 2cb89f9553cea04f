"""What went wrong with a request, in one line for the person: SDK and HTTP errors made ``ModelError``.

Owns which failures pass and which do not, the mend that each line carries, and that no line holds a key. Never retries.
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from architect.model.types import Endpoint, ModelError
from toolchain import printable as plain

TEXT_MAX = 300
DETAIL_MAX = 4000
BODY_MAX = 1 << 16
RETRY_AFTER_MAX = 86_400.0
_PASSING = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 507, 520, 521, 522, 523, 524, 529))
_NO_MONEY = re.compile(
    r"insufficient_quota|exceeded your current quota|billing|insufficient[ _]credits", re.I
)
_CONTEXT = re.compile(
    r"context[ _]?(length|size|window)|maximum context|too many tokens|prompt is too long|exceeds? the "
    r"(available )?context|max_model_len|n_ctx",
    re.I,
)
_FILTERED = re.compile(r"content[ _](filter|policy|management)|safety system|flagged", re.I)
_SECRET = re.compile(r"\b(?:sk|pk|rk|hf|gsk|xai|key)[-_][A-Za-z0-9_-]{8,}|(?i:\bbearer\s+)[^\s\"',]{4,}")
HIDDEN = "***"


def redact(text: str, key: str) -> str:
    """``text`` without the key, or anything that looks like one."""
    if key:
        for shape in {key, json.dumps(key)[1:-1], key.strip()}:
            text = text.replace(shape, HIDDEN)
    return _SECRET.sub(HIDDEN, text)


def printable(text: str, most: int = TEXT_MAX) -> str:
    """A server's text on one line, short, without what drives a terminal."""
    line = " ".join(plain.printable(text, "", " ").split())
    return line if len(line) <= most else line[: most - 1] + "…"


def place(endpoint: Endpoint) -> str:
    """The endpoint's address as it may be shown."""
    parts = urlsplit(endpoint.base_url)
    host = parts.hostname or "?"
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


def of_status(
    code: int, headers: Mapping[str, str], body: object, endpoint: Endpoint, partial: str = ""
) -> ModelError:
    """An answer with a status that is no success."""
    found = _of_status(code, headers, body, endpoint, partial)
    found.detail = redact(_message(body), endpoint.key)[:DETAIL_MAX] + " " + _codes(body)[:DETAIL_MAX]
    return found


def _of_status(
    code: int, headers: Mapping[str, str], body: object, endpoint: Endpoint, partial: str
) -> ModelError:
    told = redact(printable(_message(body)), endpoint.key)
    raw = redact(_message(body), endpoint.key) + " " + _codes(body)
    where = place(endpoint)
    says = f": {told}" if told else ""
    if code == 401:
        text = f"{where}: the key is refused (401){says}; set PXOS_MODEL_KEY, or name its variable with --model-key-env"
        return ModelError(text, "provider", code=code)
    if code == 403:
        return ModelError(f"{where}: not allowed (403){says}", "provider", code=code)
    if _CONTEXT.search(raw) and code in (400, 413, 422, 500):
        text = f"{where}: the prompt does not fit the model's context{says}"
        return ModelError(text, "context", code=code, partial=partial)
    if code == 404:
        text = (
            f"{where}: no model '{endpoint.model}' there, or the address is wrong (404){says}; "
            "an OpenAI-compatible address mostly ends in /v1 (--model-url), and GET /models there names the models"
        )
        return ModelError(text, "provider", code=code)
    if 300 <= code < 400:
        target = printable(headers.get("location", "another address"))
        text = f"{where}: redirects to {redact(target, endpoint.key)}; give that address with --model-url"
        return ModelError(text, "provider", code=code)
    if _FILTERED.search(raw) and code in (400, 403, 422):
        return ModelError(f"{where}: the request was declined{says}", "refused", code=code)
    if code == 429 and _NO_MONEY.search(raw):
        return ModelError(f"{where}: no quota is left there (429){says}", "provider", code=code)
    if code in _PASSING and headers.get("x-should-retry", "").lower() != "false":
        text = f"{where}: {_reason(code)} ({code}){says}"
        return ModelError(
            text, "provider", retryable=True, code=code, retry_after=retry_after(headers), partial=partial
        )
    return ModelError(f"{where}: the request is refused ({code}){says}", "provider", code=code)


def _reason(code: int) -> str:
    if code == 429:
        return "too many requests"
    return "the server failed" if code >= 500 else "the server is not ready"


def _message(body: object) -> str:
    """The text of an error in any of the shapes that servers give it, no more than anybody reads."""
    return _text_of(body)[:BODY_MAX]


def _text_of(body: object) -> str:
    if isinstance(body, str):
        return body if not body.lstrip().startswith("<") else ""  # a page for browsers says nothing
    if not isinstance(body, Mapping):
        return ""
    error = body.get("error", body)
    if isinstance(error, str):
        return error
    if isinstance(error, Mapping):
        for name in ("message", "detail", "error", "msg"):
            found = error.get(name)
            if isinstance(found, str) and found:
                return found
            if found:
                return json.dumps(found, default=str)
    return ""


def _codes(body: object) -> str:
    error: Any = body.get("error", body) if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return ""
    return " ".join(str(error.get(name, "")) for name in ("code", "type", "param"))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: a number, or a date held against the server's own (RFC 9110, 10.2.3)."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    given = headers.get("retry-after")
    seconds = _number(given)
    if seconds is not None or given is None:
        return seconds
    then, sent = _date(given), _date(headers.get("date", ""))
    if then is None:
        return None
    return min(RETRY_AFTER_MAX, max(0.0, then - (time.time() if sent is None else sent)))


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return min(value, RETRY_AFTER_MAX) if value >= 0 else None


def _date(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def of_connection(error: BaseException, endpoint: Endpoint, *, answered_before: bool) -> ModelError:
    """No connection, or one that broke before an answer.

    An address that never answered is wrong, or its server is not running: asking again would be in vain. One that did
    answer may come back.
    """
    where = place(endpoint)
    chain = _chain(error)
    text = " ".join(f"{type(e).__name__} {e}" for e in chain)
    if re.search(r"CERTIFICATE|SSL|certificate", text):
        why = f"{where}: no secure connection: {redact(printable(str(chain[-1]), 120), endpoint.key)}"
        return ModelError(why, "provider", retryable=False)
    if re.search(r"gaierror|Name or service|nodename|getaddrinfo|name resolution", text):
        return ModelError(
            f"{where}: no host has this name; check --model-url", "provider", retryable=answered_before
        )
    if re.search(r"ConnectionRefused|Connection refused|ECONNREFUSED", text):
        why = f"{where}: nobody listens there; start the model's server, or check --model-url"
        return ModelError(why, "provider", retryable=answered_before)
    if re.search(r"UnsupportedProtocol|InvalidURL|LocalProtocolError", text):
        return ModelError(f"{where}: not an address that can be asked; check --model-url", "provider")
    last = redact(printable(str(chain[-1]) or type(chain[-1]).__name__, 120), endpoint.key)
    return ModelError(f"{where}: the connection failed: {last}", "provider", retryable=True)


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in found and len(found) < 10:
        found.append(step)
        step = step.__cause__ or step.__context__
    return found

"""Where a model is and what it may cost: flags first, then the environment, then the person's settings file.

Owns the names of the options, of the ``PXOS_MODEL...`` variables and of the keys in ``settings.toml``, and that each is
checked with one clear line. A key comes from the environment or the file, never from a flag: others could read it.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from architect.model import profiles
from architect.model.ledger import Ledger
from architect.model.types import STAGE, Endpoint
from toolchain import tomlfile
from toolchain.errors import InputError

FILE_NAME = "settings.toml"
TABLE = "model"
_PRIVATE = 0o077  # permissions that a file with a key in it must not give
_TOKENS = (1, 10**9)
_CONTEXT = (256, 10**8)
_SECONDS_MAX = 86_400.0
_KEYS = frozenset(
    ("url", "name", "key", "key_env", "profile", "context", "price_in", "price_out", "max_output", "temperature",
     "deadline", "first_token", "idle", "tokens_total", "money_total")
)  # fmt: skip
# What each key is called on the command line, so that a complaint names what the person wrote.
_FLAGS = {
    "url": "--model-url", "name": "--model", "key_env": "--model-key-env", "profile": "--model-profile",
    "context": "--model-context", "tokens_total": "--max-tokens-total", "money_total": "--max-money",
    "price": "--model-price",
}  # fmt: skip
_VARIABLES = {
    "url": "PXOS_MODEL_URL", "name": "PXOS_MODEL", "key": "PXOS_MODEL_KEY", "profile": "PXOS_MODEL_PROFILE",
    "context": "PXOS_MODEL_CONTEXT", "price": "PXOS_MODEL_PRICE",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """An endpoint and the budgets for it."""

    endpoint: Endpoint
    tokens_total: int | None = None
    money_total: Decimal | None = None

    def ledger(self) -> Ledger:
        """A fresh ledger.

        Raises:
            InputError: a money budget without prices.
        """
        return Ledger.of(self.endpoint, self.tokens_total, self.money_total)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The options that every command with a model takes."""
    group = parser.add_argument_group(
        "model",
        "an OpenAI-compatible endpoint; also PXOS_MODEL_URL, PXOS_MODEL, PXOS_MODEL_KEY, settings.toml",
    )
    text = partial(group.add_argument, default=None)
    text("--model-url", metavar="URL", help="address of the API, e.g. http://localhost:1234/v1")
    text("--model", metavar="ID", help="the model's id there (default: the only one)")
    text(
        "--model-key-env",
        metavar="NAME",
        help="environment variable that holds the key (default PXOS_MODEL_KEY)",
    )
    text(
        "--model-profile",
        metavar="NAME",
        help=f"kind of server: {', '.join((profiles.AUTO, *profiles.PROFILES))}",
    )
    text("--model-context", metavar="TOKENS", help="context of the model (default: as the server says)")
    text("--model-price", metavar="IN,OUT", help="money per million tokens, of the prompt and of the answer")
    text("--max-tokens-total", metavar="N", help="tokens that the run may take, never exceeded")
    text("--max-money", metavar="AMOUNT", help="money that the run may take, never exceeded")


def default_file(env: Mapping[str, str] | None = None) -> Path | None:
    """``$XDG_CONFIG_HOME/pxos/settings.toml`` (a relative path is no path); None without a home folder."""
    env = os.environ if env is None else env
    config = Path(env.get("XDG_CONFIG_HOME", ""))
    if not config.is_absolute():
        home = env.get("HOME", "")
        if not home:
            return None
        config = Path(home) / ".config"
    return config / "pxos" / FILE_NAME


def settings_from(
    args: argparse.Namespace, env: Mapping[str, str] | None = None, file: Path | None = None
) -> ModelSettings | None:
    """The endpoint and its budgets, or None where no model is configured.

    Args:
        args: parsed with ``add_model_options``.
        env: the environment; None for this process's.
        file: the settings file; None for the person's own.

    Raises:
        InputError: a value is wrong; the line says where it was given.
    """
    env = os.environ if env is None else env
    given = _Given(args, env, *_table(file or default_file(env)))
    url, name = given.text("url"), given.text("name")
    if not url:
        if name and getattr(args, "model", None):
            raise _refuse("--model without an address: give --model-url or PXOS_MODEL_URL")
        return None
    _check_url(url, given.where("url"))
    chosen = given.text("profile") or profiles.AUTO
    kind = profiles.detect(url) if chosen == profiles.AUTO else profiles.profile(chosen)
    price_in, price_out = given.prices()
    endpoint = Endpoint(
        base_url=url.rstrip("/"),
        model=name,
        key=given.key(),
        profile=kind.name,
        context=given.number("context", *_CONTEXT),
        price_in=price_in,
        price_out=price_out,
        **given.fields(),
    )
    return ModelSettings(endpoint, given.number("tokens_total", *_TOKENS), given.money("money_total"))


def endpoint_from(
    args: argparse.Namespace, env: Mapping[str, str] | None = None, file: Path | None = None
) -> Endpoint | None:
    """The endpoint alone; as ``settings_from``."""
    found = settings_from(args, env, file)
    return found.endpoint if found else None


def _table(file: Path | None) -> tuple[Mapping[str, Any], Path | None]:
    """The table ``[model]`` of a settings file, and the file; nothing where there is none."""
    if file is None or not file.is_file():
        return {}, None
    whole = tomlfile.load(file, stage=STAGE)
    stray = sorted(set(whole) - {TABLE})
    if stray:
        raise _refuse(f"{file}: knows no '{stray[0]}'; all of its keys stand below [{TABLE}]")
    data = whole.get(TABLE, {})
    if not isinstance(data, dict):
        raise _refuse(f"{file}: [model] is no table")
    unknown = sorted(set(data) - _KEYS)
    if unknown:
        raise _refuse(f"{file}: [model] has no key '{unknown[0]}' (there are: {', '.join(sorted(_KEYS))})")
    if "key" in data and file.stat().st_mode & _PRIVATE:
        raise _refuse(f"{file}: holds a key and can be read by others; chmod 600 {file}, or use key_env")
    return data, file


class _Given:
    """What was given, and where."""

    def __init__(
        self, args: argparse.Namespace, env: Mapping[str, str], table: Mapping[str, Any], file: Path | None
    ) -> None:
        self.args = args
        self.env = env
        self.table = table
        self.file = file

    def _flag(self, key: str) -> Any:
        name = _FLAGS.get(key)
        return None if name is None else getattr(self.args, name[2:].replace("-", "_"), None)

    def where(self, key: str) -> str:
        """What the person wrote a value with."""
        if self._flag(key) is not None:
            return _FLAGS[key]
        if self.env.get(_VARIABLES.get(key, "")):
            return _VARIABLES[key]
        return f"{self.file}: {key}"

    def value(self, key: str) -> Any:
        """The value from the first place that has one, or None."""
        found = self._flag(key)
        if found is None:
            found = self.env.get(_VARIABLES.get(key, "")) or None
        return self.table.get(key) if found is None else found

    def text(self, key: str) -> str:
        """A text, without blanks around it."""
        found = self.value(key)
        if found is not None and not isinstance(found, str):
            raise _refuse(f"{self.where(key)}: expected text, found {found!r}")
        return (found or "").strip()

    def number(self, key: str, least: int, most: int) -> int | None:
        """A whole number in its range."""
        found = self.value(key)
        if found is None:
            return None
        try:
            value = int(found) if isinstance(found, int | str) and not isinstance(found, bool) else -1
        except ValueError:
            value = -1
        if not least <= value <= most:
            raise _refuse(f"{self.where(key)} {found}: give a whole number from {least} to {most}")
        return value

    def money(self, key: str) -> Decimal | None:
        """An amount, not negative."""
        found = self.value(key)
        return None if found is None else _amount(str(found), self.where(key))

    def prices(self) -> tuple[Decimal | None, Decimal | None]:
        """Money per million tokens: of the prompt, of the answer."""
        found = self._flag("price") or self.env.get(_VARIABLES["price"])
        if not found:
            return self.money("price_in"), self.money("price_out")
        where = self.where("price")
        parts = found.split(",")
        if len(parts) != 2:
            raise _refuse(f"{where} {found}: give two amounts, IN,OUT per million tokens, e.g. 0.5,1.5")
        return _amount(parts[0], where), _amount(parts[1], where)

    def key(self) -> str:
        """The key, or nothing.

        Raises:
            InputError: the variable that was named is not set, or what it holds cannot be a key.
        """
        named = self.text("key_env")
        if named:
            found = self.env.get(named, "")
            if not found.strip():
                raise _refuse(f"{self.where('key_env')} {named}: that environment variable is not set")
            where = named
        else:
            found, where = self.text("key"), self.where("key")
        found = found.strip()
        if not (found.isascii() and found.isprintable() and " " not in found):
            raise _refuse(f"{where}: holds blanks or control characters; that is no key")
        return found

    def fields(self) -> dict[str, Any]:
        """Fields that only the settings file has."""
        found: dict[str, Any] = {}
        most = self.number("max_output", *_TOKENS)
        if most is not None:
            found["max_output"] = most
        for key in ("temperature", "deadline", "first_token", "idle"):
            value = self.table.get(key)
            if value is None:
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            least = value >= 0 if key == "temperature" and number else number and value > 0
            if not (number and least and value <= _SECONDS_MAX):
                raise _refuse(f"{self.file}: {key} = {value!r}: give a number above 0")
            found[key] = float(value)
        return found


def _amount(text: str, where: str) -> Decimal:
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        value = Decimal(-1)
    if not (value.is_finite() and 0 <= value <= 10**12):
        raise _refuse(f"{where} {text}: give an amount, e.g. 0.50")
    return value


def _check_url(url: str, where: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _refuse(f"{where}: not an address: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not url.isprintable():
        raise _refuse(f"{where}: {url!r} is no address; give one like http://localhost:1234/v1")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise _refuse(f"{where}: no user, key or query in the address; give the key in PXOS_MODEL_KEY")


def _refuse(message: str) -> InputError:
    return InputError(message, stage=STAGE)

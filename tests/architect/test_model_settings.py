"""Where a model is configured: flags over environment over file, each mistake one line that says where it stands."""

from __future__ import annotations

import argparse
from decimal import Decimal
from pathlib import Path

import pytest

from architect.model.ledger import Ledger
from architect.model.settings import ModelSettings, add_model_options, default_file, settings_from
from architect.model.types import Endpoint
from toolchain.errors import InputError

URL = "http://localhost:1234/v1"


def read(tmp_path: Path, *words: str, file: str = "", **env: str) -> ModelSettings | None:
    parser = argparse.ArgumentParser()
    add_model_options(parser)
    path = tmp_path / "settings.toml"
    path.write_text(file)
    path.chmod(0o600)
    return settings_from(parser.parse_args(words), env, path)


def endpoint(tmp_path: Path, *words: str, file: str = "", **env: str) -> Endpoint:
    found = read(tmp_path, *words, file=file, **env)
    assert found is not None
    return found.endpoint


def test_no_model_is_configured_unless_somebody_says_so(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    assert read(tmp_path, OPENAI_API_KEY="sk-x", OPENAI_BASE_URL=URL, PXOS_MODEL="m") is None


def test_flags_go_before_environment_before_file(tmp_path: Path) -> None:
    file = f'[model]\nurl = "{URL}"\nname = "file"\ncontext = 1000\n'
    assert endpoint(tmp_path, file=file).model == "file"
    assert endpoint(tmp_path, file=file, PXOS_MODEL="env").model == "env"
    found = endpoint(
        tmp_path, "--model", "flag", file=file, PXOS_MODEL="env", PXOS_MODEL_URL="http://h:1/v1/"
    )
    assert (found.model, found.base_url, found.context) == ("flag", "http://h:1/v1", 1000)


@pytest.mark.parametrize(
    ("url", "profile"),
    [
        ("http://localhost:1234/v1", "lmstudio"),
        ("http://gpu:11434/v1", "ollama"),
        ("http://10.0.0.2:8000/v1", "vllm"),
        ("http://127.0.0.1:8080/v1", "llamacpp"),
        ("https://api.openai.com/v1", "openai"),
        ("https://example.org/v1", "generic"),
    ],
)
def test_the_kind_of_server_is_seen_from_the_address(tmp_path: Path, url: str, profile: str) -> None:
    assert endpoint(tmp_path, "--model-url", url).profile == profile
    assert endpoint(tmp_path, "--model-url", url, "--model-profile", "vllm").profile == "vllm"


def test_the_key_comes_from_the_environment_or_the_file_and_is_never_shown(tmp_path: Path) -> None:
    file = '[model]\nurl = "http://h/v1"\nkey = "from-file"\n'
    assert endpoint(tmp_path, file=file).key == "from-file"
    assert endpoint(tmp_path, file=file, PXOS_MODEL_KEY=" from-env\n").key == "from-env"
    found = endpoint(tmp_path, "--model-key-env", "MINE", file=file, PXOS_MODEL_KEY="no", MINE="mine-12345")
    assert found.key == "mine-12345" and "mine-12345" not in repr(found) + str(found)


def test_a_file_with_a_key_must_be_private(tmp_path: Path) -> None:
    path = tmp_path / "open.toml"
    path.write_text('[model]\nurl = "http://h/v1"\nkey = "k"\n')
    path.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        settings_from(argparse.Namespace(), {}, path)


def test_budgets_and_prices(tmp_path: Path) -> None:
    words = (
        "--model-url",
        URL,
        "--max-tokens-total",
        "5000",
        "--max-money",
        "0.50",
        "--model-price",
        "0.5,1.5",
    )
    found = read(tmp_path, *words)
    assert found is not None
    ledger = found.ledger()
    assert (ledger.tokens_max, ledger.money_max, ledger.price_in, ledger.price_out) == (
        5000,
        Decimal("0.50"),
        Decimal("0.5"),
        Decimal("1.5"),
    )
    assert ledger.price(1_000_000, 2_000_000) == Decimal("3.5")


def test_money_without_a_price_cannot_be_kept(tmp_path: Path) -> None:
    found = read(tmp_path, "--model-url", URL, "--max-money", "1")
    assert found is not None
    with pytest.raises(InputError, match="--model-price") as caught:
        found.ledger()
    assert caught.value.status == 2
    assert Ledger(money_max=Decimal(1), price_in=Decimal(0), price_out=Decimal(0)).money == 0


WRONG = {
    "no address": (("--model-url", "localhost:1234"), "", "http://localhost:1234/v1"),
    "other scheme": (("--model-url", "file:///etc/passwd"), "", "is no address"),
    "user in the address": (("--model-url", "http://me:secret@h/v1"), "", "PXOS_MODEL_KEY"),
    "bad port": (("--model-url", "http://h:99999/v1"), "", "not an address"),
    "model alone": (("--model", "m"), "", "--model-url"),
    "unknown profile": (("--model-url", URL, "--model-profile", "x"), "", "lmstudio"),
    "context": (("--model-url", URL, "--model-context", "12k"), "", "--model-context 12k"),
    "tokens": (("--model-url", URL, "--max-tokens-total", "0"), "", "--max-tokens-total 0"),
    "money": (("--model-url", URL, "--max-money", "-1"), "", "--max-money -1"),
    "not a number": (("--model-url", URL, "--max-money", "nan"), "", "--max-money nan"),
    "price": (("--model-url", URL, "--model-price", "1"), "", "IN,OUT"),
    "no such variable": (("--model-url", URL, "--model-key-env", "NOT_SET"), "", "NOT_SET"),
    "unknown key": ((), '[model]\nurl = "http://h/v1"\nprise = 1\n', "no key 'prise'"),
    "outside of the table": ((), 'url = "http://h/v1"\n', "below [model]"),
    "another table": ((), '[models]\nurl = "http://h/v1"\n', "knows no 'models'"),
    "no table": ((), "model = 3\n", "no table"),
    "no TOML": ((), "[model\n", "not valid TOML"),
    "text for a number": ((), '[model]\nurl = "http://h/v1"\ncontext = "much"\n', "context much"),
    "time": ((), '[model]\nurl = "http://h/v1"\nidle = -1\n', "idle = -1"),
    "a number for text": ((), "[model]\nurl = 3\n", "expected text"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_is_one_line(tmp_path: Path, what: str) -> None:
    words, file, says = WRONG[what]
    with pytest.raises(InputError) as caught:
        found = read(tmp_path, *words, file=file)
        assert found is None or found.ledger()
    message = caught.value.message
    assert says in message and "\n" not in message and "secret" not in message


def test_a_key_with_a_line_end_in_it_is_refused_without_being_shown(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, "--model-url", URL, PXOS_MODEL_KEY="abc\ndef")
    assert "abc" not in caught.value.message and "PXOS_MODEL_KEY" in caught.value.message


def test_the_file_lies_where_the_standard_says(tmp_path: Path) -> None:
    assert default_file({"XDG_CONFIG_HOME": "/c", "HOME": "/h"}) == Path("/c/pxos/settings.toml")
    assert default_file({"XDG_CONFIG_HOME": "c", "HOME": "/h"}) == Path("/h/.config/pxos/settings.toml")
    assert default_file({}) is None

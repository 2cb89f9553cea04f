"""What is known of the servers that speak OpenAI's Chat Completions: their quirks, one profile each.

Owns the table and how an address is recognised. A profile is what a conversation starts with; where a server refuses a
field, the client drops it for the rest of the conversation (``architect.model.dialect``). Asks no server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from toolchain.errors import InputError

STAGE = "model"
TokenField = Literal["max_tokens", "max_completion_tokens"]


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of server.

    Attributes:
        name: as ``--model-profile`` takes it.
        title: the product's own name.
        context: tokens assumed where neither the person nor the server says more.
        tools: tool calls work well enough to be offered; otherwise plain text is asked for.
        json_schema: ``response_format`` with a JSON schema is honoured.
        stream_usage: ``stream_options.include_usage`` is understood.
        token_field: the field that limits an answer.
        system_role: messages of role ``system`` are understood.
        port: the port that it listens on by default, or None.
        hosts: ends of host names that are it.
        asks_context: the path, relative to the server's root, that tells the context of a model, or empty.
        drops: what does not fit is dropped without an error.
        context_mend: how a person gives a model more context there.
    """

    name: str
    title: str
    context: int
    tools: bool = False
    json_schema: bool = False
    stream_usage: bool = True
    token_field: TokenField = "max_tokens"
    system_role: bool = True
    port: int | None = None
    hosts: tuple[str, ...] = ()
    asks_context: str = ""
    drops: bool = False
    context_mend: str = "serve the model with a larger context"


_LM_STUDIO = Profile(
    "lmstudio", "LM Studio", 4096, json_schema=True, drops=True, port=1234, asks_context="/api/v0/models",
    context_mend="raise Context Length where the model is loaded in LM Studio",
)  # fmt: skip
_OLLAMA = Profile(
    "ollama", "Ollama", 4096, json_schema=True, drops=True, port=11434, asks_context="/api/ps",
    context_mend="set OLLAMA_CONTEXT_LENGTH for the server, or num_ctx in a Modelfile",
)  # fmt: skip
_VLLM = Profile(
    "vllm", "vLLM", 8192, json_schema=True, port=8000, asks_context="/v1/models",
    context_mend="serve it with a larger --max-model-len",
)  # fmt: skip
_LLAMA_CPP = Profile(
    "llamacpp", "llama.cpp server", 4096, json_schema=True, port=8080, asks_context="/props",
    context_mend="start llama-server with a larger --ctx-size",
)  # fmt: skip
_OPENAI = Profile(
    "openai", "OpenAI", 128_000, tools=True, json_schema=True, token_field="max_completion_tokens",
    hosts=("api.openai.com",), context_mend="choose a model with a larger context",
)  # fmt: skip
_GENERIC = Profile("generic", "an OpenAI-compatible server", 8192, drops=True)

PROFILES = {p.name: p for p in (_GENERIC, _LM_STUDIO, _OLLAMA, _VLLM, _LLAMA_CPP, _OPENAI)}
AUTO = "auto"


def profile(name: str) -> Profile:
    """A profile by its name.

    Raises:
        InputError: there is none.
    """
    if name not in PROFILES:
        known = ", ".join((AUTO, *PROFILES))
        raise InputError(f"--model-profile {name}: there are {known}", stage=STAGE)
    return PROFILES[name]


def detect(base_url: str) -> Profile:
    """The profile that an address speaks for: by host name, then by the port that a server listens on by default."""
    parts = urlsplit(base_url)
    host, port = (parts.hostname or "").lower(), parts.port
    for candidate in PROFILES.values():
        if any(host == end or host.endswith("." + end) for end in candidate.hosts):
            return candidate
    for candidate in PROFILES.values():
        if candidate.port is not None and port == candidate.port:
            return candidate
    return _GENERIC

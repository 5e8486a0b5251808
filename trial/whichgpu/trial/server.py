"""A vLLM server on loopback, asked for what it knows: health, one real completion, metrics, its workers' bytes."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from whichgpu.inspect.bounded import json_of
from whichgpu.inspect.text import clean
from whichgpu.trial.errors import TrialError
from whichgpu.trial.records import Memory

_LIMIT, _PART = 16 * 2**20, 65_536
_GRACE = 5.0
"""Seconds beyond what one read may take that a whole answer has."""

_MOST, _MOST_NAME = 2**60, 300
"""Figures above this, and names longer than this, are none."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """What /metrics says at one moment."""

    at: float
    """Of a monotonic clock, in seconds."""
    cache_used: float | None
    waiting: float | None
    preemptions: float | None
    generated: float | None
    """Tokens since the server started."""
    first_seconds: float | None
    """Times to the first token, added up since the server started."""
    first_count: float | None


class Server:
    """A server's API. Everything that it says is text from outside."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def is_healthy(self) -> bool:
        """True where /health answers 200."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, ValueError, http.client.HTTPException):
            return False

    def serves(self, name: str) -> bool:
        """True where this model is served here: a port may be another's."""
        try:
            return self.models()[0] == name
        except TrialError:
            return False

    def models(self) -> tuple[str, int | None]:
        """Return the first served name, and the longest sequence in force.

        Raises:
            TrialError: it is no OpenAI-compatible server.
        """
        content = self._json("/v1/models")
        try:
            first = content["data"][0]
            length = first.get("max_model_len")
            is_length = isinstance(length, int) and not isinstance(length, bool) and 0 < length < _MOST
            return str(first["id"])[:_MOST_NAME], length if is_length else None
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise TrialError(f"{clean(self.url)} lists no model.", "Give the URL of a vLLM server.") from error

    def version(self) -> str | None:
        """Return the version that the server says it is."""
        try:
            version_text = self._json("/version").get("version")
        except (TrialError, AttributeError):
            return None
        return clean(version_text, 40) if isinstance(version_text, str) else None

    def complete(self, model: str, seconds: float) -> int:
        """Ask for one real completion and return its tokens: a green /health is not success.

        Raises:
            TrialError: it failed.
        """
        body = {"model": model, "prompt": [5, 6, 7, 8, 9, 10], "max_tokens": 8, "ignore_eos": True, "temperature": 0}
        content = self._json("/v1/completions", body, seconds)
        usage = content.get("usage") if isinstance(content, dict) else None
        tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
        if not isinstance(tokens, int) or not 0 < tokens < _MOST:
            raise TrialError("The first completion came back empty.", "The log says why.")
        return tokens

    def facts(self) -> list[dict[str, Any]]:
        """Return what our worker extension says, per rank; empty where it isn't there."""
        try:
            content = self._json("/collective_rpc", {"method": "whichgpu_facts"}, 60)
        except TrialError:
            return []
        results = content.get("results") if isinstance(content, dict) else None
        return [r for r in results if isinstance(r, dict)] if isinstance(results, list) else []

    def memory(self) -> Memory:
        """Return what /metrics says of the cache; unknown where it says nothing."""
        labels = next((s[1] for s in self._samples("vllm:cache_config_info")), {})
        return Memory(
            pool_bytes=_whole(labels.get("kv_cache_memory_bytes")),
            tokens=_whole(labels.get("kv_cache_size_tokens")),
            concurrency=_number(labels.get("kv_cache_max_concurrency")),
            blocks=_whole(labels.get("num_gpu_blocks")),
            block_size=_whole(labels.get("block_size")),
            utilisation=_number(labels.get("gpu_memory_utilization")),
        )

    def gauges(self) -> Gauges:
        """Return how full the cache and the queue are now, and what was generated so far; one request."""
        samples = self._every_sample()

        def value(*names: str) -> float | None:
            values = [s[2] for s in samples if s[0] in names]
            return max(values) if values else None

        def added(name: str) -> float | None:
            values = [s[2] for s in samples if s[0] == name]
            return sum(values) if values else None

        return Gauges(
            at=time.monotonic(),
            cache_used=value("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
            waiting=value("vllm:num_requests_waiting"),
            preemptions=value("vllm:num_preemptions_total", "vllm:num_preemptions"),
            generated=added("vllm:generation_tokens_total"),
            first_seconds=added("vllm:time_to_first_token_seconds_sum"),
            first_count=added("vllm:time_to_first_token_seconds_count"),
        )

    def _samples(self, name: str) -> Iterable[tuple[str, dict[str, str], float]]:
        return [s for s in self._every_sample() if s[0] == name]

    def _every_sample(self) -> Sequence[tuple[str, dict[str, str], float]]:
        from prometheus_client.parser import text_string_to_metric_families

        try:
            text = self._read("/metrics", None, 10).decode(errors="replace")
            families = list(text_string_to_metric_families(text))
        except Exception:  # noqa: BLE001 - a foreign parser of foreign text; without it figures are unknown
            return []
        return [(s.name, dict(s.labels), float(s.value)) for f in families for s in f.samples]

    def _json(self, path: str, body: object = None, seconds: float = 15) -> Any:
        try:
            return json_of(self._read(path, body, seconds))
        except ValueError as error:
            raise TrialError(f"The server's answer to {path} is no JSON.", "Is it a vLLM server?") from error

    def _read(self, path: str, body: object, seconds: float) -> bytes:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.url}{path}", data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return _bounded(answer, time.monotonic() + seconds + _GRACE)
        except urllib.error.HTTPError as error:
            with error:  # it holds the connection
                message = clean(error.read(2_000).decode(errors="replace"), 200)
            raise TrialError(
                f"The server answered {path} with HTTP {error.code}: {message}", "The log says why."
            ) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise TrialError(f"The server does not answer {path}: {clean(error, 120)}.", "The log says why.") from error


def _bounded(answer: http.client.HTTPResponse, until: float) -> bytes:
    """Read an answer of bounded size in bounded time, however slowly it drips.

    Raises:
        OSError: it is larger, or takes longer.
    """
    parts: list[bytes] = []
    size = 0
    while part := answer.read1(_PART):
        parts.append(part)
        size += len(part)
        if size > _LIMIT:
            raise OSError(f"it answers with more than {_LIMIT:,} bytes")
        if time.monotonic() > until:
            raise TimeoutError("it answers too slowly")
    return b"".join(parts)


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < _MOST else None


def _whole(text: str | None) -> int | None:
    value = _number(text)
    return int(value) if value is not None else None


def wait(seconds: float) -> None:
    """Sleep; a name of its own so that loops read well."""
    time.sleep(seconds)

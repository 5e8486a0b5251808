"""The Hub's HTTP, through huggingface_hub's session: bounded bodies, bounded patience, errors translated once."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import httpx2
from huggingface_hub import constants, get_session, hf_raise_for_status, set_client_factory
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import http_backoff, http_stream_backoff, parse_ratelimit_headers  # type: ignore[attr-defined]

from whichgpu.inspect.bounded import json_of
from whichgpu.inspect.errors import (
    AccessError,
    NetworkError,
    NotFoundError,
    OfflineError,
    SourceError,
    UnreadableError,
)
from whichgpu.inspect.text import clean

PATIENCE_SECONDS = 10
"""Longest ``Retry-After`` that is waited for; beyond it the user hears about it at once."""

RETRY_WAIT_SECONDS = 0.5
"""Before the first retry; doubled each time."""

DEADLINE_SECONDS = 60.0
"""Longest time for one body."""

_RETRIES = 2
_TIMEOUT = httpx2.Timeout(10.0, connect=6.0)
_TRANSIENT = (httpx2.ReadTimeout, httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError)
"""Retried; a refused connection or an unknown host is not, since waiting does not mend it."""


class _Bounded(httpx2.SyncByteStream):
    """A response body that ends after ``limit`` bytes and fails after a deadline, whatever the server goes on sending."""

    def __init__(self, inner: httpx2.SyncByteStream, limit: int | None) -> None:
        self._inner = inner
        self._limit = limit
        self._ends = time.monotonic() + DEADLINE_SECONDS

    def __iter__(self) -> Iterator[bytes]:
        remaining_bytes = self._limit
        for chunk in self._inner:
            if time.monotonic() > self._ends:
                raise NetworkError("The server sends too slowly.", "Try again later, or use --offline.")
            yield chunk if remaining_bytes is None else chunk[:remaining_bytes]
            if remaining_bytes is not None:
                remaining_bytes -= len(chunk)
                if remaining_bytes <= 0:
                    return

    def close(self) -> None:
        self._inner.close()


def _bound(response: httpx2.Response) -> None:
    """Cut each body at what was asked for: a mirror that ignores Range would send the whole file.

    A body that was asked for as it is must not come compressed: a few bytes could unpack to gigabytes.
    """
    request = response.request
    limit = request.extensions.get("whichgpu_limit")
    encoding = response.headers.get("content-encoding", "identity")
    if encoding not in (("identity",) if limit is not None else ("identity", "gzip")):
        raise NetworkError(
            f"{clean(response.url.host)} compresses in a way that was not asked for.", "Check HF_ENDPOINT."
        )
    declared = response.headers.get("content-length", "")
    if declared.isdigit() and isinstance(limit, int) and int(declared) <= limit:
        limit = None  # read to its end, so that the connection can be used again
    if isinstance(response.stream, httpx2.SyncByteStream):
        response.stream = _Bounded(response.stream, limit if isinstance(limit, int) else None)


def _lose_patience(response: httpx2.Response) -> None:
    """Raise when the server asks for a longer wait than a user would sit through."""
    if response.status_code not in (429, 503):
        return
    stated = response.headers.get("retry-after", "")
    waits = [int(stated)] if stated.isdigit() else []
    limits = parse_ratelimit_headers(response.headers)
    waits += [limits.reset_in_seconds] if limits is not None else []
    if waits and max(waits) > PATIENCE_SECONDS:
        raise NetworkError(
            f"{clean(response.url.host)} asks to wait {max(waits)} seconds before the next request.",
            "Try again later, set HF_TOKEN for a higher limit, or use --offline.",
        )


def _client() -> httpx2.Client:
    def offline(request: httpx2.Request) -> None:
        if constants.is_offline_mode():
            raise OfflineModeIsEnabled("offline mode is on")

    hooks: dict[str, list[Callable[..., Any]]] = {"request": [offline], "response": [_lose_patience, _bound]}
    return httpx2.Client(event_hooks=hooks, follow_redirects=True, timeout=_TIMEOUT)


@cache
def _use_our_client() -> None:
    """Make huggingface_hub use our client; once, since it closes the client that other threads have in use."""
    # huggingface_hub logs every retry to stderr; our own narration says what the user needs.
    logging.getLogger("huggingface_hub.utils._http").setLevel(logging.ERROR)
    set_client_factory(_client)


_TOKEN_SOURCES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE")


def _token() -> str | None:
    """The user's token, as huggingface_hub finds it; where nothing could hold one, without importing what looks for it."""
    if (
        not any(os.environ.get(name) for name in _TOKEN_SOURCES)
        and not os.path.exists(constants.HF_TOKEN_PATH)
        and "google.colab" not in sys.modules
    ):
        return None
    from huggingface_hub import get_token  # file locks and YAML: a twentieth of an answer

    return get_token()


class HubHttp:
    """Requests to one endpoint. ``count`` is the number of answers asked for (a redirect belongs to its request)."""

    def __init__(self) -> None:
        _use_our_client()
        self.endpoint = constants.ENDPOINT.rstrip("/")
        self.count = 0
        token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else _token()
        self.has_token = token is not None
        self._headers = {"user-agent": f"whichgpu; huggingface_hub; python; pid/{os.getpid()}"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"

    def get(self, url: str, limit: int, span: tuple[int, int] | None = None) -> httpx2.Response:
        """GET at most ``limit`` bytes; ``span`` asks for the bytes from first to last inclusive.

        Raises:
            NetworkError, AccessError, NotFoundError, OfflineError: see ``errors.py``.
        """
        headers = {**self._headers, "accept-encoding": "identity"}
        if span is not None:
            headers["range"] = f"bytes={span[0]}-{span[1]}"
        self.count += 1
        with self.translated(url):
            response = http_backoff(
                "GET",
                url,
                headers=headers,
                extensions={"whichgpu_limit": limit},
                max_retries=_RETRIES,
                base_wait_time=RETRY_WAIT_SECONDS,
                max_wait_time=4,
                retry_on_exceptions=_TRANSIENT,
                timeout=_TIMEOUT,
            )
            hf_raise_for_status(response)
        return response

    def json(self, url: str, limit: int) -> Any:
        """GET a JSON document of at most ``limit`` bytes.

        Raises:
            NetworkError: what came back is no JSON: a login page, a proxy's message, a truncated answer.
        """
        response = self.get(url, limit)
        try:
            return json_of(response.content)
        except ValueError as error:
            kind = clean(response.headers.get("content-type", "something else"), 60)
            raise NetworkError(
                f"{clean(response.url.host)} answered with {kind} instead of the Hub's JSON.",
                "A login page or a proxy may be in the way; check the network and HF_ENDPOINT.",
            ) from error

    def unpacked(self, url: str, limit: int) -> bytearray:
        """GET a large answer compressed; what it unpacks to is bounded by ``limit`` bytes. Not retried once its body
        has begun: the caller has another way.

        Raises:
            NetworkError: broken off, or too large.
        """
        self.count += 1
        body = bytearray()
        with (
            self.translated(url),
            http_stream_backoff("GET", url, headers={**self._headers, "accept-encoding": "gzip"}, max_retries=1,
                                base_wait_time=RETRY_WAIT_SECONDS, retry_on_exceptions=(), timeout=_TIMEOUT) as response,
        ):  # fmt: skip
            hf_raise_for_status(response)
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > limit:
                    raise NetworkError("The Hub's answer is too large.")
        return body

    @contextmanager
    def translated(self, url: str) -> Iterator[None]:
        """Turn huggingface_hub's and the client's exceptions into ours, most specific first."""
        try:
            yield
        except OfflineModeIsEnabled as error:
            raise OfflineError("The network is switched off (HF_HUB_OFFLINE).", "Unset it to ask the Hub.") from error
        except HfHubHTTPError as error:
            raise self._from_status(error) from error
        except httpx2.TimeoutException as error:
            raise NetworkError(f"{self._host(url)} did not answer in time.", "Try again, or use --offline.") from error
        except httpx2.HTTPError as error:
            raise NetworkError(
                f"{self._host(url)} cannot be reached ({_reason(error)}).",
                "Check the network, HF_ENDPOINT and proxies, or use --offline.",
            ) from error
        except (httpx2.InvalidURL, ValueError) as error:
            raise NetworkError(
                f"{clean(self.endpoint)} is not a usable address ({clean(error, 80)}).", "Check HF_ENDPOINT."
            ) from error

    def _host(self, url: str) -> str:
        return clean(httpx2.URL(url).host or url, 80)

    def _from_status(self, error: HfHubHTTPError) -> SourceError:
        response = error.response
        status, host = response.status_code, clean(response.url.host)
        code, text = response.headers.get("x-error-code", ""), response.headers.get("x-error-message", "")
        if code == "GatedRepo" or (status == 403 and "gated" in text.lower()):
            return AccessError("The repository is gated.", "Accept its terms on its page, then set HF_TOKEN.")
        # the Hub says “Invalid username or password” of what is not there, too
        if status == 401 and code != "RepoNotFound" and "invalid" in text.lower():
            return AccessError("The token is not accepted.", "Log in with `hf auth login`, or correct HF_TOKEN.")
        if status == 403:
            return AccessError(
                f"{host} refuses access ({clean(text, 80) or 'HTTP 403'}).", "Check the token's permissions."
            )
        if code == "RevisionNotFound":
            return NotFoundError("The repository has no such revision.", "Check the branch, tag or commit after @.")
        if status in (401, 404):
            hint = (
                "Check the spelling; a private repository needs HF_TOKEN."
                if not self.has_token
                else ("Check the spelling, and that the token may read it.")
            )
            return NotFoundError("No such repository (or it is private).", hint)
        if status == 429:
            return NetworkError(
                f"{host} limits the rate of requests.", "Wait a minute, or set HF_TOKEN for a higher limit."
            )
        if status == 416:
            return UnreadableError("A weight file is shorter than its header says.", "Tell the repository's owner.")
        return NetworkError(f"{host} answered with HTTP {status}.", "Try again; if it stays, use --offline.")


def _reason(error: Exception) -> str:
    """The system's words without its number: ``Connection refused``."""
    return re.sub(r"^\[Errno -?\d+\] ", "", clean(error, 80)) or type(error).__name__


def close() -> None:
    """Close the shared client so that waiting threads end."""
    get_session().close()

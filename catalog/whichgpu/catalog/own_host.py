"""A plugin of Datasette that answers only under its own name: copied beside a served catalog, and loaded there by file.

Any page that a browser has open can reach loopback under a name of its own (DNS rebinding), and would read everything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

try:
    from datasette import hookimpl
except ImportError:  # it is imported here for its path alone

    def hookimpl(function: Any) -> Any:
        return function


_App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


@hookimpl  # type: ignore[untyped-decorator, unused-ignore]
def asgi_wrapper() -> Callable[[_App], _App]:
    """Wrap Datasette's application."""

    def wrapped(app: _App) -> _App:
        async def checked(scope: dict[str, Any], receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            headers = {key.lower(): value.decode("latin-1") for key, value in scope["headers"]}
            port = (scope.get("server") or ("", 0))[1]
            addresses = (f"127.0.0.1:{port}", f"localhost:{port}")
            origin = headers.get(b"origin")
            if headers.get(b"host") in addresses and (
                origin is None or origin in [f"http://{name}" for name in addresses]
            ):
                await app(scope, receive, send)
                return
            plain = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": plain})
            await send({"type": "http.response.body", "body": b"This catalog is served on this machine alone."})

        return checked

    return wrapped

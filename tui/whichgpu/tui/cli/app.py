"""``whichgpu app|serve``: the app here, or in a browser through textual-serve, for this machine alone."""

from __future__ import annotations

import secrets
import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from whichgpu.inspect.errors import MissingExtraError
from whichgpu.tui.asking.completing import complete_models
from whichgpu.tui.cli.common import Shell, pass_shell
from whichgpu.tui.desk.desk import open_desk
from whichgpu.tui.words.exit_codes import ExitCode

if TYPE_CHECKING:
    from aiohttp import web

_LOOPBACK = "127.0.0.1"
_COOKIE = "whichgpu"
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; worker-src blob:;"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws://127.0.0.1:* ws://localhost:*;"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@click.command("app")
@click.argument("model", required=False, shell_complete=complete_models)
@click.option("--offline", is_flag=True, help="Use no network: catalog, Hugging Face cache, bundled atlas.")
@click.option("--served", is_flag=True, hidden=True, help="As whichgpu serve runs it.")
@pass_shell
def open_app(shell: Shell, model: str | None, offline: bool, served: bool) -> int:
    """Open the terminal app, perhaps at a model; whichgpu without arguments opens it too."""
    if not served and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("The app needs a terminal; whichgpu --model X answers without one.")
    return shell.open_app(open_desk(), offline, model, local=not served)


@click.command("serve")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="On 127.0.0.1.")
@click.option("--offline", is_flag=True, help="Use no network: catalog, Hugging Face cache, bundled atlas.")
def serve_app(port: int, offline: bool) -> int:
    """Serve the app to a browser on this machine (extra: serve); it reads no folders or files there."""
    make_server(port, offline).serve()
    return ExitCode.OK


def make_server(port: int, offline: bool) -> Any:
    """Return a textual-serve server on loopback that answers only pages of its own, and only who was told its address.

    Every page that a browser has open can reach loopback, and so can every user of this machine: a request under another
    name (DNS rebinding), from another origin or without the secret of this start is refused; otherwise it could drive the
    app with this user's token. No page may frame it, and nothing is loaded from elsewhere.
    """
    try:
        from aiohttp import web
        from textual_serve.server import Server
    except ImportError as error:
        raise MissingExtraError("textual-serve", "serve") from error

    ours, secret = {f"{_LOOPBACK}:{port}", f"localhost:{port}"}, secrets.token_urlsafe(24)

    def is_told(text: str | None) -> bool:
        return secrets.compare_digest((text or "").encode(), secret.encode())

    @web.middleware
    async def own_pages_alone(request: web.Request, handler: Any) -> web.StreamResponse:
        own = f"http://{request.host}"
        origin = request.headers.get("Origin", "" if request.path == "/ws" else own)
        if request.host not in ours or origin != own:
            raise web.HTTPForbidden(text="whichgpu serves its own pages on this machine alone.")
        if request.path == "/" and is_told(request.query.get("key")):
            page = web.HTTPSeeOther("/", headers=_PAGE_HEADERS)  # the secret leaves the address, and the history
            page.set_cookie(_COOKIE, secret, httponly=True, samesite="Strict", path="/")
            raise page
        if not is_told(request.cookies.get(_COOKIE)):
            raise web.HTTPForbidden(text="Open the address that whichgpu serve printed.")
        response: web.StreamResponse = await handler(request)
        return response

    async def with_headers(_: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(_PAGE_HEADERS)

    class OwnPages(Server):  # type: ignore[misc, unused-ignore]
        async def _make_app(self) -> web.Application:
            app: web.Application = await super()._make_app()
            app.middlewares.append(own_pages_alone)
            app.on_response_prepare.append(with_headers)
            return app

        async def on_startup(self, app: web.Application) -> None:
            address = f"{self.public_url}/?key={secret}"
            sys.stdout.write(f"whichgpu is at {address} (this machine alone); Ctrl-C ends it.\n")
            sys.stdout.flush()

    words = [sys.executable, "-P", "-m", "whichgpu", "app", "--served", *(["--offline"] if offline else [])]
    return OwnPages(shlex.join(words), host=_LOOPBACK, port=port, title="whichgpu")

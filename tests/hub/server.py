"""The HTTP side: API, resolve with a redirect to a second host, ranges, and the faults that real networks have."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.content import Content, Repo, Sparse


@dataclass
class Fault:
    """Something that goes wrong for requests whose path contains ``where``, the next ``times`` times."""

    kind: str
    """status, body, reset, stall, truncate, html, ignore_range, gzip, trickle."""
    where: str = ""
    times: int = 1_000_000
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    body: bytes = b""


@dataclass(frozen=True)
class Seen:
    """One request as the server saw it."""

    host: str
    path: str
    range: str | None
    authorization: str | None


class HubStandIn:
    """Two servers on loopback: the Hub, and the host that it redirects large files to."""

    def __init__(self, repos: dict[str, Repo], token: str | None = None) -> None:
        self.repos = repos
        self.token = token
        self._all_headers: dict[int, bytes] = {}
        self.delay = 0.0
        """Seconds before every answer."""
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.bytes_sent = 0
        self.connections = 0
        self.lock = threading.Lock()
        self._servers = [_server(self, "hub"), _server(self, "cdn")]
        self.endpoint = f"http://127.0.0.1:{self._servers[0].server_port}"
        self.cdn = f"http://localhost:{self._servers[1].server_port}"

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def requests(self, host: str | None = None) -> list[Seen]:
        """Requests so far; redirected downloads show up once per host."""
        return [s for s in self.seen if host in (None, s.host)]

    def all_headers(self, repo: Repo) -> bytes:
        """Every shard's header in one JSON, made once: the Hub has it ready."""
        if id(repo) not in self._all_headers:
            headers = {p: _parsed(c) for p, c in repo.files.items() if p.endswith(".safetensors") and "/" not in p}
            self._all_headers[id(repo)] = json.dumps({"index": {"metadata": {}}, "headers": headers}).encode()
        return self._all_headers[id(repo)]

    def fault_for(self, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.where in path:
                    fault.times -= 1
                    return fault
        return None

    def find(self, name: str) -> tuple[str, Repo] | None:
        for known, repo in self.repos.items():
            if known.lower() == name.lower():
                return known, repo
        return None


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what several tests are about; anything else is shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def _server(hub: HubStandIn, role: str) -> ThreadingHTTPServer:
    class Handler(_Handler):
        stand_in = hub
        host_role = role

    server = _QuietServer(("127.0.0.1", 0), Handler)
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stand_in: HubStandIn
    host_role: str

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.stand_in.lock:
            self.stand_in.connections += 1

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay silent."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        seen = Seen(self.host_role, path, self.headers.get("range"), self.headers.get("authorization"))
        with self.stand_in.lock:
            self.stand_in.seen.append(seen)
        with _quiet_disconnects():
            time.sleep(self.stand_in.delay)
            fault = self.stand_in.fault_for(path)
            if fault is None or not self._misbehave(fault):
                self._route(path, fault)

    def _misbehave(self, fault: Fault) -> bool:
        """Act out a fault; False when the normal answer goes on in a changed way."""
        if fault.kind == "status":
            self._send(fault.status, b"{}", headers=fault.headers)
        elif fault.kind == "body":
            self._send(200, fault.body, headers=fault.headers)
        elif fault.kind == "html":
            self._send(200, b"<!DOCTYPE html><html><body>Log in to the network</body></html>", "text/html")
        elif fault.kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif fault.kind == "gzip":
            body = gzip.compress(bytes(1 << 24))
            self._send(200, body, headers={"Content-Encoding": "gzip", **fault.headers})
        elif fault.kind == "trickle":
            self._trickle(fault.seconds)
        elif fault.kind == "stall":
            time.sleep(fault.seconds)
            self.close_connection = True
        else:
            return False
        return True

    def _trickle(self, pause: float) -> None:
        """Send a body a byte at a time, for as long as the client listens (at most 200 bytes)."""
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        for _ in range(200):
            self._write(b" ")
            self.wfile.flush()
            time.sleep(pause)
        self.close_connection = True

    def _route(self, path: str, fault: Fault | None) -> None:
        pieces = path.strip("/").split("/")
        if self.host_role == "cdn":
            found = self.stand_in.find("/".join(pieces[1:3]))
            content = found[1].files.get("/".join(pieces[4:])) if found else None
            self._file(content, fault)
        elif path == "/api/models":
            words = parse_qs(urlsplit(self.path).query).get("search", [""])[0].lower()
            found_names = [{"id": name} for name in self.stand_in.repos if words in name.lower()]
            self._send(200, json.dumps(found_names).encode())
        elif path.startswith("/api/models/"):
            self._api(pieces[2:], fault)
        elif "resolve" in pieces:
            self._resolve(pieces, fault)
        else:
            self._send(404, b"{}")

    def _api(self, pieces: list[str], fault: Fault | None) -> None:
        marks = [i for i, p in enumerate(pieces) if p in ("revision", "safetensors-metadata", "tree")]
        name = "/".join(pieces[: marks[0]] if marks else pieces)
        found = self._allowed(name)
        if found is None:
            return
        known, repo = found
        rest = pieces[marks[0] :] if marks else []
        if rest[:1] == ["safetensors-metadata"]:
            self._metadata(repo, fault)
            return
        if rest[:1] == ["tree"]:
            entries = [{"type": "file", "path": p, "size": s} for p, s in _sizes(repo)]
            self._json(entries, fault)
            return
        if rest[:1] == ["revision"] and "/".join(rest[1:]) not in (*repo.revisions, repo.commit):
            self._send(404, b"{}", headers={"X-Error-Code": "RevisionNotFound"})
            return
        self._json(_info(known, repo), fault)

    def _metadata(self, repo: Repo, fault: Fault | None) -> None:
        if not repo.offers_metadata:
            self._send(404, b"{}")
            return
        body = self.stand_in.all_headers(repo)
        self._send(200, body, "application/json", truncate=fault is not None and fault.kind == "truncate")

    def _allowed(self, name: str) -> tuple[str, Repo] | None:
        found = self.stand_in.find(name)
        token = self.headers.get("authorization")
        good = self.stand_in.token is not None and token == f"Bearer {self.stand_in.token}"
        if token is not None and not good and self.stand_in.token is not None:
            self._send(401, b"{}", headers={"X-Error-Message": "Invalid credentials in Authorization header"})
            return None
        if found is None or (found[1].private and not good):
            words = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Invalid username or password."}
            self._send(401 if token is None else 404, b"{}", headers=words)
            return None
        if found[1].renamed_to is not None:
            self._redirect(f"/api/models/{found[1].renamed_to}?blobs=true")
            return None
        return found

    def _resolve(self, pieces: list[str], fault: Fault | None) -> None:
        at = pieces.index("resolve")
        found = self._allowed("/".join(pieces[:at]))
        if found is None:
            return
        repo, path = found[1], "/".join(pieces[at + 2 :])
        if repo.gated and self.headers.get("authorization") is None:
            self._send(403, b"{}", headers={"X-Error-Code": "GatedRepo"})
            return
        content = repo.files.get(path)
        if content is None:
            self._send(404, b"{}", headers={"X-Error-Code": "EntryNotFound"})
        elif isinstance(content, Sparse):
            self._redirect(f"{self.stand_in.cdn}/lfs/{'/'.join(pieces[:at])}/x/{path}")
        else:
            self._file(content, fault, {"ETag": f'"{len(content)}"', "X-Repo-Commit": str(repo.commit)})

    def _redirect(self, location: str) -> None:
        self._send(307, b"", headers={"Location": location})

    def _json(self, value: Any, fault: Fault | None) -> None:
        body = json.dumps(value).encode()
        self._send(200, body, "application/json", truncate=fault is not None and fault.kind == "truncate")

    def _file(self, content: Content | None, fault: Fault | None, named: dict[str, str] | None = None) -> None:
        if content is None:
            self._send(404, b"{}", headers={"X-Error-Code": "EntryNotFound"})
            return
        size = content.size if isinstance(content, Sparse) else len(content)
        wanted = self.headers.get("range")
        truncate = fault is not None and fault.kind == "truncate"
        if wanted is None or (fault is not None and fault.kind == "ignore_range"):
            self._stream(content, size, named or {})
            return
        first, last = (int(n) for n in wanted.removeprefix("bytes=").split("-"))
        if first >= size:
            self._send(416, b"")
            return
        body = content.read(first, last) if isinstance(content, Sparse) else content[first : last + 1]
        headers = {"Content-Range": f"bytes {first}-{first + len(body) - 1}/{size}"}
        self._send(206, body, "application/octet-stream", headers, truncate)

    def _stream(self, content: Content, size: int, named: dict[str, str]) -> None:
        """Send a whole file in pieces, as a mirror without ranges does; the client may hang up."""
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        for name, value in named.items():
            self.send_header(name, value)
        self.end_headers()
        step = 1 << 16
        for first in range(0, size, step):
            last = min(first + step, size) - 1
            self._write(content.read(first, last) if isinstance(content, Sparse) else content[first : last + 1])

    def _write(self, data: bytes) -> None:
        if self.command == "HEAD":
            return
        self.wfile.write(data)
        with self.stand_in.lock:
            self.stand_in.bytes_sent += len(data)

    def _send(
        self,
        status: int,
        body: bytes,
        kind: str = "application/json",
        headers: dict[str, str] | None = None,
        truncate: bool = False,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self._write(body[: len(body) // 2] if truncate else body)
        if truncate:
            self.close_connection = True


@contextmanager
def _quiet_disconnects() -> Iterator[None]:
    try:
        yield
    except (BrokenPipeError, ConnectionResetError, ValueError):
        return


def _sizes(repo: Repo) -> list[tuple[str, int]]:
    return [(p, c.size if isinstance(c, Sparse) else len(c)) for p, c in repo.files.items()]


def _info(name: str, repo: Repo) -> dict[str, object]:
    siblings = []
    for path, size in _sizes(repo):
        entry: dict[str, object] = {"rfilename": path}
        if not repo.unsized:
            entry["size"] = size
            if isinstance(repo.files[path], Sparse):
                entry["lfs"] = {"size": size, "sha256": "0" * 64}
        siblings.append(entry)
    base = {"id": name, "sha": repo.commit, "private": repo.private, "gated": "auto" if repo.gated else False}
    return {**base, "siblings": siblings, **repo.extra_info}


def _parsed(content: Content) -> Any:
    if not isinstance(content, Sparse) or len(content.start) < 8:
        return {}
    return json.loads(content.start[8:])

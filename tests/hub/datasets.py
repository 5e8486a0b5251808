"""A stand-in for the Hub's dataset repositories: commits on a parent, the file tree, downloads. Real HTTP on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class DatasetHub:
    """One dataset repository. ``before_commit`` runs once before the next commit is looked at: someone else is faster."""

    def __init__(self, name: str, exists: bool = False) -> None:
        self.name = name
        self.commits: list[dict[str, bytes]] = [{}] if exists else []
        self.before_commit: Callable[[], None] | None = None
        self.refused = 0
        self.forbidden = False
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def head(self) -> str:
        return hashlib.sha1(f"commit {len(self.commits)}".encode()).hexdigest()

    def commit(self, files: dict[str, bytes]) -> None:
        """Add files on top."""
        self.commits.append({**(self.commits[-1] if self.commits else {}), **files})


class _Handler(BaseHTTPRequestHandler):
    hub: DatasetHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        hub, path = self.hub, self.path.split("?")[0]
        if hub.forbidden:
            self._send(403, {"error": "You have no right to this."})
        elif not hub.commits and hub.name in path:
            self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif path.startswith(f"/api/datasets/{hub.name}/tree/"):
            files = [
                {"type": "file", "path": p, "size": len(d), "oid": hashlib.sha1(d).hexdigest()}
                for p, d in hub.commits[-1].items()
            ]
            self._send(200, files)
        elif path in (f"/api/datasets/{hub.name}", f"/api/datasets/{hub.name}/revision/main"):
            self._send(200, {"id": hub.name, "sha": hub.head, "siblings": [], "private": True, "tags": []})
        else:
            self._file(path)

    do_HEAD = do_GET

    def _file(self, path: str) -> None:
        data = self.hub.commits[-1].get(path.split("/resolve/", 1)[-1].split("/", 1)[-1]) if self.hub.commits else None
        if data is None:
            self._send(404, {"error": "no such file"}, {"X-Error-Code": "EntryNotFound"})
            return
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": self.hub.head}
        self._bytes(200, data, headers)

    def do_POST(self) -> None:
        hub, body = self.hub, self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/validate-yaml":
            self._send(200, {"errors": [], "warnings": []})
        elif self.path == "/api/repos/create":
            hub.commits = hub.commits or [{}]
            self._send(200, {"url": f"{hub.endpoint}/datasets/{hub.name}"})
        elif "/preupload/" in self.path:
            files = [f["path"] for f in json.loads(body)["files"]]
            self._send(200, {"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in files]})
        else:
            self._commit([json.loads(line) for line in body.splitlines() if line])

    def _commit(self, lines: list[dict[str, Any]]) -> None:
        hub = self.hub
        with hub.lock:
            hook, hub.before_commit = hub.before_commit, None
            if hook is not None:
                hook()
            header = next(line["value"] for line in lines if line["key"] == "header")
            if header.get("parentCommit") not in (None, hub.head):
                hub.refused += 1
                self._send(412, {"error": "A commit has happened since. Please refresh and try again."})
                return
            files = {
                v["path"]: base64.b64decode(v["content"])
                for v in (line["value"] for line in lines if line["key"] == "file")
            }
            hub.commit(files)
        self._send(
            200,
            {
                "success": True,
                "commitOid": hub.head,
                "commitUrl": f"{hub.endpoint}/datasets/{hub.name}/commit/{hub.head}",
            },
        )

    def _send(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        self._bytes(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _bytes(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass

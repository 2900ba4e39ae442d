"""A hub on this machine: the few addresses of the Hugging Face hub that its client asks for, over files in memory."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import huggingface_hub
import pytest

TOKEN = "a-token-that-may-write"


@dataclass
class Repository:
    """A repository of models. Its only revisions are `main`, `v1` and the commit."""

    files: dict[str, bytes] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    commits: int = 0

    @property
    def commit(self) -> str:
        return hashlib.sha1(json.dumps(sorted(map(repr, self.files.items()))).encode()).hexdigest()

    @classmethod
    def of_folder(cls, folder: Path, **facts: bool) -> "Repository":
        return cls(files={path.name: path.read_bytes() for path in folder.iterdir()}, **facts)


class FakeHub:
    """What it holds, and what it was asked for."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.asked: list[str] = []
        self.is_down = False

    @property
    def fetched(self) -> list[str]:
        """Names of the files that were fetched, or asked about."""
        return [line.split("/")[-1] for line in self.asked if "/resolve/" in line]


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, content: bytes | dict[str, Any] = b"", **headers: str) -> None:
        body = json.dumps(content).encode() if isinstance(content, dict) else content
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _repository(self, name: str) -> Repository | None:
        """The repository; None, and the answer is sent, where it is not for whoever asks."""
        held = self.hub.repositories.get(name)
        if held is None or (held.private and not self._is_known()):
            self._answer(401, X_Error_Code="RepoNotFound")
            return None
        return held

    def _is_known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        if self.hub.is_down:
            self._answer(503)
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._describe(found[1], found[2] or "main")
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/(.+)/([^/]+)", path):
            self._give(found[1], found[2], found[3])
        else:
            self._answer(404)

    do_HEAD = do_GET  # noqa: N815

    def _describe(self, name: str, revision: str) -> None:
        held = self._repository(name)
        if held is not None and revision not in ("main", "v1", held.commit):
            self._answer(404, X_Error_Code="RevisionNotFound")
        elif held is not None:
            self._answer(200, {"id": name, "sha": held.commit, "private": held.private})

    def _give(self, name: str, revision: str, file: str) -> None:
        held = self._repository(name)
        if held is None:
            return
        commit: dict[str, Any] = {"X_Repo_Commit": held.commit}
        if held.gated and not self._is_known():
            self._answer(403, X_Error_Code="GatedRepo")
        elif revision not in ("main", "v1", held.commit):
            self._answer(404, X_Error_Code="RevisionNotFound")
        elif file not in held.files:
            self._answer(404, X_Error_Code="EntryNotFound", **commit)
        else:
            self._answer(200, held.files[file], ETag=f'"{hashlib.sha1(held.files[file]).hexdigest()}"', **commit)

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.asked.append(f"POST {path}")
        if path == "/api/validate-yaml":
            self._answer(200, {})
        elif not self._is_known():
            self._answer(401, {"error": "Invalid username or password."})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path.endswith("/preupload/main"):
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self._answer(200, {"files": files})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            self._commit(found[1], [json.loads(line) for line in body.splitlines()])
        else:
            self._answer(404)

    def _create(self, wish: dict[str, Any]) -> None:
        name = f"{wish['organization']}/{wish['name']}"
        address = f"http://{self.headers['Host']}/{name}"
        if wish["organization"] != "user":
            self._answer(403, {"error": f"You don't have the rights to create a model under {wish['organization']}"})
        elif name in self.hub.repositories:
            self._answer(409, {"url": address, "error": "You already created this model repo"})
        else:
            self.hub.repositories[name] = Repository(
                private=wish.get("visibility") == "private" or bool(wish.get("private"))
            )
            self._answer(200, {"url": address})

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        held = self.hub.repositories[name]
        held.files |= {
            line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"
        }
        held.commits += 1
        address = f"http://{self.headers['Host']}/{name}/commit/{held.commit}"
        self._answer(200, {"commitUrl": address, "commitOid": held.commit})


@contextmanager
def running_hub(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Generator[FakeHub]:
    """The hub that this process asks, with an empty cache and a login."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    try:
        yield hub
    finally:
        huggingface_hub.close_session()
        server.shutdown()
        server.server_close()
        thread.join()

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

import huggingface_hub.constants
import pytest
from huggingface_hub import constants

TOKEN = "a-token-that-may-write"


@dataclass
class Repository:
    """A repository of models. Its revisions are `main`, `v1` and the commit."""

    files: dict[str, bytes] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    commits: int = 0

    @property
    def commit(self) -> str:
        return hashlib.sha1(json.dumps(sorted(map(repr, self.files.items()))).encode()).hexdigest()

    @classmethod
    def of_folder(cls, folder: Path, *, private: bool = False, gated: bool = False) -> "Repository":
        return cls(files={path.name: path.read_bytes() for path in folder.iterdir()}, private=private, gated=gated)


class FakeHub:
    """The repositories of the hub, and the requests that it received."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.is_down = False

    @property
    def fetched(self) -> list[str]:
        """Names of the files that were requested, once for each GET and HEAD."""
        return [line.split("/")[-1] for line in self.requests if "/resolve/" in line]

    @property
    def downloads(self) -> list[str]:
        """Names of the files that were downloaded."""
        return [line.split("/")[-1] for line in self.requests if line.startswith("GET") and "/resolve/" in line]


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
        """Return the repository, or answer with an error and return None where this client may not see it."""
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and not self._has_token()):
            self._answer(401, X_Error_Code="RepoNotFound")
            return None
        return repository

    def _has_token(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if self.hub.is_down:
            self._answer(503)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._describe(match[1], match[2] or "main")
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/(.+)/([^/]+)", path):
            self._give(match[1], match[2], match[3])
        else:
            self._answer(404)

    do_HEAD = do_GET  # noqa: N815

    def _describe(self, name: str, revision: str) -> None:
        repository = self._repository(name)
        if repository is not None and revision not in ("main", "v1", repository.commit):
            self._answer(404, X_Error_Code="RevisionNotFound")
        elif repository is not None:
            self._answer(200, {"id": name, "sha": repository.commit, "private": repository.private})

    def _give(self, name: str, revision: str, file: str) -> None:
        repository = self._repository(name)
        if repository is None:
            return
        commit: dict[str, Any] = {"X_Repo_Commit": repository.commit}
        if repository.gated and not self._has_token():
            self._answer(403, X_Error_Code="GatedRepo")
        elif revision not in ("main", "v1", repository.commit):
            self._answer(404, X_Error_Code="RevisionNotFound")
        elif file not in repository.files:
            self._answer(404, X_Error_Code="EntryNotFound", **commit)
        else:
            self._answer(
                200, repository.files[file], ETag=f'"{hashlib.sha1(repository.files[file]).hexdigest()}"', **commit
            )

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.requests.append(f"POST {path}")
        if path == "/api/validate-yaml":
            self._answer(200, {})
        elif not self._has_token():
            self._answer(401, {"error": "Invalid username or password."})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path.endswith("/preupload/main"):
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self._answer(200, {"files": files})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            self._commit(match[1], [json.loads(line) for line in body.splitlines()])
        else:
            self._answer(404)

    def _create(self, request: dict[str, Any]) -> None:
        name = f"{request['organization']}/{request['name']}"
        address = f"http://{self.headers['Host']}/{name}"
        if request["organization"] != "user":
            self._answer(403, {"error": f"You don't have the rights to create a model under {request['organization']}"})
        elif name in self.hub.repositories:
            self._answer(409, {"url": address, "error": "You already created this model repo"})
        else:
            self.hub.repositories[name] = Repository(
                private=request.get("visibility") == "private" or bool(request.get("private"))
            )
            self._answer(200, {"url": address})

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        repository = self.hub.repositories[name]
        repository.files |= {
            line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"
        }
        repository.commits += 1
        address = f"http://{self.headers['Host']}/{name}/commit/{repository.commit}"
        self._answer(200, {"commitUrl": address, "commitOid": repository.commit})


@contextmanager
def running_hub(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Generator[FakeHub]:
    """Run a hub that the client in this process uses, with an empty cache and a login."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    try:
        yield hub
    finally:
        huggingface_hub.close_session()
        server.shutdown()
        server.server_close()
        thread.join()

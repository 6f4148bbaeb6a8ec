"""A stand-in for the Hugging Face Hub: what huggingface_hub asks of it, on this machine."""

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_atokenthatnobodymaysee"


class Hub(ThreadingHTTPServer):
    """``files`` by 'org/name/path'; who gives no :data:`TOKEN` may read but not write."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.public: dict[str, bool] = {}
        self.gated: set[str] = set()
        self.requests: list[tuple[str, str]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_HEAD(self) -> None:
        self._file(with_body=False)

    def do_GET(self) -> None:
        if self.path.startswith("/api/models/"):
            name = self.path.removeprefix("/api/models/")
            self._answer(200, {"id": name, "private": not self.server.public[name]})
        else:
            self._file(with_body=True)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "Invalid username or password."})
        elif self.path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            known = name in self.server.public
            self.server.public.setdefault(name, wanted.get("visibility") != "private")
            self._answer(409 if known else 200, {"url": f"{self.server.address}/{name}"})
        elif self.path == "/api/validate-yaml":
            refused = "license: none of them" in json.loads(body)["content"]
            errors = [{"message": '"license" must be one of a list'}] if refused else []
            self._answer(400 if refused else 200, {"errors": errors, "warnings": []})
        elif "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]
            self._answer(200, {"files": modes})
        else:
            name = self.path.removeprefix("/api/models/").removesuffix("/commit/main")
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.files[f"{name}/{line['value']['path']}"] = content
            url = f"{self.server.address}/{name}/commit/{COMMIT}"
            self._answer(200, {"commitUrl": url, "commitOid": COMMIT})

    def _file(self, with_body: bool) -> None:
        name, _, path = self.path[1:].partition("/resolve/main/")
        self.server.requests.append((self.command, path))
        content = self.server.files.get(f"{name}/{path}")
        if name in self.server.gated:
            self._answer(403, {}, {"X-Error-Code": "GatedRepo"})
        elif not any(key.startswith(f"{name}/") for key in self.server.files):
            self._answer(404, {}, {"X-Error-Code": "RepoNotFound"})
        elif content is None:
            self._answer(404, {}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        else:
            etag = hashlib.sha256(content).hexdigest()
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}
            self._send(200, content, headers, with_body)

    def _answer(self, status: int, answer: object, headers: dict[str, str] | None = None) -> None:
        kind = {"Content-Type": "application/json", **(headers or {})}
        self._send(status, json.dumps(answer).encode(), kind, self.command != "HEAD")

    def _send(self, status: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Says nothing."""

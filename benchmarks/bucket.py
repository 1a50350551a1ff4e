"""A stand-in for Google's object storage: as much of its JSON API as gcsfs, tensorstore and google-cloud-storage use of it.

    with bucket.served() as store:          # a server on a free port of this machine; `store.env` sends the three there
        subprocess.run(..., env=store.env)  # gs://ANY/NAME, in this process and others
        store.objects["ANY/NAME"]           # bytes

It keeps what real storage keeps: an object appears whole or not at all, is replaced and never appended to, has a generation that
conditions name, and there are no directories, only names with slashes. `store.refuse` is a set of methods that are answered 403.
"""
import base64
import contextlib
import json
import os
import re
import sys
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

_OBJECTS = re.compile(r"^/(?:download/|upload/|resumable/)?storage/v1/b/([^/]+)(?:/o(?:/(.*))?)?$")
_COPY = re.compile(r"^/storage/v1/b/([^/]+)/o/(.+)/(rewriteTo|copyTo|moveTo)(?:/b/([^/]+))?/o/(.+)$")


class Store:
    """What is kept, and where it is served."""

    def __init__(self, port: int):
        self.objects: dict[str, bytes] = {}
        self.generations: dict[str, int] = {}
        self.unfinished: dict[str, tuple[str, bytes]] = {}
        self.refuse: set[str] = set()
        self.lock, self.count = threading.RLock(), 0
        here = f"http://127.0.0.1:{port}"
        self.settings = {
            "STORAGE_EMULATOR_HOST": here,  # gcsfs and google-cloud-storage
            "TENSORSTORE_GCS_HTTP_URL": here, "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # would ask Google what kind of bucket it is
        }  # fmt: skip

    @property
    def env(self) -> dict[str, str]:
        """The environment of a process that works here."""
        return {**os.environ, **self.settings}

    def put(self, name: str, content: bytes) -> dict:
        """Makes or replaces an object; what the API says of it."""
        with self.lock:
            self.count += 1
            self.objects[name], self.generations[name] = content, self.count
            return self.about(name)

    def about(self, name: str) -> dict:
        """An object's metadata."""
        bucket, _, key = name.partition("/")
        content = self.objects[name]
        generation = str(self.generations[name])
        return {"kind": "storage#object", "bucket": bucket, "name": key, "size": str(len(content)), "metageneration": "1",
                "generation": generation, "contentType": "application/octet-stream", "etag": f"e{generation}",
                "updated": "2026-01-01T00:00:00Z", "timeCreated": "2026-01-01T00:00:00Z",
                "crc32c": base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()}  # fmt: skip


@contextlib.contextmanager
def served() -> Iterator[Store]:
    """A server while the block runs."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.store = Store(server.server_address[1])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.store
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 256

    def handle_error(self, request, client_address):
        """A client that has gone, killed perhaps, is none of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _answer(self):
        url = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(url.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        body = self._chunks() if "chunked" in self.headers.get("Transfer-Encoding", "") else self.rfile.read(length)
        store = self.server.store
        with store.lock:
            if self.command in store.refuse:
                return self._say(403, {"error": {"code": 403, "message": "not allowed"}})
            if copy := _COPY.match(url.path):
                return self._copy(*(unquote(part or "") for part in copy.groups()))
            if not (found := _OBJECTS.match(url.path)):
                return self._say(404, {"error": {"code": 404, "message": f"no such method: {url.path}"}})
            bucket, key = unquote(found[1]), unquote(found[2] or "")
            if url.path.startswith(("/upload/", "/resumable/")):
                return self._upload(bucket, key, body)
            if key:
                return self._object(f"{bucket}/{key}")
            if url.path.endswith("/o"):
                return self._list(bucket)
            return self._say(200, {"kind": "storage#bucket", "name": bucket, "id": bucket, "location": "HERE"})

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _met(self, name: str) -> bool:
        """Whether the conditions on the generation hold; answers if not."""
        now = self.server.store.generations.get(name, 0)
        if int(self.query.get("ifGenerationMatch", now)) != now:
            self._say(412, {"error": {"code": 412, "message": "conditionNotMet"}})
        elif int(self.query.get("ifGenerationNotMatch", -1)) == now:
            self._say(304)
        else:
            return True
        return False

    def _upload(self, bucket: str, key: str, body: bytes) -> None:
        store, kind = self.server.store, self.query.get("uploadType")
        if session := self.query.get("upload_id"):
            name, sofar = store.unfinished[session]
            placed = re.match(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", self.headers.get("Content-Range", ""))
            sofar = sofar[: int(placed[1])] + body if placed and placed[1] else sofar + body
            store.unfinished[session] = name, sofar
            if placed and (placed[2] == "*" or len(sofar) < int(placed[2])):
                return self._say(308, headers={"Range": f"bytes=0-{len(sofar) - 1}"} if sofar else {})
            del store.unfinished[session]
            return self._say(200, store.put(name, sofar))
        if kind == "multipart":
            about, content = self._parts(body)
            key = json.loads(about)["name"]
        else:
            content, key = body, self.query.get("name") or json.loads(body or b"{}").get("name", key)
        if not self._met(f"{bucket}/{key}"):
            return None
        if kind == "resumable":
            store.count += 1
            store.unfinished[str(store.count)] = f"{bucket}/{key}", b""
            here = store.settings["STORAGE_EMULATOR_HOST"]
            return self._say(200, {}, {"Location": f"{here}/resumable/storage/v1/b/{bucket}/o?upload_id={store.count}"})
        return self._say(200, store.put(f"{bucket}/{key}", content))

    def _parts(self, body: bytes) -> tuple[bytes, bytes]:
        """Metadata and content of a multipart upload. gcsfs ends its lines with LF, Google's own client with CR LF."""
        mark = b"--" + re.search(r'boundary="?([^";]+)', self.headers["Content-Type"])[1].encode()
        end = b"\r\n" if body.startswith(mark + b"\r\n") else b"\n"
        _, about, content = body.split(mark + end, 2)
        content = content[: content.rindex(end + mark + b"--")]
        return about.split(2 * end, 1)[1], content.split(2 * end, 1)[1]

    def _object(self, name: str) -> None:
        store = self.server.store
        if name not in store.objects:
            return self._say(404, {"error": {"code": 404, "message": f"no such object: {name}"}})
        if not self._met(name):
            return None
        if self.command == "DELETE":
            del store.objects[name], store.generations[name]
            return self._say(204)
        if self.query.get("alt") != "media":
            return self._say(200, store.about(name))
        content, headers = store.objects[name], {"x-goog-generation": str(store.generations[name])}
        if span := re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(span[1]), int(span[2] or len(content) - 1)
            if start >= len(content):
                return self._say(416)
            headers["Content-Range"] = f"bytes {start}-{min(end, len(content) - 1)}/{len(content)}"
            return self._say(206, content[start : end + 1], headers)
        return self._say(200, content, headers)

    def _copy(self, bucket: str, key: str, how: str, to: str, name: str) -> None:
        store = self.server.store
        if f"{bucket}/{key}" not in store.objects:
            return self._say(404, {"error": {"code": 404, "message": "no such object"}})
        about = store.put(f"{to or bucket}/{name}", store.objects[f"{bucket}/{key}"])
        if how == "moveTo":
            del store.objects[f"{bucket}/{key}"], store.generations[f"{bucket}/{key}"]
        return self._say(200, {"kind": "storage#rewriteResponse", "done": True, "resource": about, **about})

    def _list(self, bucket: str) -> None:
        store, prefix, cut = self.server.store, self.query.get("prefix", ""), self.query.get("delimiter")
        items, prefixes = [], set()
        for name in sorted(store.objects):
            key = name.partition("/")[2]
            if not name.startswith(f"{bucket}/{prefix}") or key < self.query.get("startOffset", ""):
                continue
            if "endOffset" in self.query and key >= self.query["endOffset"]:
                continue
            rest = key[len(prefix) :]
            if cut and cut in rest:
                prefixes.add(prefix + rest.split(cut)[0] + cut)
            else:
                items.append(store.about(name))
        items = items[: int(self.query.get("maxResults", 10_000))]
        self._say(200, {"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)})

    def _say(self, code: int, content: dict | bytes = b"", headers: dict | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Nothing."""

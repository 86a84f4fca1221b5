"""How the fake provider speaks: Stripe's form encoding in, JSON out, errors in Stripe's shape."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Json = dict[str, Any]


class Refusal(Exception):  # noqa: N818 - an answer, not a fault of the tests
    """An answer of Stripe's that is an error; ``saved``: kept under the idempotency key."""

    def __init__(self, status: int, kind: str, *, saved: bool = False, **more: Any) -> None:  # noqa: ANN401
        super().__init__(kind)
        self.status = status
        self.saved = saved
        self.body: Json = {"error": {"type": kind, "message": f"{kind} (fake)"} | more}


@dataclass(frozen=True)
class Answer:
    status: int
    body: Json
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Request:
    """What arrived, decoded: ``given`` is nested as the client had it."""

    method: str
    path: str
    given: Json
    key: str | None
    authorization: str


def nested(pairs: list[tuple[str, str]]) -> Json:
    """Undo the form encoding: metadata[a]=1 is {"metadata": {"a": "1"}}, expand[0]=x a list."""
    result: Json = {}
    for name, value in pairs:
        head, *rest = name.replace("]", "").split("[")
        into = result
        for part in rest:
            into = into.setdefault(head, {})
            head = part
        into[head] = value
    return {name: _listed(value) for name, value in result.items()}


def _listed(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if not isinstance(value, dict):
        return value
    inner = {name: _listed(item) for name, item in value.items()}
    if inner and all(name.isdigit() for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner


@contextmanager
def serving(answer: Callable[[Request], Answer | None]) -> Iterator[str]:
    """Answer on a port of this machine, a thread each; None cuts the connection off."""

    class Handler(BaseHTTPRequestHandler):
        # One request a connection: nothing is left open when a test is over.
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length).decode()
            self._reply(nested(parse_qsl(body, keep_blank_values=True)))

        def do_DELETE(self) -> None:
            self._reply({})

        def _reply(self, given: Mapping[str, Any]) -> None:
            url = urlsplit(self.path)
            asked = nested(parse_qsl(url.query, keep_blank_values=True)) | dict(given)
            reply = answer(
                Request(
                    method=self.command,
                    path=url.path,
                    given=asked,
                    key=self.headers.get("Idempotency-Key"),
                    authorization=self.headers.get("Authorization") or "",
                )
            )
            if reply is None:
                self.close_connection = True
                return
            content = json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in reply.headers:
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing: what was asked is in the provider's own book."""

    class Server(ThreadingHTTPServer):
        daemon_threads = False
        request_queue_size = 128

        def handle_error(self, request: object, client_address: object) -> None:
            """Let a client be gone that was killed while it waited."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

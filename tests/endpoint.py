"""The webhook endpoint as a process of its own: the ASGI app behind the standard library's server.

python -m tests.endpoint DATABASE_URL SECRET PORT prints the port that it listens on; 0: any.
"""

import asyncio
import sys
from collections.abc import MutableMapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from psycopg_pool import ConnectionPool

from pgledger import Ledger
from pgledger.http import webhook_app
from pgledger.stripe import StripeWebhook

Message = MutableMapping[str, Any]


def serve(database_url: str, secret: str, port: str) -> None:
    pool = ConnectionPool(database_url, min_size=1, max_size=4, open=True)
    app = webhook_app(StripeWebhook(Ledger(pool), secret, test_mode=True))

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent: list[Message] = []

            async def receive() -> Message:
                return {"type": "http.request", "body": body, "more_body": False}

            async def send(message: Message) -> None:
                sent.append(message)

            scope = {
                "type": "http",
                "asgi": {"version": "3.0"},
                "http_version": "1.1",
                "method": "POST",
                "scheme": "http",
                "path": "/",
                "raw_path": b"/",
                "root_path": "",
                "query_string": b"",
                "headers": [
                    (name.lower().encode(), value.encode()) for name, value in self.headers.items()
                ],
                "client": None,
                "server": None,
            }
            asyncio.run(app(scope, receive, send))
            start, *rest = sent
            self.send_response(start["status"])
            self.end_headers()
            self.wfile.write(b"".join(message.get("body", b"") for message in rest))

    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    print(server.server_address[1], flush=True)  # noqa: T201 - that is how it tells
    server.serve_forever()


if __name__ == "__main__":
    serve(*sys.argv[1:])

"""The web page of a study: which requests there are, and who may make them."""

from __future__ import annotations

import errno
import ipaddress
import json
import re
import socket
import socketserver
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from i2i.errors import I2IError, UsageError
from i2i.study.answers import read_answers, results
from i2i.study.design import SIDES
from i2i.study.sessions import Refused, Study

MAX_BODY = 1024
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src blob: data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class Server(ThreadingHTTPServer):
    """Listens at once, and answers from when `study` is set; what goes wrong meanwhile is given to `say`."""

    daemon_threads = True
    request_queue_size = 64
    allow_reuse_port = False  # a second server on the same port would take half of the participants
    study: Study

    def __init__(self, host: str, port: int, say: Callable[[str], None] = print) -> None:
        self.say = say
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OverflowError as error:
            raise UsageError(f"--port {port}: is no port; choose one from 1024 to 65535.") from error
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                free = "Choose another, such as --port 0 for any free one, or end the program that has it."
                raise UsageError(f"--port {port}: is in use on {host}. {free}") from error
            reason = error.strerror or error
            raise UsageError(f"--host {host} --port {port}: cannot be listened on: {reason}. Choose others.") from error

    def server_bind(self) -> None:
        """Bind without asking for the host's full name, which waits for a name server."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = map(str, self.server_address[:1]), self.server_address[1]  # type: ignore[assignment]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over a participant who went away; anything else is a fault of ours and is said."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    @cached_property
    def page(self) -> bytes:
        """The page of every view, with the study's design in it."""
        text = files("i2i.study").joinpath("page.html").read_text(encoding="utf-8")
        design = asdict(self.study.design)
        told = {key: design[key] for key in ("practice", "trials", "seconds", "size", "in_turn")}
        return text.replace("{{design}}", json.dumps(told)).encode()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "i2i", ""
    timeout = 30

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal belongs to who runs the study."""

    def do_GET(self) -> None:
        self._respond(
            {
                r"/": self._page,
                r"/results": self._results_page,
                r"/results\.json": self._results,
                r"/s/([\w-]{22})": self._session_page,
                r"/s/([\w-]{22})/state": lambda name: self._json(self.server.study.state(name)),
                r"/s/([\w-]{22})/pictures/(\d{1,6})/(left|right)": self._picture,
            }
        )

    def do_POST(self) -> None:
        self._respond(
            {
                r"/sessions": self._begin,
                r"/s/([\w-]{22})/shown": self._shown,
                r"/s/([\w-]{22})/answers": self._answer,
            }
        )

    def _respond(self, routes: Mapping[str, Callable[..., None]]) -> None:
        try:
            for pattern, handle in routes.items():
                if match := re.fullmatch(pattern, self.path.partition("?")[0]):
                    return handle(*match.groups())
            raise Refused(404, "There is no such page.")
        except Refused as refusal:
            self._refuse(refusal.status, str(refusal))
        except I2IError as error:
            self.server.say(str(error))
            self._refuse(500, "This could not be kept or read. Please tell the person who runs the study.")

    def _refuse(self, status: int, message: str) -> None:
        self.close_connection = True  # what is left of its body is not read
        self._send(status, "text/plain; charset=utf-8", message.encode())

    def _send(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        self.send_response(status)
        fixed_headers = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": _POLICY,
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        for key, value in {**fixed_headers, **headers}.items():
            self.send_header(key, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _json(self, value: object) -> None:
        self._send(200, "application/json", json.dumps(value).encode())

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,9}", length):
            raise Refused(411, "A Content-Length is needed.")
        if int(length) > MAX_BODY:
            raise Refused(413, f"More than {MAX_BODY} bytes.")
        return self.rfile.read(int(length))

    def _fields(self) -> dict[str, Any]:
        """Return the request's JSON object, which names a trial."""
        try:
            fields = json.loads(self._body())
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict) or type(fields.get("trial")) is not int:
            raise Refused(400, "A JSON object with a trial's number is needed.")
        return fields

    def _page(self) -> None:
        self._send(200, "text/html; charset=utf-8", self.server.page)

    def _session_page(self, name: str) -> None:
        self.server.study.session(name)
        self._page()

    def _begin(self) -> None:
        self._body()
        self._send(303, "text/plain", b"", Location=f"/s/{self.server.study.begin()}")

    def _picture(self, name: str, number: str, side: str) -> None:
        self._send(200, "image/png", self.server.study.picture(name, int(number), side))

    def _shown(self, name: str) -> None:
        self._json(self.server.study.show(name, self._fields()["trial"]))

    def _answer(self, name: str) -> None:
        fields = self._fields()
        if fields.get("fake") not in SIDES:
            raise Refused(400, "'fake' is left or right.")
        self._json(self.server.study.answer(name, fields["trial"], fields["fake"]))

    def _only_here(self) -> None:
        """Keep the results, which name the runs, from participants on other machines."""
        address = ipaddress.ip_address(self.client_address[0])
        if not (getattr(address, "ipv4_mapped", None) or address).is_loopback:
            raise Refused(403, "The results are shown on the machine that serves the study.")

    def _results_page(self) -> None:
        self._only_here()
        self._page()

    def _results(self) -> None:
        self._only_here()
        self._json(results(read_answers(self.server.study.file.path), self.server.study.design.seed))

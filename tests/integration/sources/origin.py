"""A server of sources that does what a test says, well or badly."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Request(BaseHTTPRequestHandler):
    """One request, with the means to answer it."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.origin.seen.append(self.path)
        self.server.origin.headers.append(dict(self.headers.items()))
        answer = self.server.origin.answers.get(self.path, status(404))
        try:
            answer(self)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):  # the client has seen enough
            self.close_connection = True

    def do_HEAD(self) -> None:
        self.do_GET()  # whose connection is not used again
        self.close_connection = True

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.do_GET()

    def do_POST(self) -> None:
        self.do_PUT()

    def do_DELETE(self) -> None:
        self.do_PUT()

    def log_message(self, *_args: object) -> None:
        """Say nothing."""

    def begin(self, code: int, headers: Mapping[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


Answer = Callable[[Request], None]


class Origin:
    """What a server answers, and what it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.port = int(url.rsplit(":", 1)[1])
        self.answers: dict[str, Answer] = {}
        self.seen: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.stopped = threading.Event()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    origin: Origin

    def handle_error(self, _request: object, _address: object) -> None:
        """Leave out who went away in the middle of a handshake."""


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def body(content: bytes, code: int = 200, **headers: str) -> Answer:
    def answer(request: Request) -> None:
        request.begin(code, {"Content-Length": str(len(content)), **_named(headers)})
        request.wfile.write(content)

    return answer


def status(code: int) -> Answer:
    return body(b"no", code)


def redirect(location: str, code: int = 302) -> Answer:
    return body(b"look there", code, Location=location.encode().decode("latin-1"))


def cut(content: bytes, at: int, **headers: str) -> Answer:
    """Announce all of the content, send the beginning, and hang up."""

    def answer(request: Request) -> None:
        request.begin(200, {"Content-Length": str(len(content)), **_named(headers)})
        request.wfile.write(content[:at])
        request.close_connection = True

    return answer


def cut_chunk(request: Request) -> None:
    """Hang up within a chunk."""
    request.begin(200, {"Transfer-Encoding": "chunked"})
    request.wfile.write(b"5\r\nhello\r\nff\r\nhalf")
    request.close_connection = True


def endless(request: Request) -> None:
    request.begin(200, {"Transfer-Encoding": "chunked"})
    while True:
        request.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def drip(request: Request) -> None:
    """Send a byte now and then, for ever."""
    request.begin(200, {"Content-Length": "1000000"})
    while not request.server.origin.stopped.wait(0.05):
        request.wfile.write(b".")


def drip_headers(request: Request) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Header: ")
    while not request.server.origin.stopped.wait(0.05):
        request.wfile.write(b".")


def silence(request: Request) -> None:
    request.server.origin.stopped.wait(20)
    request.close_connection = True


def hang_up(request: Request) -> None:
    request.close_connection = True


def in_turn(*answers: Answer) -> Answer:
    """Answer one after the other; the last again and again."""
    left = list(answers)

    def answer(request: Request) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(request)

    return answer


@contextmanager
def serving(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[Origin]:
    """Serve on a free port for the time of a test."""
    server = Server((host, 0), Request)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.origin = Origin(f"{'https' if tls else 'http'}://{host}:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.origin
    finally:
        server.origin.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()

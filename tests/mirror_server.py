"""Mirrors of a small stand-in for MNIST, on this machine: one address for each way to behave."""

import gzip
import hashlib
import http.server
import threading
import time
from contextlib import contextmanager

import idx2numpy
import numpy as np

SPLITS = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def small_mnist():
    """Return 20 training and 10 test images of noise as unpacked IDX files, by name."""
    rng = np.random.default_rng(0)
    files = {}
    for (images, labels), count in zip(SPLITS.values(), (20, 10), strict=True):
        noise = rng.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        files[images] = idx2numpy.convert_to_string(noise)
        files[labels] = idx2numpy.convert_to_string(np.arange(count, dtype=np.uint8) % 10)
    return files


FILES = small_mnist()
SUMS = {
    split: tuple(
        (name, len(FILES[name]), hashlib.sha256(FILES[name]).hexdigest()) for name in names
    )
    for split, names in SPLITS.items()
}


class Mirrors(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, behaviour=None):
        super().__init__(("127.0.0.1", 0), behaviour or Behaviour)
        self.requests = []
        self.closing = threading.Event()

    def url(self, behaviour):
        return f"http://127.0.0.1:{self.server_port}/{behaviour}/"

    def handle_error(self, request, client_address):
        pass  # clients that hang up are what these tests are about


class Behaviour(http.server.BaseHTTPRequestHandler):
    server: Mirrors

    def log_message(self, *_):
        pass

    def do_GET(self):
        _, behaviour, name = self.path.split("/")
        self.server.requests.append((behaviour, name))
        getattr(self, behaviour)(gzip.compress(FILES[name.removesuffix(".gz")]))

    def answer(self, body, length=None, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def good(self, archive):
        self.answer(archive)

    def slow(self, archive):
        time.sleep(0.3)
        self.answer(archive)

    def repacked(self, archive):
        self.answer(gzip.compress(gzip.decompress(archive), 1, mtime=7))

    def unpacked(self, archive):
        self.answer(gzip.decompress(archive))

    def without_length(self, archive):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(archive)

    def missing(self, _):
        self.answer(b"<html>no such key</html>", status=404)

    def failing(self, _):
        self.answer(b"<html>sorry</html>", status=503)

    def failing_once(self, archive):
        first = self.server.requests.count(("failing_once", self.path.split("/")[2])) == 1
        self.answer(archive, status=503 if first else 200)

    def html(self, _):
        self.answer(b"<!DOCTYPE html><html>Please log in to this network</html>")

    def empty(self, _):
        self.answer(b"")

    def broken_off(self, archive):
        self.answer(archive[:100], length=len(archive))

    def cut(self, archive):
        self.answer(archive[:100])

    def changed(self, archive):
        content = bytearray(gzip.decompress(archive))
        content[-1] ^= 1
        self.answer(gzip.compress(content))

    def bomb(self, archive):
        self.answer(gzip.compress(gzip.decompress(archive) + bytes(40_000_000)))

    def endless(self, _):
        self.send_response(200)
        self.end_headers()
        while not self.server.closing.is_set():
            self.wfile.write(bytes(1 << 16))

    def huge(self, _):
        self.answer(b"", length=10**15)

    def hanging(self, _):
        self.server.closing.wait(60)

    def stalling(self, archive):
        self.answer(archive[:10], length=len(archive))
        self.server.closing.wait(60)

    def dripping(self, archive):
        self.answer(b"", length=len(archive))
        for byte in archive:
            self.wfile.write(bytes([byte]))
            if self.server.closing.wait(0.02):
                return

    def dripping_headers(self, _):
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Padding: ")
        while not self.server.closing.wait(0.02):
            self.wfile.write(b"x")

    def no_http(self, _):
        self.wfile.write(b"220 mail.example ESMTP\r\n\r\n")

    def redirect(self, address, status=302):
        self.send_response(status)
        self.send_header("Location", address)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def circling(self, _):
        self.redirect(self.path)

    def moved(self, _):
        self.redirect(self.path.replace("moved", "good"), status=308)

    def to_nonsense(self, _):
        self.redirect("http://[::1")

    def to_no_port(self, _):
        self.redirect("http://127.0.0.1:port/")

    def to_nowhere(self, _):
        self.redirect("http://")

    def to_ftp(self, _):
        self.redirect("ftp://127.0.0.1:9/x", status=301)

    def to_a_file(self, _):
        self.redirect("file:///etc/passwd", status=307)

    def to_data(self, _):
        self.redirect("data:,x")

    def with_escapes(self, _):
        self.wfile.write(b"HTTP/1.0 404 \x1b]0;owned\x07" + b"x" * 5000 + b"\r\n\r\n")

    def with_escapes_for_a_protocol(self, _):
        self.wfile.write(b"\x1b]0;owned\x07" + b"x" * 5000 + b"\r\n\r\n")

    def without_a_status(self, _):
        self.wfile.write(b"HTTP/1.0 \xff\xfe\r\n\r\n")

    def with_a_senseless_length(self, archive):
        self.send_response(200)
        self.send_header("Content-Length", "-7")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"zz\r\n")


@contextmanager
def serving(server=None):
    """Serve on a port of this machine, in a thread."""
    server = server or Mirrors()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


# What a failure is called, by the behaviour that fails.
FAILURES = {
    "missing": "HTTP status 404",
    "failing": "HTTP status 503",
    "html": "HTML or XML page",
    "empty": "not the official",
    "broken_off": "broke off after 100 of",
    "cut": "truncated gzip archive",
    "changed": "SHA-256 differs",
    "bomb": "SHA-256 differs",
    "endless": "sends more than the",
    "huge": "1,000,000,000,000,000 bytes",
    "hanging": "no answer within 0.5 s",
    "stalling": "timed out",
    "dripping": "too slow",
    "dripping_headers": "no answer within 0.5 s",
    "no_http": "broke off",
    "circling": "HTTP status 302",
    "to_nonsense": "a redirect to nonsense",
    "to_no_port": "nonnumeric port",
    "to_nowhere": "HTTP status 302",
    "to_ftp": "a redirect to ftp://127.0.0.1:9/x, which is not an http or https address",
    "to_a_file": "HTTP status 307",
    "to_data": "HTTP status 302",
    "with_escapes": r"HTTP status 404 \x1b]0;owned\x07xxx",
    "with_escapes_for_a_protocol": "broke off",
    "without_a_status": "broke off",
    "with_a_senseless_length": "broke off",
}


SLOW = ("hanging", "stalling", "dripping", "dripping_headers")


def patience(behaviour: str) -> float:
    """Return a time-out in seconds: short where the test waits for it, else never met."""
    return 0.5 if behaviour in SLOW else 10.0

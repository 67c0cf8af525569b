"""Download a known file from the first of several mirrors that delivers it completely.

Time and memory are bounded: opening, each read, the average speed and the size have limits. Only a
file with the known digest appears under its name.
Imported only to download: these modules load slower than the rest.
"""

import concurrent.futures
import re
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
from tqdm import tqdm

from ..files import atomic_write, remove_leftovers
from ..terminal import printable, show
from .idx import DataError, MissingDataError, find_idx
from .known import KnownFile, difference

_CHUNK = 1 << 16
_SCHEMES = ("http://", "https://")
_PAUSE_SECONDS = 0.5  # before the second try at a mirror
_SLOWEST_BYTES_PER_SECOND = 8 * 1024
_LOCK_SECONDS = 600  # how long to wait for another process that is downloading
_PACKING_BYTES = 1 << 16  # a gzip archive is never larger than its contents by more


class _TransferError(DataError):
    """A transfer failed in a way that may be temporary, so that a second try makes sense."""


def fetch_missing(
    files: Sequence[KnownFile],
    folder: Path,
    mirrors: Sequence[str],
    *,
    timeout: float,
    progress: bool,
    beside: Sequence[KnownFile] = (),
) -> list[Path]:
    """Complete a folder: download, as ``name.gz``, each of the files that is missing in it.

    One process at a time works on a folder; others wait and then find the files there.

    Parameters
    ----------
    files
        The files needed. One that exists already, plain or packed, must be genuine too.
    beside
        Other files of the data set, such as those of its other split: one that exists must be
        genuine too, so that no folder ever holds parts of two data sets.
    folder
        Created if it is missing.
    mirrors
        http or https addresses of folders, tried in this order.
    timeout
        Seconds that a mirror may take to begin its answer, and may pause within it.
    progress
        Say on standard error what is downloaded where, and show a bar for each file if it is a
        terminal.

    Returns
    -------
    list of Path
        The path of each file.

    Raises
    ------
    DataError
        When no mirror delivers a file (it lists each mirror with its reason), when the folder
        cannot be written, or when an existing file is not the genuine one.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / ".nplenet.lock", timeout=_LOCK_SECONDS):
            for file in (*files, *beside):
                _check_genuine(file, folder)
            missing = [file for file in files if find_idx(folder, file.name) is None]
            if missing and progress:
                names = ", ".join(file.sent_as for file in missing)
                show(f"nplenet: downloading {names} into {printable(folder)}", sys.stderr)
            return [_have(file, folder, mirrors, timeout, progress) for file in files]
    except filelock.Timeout as error:
        raise MissingDataError(
            f"{folder}: another process has been downloading into it for {_LOCK_SECONDS} s; "
            f"end that process, or wait, or choose another folder"
        ) from error
    except OSError as error:
        raise MissingDataError(
            f"{folder}: cannot be written ({error.strerror or error}); choose a folder you may "
            "write to with root=... or the environment variable NPLENET_DATA"
        ) from error


def _check_genuine(file: KnownFile, folder: Path) -> None:
    path = find_idx(folder, file.name)
    reason = None if path is None else difference(path, file)
    if reason is not None:
        raise DataError(
            f"{path}: is {reason}, so no official file may be put beside it; "
            "add the files that belong with it, or delete it"
        )


def _have(
    file: KnownFile, folder: Path, mirrors: Sequence[str], timeout: float, progress: bool
) -> Path:
    path = find_idx(folder, file.name)
    if path is not None:
        return path
    path = folder / file.sent_as
    remove_leftovers(folder, re.escape(path.name))
    failures = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{path.name}"
        try:
            _download(url, path, file, timeout, progress)
            return path
        except DataError as error:
            failures.append(f"  {url}: {error}")
    raise MissingDataError(
        "\n".join(
            [
                f"{path}: no mirror delivered it:",
                *failures,
                f"Check the network, or put the file into {folder} yourself.",
            ]
        )
    )


def _download(url: str, path: Path, file: KnownFile, timeout: float, progress: bool) -> None:
    try:
        _download_once(url, path, file, timeout, progress)
    except _TransferError:
        time.sleep(_PAUSE_SECONDS)
        _download_once(url, path, file, timeout, progress)


def _download_once(url: str, path: Path, file: KnownFile, timeout: float, progress: bool) -> None:
    with atomic_write(path) as target:
        for chunk in _receive(url, file.size + _PACKING_BYTES, timeout, progress):
            target.write(chunk)
        target.flush()
        reason = difference(Path(target.name), file)
        if reason is not None:
            raise DataError(f"sent {reason}")


def _receive(url: str, limit: int, timeout: float, progress: bool) -> Iterator[bytes]:
    """Yield what a server sends, as long as it keeps sending and stays below `limit` bytes."""
    try:
        with _opened(url, timeout) as response:
            announced: int | None = response.length
            received = 0
            started = time.monotonic()
            bar = tqdm(
                desc=url.rpartition("/")[2],
                total=announced,
                unit="B",
                unit_scale=True,
                disable=None if progress else True,  # None: shown on a terminal only
            )
            with bar:
                # `read` would wait for a full chunk; `read1` returns with what has come.
                while chunk := response.read1(_CHUNK):
                    received += len(chunk)
                    elapsed = time.monotonic() - started
                    if received > limit:
                        raise DataError(f"sends more than the {limit:,} bytes the file can have")
                    if elapsed > timeout and received < _SLOWEST_BYTES_PER_SECOND * elapsed:
                        raise _TransferError(f"too slow: {received:,} bytes in {elapsed:.0f} s")
                    bar.update(len(chunk))
                    yield chunk
            if announced is not None and received < announced:
                raise _TransferError(f"broke off after {received:,} of {announced:,} bytes")
    except DataError:
        raise
    except urllib.error.HTTPError as error:
        error.close()
        kind = _TransferError if error.code >= 500 else DataError
        raise kind(f"answered with HTTP status {error.code} {_words(error.reason)}") from error
    except urllib.error.URLError as error:
        raise _TransferError(f"cannot be reached: {_words(error.reason)}") from error
    except Exception as error:  # whatever an answer makes the modules of Python raise
        raise _TransferError(f"broke off: {_words(error) or type(error).__name__}") from error


def _words(reason: object) -> str:
    """Return the words of a server: one printable line that does not fill the screen."""
    return printable(reason, limit=200)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to http and https addresses only; Python follows them to FTP as well."""

    def redirect_request(self, req: Any, fp: Any, code: int, *more: Any) -> Any:
        _, headers, newurl = more
        if not newurl.lower().startswith(_SCHEMES):
            reason = f"and a redirect to {newurl}, which is not an http or https address"
            raise urllib.error.HTTPError(req.full_url, code, reason, headers, fp)
        return super().redirect_request(req, fp, code, *more)

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError as error:  # from an address that cannot be parsed
            reason = f"and a redirect to nonsense ({error})"
            raise urllib.error.HTTPError(req.full_url, code, reason, headers, fp) from error

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


@contextmanager
def _opened(url: str, timeout: float) -> Iterator[Any]:
    """Open an address within `timeout` seconds in all.

    A socket's time-out bounds neither the look-up of a name nor a server that sends its headers
    one byte at a time, so the opening runs in a thread that can be left behind.
    """
    if not url.startswith(_SCHEMES):  # urlopen would read local files as well
        raise DataError("is not an http or https address")
    answer: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def work() -> None:
        try:
            opener = urllib.request.build_opener(_Redirects)
            answer.set_result(opener.open(url, timeout=timeout))
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=work, name="nplenet-fetch", daemon=True).start()
    try:
        response = answer.result(timeout)
    except (concurrent.futures.TimeoutError, TimeoutError) as error:  # ours, or the socket's
        answer.add_done_callback(_close_late)
        raise _TransferError(f"no answer within {timeout:g} s") from error
    with response:
        yield response


def _close_late(answer: "concurrent.futures.Future[Any]") -> None:
    if answer.exception() is None:
        answer.result().close()

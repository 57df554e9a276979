"""Public data sets: the catalogue, and how one is fetched, resumed, verified and unpacked, whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import http.client
import json
import os
import re
import shlex
import shutil
import stat
import sys
import tarfile
import time
import tomllib
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PureWindowsPath
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from i2i.errors import DataError, I2IError, ResourceError, UnsafeFileError, UsageError, nearest
from i2i.files import disk_errors, lock, read_json, write_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

TIMEOUT = 10.0
"""Seconds that a server may be silent; a host of two addresses is given up after twice as long."""
PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each new try after a lost connection; a try that gets further than all before starts them anew."""
CHUNK = 1 << 18
PLAIN_SECONDS = 5.0
"""Between two plain progress lines: a log file is not filled with them."""
RATIO = 10
"""Times its own size that an archive may unpack to: pictures hardly compress, a bomb does a thousandfold."""
SLACK = 1 << 24
MEMBERS = 10_000
BYTES_A_MEMBER = 1024
MAX_HEADER = 1 << 20


@dataclass(frozen=True)
class Dataset:
    """A public data set: an entry of `datasets.toml`, which says what its fields mean.

    withdrawn: why it can no longer be fetched, and what to do instead.
    """

    name: str
    shows: str
    url: str
    unpacked: str
    terms: str
    citation: str
    size: int | None = None
    sha256: str = ""
    source: str = ""
    validation: str = ""
    withdrawn: str = ""

    @property
    def archive(self) -> str:
        """The archive's name in the folder of data sets; `url` may end in another one."""
        return self.name + (".zip" if self.url.endswith(".zip") else ".tar.gz")

    def settings(self, into: Path) -> list[str]:
        """Return the `--set` options, quoted for a shell, by which a recipe reads the set unpacked in `into`."""
        root = json.dumps((into / self.name).as_posix(), ensure_ascii=False)[1:-1]
        pairs = (("source", self.source), ("validation", self.validation))
        return [f"--set {shlex.quote(key + '=' + value.replace('ROOT', root))}" for key, value in pairs if value]


@functools.cache
def catalogue() -> dict[str, Dataset]:
    """Return every known data set by its name."""
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    sets = [Dataset(**{**entry, "terms": table["terms"][entry["terms"]]}) for entry in table["dataset"]]
    return {dataset.name: dataset for dataset in sets}


def find(name: str) -> Dataset:
    """Return a data set by its name; UsageError with the nearest one when it is unknown."""
    known = catalogue()
    if name not in known:
        raise UsageError(f"unknown data set {name!r}.{nearest(name, known)} Known: {', '.join(known)}.")
    return known[name]


def listing() -> str:
    """Return the catalogue for people, a line a data set: name, size of the archive, what it shows."""
    rows = [(s.name, f"about {_size(s.size)}" if s.size else "size unknown", s.shows) for s in catalogue().values()]
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    return "\n".join(f"{name:{widths[0]}}  {size:>{widths[1]}}  {shows}" for name, size, shows in rows)


def describe(dataset: Dataset, into: Path) -> str:
    """Return everything known of a data set for people, a line a fact."""
    lines = {
        "name": dataset.name,
        "shows": dataset.shows,
        "address": dataset.url,
        "withdrawn": dataset.withdrawn and f"{dataset.withdrawn}.",
        "size": f"about {_size(dataset.size)}" if dataset.size else "unknown until the server is asked",
        "unpacked": dataset.unpacked,
        "terms": dataset.terms,
        "cite": dataset.citation,
        "in a recipe": " \\\n             ".join(dataset.settings(into)),
    }
    return "\n".join(f"{key + ':':13}{value}" for key, value in lines.items() if value)


class Display:
    """Shows what `get` does: a bar in a terminal, plain lines elsewhere; a context manager, so that the bar ends."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._stage = ""
        self._said = 0.0

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    @property
    def can_ask(self) -> bool:
        """Whether somebody is there to answer."""
        return self.console.is_terminal and sys.stdin is not None and sys.stdin.isatty()

    def ask(self, question: str) -> bool:
        """Put a question; anything but a yes is a no."""
        try:
            answer = self.console.input(f"{question} (y/n) ", markup=False)
        except EOFError:
            return False
        return answer.strip().lower() in ("y", "yes")

    def note(self, text: str) -> None:
        """Say one thing."""
        # Who reads may be gone (`| head`): rich would end the process in the middle of the work.
        with contextlib.suppress(OSError, SystemExit):
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Show how many bytes of a stage are done."""
        if self.console.is_terminal:
            with contextlib.suppress(OSError, SystemExit):
                self._draw(what, done, total)
            return
        if self._stage != what:
            self._stage, self._said = what, time.monotonic()
        elif time.monotonic() - self._said >= PLAIN_SECONDS:
            self._said = time.monotonic()
            self.note(f"{what}: {_size(done)}" + (f" of {_size(total)}" if total else ""))

    def _draw(self, what: str, done: int, total: int | None) -> None:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        if self._bar is None:
            size, speed, left = DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn()
            self._bar = Progress(TextColumn("{task.description}"), BarColumn(), size, speed, left, console=self.console)
            self._bar.start()
        if self._stage != what or self._task is None:
            self._stage = what
            self._task = self._bar.add_task(what, total=total)
        self._bar.update(self._task, completed=done, total=total)


def get(name: str, into: Path, *, yes: bool, display: Display) -> Path:
    """Fetch a data set, verify it and unpack it to `into/name`; return that folder.

    An archive that already lies in `into` is taken, an interrupted download is gone on with, and what is already
    unpacked is left as it is. Beside the folder, `name.json` keeps the checksum that every later archive must have.
    yes: agree to the terms without being asked. Raises UsageError (unknown name, nobody to ask, a file in the place of
    a folder), DataError (withdrawn, not to be reached), UnsafeFileError (another checksum, a damaged or hostile
    archive), ResourceError (disk).
    """
    dataset = find(name)
    if dataset.withdrawn:
        raise DataError(f"{name}: is withdrawn: {dataset.withdrawn}.")
    _check_place(into, name)
    folder, archive, record = into / name, into / dataset.archive, into / f"{name}.json"
    known = _read_json(record)
    with contextlib.suppress(OSError):
        folder.rmdir()  # an empty one is as good as none
    if folder.exists():
        if archive.is_file() and known:
            _compare(archive, _digest(archive, display), known, record)
        display.note(f"{folder}: is already there. To fetch it anew, remove it and {archive}.")
        return folder
    if archive.is_file():
        display.note(f"{archive}: is already there and is unpacked.\nterms: {dataset.terms}")
        remote = _Remote(dataset.url)
    else:
        remote = _Download(dataset, archive, display).run(yes)
    digest = _digest(archive, display)
    _compare(archive, digest, known, record)
    if not known:
        _tell_published(dataset.sha256, digest, display)
    with _unpacked(archive, folder, display):
        if not known:  # before the folder has its name: a later call finds that and looks no further
            write_json(record, _entry(dataset, remote, archive, digest))
    _finish(dataset, into, display)
    return folder


def _check_place(into: Path, name: str) -> None:
    """Raise UsageError when a file stands where a folder is needed."""
    place = next((path for path in (into, *into.parents) if os.path.exists(path)), into)
    for path in (place, into / name):
        if os.path.exists(path) and not path.is_dir():
            raise UsageError(
                f"{path}: is a file, and {name} needs a folder there. Choose another place with --into, or move it."
            )


def _finish(dataset: Dataset, into: Path, display: Display) -> None:
    """Say what has come, and how a recipe reads it."""
    folder = into / dataset.name
    for part in re.findall(r'"ROOT/([^"]+)"', dataset.source + dataset.validation):
        if not (folder / part).is_dir():
            display.note(f"warning: {folder / part} was expected and is not there: look what the archive held.")
    display.note(f"{folder}: {dataset.unpacked}\ncite: {dataset.citation}")
    if dataset.source:
        display.note("in a recipe:\n  " + " \\\n  ".join(dataset.settings(into)))
    display.note(f"{into / dataset.archive} may be removed: {into / dataset.name}.json keeps its checksum.")


def _entry(dataset: Dataset, remote: _Remote, archive: Path, digest: str) -> dict[str, Any]:
    """Return what is recorded of a first download."""
    return {
        "name": dataset.name,
        **dataclasses.asdict(remote),
        "size": archive.stat().st_size,
        "sha256": digest,
        "recorded": datetime.now().astimezone().isoformat(timespec="seconds"),
        "terms": dataset.terms,
        "citation": dataset.citation,
    }


# ---- checksums ----


def _digest(archive: Path, display: Display) -> str:
    """Return the sha256 of a file."""
    digest, total = hashlib.sha256(), archive.stat().st_size
    with archive.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            display.progress("checking", file.tell(), total)
    return digest.hexdigest()


def _compare(archive: Path, digest: str, known: dict[str, Any], record: Path) -> None:
    """Raise UnsafeFileError when a checksum was recorded and the archive has another."""
    if known and digest != known.get("sha256"):
        raise UnsafeFileError(
            f"{archive}: is not the file of {known.get('recorded', 'the first download')}: its sha256 is {digest}, and "
            f"{record} has {known.get('sha256')}. It is damaged, or was replaced where it is offered. Nothing was "
            f"unpacked. Remove {archive} to fetch it anew; if you trust the new file, remove {record} instead."
        )


def _tell_published(published: str, digest: str, display: Display) -> None:
    if published == digest:
        display.note("its sha256 is the one that TensorFlow Datasets published in 2019")
    elif published:
        display.note(
            f"warning: its sha256 is {digest}, and TensorFlow Datasets published {published} in 2019: the file was "
            "replaced since, or altered on its way here."
        )


# ---- the download ----


@dataclass(frozen=True)
class _Remote:
    """What a server says of a file."""

    url: str
    size: int | None = None
    etag: str = ""
    last_modified: str = ""

    @classmethod
    def of(cls, url: str, response: http.client.HTTPResponse) -> _Remote:
        """Read the headers of an answer that holds the whole file."""
        size = response.headers.get("Content-Length", "")
        etag, last_modified = (response.headers.get(key, "") for key in ("ETag", "Last-Modified"))
        return cls(url, int(size) if size.isdecimal() else None, etag, last_modified)

    @property
    def validator(self) -> str:
        """What `If-Range` may name: a strong ETag, else the date (RFC 9110, 13.1.5), else nothing."""
        return self.last_modified if self.etag.startswith("W/") else self.etag or self.last_modified

    def is_same(self, other: _Remote) -> bool:
        """Tell whether both are surely the same file; an answer may leave out the size."""
        sizes = {self.size, other.size} - {None}
        return bool(self.validator) and (self.url, self.validator) == (other.url, other.validator) and len(sizes) < 2


class _Download:
    """One archive on its way: `archive.part` holds what has come, `archive.part.json` of which file it is."""

    def __init__(self, dataset: Dataset, archive: Path, display: Display) -> None:
        self.dataset = dataset
        self.archive = archive
        self.part = archive.with_name(archive.name + ".part")
        self.notes = archive.with_name(archive.name + ".part.json")
        self.display = display
        self.remote = _Remote(dataset.url)

    def run(self, yes: bool) -> _Remote:
        """Fetch the archive, going on with what an earlier call left; return what the server said of it."""
        dataset, folder = self.dataset, self.archive.parent
        size = f"size: about {_size(dataset.size)}\n" if dataset.size else ""
        self.display.note(f"{dataset.name}: {dataset.shows}\n{size}terms: {dataset.terms}\ncite: {dataset.citation}")
        if not yes and not self.display.can_ask:
            raise UsageError(
                f"{dataset.name}: nobody is here to agree to these terms: call it in a terminal, or --yes."
            )
        self.remote = self._asked()
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            file = self.part.open("ab", buffering=0)  # its size is then what has come, also after an error
        try:
            with file:
                lock(file, self.part)
                self._announce(self._usable(file))
                if not yes and not self.display.ask("Fetch it under these terms?"):
                    raise I2IError(f"{dataset.name}: was not fetched: its terms were not agreed to.")
                self._persist(file)
        except I2IError:
            self._tidy()
            raise
        with _writing(self.archive):
            os.replace(self.part, self.archive)
            self.notes.unlink(missing_ok=True)
        return self.remote

    def _tidy(self) -> None:
        """Remove what holds nothing to go on with."""
        with contextlib.suppress(OSError):
            if not self.part.stat().st_size:
                self.part.unlink()
                self.notes.unlink()

    def _asked(self) -> _Remote:
        """Return what the server says of the file, without fetching it; DataError when there is no answer."""
        url = self.dataset.url
        try:
            try:
                response = _open(url, method="HEAD")
            except urllib.error.HTTPError as error:
                if error.code not in (405, 501):  # a server without HEAD
                    raise
                response = _open(url)
            with response:
                return _Remote.of(url, response)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error

    def _usable(self, file: IO[bytes]) -> int:
        """Return how many bytes can be gone on with; what belongs to another file is dropped."""
        have, earlier = _length(file), _Remote(self.dataset.url)
        with contextlib.suppress(UnsafeFileError, TypeError):
            earlier = _Remote(**_read_json(self.notes))
        if have and self.remote.is_same(earlier):
            self.remote = dataclasses.replace(self.remote, size=self.remote.size or earlier.size)
        elif have:
            self.display.note(f"{self.part}: cannot be gone on with: the server's file may be another one by now")
            have = 0
        with _writing(self.part):
            file.truncate(have)
        write_json(self.notes, dataclasses.asdict(self.remote))
        return have

    def _announce(self, have: int) -> None:
        """Show the size; ResourceError when the rest of the archive and what it unpacks to do not fit."""
        folder, size = self.archive.parent, self.remote.size
        need, free = 2 * (size or 0) - have, shutil.disk_usage(folder).free
        if need > free:
            raise ResourceError(
                f"{folder}: {_size(free)} are free, and {self.dataset.name} needs about {_size(need)}: the archive, "
                "and as much again unpacked. Free some space, or choose another folder with --into."
            )
        text = _size(size) if size is not None else "of unknown size"
        here = f", {_size(have)} of it here already" if have else ""
        self.display.note(f"{self.remote.url}: {text}{here}; {_size(free)} are free in {folder}")

    def _persist(self, file: IO[bytes]) -> None:
        """Fetch until the file is whole; after a lost connection wait, and go on where it broke off."""
        failures, furthest = 0, 0
        while True:
            try:
                self._transfer(file)
                self._check_kind(file)
                return
            except (OSError, http.client.HTTPException) as error:
                code = error.code if isinstance(error, urllib.error.HTTPError) else None
                if code is not None and code < 500 and code not in (408, 416, 429):
                    raise self._unreachable(error) from error
                if code == 416:  # the server's file ends before
                    file.truncate(0)
                have = _length(file)
                failures, furthest = (1, have) if have > furthest else (failures + 1, furthest)
                lost = f"the connection was lost after {_size(have)} ({_reason(error)})"
                if failures > len(PAUSES):
                    raise DataError(
                        f"{self.remote.url}: {lost}, {failures} times in a row. What has come is kept in {self.part}: "
                        f"call i2i data get {self.dataset.name} --into {self.archive.parent} again to go on."
                    ) from error
                self.display.note(f"{lost}; trying again")
                time.sleep(PAUSES[failures - 1])

    def _transfer(self, file: IO[bytes]) -> None:
        """Append what is missing, by one request; ConnectionError when it ends early."""
        have = _length(file)
        if have and have == self.remote.size:
            return  # an earlier call was stopped just before the end
        # Without an ETag or a date nobody can tell whether the rest is of the same file.
        offset = have if self.remote.validator else 0
        with _open(self.remote.url, offset=offset, validator=self.remote.validator) as response:
            if response.status == 206:
                self._check_range(response, have)
            else:
                self._begin_anew(response, file, have)
            while chunk := response.read1(CHUNK):
                with _writing(self.part):
                    _write(file, chunk)
                self.display.progress("fetching", _length(file), self.remote.size)
        with _writing(self.part):
            os.fsync(file.fileno())
        if self.remote.size not in (None, _length(file)):
            raise ConnectionError(f"of {_size(self.remote.size or 0)}")

    def _check_range(self, response: http.client.HTTPResponse, have: int) -> None:
        """Raise DataError when a server answers with another part than the one asked for."""
        said = response.headers.get("Content-Range", "")
        part = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", said)
        if not part or int(part[1]) != have or part[2] not in ("*", str(self.remote.size or part[2])):
            raise DataError(
                f"{self.remote.url}: the server sent {said!r} when asked for the part from {have} on. Remove "
                f"{self.part} and call i2i data get {self.dataset.name} again."
            )

    def _begin_anew(self, response: http.client.HTTPResponse, file: IO[bytes], have: int) -> None:
        """Make room for the whole file, which a server sends that has another one now or knows no ranges."""
        now = _Remote.of(self.remote.url, response)
        if have:
            why = "the file has changed" if now != self.remote else "the server cannot go on in the middle"
            self.display.note(f"{why}: it is fetched from the start")
        with _writing(self.part):
            file.truncate(0)
        if now != self.remote:
            self.remote = now
            write_json(self.notes, dataclasses.asdict(now))

    def _check_kind(self, file: IO[bytes]) -> None:
        """Refuse what a login page or a proxy sends in place of the file, before it takes the archive's name."""
        with self.part.open("rb") as whole:
            start = whole.read(16)
        kind, magic = ("zip", b"PK") if self.archive.suffix == ".zip" else ("tar.gz", b"\x1f\x8b")
        if not start.startswith(magic):
            file.truncate(0)
            raise DataError(
                f"{self.remote.url}: what came is no {kind} archive: it begins with {start!r}. A proxy or a login page "
                "may have answered: open the address in a browser."
            )

    def _unreachable(self, error: Exception) -> DataError:
        return DataError(
            f"{self.dataset.url}: cannot be fetched: {_reason(error)}. Fetch it in another way (in a browser, on "
            f"another machine), save it as {self.archive}, and call i2i data get {self.dataset.name} --into "
            f"{self.archive.parent} again: it goes on from there."
        )


def _open(url: str, *, method: str = "GET", offset: int = 0, validator: str = "") -> http.client.HTTPResponse:
    headers = {"User-Agent": "i2i data get", "Accept-Encoding": "identity"}
    if offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
    request = urllib.request.Request(url, headers=headers, method=method)
    response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)
    return response


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, TimeoutError):
        return f"no answer within {TIMEOUT:g} s"
    return str(getattr(inner, "strerror", None) or inner or type(inner).__name__)


def _length(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


def _write(file: IO[bytes], data: bytes) -> None:
    """Write all of `data`: without a buffer, one call may write less."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


# ---- unpacking ----


@contextlib.contextmanager
def _unpacked(archive: Path, folder: Path, display: Display) -> Iterator[None]:
    """Unpack an archive into a hidden folder beside `folder`, which gets that name when the body has ended well."""
    hidden = folder.with_name(f".{folder.name}.unpacking")
    remedy = f"Remove {archive} and fetch it anew."
    with archive.open("rb") as file:
        lock(file, archive)
        shutil.rmtree(hidden, ignore_errors=True)  # of a process that was killed
        try:
            with _writing(folder):
                hidden.mkdir()
                kind = _unzip if archive.suffix == ".zip" else _untar
                limits = _Limits(archive)
                try:
                    kind(file, hidden, limits, display)
                except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
                    raise limits.refuse("one of its members is both a file and a folder") from error
                yield
                os.replace(_root(hidden), folder)
        except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
            raise UnsafeFileError(
                f"{archive}: is damaged or no archive of its kind: {error}. Nothing was unpacked. {remedy}"
            ) from error
        finally:
            shutil.rmtree(hidden, ignore_errors=True)


def _root(hidden: Path) -> Path:
    """Return the one folder that an archive holds, or the place itself where it holds more."""
    entries = [path for path in hidden.iterdir() if not path.name.startswith((".", "__MACOSX"))]
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else hidden


class _Limits:
    """What an archive of its size may hold; a member beyond it, or of a dangerous kind, is refused."""

    def __init__(self, archive: Path) -> None:
        size = archive.stat().st_size
        self.archive = archive
        self.bytes = RATIO * size + SLACK
        self.members = MEMBERS + size // BYTES_A_MEMBER

    def refuse(self, what: str) -> UnsafeFileError:
        """Return the error."""
        return UnsafeFileError(f"{self.archive}: {what}. Nothing was unpacked; do not trust this file.")

    def check(self, name: str, size: int, *, plain: bool) -> None:
        """Count one member in; UnsafeFileError when it must not be unpacked."""
        path = PureWindowsPath(name)  # knows both kinds of slashes, drives and shares
        if path.anchor or ".." in path.parts:
            raise self.refuse(f"its member {name!r} would be written outside of the folder")
        if not plain:
            raise self.refuse(f"its member {name!r} is a link or a device, and a data set needs none")
        self.take(size)
        self.members -= 1
        if self.members < 0:
            raise self.refuse("it holds far more files than an archive of its size should")

    def take(self, size: int) -> None:
        """Count unpacked bytes in."""
        self.bytes -= size
        if self.bytes < 0:
            raise self.refuse("it unpacks to far more than an archive of its size should: a bomb")


class _Gzip(gzip.GzipFile):
    """A gzip stream that refuses the huge headers by which a tar file fills the memory."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MAX_HEADER:
            raise tarfile.ReadError("a header is larger than any picture's name needs")
        return super().read(size)


def _untar(file: IO[bytes], into: Path, limits: _Limits, display: Display) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise UsageError("unpacking a tar archive safely needs Python 3.11.4 or newer.")
    total = os.fstat(file.fileno()).st_size
    stream = _Gzip(fileobj=file, mode="rb")
    try:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                limits.check(member.name, member.size, plain=member.isreg() or member.isdir())
                tar.extract(member, into, filter="data")
                display.progress("unpacking", file.tell(), total)
        # tarfile stops before the checksum of the stream, and nothing else knows of flipped bits.
        while rest := stream.read(CHUNK):
            limits.take(len(rest))
        display.progress("unpacking", total, total)
    except gzip.BadGzipFile as error:  # an OSError, which would read as one of the disk
        raise tarfile.ReadError(str(error)) from error


def _unzip(file: IO[bytes], into: Path, limits: _Limits, display: Display) -> None:
    with zipfile.ZipFile(file) as bundle:
        for info in bundle.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            limits.check(info.filename, info.file_size, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
        done, total = 0, sum(info.file_size for info in bundle.infolist())
        for info in bundle.infolist():
            bundle.extract(info, into)
            done += info.file_size
            display.progress("unpacking", done, total)


# ---- files ----


_writing = functools.partial(
    disk_errors,
    remedy="choose another folder with --into; what was fetched is kept",
)


def _read_json(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file, empty when there is none; UnsafeFileError when it is damaged."""
    try:
        value = read_json(path)
    except DataError:
        return {}
    except UnsafeFileError as error:
        raise UnsafeFileError(f"{error} Remove it.") from error
    return value if isinstance(value, dict) else {}


def _size(count: int) -> str:
    """Return a number of bytes for people: 29 MiB."""
    value = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1000 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "bytes" or value >= 10 else f"{value:.1f} {unit}"

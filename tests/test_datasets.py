"""Data sets fetched from a server of this process: whole, resumed, changed, damaged, hostile, absent."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import warnings
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from i2i import datasets, files, images, plugins, recipe
from i2i.contracts import ImageSpec
from i2i.errors import DataError, I2IError, ResourceError, UnsafeFileError, UsageError
from i2i.sources.folder import Folder
from i2i.sources.pairs import Pairs

RNG = np.random.default_rng(0)


# ---- archives ----


def png(height: int, width: int, folder: Path) -> bytes:
    path = folder / "picture.png"
    images.write(path, RNG.integers(0, 256, (height, width, 3), dtype=np.uint8), overwrite=True)
    return path.read_bytes()


def tar(members: dict[str, bytes], *, level: int = 9, extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz", compresslevel=level) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in extra:
            archive.addfile(info)
    return memory.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return memory.getvalue()


@pytest.fixture
def pairs(tmp_path: Path) -> bytes:
    """An archive as pix2pix has them."""
    return tar({f"tiny/{part}/{i}.png": png(32, 64, tmp_path) for part in ("train", "val") for i in (1, 2)})


# ---- the server ----


class Server(ThreadingHTTPServer):
    """Serves one file: after as many bytes as `cuts` says it drops the line, one entry an answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = b""
        self.etag = '"one"'
        self.modified = "Sun, 02 Sep 2018 08:58:00 GMT"
        self.ranges = True
        self.status = 200
        self.head_status = 200
        self.head_size = True
        self.cuts: list[int | None] = []
        self.change_after: tuple[bytes, str] | None = None
        self.asked: list[tuple[str, str | None]] = []
        self.sent = 0

    @property
    def gets(self) -> list[str | None]:
        return [wanted for method, wanted in self.asked if method == "GET"]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.server.asked.append(("HEAD", None))
        self.answer(self.server.head_status if self.server.status == 200 else self.server.status, 0)

    def do_GET(self) -> None:
        server = self.server
        server.asked.append(("GET", self.headers["Range"]))
        start = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        strong = [] if server.etag.startswith("W/") else [server.etag]
        same = self.headers["If-Range"] in [*strong, server.modified]
        offset = int(start[1]) if start and same and server.ranges else 0
        cut = server.cuts.pop(0) if server.cuts else None
        rest = self.answer(206 if offset else server.status, offset)[:cut]
        self.wfile.write(rest)
        server.sent += len(rest)
        if cut is not None and server.change_after:
            server.body, server.etag = server.change_after
        self.close_connection = True

    def answer(self, status: int, offset: int) -> bytes:
        server = self.server
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {offset}-{len(server.body) - 1}/{len(server.body)}")
        if self.command == "GET" or server.head_size:
            self.send_header("Content-Length", str(len(server.body) - offset))
        for name, value in (("ETag", server.etag), ("Last-Modified", server.modified)):
            if value and (status != 206 or name == "ETag"):  # with If-Range the rest is left out (RFC 9110, 15.3.7)
                self.send_header(name, value)
        self.end_headers()
        return server.body[offset:]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Told(datasets.Display):
    """A display that remembers, and answers as it is told."""

    def __init__(self, answer: bool | None = None) -> None:
        super().__init__(Console(quiet=True))
        self.answer = answer
        self.lines: list[str] = []

    @property
    def can_ask(self) -> bool:
        return self.answer is not None

    def ask(self, question: str) -> bool:
        self.lines.append(question)
        return bool(self.answer)

    def note(self, text: str) -> None:
        self.lines.append(text)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture
def into(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of data sets, and a catalogue of two on the server: `tiny` (tar.gz) and `unpaired` (zip)."""
    address = f"http://127.0.0.1:{server.server_port}/"
    known = {
        "tiny": datasets.Dataset(
            "tiny", "tiny pairs", f"{address}tiny.tar.gz", "train, val", "ask nobody", "Nobody, 2026",
            source='{name="pairs", root="ROOT/train", a="right", b="left"}',
            validation='{name="pairs", root="ROOT/val", a="right", b="left"}',
        ),
        "unpaired": datasets.Dataset(
            "unpaired", "tiny pictures", f"{address}tiny.zip", "trainA, trainB", "ask nobody", "Nobody, 2026",
            source='{name="folder", root="ROOT/trainA"}',
        ),
        "gone": datasets.Dataset("gone", "", "", "", "", "", withdrawn="its owner said so"),
    }  # fmt: skip
    monkeypatch.setattr(datasets, "catalogue", lambda: known)
    monkeypatch.setattr(datasets, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(datasets, "CHUNK", 4096)
    return tmp_path / "data"


def get(into: Path, name: str = "tiny", *, yes: bool = True, answer: bool | None = None) -> str:
    display = Told(answer)
    folder = datasets.get(name, into, yes=yes, display=display)
    assert folder == into / name
    return display.text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def assert_whole(into: Path, body: bytes) -> None:
    assert names(into) == ["tiny", "tiny.json", "tiny.tar.gz"]
    assert (into / "tiny.tar.gz").read_bytes() == body
    assert names(into / "tiny" / "train") == ["1.png", "2.png"]


# ---- all goes well ----


def test_a_tar_is_fetched_unpacked_recorded_and_read_by_a_recipe(
    server: Server, into: Path, pairs: bytes, tiny: Path
) -> None:
    server.body = pairs
    text = get(into)
    assert_whole(into, pairs)
    record = json.loads((into / "tiny.json").read_text())
    assert record["sha256"] == hashlib.sha256(pairs).hexdigest()
    assert (record["size"], record["etag"]) == (len(pairs), '"one"')
    assert "ask nobody" in text and "Nobody, 2026" in text and datasets._size(len(pairs)) in text
    settings = [word for word in shlex.split(text) if word.startswith(("source=", "validation="))]
    plan = recipe.read(tiny, settings)
    assert plan.resolved()["source"]["root"] == (into / "tiny" / "train").as_posix()
    sample = Pairs({"a": ImageSpec(3), "b": ImageSpec(3)}, root=into / "tiny" / "train", a="right", b="left")[1]
    whole = images.read(into / "tiny" / "train" / "2.png").pixels.transpose(2, 0, 1)
    np.testing.assert_array_equal(np.concatenate([sample["b"], sample["a"]], axis=2), whole)


def test_a_zip_of_another_name_is_fetched_and_read(server: Server, into: Path, tmp_path: Path) -> None:
    server.body = zipped({f"other/{part}/1.png": png(8, 8, tmp_path) for part in ("trainA", "trainB")})
    text = get(into, "unpaired")
    assert names(into) == ["unpaired", "unpaired.json", "unpaired.zip"]
    assert names(into / "unpaired") == ["trainA", "trainB"]
    assert len(Folder({"photo": ImageSpec(3)}, root=into / "unpaired" / "trainA")) == 1
    assert "warning" not in text


def test_an_archive_without_a_folder_around_is_unpacked_into_its_own(server: Server, into: Path) -> None:
    server.body = zipped({"trainB/1.png": b"1", "read.txt": b"2"})
    text = get(into, "unpaired")
    assert names(into / "unpaired") == ["read.txt", "trainB"]
    assert f"warning: {into / 'unpaired' / 'trainA'} was expected" in text


def test_what_is_there_is_left_alone_without_asking_the_server(server: Server, into: Path, pairs: bytes) -> None:
    server.body = pairs
    get(into)
    asked = len(server.asked)
    assert "is already there" in get(into, yes=False)
    (into / "tiny.tar.gz").unlink()
    assert "is already there" in get(into, yes=False)
    assert len(server.asked) == asked


def test_an_archive_placed_by_hand_is_unpacked_without_a_server(server: Server, into: Path, pairs: bytes) -> None:
    into.mkdir()
    (into / "tiny.tar.gz").write_bytes(pairs)
    (into / "tiny").mkdir()  # an empty folder is no data set
    get(into, yes=False)
    assert_whole(into, pairs)
    assert not server.asked


def test_the_published_checksum_is_compared_and_only_told(
    server: Server, into: Path, pairs: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.body = pairs
    for published, says in ((hashlib.sha256(pairs).hexdigest(), "is the one that"), ("0" * 64, "warning: its sha256")):
        dataset = datasets.Dataset(**{**vars(datasets.catalogue()["tiny"]), "sha256": published})
        monkeypatch.setattr(datasets, "catalogue", lambda dataset=dataset: {"tiny": dataset})
        assert says in get(into)
        shutil.rmtree(into)


# ---- the line is cut ----


def test_a_cut_line_is_gone_on_with_in_the_same_call(server: Server, into: Path, pairs: bytes) -> None:
    server.body, server.cuts = pairs, [5000, 3000]
    text = get(into)
    assert_whole(into, pairs)
    assert server.gets == [None, "bytes=5000-", "bytes=8000-"]
    assert server.sent == len(pairs)
    assert text.count("trying again") == 2


def test_a_cut_line_is_gone_on_with_by_the_next_call(
    server: Server, into: Path, pairs: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.body, server.cuts = pairs, [5000]
    with monkeypatch.context() as patch:
        patch.setattr(datasets, "PAUSES", ())
        with pytest.raises(DataError, match=r"connection was lost after 4.9 KiB .*kept in .*tiny.tar.gz.part"):
            get(into)
    assert (into / "tiny.tar.gz.part").read_bytes() == pairs[:5000]
    assert "4.9 KiB of it here already" in get(into)
    assert_whole(into, pairs)
    assert server.gets == [None, "bytes=5000-"]


def test_a_call_stopped_just_before_the_end_fetches_nothing_more(
    server: Server, into: Path, pairs: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.body = pairs

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(datasets.os, "fsync", lambda _: None)
        patch.setattr(datasets._Download, "_check_kind", stop)
        with pytest.raises(KeyboardInterrupt):
            get(into)
    get(into)
    assert_whole(into, pairs)
    assert len(server.gets) == 1


@pytest.mark.parametrize("without", ["ranges", "validators"])
def test_a_server_that_cannot_go_on_sends_it_from_the_start(
    server: Server, into: Path, pairs: bytes, without: str
) -> None:
    server.body, server.cuts = pairs, [5000]
    if without == "ranges":
        server.ranges = False
    else:
        server.etag = server.modified = ""
    get(into)
    assert_whole(into, pairs)
    assert server.sent == len(pairs) + 5000
    assert server.gets[1] == ("bytes=5000-" if without == "ranges" else None)


def test_a_weak_etag_is_not_relied_upon_but_the_date_is(server: Server, into: Path, pairs: bytes) -> None:
    server.body, server.cuts, server.etag = pairs, [5000], 'W/"one"'
    get(into)
    assert_whole(into, pairs)
    assert server.sent == len(pairs)


def test_a_server_without_head_or_sizes_there_is_asked_by_get(server: Server, into: Path, pairs: bytes) -> None:
    server.body, server.cuts, server.head_status = pairs, [None, 5000], 405
    get(into)
    assert_whole(into, pairs)
    shutil.rmtree(into)
    server.head_status, server.head_size = 200, False
    assert "of unknown size" in get(into)
    assert_whole(into, pairs)


@pytest.mark.parametrize("when", ["within a call", "between two"])
def test_a_changed_file_is_fetched_from_the_start(
    server: Server, into: Path, pairs: bytes, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.body, server.cuts = bytes(reversed(pairs)), [5000]
    server.change_after = (pairs, '"two"')
    if when == "between two":
        with monkeypatch.context() as patch:
            patch.setattr(datasets, "PAUSES", ())
            with pytest.raises(DataError, match="connection was lost"):
                get(into)
    text = get(into)
    assert_whole(into, pairs)
    assert ("the file has changed" if when == "within a call" else "may be another one by now") in text
    assert json.loads((into / "tiny.json").read_text())["etag"] == '"two"'


def test_a_part_that_nobody_can_date_is_dropped(
    server: Server, into: Path, pairs: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.body, server.cuts, server.etag, server.modified = pairs, [5000], "", ""
    with monkeypatch.context() as patch:
        patch.setattr(datasets, "PAUSES", ())
        with pytest.raises(DataError, match="connection was lost"):
            get(into)
    assert "here already" not in get(into)
    assert_whole(into, pairs)


def test_notes_that_are_damaged_only_cost_the_part(
    server: Server, into: Path, pairs: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    into.mkdir()
    (into / "tiny.tar.gz.part").write_bytes(b"x" * 5000)
    (into / "tiny.tar.gz.part.json").write_text("{")
    server.body = pairs
    get(into)
    assert_whole(into, pairs)


def test_a_line_that_never_gets_further_is_given_up(server: Server, into: Path, pairs: bytes) -> None:
    server.body, server.cuts, server.ranges = pairs, [5000] * 9, False
    with pytest.raises(DataError, match="3 times in a row"):
        get(into)
    assert len(server.gets) == 3
    assert names(into) == ["tiny.tar.gz.part", "tiny.tar.gz.part.json"]


def test_a_server_that_sends_another_part_is_not_believed(
    server: Server, into: Path, pairs: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.body, server.cuts = pairs, [5000]
    honest = Handler.answer
    monkeypatch.setattr(Handler, "answer", lambda self, status, offset: honest(self, status, offset and offset - 1))
    with pytest.raises(DataError, match="asked for the part from 5000 on"):
        get(into)
    assert not (into / "tiny").exists()


# ---- nobody answers ----


def test_a_missing_file_is_named_with_the_way_around(server: Server, into: Path) -> None:
    server.status = 404
    with pytest.raises(DataError, match=r"/tiny.tar.gz: cannot be fetched: the server answers 404 .*save it as .*tiny"):
        get(into)
    assert not into.exists()


def test_no_server_is_told_at_once(server: Server, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dataset = datasets.Dataset(**{**vars(datasets.find("tiny")), "url": f"http://127.0.0.1:{port}/tiny.tar.gz"})
    monkeypatch.setattr(datasets, "catalogue", lambda: {"tiny": dataset})
    with pytest.raises(DataError, match=rf"http://127.0.0.1:{port}/tiny.tar.gz: cannot be fetched: Connection refused"):
        get(into)


def test_a_silent_server_is_given_up(into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/tiny.tar.gz"
        dataset = datasets.Dataset(**{**vars(datasets.find("tiny")), "url": url})
        monkeypatch.setattr(datasets, "catalogue", lambda: {"tiny": dataset})
        monkeypatch.setattr(datasets, "TIMEOUT", 0.1)
        with pytest.raises(DataError, match=r"no answer within 0.1 s"):
            get(into)


def test_a_login_page_does_not_take_the_archives_place(server: Server, into: Path) -> None:
    server.body = b"<html>Please log in</html>"
    with pytest.raises(DataError, match=r"is no tar.gz archive: it begins with b'<html>"):
        get(into)
    assert names(into) == []


# ---- terms ----


def test_without_a_terminal_the_terms_must_be_agreed_to(server: Server, into: Path) -> None:
    with pytest.raises(UsageError, match="--yes"):
        get(into, yes=False)
    assert not server.asked and not into.exists()


def test_terms_are_asked_for_after_the_size_is_shown(server: Server, into: Path, pairs: bytes) -> None:
    server.body = pairs
    display = Told(answer=False)
    with pytest.raises(I2IError, match="not agreed to"):
        datasets.get("tiny", into, yes=False, display=display)
    assert datasets._size(len(pairs)) in display.lines[-2] and display.lines[-1].endswith("?")
    assert names(into) == []
    get(into, yes=False, answer=True)
    assert_whole(into, pairs)


def test_unknown_and_withdrawn_sets_are_refused(into: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'tiny'"):
        get(into, "tiyn")
    with pytest.raises(DataError, match="gone: is withdrawn: its owner said so"):
        get(into, "gone")


@pytest.mark.parametrize("below", ["", "sub/folder"])
def test_a_file_in_the_place_of_a_folder_is_named(server: Server, into: Path, below: str) -> None:
    into.write_text("a file")
    with pytest.raises(UsageError, match=rf"^{into}: is a file, and tiny needs a folder there.*--into"):
        datasets.get("tiny", into / below, yes=True, display=Told())
    into.unlink()
    into.mkdir()
    (into / "tiny").write_text("a file")
    with pytest.raises(UsageError, match=rf"^{into / 'tiny'}: is a file"):
        get(into)
    assert not server.asked


# ---- checksums and damage ----


def test_a_call_killed_before_the_record_leaves_no_folder_without_one(
    server: Server, into: Path, pairs: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.body = pairs
    write = datasets.write_json

    def stop(path: Path, value: object) -> None:
        if path.name == "tiny.json":
            raise KeyboardInterrupt
        write(path, value)

    with monkeypatch.context() as patch:
        patch.setattr(datasets, "write_json", stop)
        with pytest.raises(KeyboardInterrupt):
            get(into)
    get(into)
    assert_whole(into, pairs)
    assert json.loads((into / "tiny.json").read_text())["sha256"] == hashlib.sha256(pairs).hexdigest()


def test_a_damaged_record_is_named_with_the_remedy(into: Path) -> None:
    into.mkdir()
    (into / "tiny.json").write_text("{")
    with pytest.raises(UnsafeFileError, match=r"tiny.json: is damaged: .*Remove it\.$"):
        get(into)


def test_another_file_than_the_recorded_one_is_not_unpacked(server: Server, into: Path, pairs: bytes) -> None:
    server.body = pairs
    get(into)
    shutil.rmtree(into / "tiny")
    (into / "tiny.tar.gz").unlink()
    server.body, server.etag = tar({"tiny/train/3.png": b"other"}), '"two"'
    with pytest.raises(UnsafeFileError, match=r"is not the file of 20\d\d-.* Nothing was unpacked"):
        get(into)
    assert names(into) == ["tiny.json", "tiny.tar.gz"]
    (into / "tiny.json").unlink()  # as the error says, for who trusts it
    get(into)
    assert names(into / "tiny" / "train") == ["3.png"]


def test_a_damaged_archive_beside_its_data_is_noticed(server: Server, into: Path, pairs: bytes) -> None:
    server.body = pairs
    get(into)
    (into / "tiny.tar.gz").write_bytes(pairs[:-1] + b"x")
    with pytest.raises(UnsafeFileError, match="is not the file of"):
        get(into)


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("damage", ["flipped bit", "cut"])
def test_damage_is_noticed_before_anything_appears(server: Server, into: Path, kind: str, damage: str) -> None:
    data = RNG.bytes(3000)
    body = bytearray(tar({"x/1.png": data}, level=0) if kind == "tar" else zipped({"x/1.png": data}))
    body[body.find(data[:32]) + 1000 if kind == "tar" else 1000] ^= 1
    server.body = bytes(body if damage == "flipped bit" else body[:1500])
    name, archive = ("tiny", "tiny.tar.gz") if kind == "tar" else ("unpaired", "unpaired.zip")
    with pytest.raises(UnsafeFileError, match=r"is damaged .*Nothing was unpacked. Remove"):
        get(into, name)
    assert names(into) == [archive]


# ---- hostile archives ----


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("members", "extra", "says"),
    [
        ({"x/../../out.png": b"1"}, None, "outside of the folder"),
        ({"/tmp/i2i-out.png": b"1"}, None, "outside of the folder"),
        ({"C:\\out.png": b"1"}, None, "outside of the folder"),
        ({"x\\..\\..\\out.png": b"1"}, None, "outside of the folder"),
        ({"\\\\server\\share\\out.png": b"1"}, None, "outside of the folder"),
        ({"//server/share/out.png": b"1"}, None, "outside of the folder"),
        ({"x/./y/../../../out.png": b"1"}, None, "outside of the folder"),
        ({}, special("x/up", tarfile.SYMTYPE, "../.."), "is a link or a device"),
        ({}, special("x/disk", tarfile.BLKTYPE), "is a link or a device"),
        ({}, special("x/link", tarfile.SYMTYPE, "/etc"), "is a link or a device"),
        ({"x/1.png": b"1"}, special("x/hard", tarfile.LNKTYPE, "x/1.png"), "is a link or a device"),
        ({}, special("x/device", tarfile.CHRTYPE), "is a link or a device"),
        ({}, special("x/pipe", tarfile.FIFOTYPE), "is a link or a device"),
    ],
)
def test_a_hostile_tar_is_refused_and_leaves_nothing(
    server: Server, into: Path, members: dict[str, bytes], extra: tarfile.TarInfo | None, says: str
) -> None:
    server.body = tar({"x/first.png": b"0", **members}, extra=(extra,) if extra else ())
    with pytest.raises(UnsafeFileError, match=says):
        get(into)
    assert names(into) == ["tiny.tar.gz"]
    assert not any(path.name.endswith("out.png") for path in into.parent.iterdir())


@pytest.mark.parametrize(
    ("name", "mode", "says"),
    [
        ("../out.png", 0, "outside of the folder"),
        ("/tmp/i2i-out.png", 0, "outside of the folder"),
        ("x/../../out.png", 0, "outside of the folder"),
        ("C:\\out.png", 0, "outside of the folder"),
        ("C:out.png", 0, "outside of the folder"),
        ("x\\..\\..\\out.png", 0, "outside of the folder"),
        ("\\\\server\\share\\out.png", 0, "outside of the folder"),
        ("//server/share/out.png", 0, "outside of the folder"),
        ("..", stat.S_IFDIR | 0o755, "outside of the folder"),
        ("x/pipe", stat.S_IFIFO | 0o666, "is a link or a device"),
        ("x/link", stat.S_IFLNK | 0o777, "is a link or a device"),
        ("x/device", stat.S_IFCHR | 0o666, "is a link or a device"),
    ],
)
def test_a_hostile_zip_is_refused_and_leaves_nothing(
    server: Server, into: Path, name: str, mode: int, says: str
) -> None:
    memory = io.BytesIO(zipped({"x/first.png": b"0"}))
    with zipfile.ZipFile(memory, "a") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, "/etc")
    server.body = memory.getvalue()
    with pytest.raises(UnsafeFileError, match=says):
        get(into, "unpaired")
    assert names(into) == ["unpaired.zip"]
    assert not (into.parent / "out.png").exists()


def around(into: Path) -> dict[str, int]:
    """Return every file and link outside of what was unpacked, with its time."""
    every = into.parent.rglob("*")
    return {str(path): path.lstat().st_mtime_ns for path in every if into not in (path, *path.parents)}


TRICKS = {
    "through a link": [special("x/up", tarfile.SYMTYPE, "../../.."), "x/up/out.png"],
    "through an absolute link": [special("x/up", tarfile.SYMTYPE, "/tmp"), "x/up/i2i-out.png"],
    "a link replaced by a file": [special("x/1.png", tarfile.SYMTYPE, "../../victim"), "x/1.png"],
    "a link to the archive": [special("x/hard", tarfile.LNKTYPE, "../../tiny.tar.gz")],
    "a block device": [special("x/disk", tarfile.BLKTYPE)],
    "a share": ["\\\\server\\share\\out.png"],
    "a drive without a slash": ["C:out.png"],
    "two slashes": ["//tmp/i2i-out.png"],
    "dots in the middle": ["x/./../../out.png"],
    "a folder outside": [special("x/../../out", tarfile.DIRTYPE)],
    "a file as a folder": ["x/1.png", "x/1.png/2.png"],
    "a NUL": ["x/1.png\0/../../../out.png"],
    "the same name twice": ["x/1.png", "x/1.png"],
    "setuid": ["x/1.png"],
}
HARMLESS = {"a NUL", "the same name twice", "setuid"}


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_no_trick_of_a_path_leaves_the_folder(server: Server, into: Path, trick: str, kind: str) -> None:
    victim = into.parent / "victim"
    victim.write_bytes(b"mine")
    memory = io.BytesIO()
    members = ["x/first.png", *TRICKS[trick]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that come twice
        if kind == "tar":
            with tarfile.open(fileobj=memory, mode="w:gz") as archive:
                for member in members:
                    add(archive, member)
        else:
            with zipfile.ZipFile(memory, "w") as bundle:
                for member in members:
                    add(bundle, member)
    server.body, before = memory.getvalue(), around(into)
    refused = None
    try:
        get(into, "tiny" if kind == "tar" else "unpaired")
    except UnsafeFileError as error:
        refused = error
    assert refused or trick in HARMLESS, "was not refused"
    assert around(into) == before and victim.read_bytes() == b"mine"
    assert not list(Path("/tmp").glob("i2i-out*"))
    for path in into.rglob("*"):
        assert not path.is_symlink() and (path.is_file() or path.is_dir())
        assert not path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)


def add(archive: tarfile.TarFile | zipfile.ZipFile, member: str | tarfile.TarInfo) -> None:
    """Add a file of one byte with all the rights there are, or what a tar member describes."""
    info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
    if isinstance(archive, tarfile.TarFile):
        if info is not member:
            info.mode, info.size = 0o6777, 1
        archive.addfile(info, io.BytesIO(b"1"))
        return
    entry = zipfile.ZipInfo("x")
    entry.filename = info.name  # as it is: the constructor cuts at a NUL
    mode = {tarfile.SYMTYPE: stat.S_IFLNK, tarfile.LNKTYPE: stat.S_IFLNK, tarfile.BLKTYPE: stat.S_IFBLK}
    entry.external_attr = (mode.get(info.type, stat.S_IFREG) | 0o6777) << 16
    archive.writestr(entry, info.linkname or "1")


def test_an_encrypted_zip_is_refused(server: Server, into: Path) -> None:
    body = bytearray(zipped({"x/1.png": b"1"}))
    for start in (b"PK\x03\x04", b"PK\x01\x02"):
        body[body.find(start) + (6 if start.endswith(b"\x04") else 8)] |= 1
    server.body = bytes(body)
    with pytest.raises(UnsafeFileError, match="encrypted"):
        get(into, "unpaired")


@pytest.mark.parametrize("kind", ["tar", "zip", "rest of a tar", "header of a tar", "files of a tar"])
def test_a_bomb_is_refused(server: Server, into: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "SLACK", 1 << 20)
    monkeypatch.setattr(datasets, "MEMBERS", 20)
    says, name, zeros = "a bomb", "tiny", bytes(3 << 20)
    if kind == "zip":
        server.body, name = zipped({"x/1.png": zeros}), "unpaired"
    elif kind == "tar":
        server.body = tar({"x/1.png": zeros})
    elif kind == "rest of a tar":
        server.body = gzip.compress(gzip.decompress(tar({"x/1.png": b"1"})) + zeros)
    elif kind == "header of a tar":
        says, server.body = "a header is larger", tar({"x/" + "n" * (3 << 20): b"1"})
    else:
        says, server.body = "far more files", tar({f"x/{i}.png": b"" for i in range(40)})
    with pytest.raises(UnsafeFileError, match=says):
        get(into, name)
    assert names(into) == [datasets.find(name).archive]


# ---- the disk ----


def test_too_little_space_is_told_before_the_download(
    server: Server, into: Path, pairs: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.body = pairs
    free = SimpleNamespace(free=2 * len(pairs) - 1)
    monkeypatch.setattr(datasets.shutil, "disk_usage", lambda _: free)
    with pytest.raises(ResourceError, match=r"are free, and tiny needs about .*--into"):
        get(into)
    assert not server.gets and names(into) == []
    free.free += 1
    get(into)


def test_a_disk_that_fills_up_keeps_what_has_come(
    server: Server, into: Path, pairs: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.body = pairs
    write = datasets._write

    def fill_up(file: io.FileIO, data: bytes) -> None:
        if datasets._length(file) > 5000:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(datasets, "_write", fill_up)
        with pytest.raises(ResourceError, match=r"cannot be written: No space left .*what was fetched is kept"):
            get(into)
    get(into)
    assert_whole(into, pairs)
    assert server.sent < 2 * len(pairs) and server.gets[1] is not None


def test_a_disk_that_fills_up_while_unpacking_leaves_the_archive(
    server: Server, into: Path, pairs: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.body = pairs

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "extract", full)
        with pytest.raises(ResourceError, match="No space left"):
            get(into)
    assert names(into) == ["tiny.tar.gz"]
    (into / ".tiny.unpacking").mkdir()  # as a killed process leaves it
    (into / ".tiny.unpacking" / "half.png").touch()
    get(into)
    assert_whole(into, pairs)
    assert len(server.gets) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no such lock there")
def test_two_processes_do_not_write_one_file(server: Server, into: Path, pairs: bytes) -> None:
    server.body = pairs
    into.mkdir()
    with (into / "tiny.tar.gz.part").open("ab") as file:
        files.lock(file, into)
        with pytest.raises(ResourceError, match=r"tiny.tar.gz.part: another process"):
            get(into)


# ---- the catalogue ----


@pytest.mark.parametrize("name", datasets.catalogue())
def test_an_entry_says_what_is_needed_and_its_lines_are_a_recipe(name: str, tiny: Path) -> None:
    dataset = datasets.catalogue()[name]
    assert dataset.url.startswith("http") and dataset.url.endswith((".zip", ".tar.gz"))
    assert all((dataset.shows, dataset.unpacked, dataset.terms, dataset.citation))
    assert re.fullmatch(r"([0-9a-f]{64})?", dataset.sha256)
    assert dataset.size is None or dataset.size > 1 << 20
    into = Path('my "data"')
    if "i2i-unpaired" in dataset.unpacked and "unpaired" not in plugins.names("sources"):
        pytest.skip("plugins/i2i-unpaired is not installed")
    settings = [shlex.split(option)[1] for option in dataset.settings(into)]
    roots = [plan for plan in recipe.read(tiny, settings).resolved().values() if isinstance(plan, dict)]
    assert [plan["root"].startswith('my "data"/' + name) for plan in roots if "root" in plan] == [True] * len(settings)
    assert all(text in datasets.describe(dataset, into) for text in (dataset.terms, dataset.citation, dataset.url))
    assert f"\n{name} " in "\n" + datasets.listing()


def test_withdrawn_sets_of_the_catalogue_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cityscapes: is withdrawn: .*https://www.cityscapes-dataset.com"):
        datasets.get("cityscapes", tmp_path, yes=True, display=Told())


def test_the_catalogue_loads_nothing_heavy() -> None:
    code = (
        "import sys; from i2i import datasets; datasets.listing()\n"
        "print([name for name in ('torch', 'numpy', 'pydantic', 'PIL', 'cv2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# ---- the display ----


def test_plain_lines_come_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, now = io.StringIO(), SimpleNamespace(seconds=0)
    monkeypatch.setattr(datasets.time, "monotonic", lambda: now.seconds)
    with datasets.Display(Console(file=memory, width=200)) as display:
        for done in range(12):
            now.seconds = done
            display.progress("fetching", done << 20, 11 << 20)
        display.progress("checking", 0, None)
    lines = memory.getvalue().splitlines()
    assert lines == ["fetching: 5.0 MiB of 11 MiB", "fetching: 10 MiB of 11 MiB"]
    assert not display.can_ask


def test_a_terminal_shows_a_bar_for_each_stage() -> None:
    memory = io.StringIO()
    with datasets.Display(Console(file=memory, width=100, force_terminal=True)) as display:
        for what in ("fetching", "checking"):
            display.progress(what, 1 << 20, 2 << 20)
            display.progress(what, 2 << 20, 2 << 20)
    assert "fetching" in memory.getvalue() and "checking" in memory.getvalue()

"""A folder goes through the model in batches, several at a time: nothing else may change by it."""

import contextlib
import errno
import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY
from rich.console import Console
from torch import Tensor, nn

import i2i
from i2i import folder, images, recipe, train
from i2i.display import TrainDisplay
from i2i.errors import DataError, I2IError, ResourceError, UsageError
from i2i.folder import Item, Pace, Work, plan, translate_folder
from i2i.manifest import Shard, given
from i2i.tasks.paired import Paired
from i2i.translate import Translator

Cli = Callable[..., tuple[int, str, str]]
CPU = torch.device("cpu")


class Told(nn.Module):
    """A method that is a convolution, sides in steps of 8, and tells the size of every batch that it is given."""

    multiple = 8

    def __init__(self, most: int = 1 << 30) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.g: nn.Module = nn.Conv2d(3, 3, 3, padding=1)
        self.most = most
        self.batches: list[tuple[int, ...]] = []

    def translate(self, x: Tensor) -> Tensor:
        if x.numel() > self.most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        self.batches.append((len(x), *x.shape[2:]))
        y: Tensor = self.g(x)
        return y.tanh()


def drawn(path: Path, height: int, width: int) -> np.ndarray:
    """Write a picture of noise that follows from its name."""
    seed = sum(path.stem.encode())
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    images.write(path, pixels)
    return pixels


@pytest.fixture(autouse=True)
def two_cores() -> Iterator[None]:
    """Two workers, however many processors there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def outcome(work: Iterator[tuple[Item, I2IError | None]]) -> dict[str, str]:
    """Return what became of each item by its name, each of which comes once."""
    results = list(work)
    by_name = {item.source.name: str(error or "") for item, error in results}
    assert len(by_name) == len(results)
    return by_name


def test_mixed_sizes_are_batched_by_their_padded_size_and_come_out_as_one_by_one(tmp_path: Path) -> None:
    sizes = [(24, 40), (8, 8), (21, 37), (17, 33), (24, 33), (9, 9), (5, 3), (20, 36), (64, 64)]
    given = {f"{i}.png": drawn(tmp_path / "in" / f"{i}.png", *side) for i, side in enumerate(sizes)}
    method = Told()
    model = Translator(Paired(), method, CPU)
    assert outcome(translate_folder(model, plan(tmp_path / "in", tmp_path / "out"), batch=3)) == dict.fromkeys(
        given, ""
    )
    # The first goes alone, to find out whether the model draws at random.
    assert sorted(method.batches) == [(1, 16, 16), (1, 24, 40), (1, 24, 40), (1, 64, 64), (2, 8, 8), (3, 24, 40)]
    for name, pixels in given.items():
        written = images.read(tmp_path / "out" / name).pixels
        assert np.abs(written.astype(int) - model(pixels)).max() <= 1


def test_a_broken_picture_harms_no_neighbour(tmp_path: Path) -> None:
    for i in range(6):
        drawn(tmp_path / "in" / f"{i}.png", 16, 16)
    cut = (tmp_path / "in" / "3.png").read_bytes()
    (tmp_path / "in" / "3.png").write_bytes(cut[:-40])  # its header is whole
    (tmp_path / "in" / "5.png").write_text("no picture")

    class Refuses(Paired):
        def encode(self, images: dict[str, Tensor]) -> Tensor:
            if torch.equal(images["a"], bad):
                raise DataError("is not to my taste")
            return super().encode(images)

    bad = images.to_tensor(images.read(tmp_path / "in" / "2.png").pixels)
    model = Translator(Refuses(), Told(), CPU)
    told = outcome(translate_folder(model, plan(tmp_path / "in", tmp_path / "out"), batch=8))
    assert [name for name, error in told.items() if not error] == ["0.png", "1.png", "4.png"]
    assert "2.png: is not to my taste" in told["2.png"]
    assert "3.png: is truncated" in told["3.png"]
    assert "5.png: is not a PNG" in told["5.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "1.png", "4.png"]


@pytest.mark.parametrize("most", [3 * 16 * 16, 3 * 3 * 16 * 16])
def test_where_memory_does_not_hold_a_batch_it_goes_one_by_one(tmp_path: Path, most: int) -> None:
    for i in range(5):
        drawn(tmp_path / "in" / f"{i}.png", 16, 16)
    drawn(tmp_path / "in" / "huge.png", 64, 64)
    method = Told(most)
    told = outcome(translate_folder(Translator(Paired(), method, CPU), plan(tmp_path / "in", tmp_path / "out")))
    assert "memory ran out on a picture of 64x64 pixels" in told.pop("huge.png")
    assert set(told.values()) == {""}
    assert sum(batch[0] for batch in method.batches) == 5


def test_what_draws_at_random_draws_for_each_picture_by_itself(tmp_path: Path) -> None:
    """Nobody says that this method draws: it is seen."""

    class Draws(Told):
        def translate(self, x: Tensor) -> Tensor:
            return super().translate(x + torch.randn_like(x))

    for name in "abc":
        drawn(tmp_path / "in" / f"{name}.png", 16, 16)
    drawn(tmp_path / "one" / "c.png", 16, 16)
    for source, method in (("in", Draws()), ("one", Draws())):
        outcome(translate_folder(Translator(Paired(), method, CPU), plan(tmp_path / source, tmp_path / f"to-{source}")))
        assert {batch[0] for batch in method.batches} == {1}
    assert (tmp_path / "to-in" / "c.png").read_bytes() == (tmp_path / "to-one" / "c.png").read_bytes()


def test_pictures_that_would_feel_each_other_go_one_by_one(tmp_path: Path) -> None:
    method = Told()
    method.g = nn.Sequential(method.g, nn.BatchNorm2d(3, track_running_stats=False))
    for name in "abc":
        drawn(tmp_path / "in" / f"{name}.png", 16, 16)
    outcome(translate_folder(Translator(Paired(), method.eval(), CPU), plan(tmp_path / "in", tmp_path / "out")))
    assert {batch[0] for batch in method.batches} == {1}


def test_no_more_pictures_are_held_than_is_said(tmp_path: Path) -> None:
    """However many there are: a batch for each of two workers."""
    for i in range(40):
        drawn(tmp_path / "in" / f"{i}.png", 8, 8 + 8 * (i % 3))
    held, counting = [], threading.Lock()

    class Counts(Told):
        def translate(self, x: Tensor) -> Tensor:
            with counting:  # two counts at a time would each hold what the other one has found
                held.append(sum(isinstance(thing, Work) for thing in gc.get_objects()))
            return super().translate(x)

    method = Counts()
    gc.collect()  # what other tests left
    outcome(translate_folder(Translator(Paired(), method, CPU), plan(tmp_path / "in", tmp_path / "out"), batch=2))
    assert len(method.batches) > 15
    assert max(held) <= 2 * 2 + 2  # and what each is about to let go


def test_two_are_translated_at_a_time_unless_they_are_large(tmp_path: Path) -> None:
    class Meets(Told):
        """Of which a batch waits until there is another, or not for long."""

        def __init__(self) -> None:
            super().__init__()
            self.met, self.together, self.peak, self.lock = threading.Barrier(2), 0, 0, threading.Lock()
            self.cores: set[tuple[int, int]] = set()

        def translate(self, x: Tensor) -> Tensor:
            with self.lock:
                self.together += 1
                self.peak = max(self.peak, self.together)
                self.cores.add((x.shape[2], torch.get_num_threads()))
            if len(self.batches):
                with contextlib.suppress(threading.BrokenBarrierError):
                    self.met.wait(0.5)
            with self.lock:
                self.together -= 1
            return super().translate(x)

    for side, most in ((16, 2), (1048, 1)):
        for i in range(3):
            drawn(tmp_path / f"{side}" / f"{i}.png", side, side)
        method = Meets()
        outcome(translate_folder(Translator(Paired(), method, CPU), plan(tmp_path / f"{side}", tmp_path / f"to{side}")))
        assert method.peak == most
        # The first goes by itself, and the large ones: with all processors.
        assert method.cores == ({(16, 2), (16, 1)} if most == 2 else {(1048, 2)})


def test_large_pictures_go_alone() -> None:
    pace = Pace.of(CPU, 100)
    assert pace.together((256, 256)) == pace.batch == 8
    assert pace.together((2048, 2048)) == 1
    assert Pace.of(CPU, 100, batch=1000).together((1024, 1024)) == 1
    assert Pace.of(CPU, 100, batch=2).together((64, 64)) == 2


def test_few_pictures_are_shared_among_the_workers() -> None:
    assert [Pace.of(CPU, count).batch for count in (1, 2, 3, 9, 16, 17)] == [1, 1, 2, 5, 8, 8]
    assert [(Pace.of(CPU, count).workers, Pace.of(CPU, count).threads) for count in (1, 2, 3)] == [
        (1, 2),
        (2, 1),
        (2, 1),
    ]


def test_a_batch_does_not_wait_for_the_end_of_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "WINDOW", 4)
    item = Item(Path("a"), Path("b"))
    sized = [(item, (8, 8)), *[(item, (8, 8 * i)) for i in range(2, 9)]]
    assert [len(group) for group in folder._grouped(iter(sized), Pace.of(CPU, 100, batch=3))] == [1] * 8
    taken = folder._grouped(((item, (8, 8 + 8 * (i % 2))) for i in range(100)), Pace.of(CPU, 100, batch=2))
    assert [len(next(taken)) for _ in range(3)] == [2, 2, 2]


def stopped() -> None:
    """Assert that nothing of a job goes on."""
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("translate_")]


def test_ctrl_c_leaves_whole_files_and_no_threads(run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Told):
        def translate(self, x: Tensor) -> Tensor:
            if len(self.batches) == 6:
                raise KeyboardInterrupt
            return super().translate(x)

    monkeypatch.setattr("i2i.translate.load", lambda *_, **__: Translator(Paired(), Stopped(), CPU))
    for i in range(30):
        drawn(tmp_path / "in" / f"{i}.png", 16, 16)
    code, _, err = run("translate", tmp_path / "in", tmp_path / "out", "--model", tmp_path, "--batch", 2)
    assert code == 130
    assert "what is written is whole. Go on: the same command with --resume." in err
    stopped()
    done = images.list_images(tmp_path / "out")
    assert 5 <= len(done) < 30
    assert len(list((tmp_path / "out").iterdir())) == len(done)  # nothing half written
    for path in done:
        images.read(path)


def test_a_full_disk_ends_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(20):
        drawn(tmp_path / "in" / f"{i}.png", 16, 16)
    whole = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if len(list((tmp_path / "out").iterdir())) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    work = translate_folder(Translator(Paired(), Told(), CPU), plan(tmp_path / "in", tmp_path / "out"), batch=2)
    with pytest.raises(ResourceError, match="Free some space"):
        list(work)
    stopped()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt a little."""
    changes = ["train.steps=60", "source.count=20", "train.batch=4", "train.sample_every=60", "train.save_every=60"]
    with TrainDisplay(Console(quiet=True)) as display:
        made = recipe.parse(Path("tiny.toml"), TINY.encode(), changes)
        return train.start(made, runs=tmp_path_factory.mktemp("runs"), device="cpu", display=display).model


def test_bfloat16_is_what_float32_is_to_the_eye(run: Cli, trained: Path, tmp_path: Path) -> None:
    from i2i.contracts import ImageSpec
    from i2i.sources.scenes import Scenes

    scenes = Scenes({"day": ImageSpec(3)}, size=64, count=6, seed=2)
    for i in range(6):
        images.write(tmp_path / "in" / f"{i}.png", scenes[i]["day"].transpose(1, 2, 0))
    for precision in ("float32", "bf16"):
        given = ("--model", trained, "--device", "cpu", "--precision", precision, "--batch", 3)
        code, _, err = run("translate", tmp_path / "in", tmp_path / precision, *given)
        assert code == 0, err
    one, other = (
        np.stack([images.read(path).pixels for path in images.list_images(tmp_path / precision)]).astype(int)
        for precision in ("float32", "bf16")
    )
    difference = np.abs(one - other)
    assert difference.max() <= 2
    assert 0 < difference.mean() <= 0.3


def test_weights_are_kept_in_the_precision_that_they_are_multiplied_in(trained: Path) -> None:
    exact, quick = i2i.load(trained, "cpu"), i2i.load(trained, "cpu", "bf16")
    kinds = {type(layer).__name__: p.dtype for layer in quick.method.modules() for p in layer.parameters(False)}
    assert len(kinds) == 3
    assert all((dtype == torch.bfloat16) == ("Conv" in name) for name, dtype in kinds.items())
    assert {p.dtype for p in exact.method.parameters()} == {torch.float32}
    pixels = np.random.default_rng(0).integers(0, 256, (40, 24, 3), dtype=np.uint8)
    assert np.abs(exact(pixels).astype(int) - quick(pixels)).max() <= 2


def test_a_precision_that_is_none_is_refused(run: Cli, trained: Path, tmp_path: Path) -> None:
    drawn(tmp_path / "in" / "a.png", 8, 8)
    given = ("--model", trained, "--device", "cpu", "--precision", "bf61")
    code, _, err = run("translate", tmp_path / "in", tmp_path / "out", *given)
    assert code == 2
    assert "--precision bf61: no such precision. Did you mean 'bf16'?" in err
    assert not (tmp_path / "out").exists()


# ---- lists, patterns, shards


def listed(root: Path) -> list[str]:
    names = [f"{folder}/{number}.png" for folder in ("a", "b/c") for number in range(6)]
    for name in names:
        drawn(root / "in" / name, 8, 8)
    return names


def targets(items: list[Item], out: Path) -> list[str]:
    return sorted(item.target.relative_to(out).as_posix() for item in items)


def test_a_list_and_a_pattern_mirror_what_lies_below_their_common_folder(tmp_path: Path) -> None:
    names, out = listed(tmp_path), tmp_path / "out"
    (tmp_path / "some.txt").write_text("\n".join(["in/a/1.png", "", f"{tmp_path}/in/b/c/2.png", "in/a/1.png"]))
    assert targets(plan(given(tmp_path / "some.txt"), out), out) == ["a/1.png", "b/c/2.png"]
    assert targets(plan(given(tmp_path / "in/**/*.png"), out), out) == names
    assert targets(plan(given(tmp_path / "in/b/c/[12].*"), out), out) == ["1.png", "2.png"]
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"image": ["in/a/1.png", "in/b/c/2.png"]}), tmp_path / "some.parquet")
    assert targets(plan(given(tmp_path / "some.parquet"), out), out) == ["a/1.png", "b/c/2.png"]
    parquet.write_table(pyarrow.table({"paths": ["in/a/1.png"]}), tmp_path / "odd.parquet")
    with pytest.raises(DataError, match=r"has no column 'path'. Did you mean 'paths'\? It has: paths"):
        given(tmp_path / "odd.parquet")


def test_a_list_is_translated_and_what_it_names_wrongly_is_told(run: Cli, tmp_path: Path) -> None:
    listed(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    assert run("train", tmp_path / "tiny.toml", "--runs", tmp_path / "runs", "--device", "cpu")[0] == 0
    (tmp_path / "list.txt").write_text("in/a/1.png\nin/a/none.png\n")
    words = ["--model", next((tmp_path / "runs").iterdir()), "--device", "cpu"]
    code, out, err = run("translate", tmp_path / "list.txt", tmp_path / "out", *words)
    assert code == 1
    assert "1 of 2 translated" in out
    assert f"{tmp_path}/in/a/none.png: there is no such file" in err.replace("\n", "")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1.png"]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("empty.txt", b"\n \n", "names no picture"),
        ("bytes.txt", b"\xff\xfe\x00", "is no UTF-8 text"),
        ("a.parquet", b"PAR0", "cannot be read"),
    ],
)
def test_a_list_that_is_none_is_told(name: str, text: bytes, told: str, tmp_path: Path) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(text)
    with pytest.raises(DataError, match=told):
        given(tmp_path / name)
    with pytest.raises(DataError, match="no picture is named so"):
        given(tmp_path / "*.jpg")


@pytest.mark.parametrize("count", [1, 3, 16])
def test_shards_have_each_picture_once_whatever_others_there_are(count: int, tmp_path: Path) -> None:
    names, out = listed(tmp_path), tmp_path / "out"
    parts = [plan(tmp_path / "in", out, shard=Shard(number, count)) for number in range(1, count + 1)]
    assert sorted(name for part in parts for name in targets(part, out)) == names
    drawn(tmp_path / "in" / "a" / "new.png", 8, 8)
    again = plan(tmp_path / "in", out, shard=Shard(1, count))
    assert {*targets(parts[0], out)} <= {*targets(again, out)}


@pytest.mark.parametrize("text", ["0/4", "5/4", "x", "1/0", "1/", "-1/2"])
def test_a_shard_that_is_none_is_refused(text: str, run: Cli, tmp_path: Path) -> None:
    listed(tmp_path)
    code, _, err = run("translate", tmp_path / "in", tmp_path / "out", "--shard", text)
    assert code == 2
    assert f"--shard {text}: say which of how many, as in 3/16" in err


def test_what_a_shard_finds_there_is_its_own(tmp_path: Path) -> None:
    """Jobs that run at once do not stop at each other's outputs."""
    listed(tmp_path)
    out = tmp_path / "out"
    for item in plan(tmp_path / "in", out, shard=Shard(2, 3)):
        drawn(item.target, 8, 8)
    assert plan(tmp_path / "in", out, shard=Shard(1, 3))
    with pytest.raises(UsageError, match="exists already"):
        plan(tmp_path / "in", out, shard=Shard(2, 3))

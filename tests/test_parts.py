"""What a device cannot hold or cannot repeat: batches in parts, kernels that are refused by name."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from conftest import TINY
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from i2i import recipe
from i2i.compose import compose
from i2i.contracts import Batch
from i2i.engine import Training, fit, out_of_memory, parted
from i2i.generators.unet import UNet
from i2i.methods.pix2pix import Pix2Pix
from i2i.recipe import OptimizerSettings

Cli = Callable[..., tuple[int, str, str]]
UNET = 'generator = { name = "unet", depth = 3, width = 4 }'
EXACT = TINY.replace(UNET, UNET.replace(" }", ", dropout = 0.0 }"))
OVER_BATCH = EXACT.replace("dropout = 0.0", 'dropout = 0.0, norm = "batch"')
METHODS = {"pix2pix": EXACT, "wgan_gp": EXACT.replace(UNET[:9], 'adversarial = { name = "wgan_gp" }\n' + UNET[:9])}


def trained(text: str, parts: int, steps: int) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """Train in float64 on batches of 4; return all that has changed, and each step's terms."""
    method = compose(recipe.parse(Path("tiny.toml"), text.encode())).method.double()
    torch.manual_seed(0)
    batches = [Batch(torch.rand(4, 3, 32, 32).double(), torch.rand(4, 3, 32, 32).double()) for _ in range(steps)]
    training = Training(method, lambda player: OptimizerSettings(), steps=steps, parts=parts)
    reports = [dict(report.terms) for report in fit(training, batches)]
    return copy.deepcopy(training.tensors()), reports


@pytest.mark.parametrize("parts", [2, 3, 4])
@pytest.mark.parametrize("method", METHODS)
def test_a_batch_in_parts_trains_as_a_whole(method: str, parts: int) -> None:
    (whole, terms), (other, others) = trained(METHODS[method], 1, 4), trained(METHODS[method], parts, 4)
    assert whole.keys() == other.keys()
    for name, value in whole.items():
        assert torch.allclose(value.double(), other[name].double(), rtol=0, atol=1e-6), name
    for one, two in zip(terms, others, strict=True):
        assert one.keys() == two.keys()
        assert all(abs(float(one[name] - two[name])) < 1e-6 for name in one)


def with_spectral_norms(parts: int) -> dict[str, Tensor]:
    """Train as `trained` does, in the U-Net and in the discriminator with weights divided by their largest stretch."""
    method = compose(recipe.parse(Path("tiny.toml"), EXACT.encode())).method
    torch.manual_seed(0)
    for module in [*method.modules()]:
        if isinstance(module, nn.Conv2d):
            spectral_norm(module)
    batches = [Batch(torch.rand(4, 3, 32, 32).double(), torch.rand(4, 3, 32, 32).double()) for _ in range(4)]
    training = Training(method.double(), lambda player: OptimizerSettings(), steps=4, parts=parts)
    for _ in fit(training, batches):
        pass
    return training.tensors()


def test_spectral_normalisation_does_not_see_the_parts() -> None:
    whole, other = with_spectral_norms(1), with_spectral_norms(2)
    assert any(name.endswith("._u") for name in whole)
    for name, value in whole.items():
        assert torch.allclose(value.double(), other[name].double(), rtol=0, atol=1e-6), name


def test_over_batches_it_does_not() -> None:
    whole, other = trained(OVER_BATCH, 1, 2)[0], trained(OVER_BATCH, 2, 2)[0]
    assert not all(torch.allclose(whole[name].double(), other[name].double(), rtol=0, atol=1e-6) for name in whole)


def test_parts_are_nearly_equal_and_all_there() -> None:
    batch = Batch(torch.arange(7.0).view(7, 1, 1, 1), torch.zeros(7, 1, 1, 1), torch.ones(7, 1, 1, 1))
    for parts in range(1, 8):
        found = list(parted(batch, parts))
        assert torch.cat([part.a for part, _, _ in found]).flatten().tolist() == list(range(7))
        assert sum(share for _, _, share in found) == pytest.approx(1)
        assert {len(part.a) for part, _, _ in found} <= {7 // parts, -(-7 // parts)}


class Counts(Pix2Pix):
    """Which counts its steps, in a buffer as the contract says, and trains otherwise in the odd ones."""

    def step(self, batch: Batch) -> Iterator[tuple[str, dict[str, Tensor]]]:
        if "count" not in dict(self.named_buffers()):
            self.register_buffer("count", torch.tensor(0))
        odd = bool(self.count % 2)  # type: ignore[operator]
        for player, terms in super().step(batch):
            if player == "g" or odd:
                yield player, terms
        self.count += 1  # type: ignore[operator]


def test_a_count_of_steps_goes_on_by_one() -> None:
    torch.manual_seed(0)
    pipeline = compose(recipe.parse(Path("tiny.toml"), METHODS["pix2pix"].encode()))
    method = pipeline.method
    method.__class__ = Counts
    method.register_buffer("count", torch.tensor(0))
    training = Training(method, lambda player: OptimizerSettings(), steps=4, parts=3)
    batch = Batch(torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32))
    kinds = ["d/adversarial" in report.terms for report in fit(training, [batch] * 4)]
    assert kinds == [False, True, False, True]
    assert int(method.count) == 4  # type: ignore[arg-type]


def holds(most: int, monkeypatch: pytest.MonkeyPatch, after: int = 0) -> list[int]:
    """Let memory run out on more pictures than so many, after so many passes; return the sizes that went through."""
    real, sizes = UNet.forward, []

    def forward(self: UNet, x: Tensor) -> Tensor:
        if type(x) is Tensor and not x.is_meta and self.training:  # no rehearsal without numbers
            if len(x) > most and len(sizes) >= after:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
            sizes.append(len(x))
        return real(self, x)

    monkeypatch.setattr(UNet, "forward", forward)
    return sizes


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_what_says_that_memory_ran_out(error: Exception) -> None:
    assert out_of_memory(error)
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def logged(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("after", [0, 3])
def test_a_step_that_memory_does_not_hold_goes_in_parts(
    after: int, run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the beginning, and in the fourth step: then from the state of the second one on."""
    (tmp_path / "tiny.toml").write_text(METHODS["pix2pix"].replace("batch = 2", "batch = 4"))
    sizes = holds(1, monkeypatch, after)
    code, out, err = run("train", tmp_path / "tiny.toml", "--runs", tmp_path / "runs", "--device", "cpu")
    assert code == 0, err
    saved = 2 if after else 0
    assert f"memory ran out at batch 4: it goes in 2 parts from step {saved + 1} on" in out
    assert f"memory ran out at batch 4: it goes in 4 parts from step {saved + 1} on; the gradients add up" in out
    assert sizes == [4] * after + [1] * 4 * (4 - saved)
    (made,) = (tmp_path / "runs").iterdir()
    assert [entry["step"] for entry in logged(made) if "warning" not in entry] == [1, 2, 3, 4]
    assert [entry["parts"] for entry in logged(made) if "warning" in entry] == [2, 4]
    assert "it goes in 4 parts" in (made / "report.html").read_text()


def test_a_resumed_run_keeps_its_parts(run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.toml").write_text(METHODS["pix2pix"])
    holds(1, monkeypatch)
    run("train", tmp_path / "tiny.toml", "--runs", tmp_path / "runs", "--device", "cpu")
    (made,) = (tmp_path / "runs").iterdir()
    whole = (made / "model" / "model.safetensors").read_bytes()
    (made / "result.json").unlink()
    next((made / "state").glob("000000004-*")).unlink()
    sizes = holds(1, monkeypatch)
    code, out, _ = run("train", "--resume", made, "--device", "cpu")
    assert code == 0 and "memory ran out" not in out
    assert set(sizes) == {1}
    assert (made / "model" / "model.safetensors").read_bytes() == whole


def test_not_even_one_picture_is_exit_7(run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.toml").write_text(OVER_BATCH)
    holds(0, monkeypatch)
    code, out, err = run("train", tmp_path / "tiny.toml", "--runs", tmp_path / "runs", "--device", "cpu")
    assert code == 7
    assert "batch normalisation sees each part by itself" in out
    assert "memory ran out in a step with one picture: DefaultCPUAllocator" in err and "Try smaller pictures" in err


# ---- The same bits every time


def test_an_operation_that_has_no_deterministic_kernel_is_named_before_a_run(
    run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Pix2Pix.step

    def puts(self: Pix2Pix, batch: Batch) -> Iterator[tuple[str, dict[str, Tensor]]]:
        torch.zeros(4).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
        yield from step(self, batch)

    monkeypatch.setattr(Pix2Pix, "step", puts)
    (tmp_path / "tiny.toml").write_text(TINY)
    asked = ("train", tmp_path / "tiny.toml", "--runs", tmp_path / "runs", "--device", "cpu")
    code, _, err = run(*asked, "--deterministic")
    assert code == 2
    assert "put_ has no deterministic kernel" in err and "test_parts.py" in err
    assert not (tmp_path / "runs").exists()
    assert not torch.are_deterministic_algorithms_enabled()
    assert run(*asked)[0] == 0


def test_deterministic_training_is_the_same_and_recorded(run: Cli, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    for name, more in (("one", ["--deterministic"]), ("two", [])):
        code, _, err = run("train", tmp_path / "tiny.toml", "--runs", tmp_path / name, "--device", "cpu", *more)
        assert code == 0, err
    models = [next((tmp_path / name).glob("*/model/model.safetensors")).read_bytes() for name in ("one", "two")]
    assert models[0] == models[1]
    resolved = json.loads(next((tmp_path / "one").glob("*/resolved.json")).read_text())
    assert resolved["train"]["deterministic"] is True
    assert not torch.are_deterministic_algorithms_enabled()

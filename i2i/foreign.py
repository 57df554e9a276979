"""Generators that other code bases have trained: recognised by their keys and shapes, and made into a model folder.

The files are those of pytorch-CycleGAN-and-pix2pix and of CUT (contrastive-unpaired-translation): state dicts, written
by `torch.save`. No other module reads pickles, and tensors are all that this one lets them make.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from i2i import build
from i2i.build import Part, Problem
from i2i.checkpoint import save_model, versions
from i2i.compose import make
from i2i.engine import GENERATOR
from i2i.errors import DataError, ResourceError, UnsafeFileError, UsageError, sizes
from i2i.files import disk_errors, sync_folder
from i2i.nn import ChannelNorm
from i2i.plugins import used

# Keys that every generator of a kind has, behind the names of what it is wrapped in.
UNET = re.compile(r"(|.*?\.)model\.model\.1\.model\.1\.weight")
RESNET = re.compile(r"(|.*?\.)model\.\d+\.conv_block\.1\.weight")
OTHERS = {
    re.compile(r"(|.*\.)(model|net)\.0\.weight"): "a discriminator, which judges pictures and makes none",
    re.compile(r"(|.*\.)mlp_0\.0\.weight"): "CUT's projection of patches (F), which makes no pictures",
}
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
NESTED = 4
"""How deep a training checkpoint may wrap a state dict."""


@dataclass(frozen=True)
class Imported:
    """What a file was recognised as, and the model folder that was made of it.

    task: its name. generator: name and parameters of ours. norm: the file's own, "batch", "instance" or "none".
    dropout: whether it was trained with any, None where the file cannot tell. parameters: how many the file's has.
    """

    model: Path
    task: str
    generator: dict[str, Any]
    in_channels: int
    out_channels: int
    norm: str
    dropout: bool | None
    parameters: int


@dataclass(frozen=True)
class Layout:
    """A foreign generator as the names of its keys tell it.

    name, options: the generator that it is here, and parameters. layers: the stems of a convolution's keys and of its
    normalisation's, in the order of ours. filters: the keys of constants, with the weights of their blur in one
    direction.
    """

    name: str
    options: dict[str, Any]
    dropout: bool | None
    layers: list[tuple[str, str | None]]
    filters: dict[str, tuple[int, ...]]


def import_generator(file: Path, out: Path) -> Imported:
    """Make the model folder `out` of the generator in a file, all of it or nothing.

    Raises UsageError when `out` exists, DataError when `file` is missing, and UnsafeFileError when it holds anything
    but a generator that is known.
    """
    if os.path.lexists(out):
        raise UsageError(f"{out}: exists already: name a folder that is to be made, or remove it.")
    content = _read(file)
    try:
        weights = _generator(content)
        layout = _unet(weights) if any(map(UNET.fullmatch, weights)) else _resnet(weights)
        norm = _check_keys(layout, weights)
        task, method = _parts(layout, weights, norm)
        channels, net = _made(task, method)
        tensors = _matched(layout, weights, net)
    except UnsafeFileError as error:
        raise UnsafeFileError(f"{file}: {error}") from error
    described = {"task": build.describe("tasks", task), "method": build.describe("methods", method)}
    _write(out, {"name": file.stem, **described, "packages": used(), "versions": versions()}, tensors)
    parameters = sum(x.numel() for key, x in weights.items() if key.endswith((".weight", ".bias")))
    names = described["task"]["name"], described["method"]["generator"]
    return Imported(out, *names, *channels, norm, layout.dropout, parameters)


def describe(imported: Imported) -> dict[str, str]:
    """Return what was recognised and what to do next, line by line."""
    generator = imported.generator
    ways = [way for way, blur in (("down", "blurred"), ("up", "bilinear")) if generator.get(f"{way}sampling") == blur]
    blur = f", anti-aliased {' and '.join(ways)}" if ways else ""
    files = imported.task != "paired" or {imported.in_channels, imported.out_channels} <= {1, 3}
    folder = shlex.quote(str(imported.model))
    return {
        "net": f"{generator['name']}, {_counted(generator)}, width {generator['width']}{blur}",
        "channels": f"{imported.in_channels} to {imported.out_channels}",
        "norm": imported.norm + (", by each picture's own statistics" if imported.norm == "batch" else ""),
        "dropout": {True: "yes", False: "no", None: "the file does not tell"}[imported.dropout],
        "parameters": f"{imported.parameters:,}",
        "task": imported.task,
        "model": str(imported.model),
        "next": f"i2i translate input_dir output_dir --model {folder}"
        if files
        else "i2i.load(...) in Python, with tensors: no format of pictures has so many channels",
    }


def _read(path: Path) -> object:
    """Return what a file that `torch.save` wrote holds: tensors, in containers."""
    if path.is_dir():
        there = ", ".join(sorted(item.name for item in path.glob("*_net_G*.pth"))[:4]) or "latest_net_G.pth or the like"
        raise UsageError(f"{path}: is a folder: give the generator's file in it, {there}.")
    if not path.exists():
        raise DataError(f"{path}: is missing.")
    if not path.is_file():
        raise UnsafeFileError(f"{path}: is no regular file.")
    try:
        with path.open("rb") as file:
            return _tensors(file, path)
    except PermissionError as error:
        raise ResourceError(f"{path}: may not be read by you: ask its owner for the right to.") from error


def _tensors(file: BinaryIO, path: Path) -> object:
    begin = file.read(16)
    try:
        if zipfile.is_zipfile(file) and any(item.compress_type for item in zipfile.ZipFile(file).infolist()):
            raise UnsafeFileError(f"{path}: is a compressed archive, which torch.save never writes.")
        file.seek(0)
        with warnings.catch_warnings(action="ignore"):  # about kinds of files that are refused below
            return torch.load(file, map_location="cpu", weights_only=True)
    except UnsafeFileError:
        raise
    except Exception as error:
        # Bytes of any kind go in, and what comes out of the parsers is not always an error of their own. torch's text
        # advises to let the file run its code: it is not shown.
        if named := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise UnsafeFileError(
                f"{path}: asks for {named[1]} when it is read, and may run any code by that: only tensors are read. "
                "If it is your own, save the generator's alone: torch.save(netG.state_dict(), FILE)."
            ) from error
        if begin[8:9] == b"{":
            raise UnsafeFileError(
                f"{path}: is a safetensors file, and this reads the .pth files that torch.save writes."
            ) from error
        raise UnsafeFileError(
            f"{path}: is damaged, or no file that torch.save wrote: it begins with {begin!r}."
        ) from error


def _generator(content: object) -> dict[str, Tensor]:
    """Return the state dict of the one generator in a file, without the names of what it is wrapped in."""
    tensors = dict(_flat(content))
    found = {match[1] for key in tensors for kind in (UNET, RESNET) if (match := kind.fullmatch(key))}
    if len(found) == 1:
        prefix = found.pop()
        return {key[len(prefix) :]: x for key, x in tensors.items() if key.startswith(f"{prefix}model.")}
    if found:
        names = sorted(prefix.rstrip(".") or "one without a name" for prefix in found)
        raise UnsafeFileError(
            f"holds {len(names)} generators, {_some(names)}: save the one to import in a file of its own."
        )
    if not tensors:
        raise UnsafeFileError(f"holds no tensors under names: it is a {type(content).__name__}.")
    for kind, what in OTHERS.items():
        if any(map(kind.fullmatch, tensors)):
            raise UnsafeFileError(
                f"holds {what}: give the generator's file, such as latest_net_G.pth or latest_net_G_A.pth."
            )
    raise UnsafeFileError(
        "holds no generator that is known: a unet has keys such as model.model.1.model.1.weight, a resnet such as "
        f"model.10.conv_block.1.weight, and these are {_some(tensors)}."
    )


def _flat(content: object, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        yield prefix.removesuffix("."), content
    elif isinstance(content, Mapping) and depth < NESTED:
        for key, value in content.items():
            yield from _flat(value, f"{prefix}{key}.", depth + 1)


def _unet(weights: Mapping[str, Tensor]) -> Layout:
    """Lay out the nested U-Net: each level is the module in the middle of the one around it."""
    depth = max(2, len({key.count("model.") for key in weights}))
    top, *inner = "model.model.", *(f"model.model.1.model.{'3.model.' * level}" for level in range(depth - 1))
    *middle, last = inner
    down = [(f"{top}0", None), *((f"{level}1", f"{level}2") for level in middle), (f"{last}1", None)]
    up = [(f"{last}3", f"{last}4"), *((f"{level}5", f"{level}6") for level in reversed(middle)), (f"{top}3", None)]
    # Dropout has no keys. Where the authors have it, it is between the bottleneck and the first four levels.
    options = {"depth": depth, "dropout": 0.5, "dropout_blocks": [*range(2, depth - 3)]}
    return Layout("unet", options, None if depth > 5 else False, [*down, *up], {})


def _resnet(weights: Mapping[str, Tensor]) -> Layout:
    """Lay out the residual generator: a sequence, in which what has no weights takes its places too."""
    blocks = len({key.split(".")[1] for key in weights if ".conv_block." in key})
    dropout = not any(key.endswith(".conv_block.5.weight") for key in weights)
    blurred = "model.7.filt" in weights
    down = 4 if blurred else 3
    first = 4 + 2 * down
    end = first + blocks
    bilinear = f"model.{end}.filt" in weights
    up = 4 if bilinear else 3
    places = [1, 4, 4 + down, *(f"{place}.conv_block.{i}" for place in range(first, end) for i in (1, 5 + dropout))]
    places += [end + up - 3, end + 2 * up - 3]
    filters: dict[str, tuple[int, ...]] = dict.fromkeys(("model.7.filt", "model.11.filt"), (1, 2, 1)) if blurred else {}
    filters |= {f"model.{place}.filt": (1, 3, 3, 1) for place in (end, end + 4) if bilinear}
    options = {
        "blocks": blocks,
        "dropout": 0.5 if dropout else 0.0,
        "downsampling": "blurred" if blurred else "strided",
        "upsampling": "bilinear" if bilinear else "transposed",
    }
    layers = [(f"model.{place}", _next(f"model.{place}")) for place in places]
    return Layout("resnet", options, dropout, [*layers, (f"model.{end + 2 * up + 1}", None)], filters)


def _next(stem: str) -> str:
    """Return the next place of a sequence."""
    sequence, _, place = stem.rpartition(".")
    return f"{sequence}.{int(place) + 1}"


def _check_keys(layout: Layout, weights: Mapping[str, Tensor]) -> str:
    """Return the normalisation; UnsafeFileError unless just the keys of the layout are there, with tensors of use."""
    convs, norms = [conv for conv, _ in layout.layers], [norm for _, norm in layout.layers if norm]
    biases = {f"{conv}.bias" for conv in convs[:-1]}
    scales = {f"{norm}.{name}" for norm in norms for name in ("weight", "bias")}
    biased, affine = (not keys.isdisjoint(weights) for keys in (biases, scales))
    required = {f"{conv}.weight" for conv in convs} | {f"{convs[-1]}.bias"} | {*layout.filters}
    required |= (biases if biased else set()) | (scales if affine else set())
    # Of instance normalisation in old files, and of batch normalisation: the authors translate by each picture's own.
    unused = {f"{norm}.{name}" for norm in norms for name in STATISTICS}
    problems = []
    if missing := required - weights.keys():
        problems.append(f"misses {_some(missing)}")
    if strange := weights.keys() - required - unused:
        problems.append(f"has {_some(strange)} besides")
    if problems:
        raise _unfit(layout, " and ".join(problems))
    if odd := {key for key in required if not _usable(weights[key])}:
        raise _unfit(layout, f"{_some(odd)} are no whole tensors of finite numbers")
    for key, taps in layout.filters.items():
        kernel = torch.tensor(taps).outer(torch.tensor(taps)) / 16
        if weights[key].shape[1:] != (1, *kernel.shape) or not torch.allclose(weights[key].float(), kernel):
            raise _unfit(layout, f"{key} is not the blur of CUT, {' '.join(map(str, taps))} both ways")
    return ("instance" if biased else "batch") if affine else ("instance" if biased else "none")


def _usable(x: Tensor) -> bool:
    """Return whether a tensor has values, and none that a small file merely claims to have."""
    plain = x.layout is torch.strided and x.device.type == "cpu" and x.is_floating_point()
    return plain and x.nbytes <= x.untyped_storage().nbytes() and bool(x.isfinite().all())


def _parts(layout: Layout, weights: Mapping[str, Tensor], norm: str) -> tuple[Part, Part]:
    """Choose the task and the method by the layout and by shapes; what has no such form is an UnsafeFileError."""
    shapes = [weights[f"{conv}.weight"].shape for conv, _ in layout.layers]
    if any(len(shape) != 4 for shape in shapes):
        raise _unfit(layout, "not every convolution has four dimensions")
    nested = layout.name == "unet"
    width, in_channels, out_channels = *shapes[0][:2], shapes[-1][1 if nested else 0]
    # The statistics of a batch of one are the picture's own, to the last bit, and do not mix a larger batch.
    capacity = {"width": width, "norm": "none" if norm == "none" else "instance"}
    if nested:
        capacity["max_width"] = shapes[len(shapes) // 2 - 1][0]
    paired = {"name": "paired", "in_channels": in_channels, "out_channels": out_channels}
    # One channel to two is colorization in every version of the authors' code: L / 50 - 1 to ab / 110, as here.
    task = {"name": "colorization"} if (in_channels, out_channels) == (1, 2) else paired
    generator = {"name": layout.name, **layout.options, **capacity}
    problems: list[Problem] = []
    parts = (
        build.build("tasks", task, ("task",), problems),
        build.build("methods", {"name": "pix2pix", "generator": generator, "gan_weight": 0.0}, ("method",), problems),
    )
    if parts[0] is None or parts[1] is None:
        raise _unfit(layout, f"its shapes make none: {' '.join(map(str, problems))}")
    return parts[0], parts[1]


def _made(task: Part, method: Part) -> tuple[tuple[int, int], nn.Module]:
    """Return the channels in and out, and the generator, on torch's meta device: shapes without numbers."""
    made = make(task)
    with torch.device("meta"):
        net: nn.Module = getattr(make(method, made), GENERATOR)
    return (made.in_channels, made.out_channels), net


def _matched(layout: Layout, weights: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """Return the weights under the keys of `net`, in whose shapes they must come.

    What a file has not is 1 for a gain and 0 for a shift. A bias before a normalisation, which takes it away again,
    stays behind.
    """
    ours = [name for name, module in net.named_modules() if any(True for _ in module.parameters(recurse=False))]
    normed = any(isinstance(module, ChannelNorm) for module in net.modules())
    theirs = [stem for conv, norm in layout.layers for stem in ((conv, norm) if norm and normed else (conv,))]
    tensors, odd = {}, []
    for name, stem in zip(ours, theirs, strict=True):
        for key, parameter in net.get_submodule(name).named_parameters():
            x = weights.get(f"{stem}.{key}", torch.full(parameter.shape, float(key == "weight")))
            tensors[f"{name}.{key}"] = x.float()
            if x.shape != parameter.shape:
                odd.append(f"{stem}.{key} is {sizes(x.shape)}, not {sizes(parameter.shape)}")
    if odd:
        raise _unfit(layout, "; ".join(odd[:3]))
    return tensors


def _unfit(layout: Layout, reason: str) -> UnsafeFileError:
    return UnsafeFileError(f"looks like a {layout.name} ({_counted(layout.options)}), but does not fit: {reason}.")


def _counted(options: Mapping[str, Any]) -> str:
    return f"{options['blocks']} blocks" if "blocks" in options else f"depth {options['depth']}"


def _some(names: Iterable[str], count: int = 3) -> str:
    """Return the first few names, and how many there are more."""
    first = sorted(names)
    more = f" and {len(first) - count} more" if len(first) > count else ""
    return ", ".join(repr(name[:80]) for name in first[:count]) + more


def _write(out: Path, description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    hidden = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with disk_errors(out):
            hidden.mkdir(parents=True)
        save_model(hidden, description, tensors)
        with disk_errors(out):
            hidden.rename(out)
            sync_folder(out.parent)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)

"""The checks of generators and of discriminators."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from i2i.build import Part, name_of
from i2i.testing.supply import Check, at_once, given

LEAST = 24
"""Pixels of a generator's shorter side; a network pads, and needs a few to take them from."""
JUDGED = (128, 144)
"""Height and width of what a discriminator is shown: three scales of 70 × 70 patches need so many."""


def _generator(part: Part, out_channels: int = 3) -> tuple[nn.Module, Tensor]:
    """Make one, and an input whose sides are odd multiples of what it asks for, and differ."""
    channels = given(part, "in_channels", 3)
    network: nn.Module = part(channels, given(part, "out_channels", out_channels))
    multiple = getattr(network, "multiple", 1)
    assert isinstance(multiple, int) and multiple > 0, f"'multiple' is a number of pixels, not {multiple!r}"
    odd = -(-LEAST // multiple) | 1
    other = odd + 2 if odd > 1 else 2  # pictures of a large multiple are large already
    return network, torch.rand(2, channels, odd * multiple, other * multiple) * 2 - 1


def _discriminator(part: Part) -> tuple[nn.Module, Tensor]:
    channels = given(part, "in_channels", 6)
    network: nn.Module = part(channels)
    return network, torch.rand(2, channels, *JUDGED) * 2 - 1


Make = Callable[[Part], tuple[nn.Module, Tensor]]


# ---- generators


def generator_keeps_the_size(part: Part) -> None:
    """From N × 3 × H × W come finite N × 5 × H × W in float32, H and W any odd multiples of `multiple`."""
    network, x = _generator(part, 5)
    _is_picture(network(x), x, given(part, "out_channels", 5))


def generator_bears_bf16(part: Part) -> None:
    """Under bfloat16 autocast, in training, shape and finiteness are the same, and so are the gradients' finiteness."""
    network, x = _generator(part, 5)
    with torch.autocast("cpu", torch.bfloat16):
        y = network(x)
    _is_picture(y.float(), x, given(part, "out_channels", 5))
    y.float().square().mean().backward()
    _all_have_gradients(network)


def _is_picture(y: Any, x: Tensor, channels: int) -> None:
    assert isinstance(y, Tensor), f"expected a tensor of raw scores, not a {type(y).__name__}"
    wanted = (len(x), channels, *x.shape[2:])
    assert y.shape == wanted, f"input {tuple(x.shape)} gave {tuple(y.shape)}, expected {wanted}: the same size"
    assert y.dtype == torch.float32, f"the output is {y.dtype}, expected float32 as the input"
    assert y.isfinite().all(), "the output is not finite"


def generator_is_trainable(part: Part) -> None:
    """Every weight that asks for a gradient gets one."""
    network, x = _generator(part)
    network(x).square().mean().backward()
    _all_have_gradients(network)
    assert any(p.requires_grad for p in network.parameters()), "there is no weight to train"


def _all_have_gradients(network: nn.Module) -> None:
    trained = [(name, p.grad) for name, p in network.named_parameters() if p.requires_grad]
    without = [name for name, gradient in trained if gradient is None]
    assert not without, f"no gradient reaches {', '.join(without[:5])}: use it, or set requires_grad to False"
    wild = [name for name, gradient in trained if gradient is not None and not gradient.isfinite().all()]
    assert not wild, f"the gradient of {', '.join(wild[:5])} is not finite"


# ---- both


def _is_steady(network: nn.Module, x: Tensor) -> None:
    network.eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with torch.no_grad():
        # Neighbours far from it: statistics taken over the batch would show.
        first, again, beside = network(x), network(x), network(torch.cat([x[:1], 3 * x[1:]]))
        alone = network(x[:1])
    for one, two in zip(_maps(first), _maps(again), strict=True):
        assert torch.equal(one, two), "in eval mode the same input gives another output the second time"
    for one, two in zip(_maps(beside), _maps(alone), strict=True):
        assert _close(one[:1], two), "in eval mode a picture's output depends on the other pictures of the batch"
    changed = [key for key, value in network.state_dict().items() if not torch.equal(value, before[key])]
    assert not changed, f"in eval mode a call changes {changed[0]}"


def _survives_saving(part: Part, make: Make) -> None:
    network, x = make(part)
    stored = save({key: value.detach().clone().contiguous() for key, value in network.state_dict().items()})
    torch.manual_seed(1)
    other = make(part)[0]
    other.load_state_dict(load(stored))
    ours, theirs = _answer(network.eval(), x), _answer(other.eval(), x)
    same = all(torch.equal(one, two) for one, two in zip(ours, theirs, strict=True))
    assert same, (
        "after saving and loading the output differs: something that it depends on is not in the state dict "
        "(a buffer is, an attribute is not)"
    )


def _follows_the_seed(part: Part, make: Make) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(0)
        states.append(make(part)[0].state_dict())
    unlike = [key for key, value in states[0].items() if not torch.equal(value, states[1][key])]
    assert not unlike, f"with torch's same seed {unlike[0]} starts otherwise: draw from torch's global generator alone"


def _compiles(network: nn.Module, x: Tensor) -> None:
    eager, quiet = _answer(network.eval(), x), logging.root.manager.disable
    torch._dynamo.reset()
    logging.disable(logging.DEBUG)  # pytest would catch hundreds of lines of torch's tracing
    try:
        compiled = _answer(torch.compile(network, backend="aot_eager", fullgraph=True), x)
    except torch._dynamo.exc.TorchDynamoException as error:
        reason = str(error).strip().splitlines()[0]
        raise AssertionError(f"torch.compile cannot take {type(network).__name__} as one graph: {reason}") from error
    finally:
        logging.disable(quiet)
        torch._dynamo.reset()
    for one, two in zip(eager, compiled, strict=True):
        assert _close(one, two), "compiled, it gives another output"


def _answer(network: Callable[[Tensor], Any], x: Tensor) -> list[Tensor]:
    """Return a network's maps. Seeded: that it draws where it should not is for another check to say."""
    torch.manual_seed(2)
    with torch.no_grad():
        return _maps(network(x))


def _maps(output: Any) -> list[Tensor]:
    return output if isinstance(output, list) else [output]


def _close(one: Tensor, two: Tensor) -> bool:
    return one.shape == two.shape and bool((one - two).abs().max() <= 1e-4 * two.abs().max().clamp(min=1))


def generator_is_steady(part: Part) -> None:
    """In eval mode the same input gives the same output, whatever else goes through it, and nothing is changed."""
    network, x = _generator(part)
    _is_steady(network, x)
    for one, other in zip(torch.split(x, 1), at_once(network, network, x), strict=True):
        assert _close(_answer(network, one)[0], other), "it mixes up what goes through it in two threads"


def generator_survives_saving(part: Part) -> None:
    """A state dict taken through safetensors makes another one equal."""
    _survives_saving(part, _generator)


def generator_follows_the_seed(part: Part) -> None:
    """The first weights are drawn from torch's global generator alone."""
    _follows_the_seed(part, _generator)


def generator_compiles(part: Part) -> None:
    """torch.compile takes the forward as one graph, which gives the same."""
    _compiles(*_generator(part))


# ---- discriminators


def discriminator_gives_maps(part: Part) -> None:
    """The answer is a list of finite maps of logits, a row a picture."""
    network, x = _discriminator(part)
    _are_maps(network(x), len(x))


def discriminator_bears_bf16(part: Part) -> None:
    """Under bfloat16 autocast the maps and all gradients are finite."""
    network, x = _discriminator(part)
    with torch.autocast("cpu", torch.bfloat16):
        maps = network(x)
    _are_maps(maps, len(x))
    _backward(maps)
    _all_have_gradients(network)


def _are_maps(maps: Any, count: int) -> None:
    assert isinstance(maps, list), f"expected a list of maps, not {type(maps).__name__}"
    assert maps, "expected at least one map"
    for one in maps:
        assert one.ndim == 4 and len(one) == count, f"expected maps N × C × h × w, N = {count}, not {tuple(one.shape)}"
        assert one.isfinite().all(), "a map is not finite"


def _backward(maps: list[Tensor]) -> None:
    torch.autograd.backward(torch.stack([one.float().square().mean() for one in maps]).sum())


def discriminator_is_trainable(part: Part) -> None:
    """Every weight that asks for a gradient gets one, and so does the picture: from it a generator learns."""
    network, x = _discriminator(part)
    x.requires_grad_()
    _backward(network(x))
    _all_have_gradients(network)
    assert any(p.requires_grad for p in network.parameters()), "there is no weight to train"
    assert x.grad is not None and x.grad[:, -1].any(), "no gradient reaches the picture: a generator could not learn"
    assert x.grad.isfinite().all(), "the gradient of the picture is not finite"


def discriminator_features_end_in_the_logits(part: Part) -> None:
    """Where there are `features`: for each scale the maps of its layers, the last of them what a call gives."""
    network, x = _discriminator(part)
    if not hasattr(network, "features"):
        return
    with torch.no_grad():
        maps, features = network.eval()(x), network.features(x)  # type: ignore[operator]
    assert isinstance(features, list) and all(isinstance(scale, list) for scale in features), (
        f"{name_of(part)}.features gives no list of lists of maps"
    )
    assert len(features) == len(maps), f"'features' has {len(features)} scales, and a call gives {len(maps)}"
    for scale, logits in zip(features, maps, strict=True):
        assert len(scale) > 1, "a scale of 'features' holds nothing but its logits"
        assert torch.equal(scale[-1], logits), "the last map of a scale of 'features' is not its logits"


def discriminator_is_steady(part: Part) -> None:
    """In eval mode the same input gives the same maps, whatever else is in the batch, and nothing is changed."""
    _is_steady(*_discriminator(part))


def discriminator_survives_saving(part: Part) -> None:
    """A state dict taken through safetensors makes another one equal."""
    _survives_saving(part, _discriminator)


def discriminator_follows_the_seed(part: Part) -> None:
    """The first weights are drawn from torch's global generator alone."""
    _follows_the_seed(part, _discriminator)


def discriminator_compiles(part: Part) -> None:
    """torch.compile takes the forward as one graph, which gives the same."""
    _compiles(*_discriminator(part))


GENERATORS: list[Check] = [
    generator_keeps_the_size,
    generator_bears_bf16,
    generator_is_trainable,
    generator_is_steady,
    generator_survives_saving,
    generator_follows_the_seed,
    generator_compiles,
]
DISCRIMINATORS: list[Check] = [
    discriminator_gives_maps,
    discriminator_bears_bf16,
    discriminator_is_trainable,
    discriminator_features_end_in_the_logits,
    discriminator_is_steady,
    discriminator_survives_saving,
    discriminator_follows_the_seed,
    discriminator_compiles,
]

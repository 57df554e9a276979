"""Who is drawn: the looks of a person, from the skin to the shoes, all drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from i2i.sources.figures.fabric import Cloth, Colour, luma, mixed

_T = TypeVar("_T")

SKINS: tuple[Colour, ...] = (
    (250, 222, 200), (241, 205, 178), (234, 190, 158), (222, 172, 136), (202, 148, 112), (172, 118, 84), (138, 92, 64),
    (104, 68, 48),
)  # fmt: skip
HAIR_COLOURS: tuple[Colour, ...] = (
    (34, 28, 28), (54, 38, 30), (84, 56, 38), (122, 80, 48), (166, 120, 68), (212, 172, 108), (158, 76, 40),
    (150, 146, 142), (214, 212, 208),
)  # fmt: skip
HAIR_WEIGHTS = (0.2, 0.2, 0.17, 0.12, 0.08, 0.08, 0.06, 0.05, 0.04)
EYE_COLOURS: tuple[Colour, ...] = (
    (74, 48, 30),
    (98, 64, 36),
    (120, 96, 50),
    (84, 112, 70),
    (78, 116, 150),
    (96, 110, 120),
)
# Colours of one outfit that go together: top, second colour of the top, bottom, shoes.
SCHEMES: tuple[tuple[Colour, Colour, Colour, Colour], ...] = (
    ((196, 62, 58), (240, 232, 222), (52, 66, 104), (238, 236, 232)),
    ((238, 234, 226), (62, 84, 126), (70, 92, 136), (150, 96, 58)),
    ((44, 84, 128), (224, 226, 228), (206, 188, 154), (96, 62, 42)),
    ((226, 174, 60), (250, 240, 216), (64, 68, 82), (240, 240, 238)),
    ((70, 118, 92), (228, 222, 196), (92, 74, 58), (60, 46, 38)),
    ((52, 54, 62), (150, 152, 160), (58, 72, 108), (40, 40, 44)),
    ((222, 142, 152), (252, 236, 232), (96, 108, 138), (244, 240, 238)),
    ((112, 84, 138), (222, 210, 230), (48, 48, 58), (80, 66, 92)),
    ((64, 150, 160), (236, 244, 240), (226, 220, 204), (196, 150, 104)),
    ((186, 106, 62), (242, 218, 184), (74, 86, 70), (84, 54, 36)),
    ((126, 146, 110), (238, 236, 216), (60, 70, 96), (220, 216, 208)),
    ((140, 40, 56), (226, 196, 176), (40, 42, 54), (36, 32, 34)),
    ((168, 190, 214), (250, 250, 250), (86, 92, 104), (70, 52, 44)),
    ((232, 112, 84), (255, 232, 210), (238, 234, 226), (90, 120, 160)),
)  # fmt: skip


@dataclass(frozen=True)
class Body:
    """Measures in statures, as half widths where they are across."""

    shoulders: float
    chest: float
    waist: float
    hips: float
    girth: float
    leg: float
    head: float


@dataclass(frozen=True)
class Face:
    """Measures in half heights of the head, or factors about 1."""

    jaw: float
    chin: float
    eye: float
    spacing: float
    slant: float
    brow: float
    nose: float
    nose_length: float
    mouth: float
    lips: float
    freckles: bool
    lines: float


@dataclass(frozen=True)
class Hair:
    """style: of the front. length: how far it hangs, in half heights of the head from its centre; 0 is short."""

    style: str
    length: float
    volume: float
    texture: str
    part: float
    colour: Colour
    bun: str


@dataclass(frozen=True)
class Outfit:
    """What a person wears; sleeves 0 ... 2 counts in limbs, as does the length of a bottom."""

    top: str
    cloth: Cloth
    collar: str
    sleeves: float
    inner: Colour
    bottom: str
    bottom_cloth: Cloth
    bottom_length: float
    shoes: Colour
    soles: Colour
    socks: Colour


@dataclass(frozen=True)
class Person:
    """The looks of one person."""

    woman: bool
    skin: Colour
    lips: Colour
    eyes: Colour
    body: Body
    face: Face
    hair: Hair
    beard: str
    glasses: str
    frames: Colour
    earrings: bool
    outfit: Outfit


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw uniformly; a tenth of the cost of `rng.uniform`."""
    return low + (high - low) * rng.random()


def pick(rng: np.random.Generator, options: Sequence[_T], weights: Sequence[float] | None = None) -> _T:
    """Draw one of the options, each as likely as its weight; the weights' sum is 1."""
    draw = rng.random()
    if weights is None:
        return options[int(draw * len(options))]
    for option, weight in zip(options, weights, strict=True):
        draw -= weight
        if draw < 0:
            return option
    return options[-1]


def varied(rng: np.random.Generator, colour: Colour, amount: float = 10) -> Colour:
    """Return a colour a little off: each channel by `amount`, all together by twice as much."""
    together = between(rng, -2 * amount, 2 * amount)
    red, green, blue = (min(max(value + together + between(rng, -amount, amount), 0), 255) for value in colour)
    return red, green, blue


def draw_person(rng: np.random.Generator) -> Person:
    """Draw the looks of a person."""
    woman = rng.random() < 0.5
    tone = between(rng, 0, len(SKINS) - 1.001)
    skin = varied(rng, mixed(SKINS[int(tone)], SKINS[int(tone) + 1], tone % 1), 4)
    hair = _hair(rng, woman, dark=tone > 4.2)
    redness = between(rng, 0.42, 0.68) if woman else between(rng, 0.22, 0.36)
    eyes = pick(rng, EYE_COLOURS[: 2 if tone > 4.2 else None])
    return Person(
        woman=woman,
        skin=skin,
        lips=mixed(skin, (186, 62, 72) if luma(skin) > 0.5 else (140, 50, 56), redness),
        eyes=varied(rng, eyes, 6),
        body=_body(rng, woman),
        face=_face(rng, woman),
        hair=hair,
        beard="" if woman else pick(rng, ("", "stubble", "moustache", "goatee", "full"), (0.45, 0.2, 0.08, 0.09, 0.18)),
        glasses=pick(rng, ("", "round", "square"), (0.76, 0.12, 0.12)),
        frames=pick(rng, ((34, 30, 32), (92, 56, 36), (150, 120, 70), (60, 66, 84), (130, 36, 44))),
        earrings=woman and rng.random() < 0.4,
        outfit=_outfit(rng, woman),
    )


def _body(rng: np.random.Generator, woman: bool) -> Body:
    girth = between(rng, 0.88, 1.22)
    wide = 0.75 + 0.25 * girth
    return Body(
        shoulders=(between(rng, 0.092, 0.102) if woman else between(rng, 0.108, 0.121)) * wide,
        chest=(between(rng, 0.078, 0.086) if woman else between(rng, 0.090, 0.100)) * girth,
        waist=(between(rng, 0.058, 0.066) if woman else between(rng, 0.074, 0.082)) * girth**1.3,
        hips=(between(rng, 0.084, 0.094) if woman else between(rng, 0.078, 0.085)) * girth,
        girth=girth,
        leg=between(rng, 0.97, 1.04),
        head=between(rng, 0.076, 0.083),
    )


def _face(rng: np.random.Generator, woman: bool) -> Face:
    return Face(
        jaw=between(rng, 0.50, 0.60) if woman else between(rng, 0.58, 0.69),
        chin=between(rng, 0.13, 0.19) if woman else between(rng, 0.18, 0.27),
        eye=between(rng, 1.0, 1.16) if woman else between(rng, 0.86, 1.02),
        spacing=between(rng, 0.285, 0.32),
        slant=between(rng, -0.02, 0.035),
        brow=between(rng, 0.028, 0.045) if woman else between(rng, 0.045, 0.075),
        nose=between(rng, 0.095, 0.135) if woman else between(rng, 0.115, 0.165),
        nose_length=between(rng, 0.30, 0.40),
        mouth=between(rng, 0.22, 0.29),
        lips=between(rng, 0.9, 1.35) if woman else between(rng, 0.65, 1.0),
        freckles=rng.random() < 0.12,
        lines=max(0.0, between(rng, -0.8, 1)),
    )


def _hair(rng: np.random.Generator, woman: bool, dark: bool) -> Hair:
    colour = varied(rng, pick(rng, HAIR_COLOURS[:3] if dark else HAIR_COLOURS, None if dark else HAIR_WEIGHTS), 5)
    texture = pick(rng, ("straight", "wavy", "curly"), (0.25, 0.25, 0.5) if dark else (0.5, 0.34, 0.16))
    if woman:
        style = pick(rng, ("centre", "side", "bangs", "back"), (0.3, 0.34, 0.2, 0.16))
        length = pick(rng, (0.0, 0.95, 1.35, 2.1), (0.12, 0.28, 0.3, 0.3))
        bun = pick(rng, ("", "bun", "tail")) if length == 0.0 or style == "back" else ""
        return Hair(style, length * between(rng, 0.92, 1.1) if not bun else 0.0, between(rng, 0.07, 0.17), texture,
                    between(rng, -0.35, 0.35), colour, bun)  # fmt: skip
    style = pick(rng, ("side", "back", "fringe", "buzz", "receding", "bald", "centre"),
                 (0.32, 0.2, 0.16, 0.12, 0.08, 0.06, 0.06))  # fmt: skip
    long = style in ("centre", "back") and rng.random() < 0.35
    volume = between(rng, 0.05, 0.16) if style not in ("buzz", "receding") else between(rng, 0.02, 0.05)
    return Hair(style, between(rng, 0.8, 1.3) if long else 0.0, volume, texture, between(rng, -0.4, 0.4), colour, "")


# What is worn, how likely by a woman and by a man; in which weaves, with which collars; its sleeves, in bones.
TOPS = ("tee", "shirt", "sweater", "hoodie", "jacket", "tank", "dress")
TOP_WEIGHTS = {True: (0.2, 0.17, 0.17, 0.1, 0.12, 0.07, 0.17), False: (0.28, 0.24, 0.18, 0.14, 0.14, 0.02, 0.0)}
WEAVES = {
    "tee": ("plain", "plain", "stripes", "dots"), "shirt": ("plain", "check", "pinstripes", "denim"),
    "sweater": ("knit", "knit", "stripes"), "hoodie": ("plain", "plain", "knit"), "jacket": ("denim", "plain", "plain"),
    "tank": ("plain", "stripes"), "dress": ("plain", "dots", "flowers", "check"),
}  # fmt: skip
COLLARS = {
    "tee": ("round", "round", "vee"), "shirt": ("shirt",), "sweater": ("round", "high", "vee"), "hoodie": ("hood",),
    "jacket": ("lapels",), "tank": ("scoop",), "dress": ("scoop", "vee", "round"),
}  # fmt: skip
SLEEVES = {"tee": (0.55, 0.65, 0.8), "shirt": (0.7, 1.95, 1.95), "tank": (0.0,), "dress": (0.0, 0.45, 1.9)}
LONG = (1.95,)


def _outfit(rng: np.random.Generator, woman: bool) -> Outfit:
    top, second, bottom, shoes = (varied(rng, colour, 6) for colour in pick(rng, SCHEMES))
    kind = pick(rng, TOPS, TOP_WEIGHTS[woman])
    weave = pick(rng, WEAVES[kind])
    plain = weave in ("plain", "knit", "denim")
    cloth = Cloth(weave, top, mixed(top, (255, 255, 255), 0.22) if plain else second, between(rng, 0.18, 0.3))
    below, length = ("dress", pick(rng, (0.75, 1.0, 1.5))) if kind == "dress" else _bottom(rng, woman)
    twill = "denim" if below == "trousers" and bottom[2] > bottom[0] + 12 else "plain"
    return Outfit(
        top=kind,
        cloth=cloth,
        collar=pick(rng, COLLARS[kind]),
        sleeves=pick(rng, SLEEVES.get(kind, LONG)),
        inner=second if luma(second) > 0.5 else (236, 234, 228),
        bottom=below,
        bottom_cloth=cloth if kind == "dress" else Cloth(twill, bottom, mixed(bottom, (255, 255, 255), 0.22)),
        bottom_length=length,
        shoes=shoes,
        soles=pick(rng, ((240, 238, 232), (44, 40, 40), (186, 150, 110))),
        socks=pick(rng, ((240, 240, 238), (60, 60, 66), second)),
    )


def _bottom(rng: np.random.Generator, woman: bool) -> tuple[str, float]:
    if woman and rng.random() < 0.3:
        return "skirt", pick(rng, (0.6, 0.95, 1.45))
    if rng.random() < 0.16:
        return "shorts", between(rng, 0.55, 0.85)
    return "trousers", pick(rng, (1.98, 1.98, 1.98, 1.85))

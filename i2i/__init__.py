"""Pluggable image-to-image translation: recipes, plugins, one command to train and one to translate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from i2i.translate import Translator, load

    __version__: str

__all__ = ["Translator", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("i2i")
    # torch takes seconds to import: `i2i --help` must not wait for it.
    if name in __all__:
        from i2i import translate

        return getattr(translate, name)
    raise AttributeError(f"module 'i2i' has no attribute {name!r}")

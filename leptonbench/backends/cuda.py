"""What the engines on NVIDIA GPUs have in common: what a card can do, and what is not installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from leptonbench.backends.base import YES, Recipe, Support

FEATURE = "cuda-"
"""Among a device's features: the compute capability, `cuda-8.0` for an A100."""
_TENSOR_TYPES = {"fp16": (5, 3), "bf16": (8, 0), "tf32": (8, 0)}  # first capability with the arithmetic
_TORCH_HINT = "install a CUDA build: `pip install torch --index-url https://download.pytorch.org/whl/cu128`"


def capability(features: frozenset[str]) -> tuple[int, int] | None:
    """Return the compute capability among a device's features; `None` where there is none."""
    found = next((name for name in features if name.startswith(FEATURE)), None)
    if found is None:
        return None
    major, _, minor = found.removeprefix(FEATURE).partition(".")
    return int(major), int(minor)


def card_support(recipe: Recipe, features: frozenset[str]) -> Support:
    """Refuse a precision that the card would emulate or silently widen."""
    found = capability(features)
    if found is None:
        return Support(False, "there is no NVIDIA GPU here", "run it on a machine with one")
    least = _TENSOR_TYPES.get(recipe.precision)
    if least is None or found >= least:
        return YES
    return Support(
        False,
        f"compute capability {found[0]}.{found[1]} has no {recipe.precision} arithmetic; it would run as fp32",
        f"use a card of capability {least[0]}.{least[1]} or later",
    )


def installed(distribution: str) -> str | None:
    """Return the version of an installed distribution, without importing it; `None` where it is not."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def torch_build() -> Support:
    """Say whether the installed torch can use a GPU; `+cpu` in its version says that it cannot."""
    found = installed("torch")
    if found is None or found.endswith("+cpu"):
        return Support(False, f"torch {found or ''} is built without CUDA".replace("  ", " "), _TORCH_HINT)
    return YES

"""Photographs at any size: those that scikit-image's wheel carries.

Nothing is downloaded, and scikit-image itself is not imported: only its image files are read.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

# Per channel, red to blue: for values from 0 to 1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# The colour photographs of the wheel; its other files are drawings, textures and grey images.
_FILES = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
_SMALLEST_CROP = 0.5


def batch(
    rng: np.random.Generator,
    batch: int,
    height: int,
    width: int,
    *,
    mean: float | Sequence[float] = 0.5,
    std: float | Sequence[float] = 0.5,
) -> np.ndarray:
    """Crops of photographs, some mirrored, resized to exactly the size asked for.

    A crop has the proportions of the result and covers at least half of what fits into the
    photograph, along each side.

    Args:
      rng: chooses photographs and crops.
      batch: number of images.
      height: in pixels.
      width: in pixels.
      mean: of a channel, or of each, for values from 0 to 1.
      std: likewise. With the defaults values are from -1 to 1.

    Returns:
      float32 [batch, height, width, 3].
    """
    pixels = np.stack([_crop(rng, height, width) for _ in range(batch)])
    offset, scale = (np.asarray(value, np.float32) for value in (mean, std))
    return (pixels.astype(np.float32) / np.float32(255) - offset) / scale


def request_sizes(
    rng: np.random.Generator, count: int, shortest: int, longest: int
) -> list[tuple[int, int]]:
    """Sizes as users send them: the photographs' own proportions, scaled down and turned.

    Args:
      rng: chooses photographs, scales and orientation.
      count: number of sizes.
      shortest: lower bound of the longer side, in pixels.
      longest: upper bound of the longer side, in pixels.

    Returns:
      `count` pairs of height and width.
    """
    return [_request_size(rng, shortest, longest) for _ in range(count)]


def _request_size(rng: np.random.Generator, shortest: int, longest: int) -> tuple[int, int]:
    photo = _choose(rng)
    scale = int(rng.integers(shortest, longest, endpoint=True)) / max(photo.size)
    width, height = (max(1, round(side * scale)) for side in photo.size)
    return (height, width) if rng.random() < 0.5 else (width, height)


def _crop(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    photo = _choose(rng)
    largest = min(photo.width / width, photo.height / height)
    scale = largest * rng.uniform(_SMALLEST_CROP, 1)
    left = rng.uniform(0, photo.width - width * scale)
    top = rng.uniform(0, photo.height - height * scale)
    box = (left, top, left + width * scale, top + height * scale)
    pixels = np.asarray(photo.resize((width, height), Image.Resampling.BICUBIC, box=box))
    return pixels[:, ::-1] if rng.random() < 0.5 else pixels


def _choose(rng: np.random.Generator) -> Image.Image:
    return _photographs()[rng.integers(len(_FILES))]


@functools.cache
def _photographs() -> tuple[Image.Image, ...]:
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise ImportError("photographs need: pip install scikit-image")
    folder = Path(spec.origin).parent / "data"
    return tuple(_open(folder / name) for name in _FILES)


def _open(file: Path) -> Image.Image:
    with Image.open(file) as image:
        return image.convert("RGB")

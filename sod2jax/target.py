"""What programs are compiled for: read once from a device, then passed down."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from sod2jax.ir.region import Region

_PLATFORMS = {"cuda": "gpu", "rocm": "gpu"}  # as JAX calls the device
# Bytes: a cache line or AVX-512 register on a CPU; what XLA and its allocators use elsewhere.
_ALIGNMENTS = {"cpu": 64}
_ALIGNMENT_ELSEWHERE = 256


@dataclasses.dataclass(frozen=True, repr=False)
class Target:
    """A platform and one of its devices.

    The rates are what one core of a current CPU gets out of code that XLA vectorises, on arrays
    that its caches hold: nothing else has been measured yet. They serve to decide between ways to
    run small work (``passes.branches.select`` shows the measurements that they fit), not to
    foretell how long a program takes.

    Attributes:
      platform: "cpu", "gpu" or "tpu".
      kind: the device's own name; empty if it is of no matter.
      memory: bytes that programs may use on the device; None if it does not say.
      flops_per_second: arithmetic operations.
      bytes_per_second: read or written.
      transcendentals_per_second: exponentials, sines, roots and the like.
      usual_size: stands for the largest size of a symbol that has no upper bound, where work is
        estimated.
    """

    platform: str
    kind: str = ""
    memory: int | None = None
    flops_per_second: float = 1e10
    bytes_per_second: float = 1e10
    transcendentals_per_second: float = 1e9
    usual_size: int = 512

    @classmethod
    def of(cls, device: Any) -> Target:
        """The target that a ``jax.Device`` is."""
        platform: str = _PLATFORMS.get(device.platform) or device.platform
        return cls(platform, device.device_kind, _memory(device))

    @classmethod
    def default(cls) -> Target:
        """The first device of JAX's default backend."""
        return cls.of(jax.local_devices()[0])

    @property
    def alignment(self) -> int:
        """Bytes: buffers begin at multiples of it."""
        return _ALIGNMENTS.get(self.platform, _ALIGNMENT_ELSEWHERE)

    def usual_sizes(self, region: Region) -> dict[str, int]:
        """The sizes at which work is estimated: the largest of a region, as far as it has them."""
        sizes = {}
        for name, low, high in region.ranges:
            usual = max(low, self.usual_size)
            is_open = high is None or name in region.open
            sizes[name] = high if not is_open else usual if high is None else min(usual, high)
        return sizes

    def __repr__(self) -> str:
        kind = f", {self.kind!r}" if self.kind not in ("", self.platform) else ""
        memory = "" if self.memory is None else f", memory={self.memory:,} B"
        return f"Target({self.platform!r}{kind}{memory})"


def _memory(device: Any) -> int | None:
    """What a device says of its memory; not all platforms say something."""
    try:
        stats = device.memory_stats() or {}
    except jax.errors.JaxRuntimeError:
        return None
    return stats.get("bytes_limit")

"""What programs are compiled for: read once from a device, then passed down."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from collections.abc import Mapping
from typing import Any

import jax
from jax.experimental import topologies

from sod2jax import _compat
from sod2jax.errors import SpecError, TargetError
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
      device: the device, if it is not there: programs are compiled for it, and nothing runs.
      spread: how many such devices a program runs on at once, each with a part of its arrays. What
        moves single lanes or rows to where they are needed would move them among devices then.
      flops_per_second: arithmetic operations.
      bytes_per_second: read or written.
      transcendentals_per_second: exponentials, sines, roots and the like.
      usual_size: stands for the largest size of a symbol that has no upper bound, where work is
        estimated.
    """

    platform: str
    kind: str = ""
    memory: int | None = None
    device: Any = dataclasses.field(default=None, compare=False)
    spread: int = 1
    flops_per_second: float = 1e10
    bytes_per_second: float = 1e10
    transcendentals_per_second: float = 1e9
    usual_size: int = 512

    @classmethod
    def of(cls, device: Any, spread: int = 1) -> Target:
        """The target that a ``jax.Device`` is, or several of its kind."""
        platform: str = _PLATFORMS.get(device.platform) or device.platform
        absent = device if _compat.is_compile_only(device) else None
        return cls(platform, device.device_kind, _memory(device), absent, spread)

    @classmethod
    def default(cls) -> Target:
        """The first device of JAX's default backend."""
        return cls.of(jax.local_devices()[0])

    @property
    def is_absent(self) -> bool:
        """Whether there is no such device here, so that nothing can be run on it."""
        return self.device is not None

    @property
    def compiler_options(self) -> Mapping[str, str | bool]:
        """What is asked of XLA for every program.

        Without a card no tiles are tuned: what XLA then generates for contractions takes memory
        that the card's program does not, and some of it cannot be compiled.
        """
        is_untuned = self.is_absent and self.platform == "gpu"
        return {"xla_gpu_enable_triton_gemm": False} if is_untuned else {}

    def placed(self, spec: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        """A spec of an array on the device, if that is not there; else it goes where it may."""
        if not self.is_absent:
            return spec
        return spec.update(sharding=jax.sharding.SingleDeviceSharding(self.device))

    @property
    def mixes_strided_windows(self) -> bool:
        """Whether a convolution that moves by more than one lane may read beside its windows.

        XLA's CPU backend computes it as a product of patches, and the fast algorithms of cuDNN are
        for a stride of 1. MIOpen has one for 2, and a TPU may take in lanes with weights of zero.
        """
        return not (self.platform == "cpu" or "NVIDIA" in self.kind)

    @property
    def fuses_gathers(self) -> bool:
        """Whether what reads a gather computes it on the way, as XLA's loops on CPUs and GPUs do.

        A TPU keeps it, with whatever axes are left in rows of 128 lanes.
        """
        return self.platform != "tpu"

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
        spread = "" if self.spread == 1 else f", spread={self.spread}"
        return f"Target({self.platform!r}{kind}{memory}{spread})"


def _memory(device: Any) -> int | None:
    """What a device says of its memory; not all platforms say something."""
    try:
        stats = device.memory_stats() or {}
    except jax.errors.JaxRuntimeError:
        return next((c.memory for c in _CARDS.values() if c.kind == device.device_kind), None)
    return stats.get("bytes_limit")


# Devices that are not there


@dataclasses.dataclass(frozen=True)
class _Card:
    """What XLA's compiler asks of an NVIDIA card; its memory in bytes, the bandwidth a second."""

    kind: str
    capability: tuple[int, int]
    cores: int
    lanes: int
    threads: int
    shared: int
    memory: int
    bandwidth: int
    cache: int
    gigahertz: float

    def __str__(self) -> str:
        """The text of a ``GpuTargetConfigProto``; with much less in it the compiler dies."""
        major, minor = self.capability
        return (
            "gpu_device_info { threads_per_block_limit: 1024 threads_per_warp: 32 "
            f"shared_memory_per_block: 49152 shared_memory_per_core: {self.shared} "
            f"threads_per_core_limit: {self.threads} core_count: {self.cores} "
            f"fpus_per_core: {self.lanes} block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 "
            f"block_dim_limit_z: 65535 memory_bandwidth: {self.bandwidth} "
            f"l2_cache_size: {self.cache} clock_rate_ghz: {self.gigahertz} "
            f"device_memory_size: {self.memory} shared_memory_per_block_optin: "
            f"{self.shared - 1024} cuda_compute_capability {{ major: {major} minor: {minor} }} "
            "registers_per_core_limit: 65536 registers_per_block_limit: 65536 } "
            'platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 patch: 2 } '
            "runtime_version { major: 12 minor: 9 patch: 0 } "
            f'device_description_str: "{self.kind}"'
        )


_CARDS = {
    "h100": _Card(
        *("NVIDIA H100 80GB HBM3", (9, 0), 132, 128, 2048, 233_472),
        *(84_929_347_584, 3_352_320_000_000, 52_428_800, 1.98),
    ),
    "h200": _Card(
        *("NVIDIA H200", (9, 0), 132, 128, 2048, 233_472),
        *(150_109_880_320, 4_800_000_000_000, 62_914_560, 1.98),
    ),
    "a100": _Card(
        *("NVIDIA A100-SXM4-80GB", (8, 0), 108, 64, 2048, 167_936),
        *(84_987_740_160, 2_039_000_000_000, 41_943_040, 1.41),
    ),
    "l4": _Card(
        *("NVIDIA L4", (8, 9), 58, 128, 1536, 102_400),
        *(23_580_639_232, 300_096_000_000, 50_331_648, 2.04),
    ),
}
_TPUS = {"tpu-v5e": "v5e:2x2"}
TOPOLOGIES = (*_CARDS, *_TPUS)


@functools.cache
def topology(name: str) -> Any:
    """A device that need not be there, as a target for ``compile``.

    Args:
      name: "h100", "h200", "a100", "l4" or "tpu-v5e".

    Returns:
      A ``jax.Device`` that programs can be compiled for, and not run on.

    Raises:
      SpecError: there is no such name.
      TargetError: its compiler is not installed, or JAX has not registered it.
    """
    if name not in TOPOLOGIES:
        raise SpecError(f"there is no topology {name!r}; there are {', '.join(TOPOLOGIES)}")
    on_gpu = name in _CARDS
    packages = ("jax_cuda12_plugin", "jax_cuda13_plugin") if on_gpu else ("libtpu",)
    if not any(map(importlib.util.find_spec, packages)):
        extra = "cuda-aot" if on_gpu else "tpu-aot"
        raise TargetError(
            f"no compiler for {name} is installed: pip install 'sod2jax[{extra}]' brings one"
        )
    try:
        return _described(name).devices[0]
    except NotImplementedError as error:
        raise TargetError(
            f"JAX has not registered its plugin for {name}, as it does only where a driver is or "
            "JAX_PLATFORMS is set: set JAX_PLATFORMS=cpu before jax is imported"
        ) from error
    except RuntimeError as error:
        raise TargetError(
            f"the compiler for {name} does not start: {str(error).splitlines()[0]}. Where several "
            "processes compile for a TPU, set ALLOW_MULTIPLE_LIBTPU_LOAD=1"
        ) from error


def _described(name: str) -> Any:
    if name in _TPUS:
        return topologies.get_topology_desc(_TPUS[name], platform="tpu")
    return topologies.get_topology_desc(
        platform="cuda", target_config=str(_CARDS[name]), topology="1x1x1"
    )

"""Programs that once came out wrong, or failed, found by random ones and made small."""

from __future__ import annotations

from typing import Any

from tests.fuzz.python_programs.generate import Program
from tests.fuzz.python_programs.grammar import PREAMBLE

_SIZES = (5, 8, 1, 3, 12, 2)

# What follows from a size -> the specs of the arguments x and y, and the body of the function.
_BODIES: dict[str, tuple[tuple[str, ...], str]] = {
    # Arithmetic that raises, or leaves the real numbers, at some sizes.
    "floordiv": (("n",), "return x * (7 // (x.shape[0] - 3))"),
    "mod": (("n",), "return x * (7 % (x.shape[0] - 3))"),
    "divmod": (("n",), "return x * divmod(7, x.shape[0] - 3)[1]"),
    "truediv": (("n",), "return x * (1 / (x.shape[0] - 3))"),
    "mod_of_float": (("n",), "return x * (1.5 % (x.shape[0] - 3))"),
    "negative_power": (("n",), "return x * (x.shape[0] - 3) ** -1"),
    "complex_power": (("n",), "return x * abs((3.0 - x.shape[0]) ** 0.5)"),
    "square_root": (("n",), "return x * math.sqrt(6 - x.shape[0])"),
    "logarithm": (("n",), "return x * math.log(x.shape[0] - 3)"),
    "overflow": (("n",), "return x * math.exp(100 * x.shape[0])"),
    # Python's errors, caught.
    "caught_reshape": (
        ("n",),
        "try:\n    return x.reshape(2, -1)\nexcept Exception:\n    return -x",
    ),
    "caught_int": (
        ("n",),
        "try:\n    return x * int(x.shape[0])\nexcept Exception:\n    return x * 7",
    ),
    "finally": (("n",), "try:\n    return x * int(x.shape[0])\nfinally:\n    return x * 7"),
    # Hashes, texts and kinds.
    "hash": (("n",), "return x * (hash(x.shape[0]) % 5)"),
    "map_get": (("n",), "return x * (next(map(TABLE.get, x.shape)) or 0)"),
    "random_seed": (("n",), "import random\nreturn x * random.Random(x.shape[0]).randint(1, 9)"),
    "text_as_key": (("n",), "return {f'k{x.shape[0]}': x}"),
    "kind_of_quotient": (("n",), "return x * (2 if isinstance(x.shape[0] / 2, float) else 3)"),
    "kind_of_comparison": (
        ("n",),
        "return x * (2 if isinstance(x.shape[0] * 0.5 > 4, bool) else 3)",
    ),
    "type": (("n",), "return x * (2 if type(x.shape[0]) is int else 3)"),
    # NumPy's integers are no Python integers.
    "numpy_clip": (("n",), "return np.clip(x.shape[0], 2, 5)"),
    "numpy_add": (("n",), "return np.int64(3) + x.shape[0]"),
    "numpy_product": (("n, m",), "return x * (2 if isinstance(np.prod(x.shape), int) else 3)"),
    "numpy_or_python": (("n",), "k = np.int32(x.shape[0])\nreturn k if x.shape[0] > 3 else 3"),
    # JAX's own questions.
    "irfft_of_one": (("n",), "return jnp.fft.irfft(jnp.fft.rfft(x))"),
    "rfft_gradient": (("n",), "return jax.grad(lambda v: jnp.abs(jnp.fft.rfft(v) + 9).sum())(x)"),
}
# No hook sees these; they are the same at all sizes, so that an audit at any size does.
_AUDITED = frozenset({"type", "numpy_clip", "numpy_add", "numpy_product"})

# Those that show at some sizes, or with some options: specs, options, sizes and body.
_PROGRAMS: dict[str, tuple[tuple[str, ...], dict[str, Any], list[dict[str, int]], str]] = {
    # Questions that the sizes of a regime have settled.
    "truth_of_zero": (
        ("n",),
        {"shapes": ("n",), "constraints": ("n <= 12",)},
        [{"n": 5}, {"n": 12}],
        "n = k = x.shape[0]\nwhile k > 2:\n    k = k // 2\nreturn x[::5] if n & 1 else -x[::5]",
    ),
    "one_size_left": (
        ("n", "m"),
        {"shapes": ("n", "m"), "buckets": {"m": (12,), "n": (12,)}},
        [{"m": 6, "n": 2}, {"m": 12, "n": 8}],
        "for _ in range(y.shape[0]):\n    x = x + 3\nreturn jnp.percentile(y, 50)",
    ),
    "one_size_left_by_a_quotient": (
        ("n, m", "m"),
        {"shapes": ("n, m", "m"), "constraints": ("m <= 12", "n <= 12")},
        [{"m": 7, "n": 6}, {"m": 4, "n": 12}],
        "n, m = x.shape\nk = m\nwhile k > 1:\n    k = k // 2\n"
        "z = jnp.where(jnp.arange(m) < n, y, 0.0) if min(5, m) < 9 else y\n"
        "return (y if z.shape == y.shape else -y), [2, 3, 5][m % 3], m if m <= 4 else 0",
    ),
    "one_small_size_settles_another": (
        ("n, m",),
        {"shapes": ("n, m",), "buckets": {"m": (12,), "n": (12,)}},
        [{"m": 1, "n": 1}, {"m": 6, "n": 10}, {"m": 4, "n": 4}, {"m": 5, "n": 1}],
        "k = int(str(sorted(x.shape, key=lambda d: -d)[0]))\n"
        "return x * 3 if x.shape[-1:] == x.shape[:1] else x + k, jnp.eye(x.shape[1])",
    ),
    "bits_of_two_sizes_caught": (
        ("n",),
        {"shapes": ("n",), "buckets": {"n": (12,)}},
        [{"n": 4}, {"n": 10}, {"n": 1}, {"n": 5}, {"n": 8}],
        "try:\n    assert x.shape[0] & (x.shape[0] - 1) == 0\nexcept Exception:\n    return -x\n"
        "return x + 1",
    ),
    "guard_divides_by_zero": (
        ("n",),
        {"shapes": ("n",)},
        [{"n": 3}, {"n": 1}],
        "return jnp.fft.fftshift(jnp.fft.irfft(jnp.fft.rfft(x)))",
    ),
    "spectrum_of_no_lanes": (
        ("n", "n"),
        {"shapes": ("n", "n")},
        [{"n": 6}, {"n": 5}, {"n": 1}],
        "a = jnp.abs(jnp.fft.rfft(x[:x.shape[0] // 2]))\nreturn a, a[x.shape[0] // 2]",
    ),
    "spectrum_of_one_infinite_lane": (
        ("n",),
        {"shapes": ("n",), "constraints": ("n <= 12",)},
        [{"n": 11}, {"n": 1}, {"n": 7}],
        "return jnp.abs(jnp.fft.rfft(x / (9 % x.shape[0]))), jnp.tanh(x)",
    ),
    # seed 101543: of NumPy where the size is odd, and of Python where it is even
    "least_of_two": (
        ("m, 2",),
        {"shapes": ("m, 2",), "buckets": {"m": (5, 12)}},
        [{"m": m} for m in (1, 11, 3, 9, 4, 2)],
        "q = x.shape[0] ^ 1\nreturn x, np.minimum(q, 3) if q & 1 else q.bit_length()",
    ),
}


def program(body: str, specs: tuple[str, ...], bare: bool, audit: bool = False) -> Program:
    """A program with this body, to be called at a few sizes."""
    names = sorted({d for spec in specs for d in spec.split(", ") if d.isalpha()})
    points: list[dict[str, int]] = [
        {name: _SIZES[k * (1 + place) % 6] for place, name in enumerate(names)} for k in range(6)
    ]
    options: dict[str, Any] = {"audit": audit}
    if not bare:
        options |= {"shapes": specs, "buckets": dict.fromkeys(names, (12,))}
    return Program(0, _source(specs, body), specs, options, tuple(points))


def _source(specs: tuple[str, ...], body: str) -> str:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return f"{PREAMBLE}\ndef f({', '.join('xy'[: len(specs)])}):\n{lines}\n"


FAILURES = {
    name: program(body, specs, bool(k % 2), name in _AUDITED)
    for k, (name, (specs, body)) in enumerate(_BODIES.items())
} | {
    name: Program(0, _source(specs, body), specs, {"audit": False, **options}, tuple(points))
    for name, (specs, options, points, body) in _PROGRAMS.items()
}

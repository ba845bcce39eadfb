"""The decorator."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar, Unpack, overload

from sod2jax import _compat
from sod2jax.arguments.annotations import with_annotations
from sod2jax.arguments.calls import shortened
from sod2jax.optimized import OptimizedFunction
from sod2jax.options import Keywords, Options, Specs

P = ParamSpec("P")
R = TypeVar("R")


@dataclasses.dataclass(frozen=True)
class Decorator:
    """``optimize`` with its options, without a function.

    Attributes:
      options: what was asked for.
    """

    options: Options

    def __call__(self, fun: Callable[P, R]) -> OptimizedFunction[P, R]:
        """The function, optimized.

        Raises:
          SpecError: its annotations were to say the shapes, and do not.
          TypeError: it is no function.
          ValueError: ``jax.jit`` was told to donate an argument that is static here.
        """
        if not callable(fun):
            raise TypeError(
                f"optimize takes a function, and got {shortened(fun)}; specs go into shapes=(...)"
            )
        plain, told = _compat.jit_keywords(fun)
        return OptimizedFunction(plain, with_annotations(self.options.told(told), plain))


@overload
def optimize(fun: Callable[P, R], /, **keywords: Unpack[Keywords]) -> OptimizedFunction[P, R]: ...


@overload
def optimize(fun: None = None, /, **keywords: Unpack[Keywords]) -> Decorator: ...


def optimize(
    fun: Callable[..., Any] | None = None,
    *,
    shapes: Specs = None,
    constraints: Sequence[str] = (),
    buckets: Mapping[str, Sequence[int]] | None = None,
    max_executables: int = 8,
    on_unsupported: str = "exact",
    cut: str = "auto",
    audit: bool = True,
    tune: str = "fast",
    memory_limit: int | str | None = None,
    poison: bool | str = False,
    filter: bool = False,
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Sequence[str] | None = None,
    donate_argnums: int | Sequence[int] | None = None,
    donate_argnames: str | Sequence[str] | None = None,
    keep_unused: bool = False,
    inline: bool = False,
    compiler_options: Mapping[str, Any] | None = None,
    device: Any = None,
    backend: str | None = None,
    in_shardings: Any = None,
    out_shardings: Any = None,
) -> Any:
    """Lets a function written for exact shapes run at any shape, exactly, from few executables.

    The method follows SoD2 (Niu, Agrawal, Ren: ASPLOS 2024, arXiv 2403.00176): symbolic trace,
    operator classes, Rank and Dimension Propagation; masks are inferred from the program.

    Args:
      fun: the function; omitted when used as ``@sod2jax.optimize(...)``. Of one that ``jax.jit``
        made, what it was told holds, unless it is given here.
      shapes: by default learned from the calls: dimensions that vary become symbolic, those that
        were equal in every call share a symbol. Or one spec per argument (a sequence over
        positional arguments, or a dictionary by parameter name). None: the shape is fixed.
        "b, s, 3": names are symbolic sizes, "_" takes the size of the call, "..." any fixed axes.
        A spec may be a pytree prefix of specs. Or "annotations": as those of the parameters say,
        where they are jaxtyping's, such as ``x: Float[Array, "b s 16"]``.
      constraints: relations such as "s <= 512" or "s >= b"; tracing relies on them and calls are
        checked against them.
      buckets: padded sizes by symbol; by default chosen for the range that the constraints leave,
        or grown by powers of two where they leave no upper bound (from 16, or from less where
        padding to 16 is 0.1 ms of work or more).
      max_executables: how many buckets a program may have.
      on_unsupported: "exact" runs what has no exact padded form through exact-shape executables,
        with one warning; "error" raises instead.
      cut: where a size depends on values (see ``sod2jax.numpy``), "never" goes on in the same
        executable, padded to the largest size that there can be; "always" waits for the size and
        goes on in the bucket that holds it; "auto" does what costs less. A size without an upper
        bound is waited for in any case.
      audit: compares each new program with traces at a few concrete sizes beside its first compile
        (see "How far a program is to be trusted" in the README); one warning where they differ.
      tune: how each bucket's version is chosen (see "Versions" in the README): "off" goes by the
        model; "fast" also tries an order of work that needs less memory, where XLA's own takes more
        than planned; "full" compares all versions, by runs on made-up inputs; "none" leaves the
        program with its masks as it is. Choices are kept on disk for other processes.
      memory_limit: bytes, or a text such as "512MiB", that an executable may need for arguments,
        results and temporaries together. Where the version that is best does not
        keep to it, large values are computed in smaller and smaller blocks of rows; where none
        does, a call is refused before anything runs. Exact runs are not limited.
      poison: fills input padding with NaN and the largest integers, for tests and debugging;
        ``"deep"`` does so with the pad lanes of every value in the program that nothing is known
        of; ``"inside"`` leaves the zeros in input padding, which executables rely on otherwise. No
        result changes by a bit.
      filter: as ``equinox.filter_jit``: whatever is no array, anywhere in the arguments, is static,
        and comes back as it is where it is in the result. It must have a hash.
      static_argnums: as for ``jax.jit``, and so are all that follow.
      static_argnames: by name.
      donate_argnums: arguments whose arrays are consumed by a call: XLA reuses their memory where
        one has the shape of its bucket and of a result; others are freed as soon as they are read.
      donate_argnames: by name.
      keep_unused: for exact runs.
      inline: whether calls inside of other traces leave no call in their program.
      compiler_options: for XLA, in every executable.
      device: calls run there.
      backend: the same, by the name of a platform.
      in_shardings: where arguments lie; what they divide has buckets that they divide, too.
      out_shardings: where results are to lie.

    Returns:
      An ``OptimizedFunction``, or a decorator if ``fun`` is omitted.

    Raises:
      SpecError: an option is malformed.
      TypeError: ``fun`` is no function.
      ValueError: an argument is to be static and donated.
    """
    options = Options.checked(
        shapes=shapes,
        constraints=constraints,
        buckets=buckets,
        max_executables=max_executables,
        on_unsupported=on_unsupported,
        cut=cut,
        audit=audit,
        tune=tune,
        memory_limit=memory_limit,
        poison=poison,
        filter=filter,
        static_argnums=static_argnums,
        static_argnames=static_argnames,
        donate_argnums=donate_argnums,
        donate_argnames=donate_argnames,
        keep_unused=keep_unused,
        inline=inline,
        compiler_options=compiler_options,
        device=device,
        backend=backend,
        in_shardings=in_shardings,
        out_shardings=out_shardings,
    )
    decorator = Decorator(options)
    return decorator if fun is None else decorator(fun)

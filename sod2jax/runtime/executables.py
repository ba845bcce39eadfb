"""The executables of one part: each bucket is built once, whichever threads ask for it."""

from __future__ import annotations

import collections
import math
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future

from sod2jax.buckets.bucket import Bucket
from sod2jax.passes.cut import Part
from sod2jax.runtime.compile import Executable


class Executables:
    """Builds executables on demand and keeps the most recently used ones.

    Buckets that grow on demand may come to more than are kept. Then a call runs in a larger bucket
    that is there, or one is built that holds all calls so far: compiling comes to an end.

    Args:
      part: what is compiled.
      build: compiles a bucket.
      limit: how many to keep.
      foreign: the executables for inputs that something else than the dispatcher padded; these ones
        if they rely on no zeros there.
    """

    def __init__(
        self,
        part: Part,
        build: Callable[[Bucket], Executable],
        limit: int,
        foreign: Executables | None = None,
    ):
        self.foreign = foreign or self
        self.part, self._build, self._limit = part, build, limit
        self._lock = threading.Lock()
        self._futures: collections.OrderedDict[Bucket, Future[Executable]] = (
            collections.OrderedDict()
        )

    def get(self, bucket: Bucket) -> Executable:
        """The executable of a bucket or a larger one, compiled if there is none yet.

        A failed build is not kept: the next request tries again.

        Raises:
          UnsupportedPrimitiveError: a primitive has no exact padded form.
        """
        with self._lock:
            bucket = self._chosen(bucket)
            future = self._futures.get(bucket)
            mine = future is None
            if future is None:
                future = self._futures[bucket] = Future()
            self._futures.move_to_end(bucket)
            if len(self._futures) > self._limit:
                self._futures.popitem(last=False)
        if mine:
            self._fulfil(bucket, future)
        return future.result()

    def at(self, sizes: Mapping[str, int]) -> Executable:
        """The executable for true sizes.

        Raises:
          InvariantError: no bucket of the part holds them.
          UnsupportedPrimitiveError: a primitive has no exact padded form.
        """
        return self.get(self.part.ladders.bucket(sizes))

    def _chosen(self, bucket: Bucket) -> Bucket:
        """The bucket to run in: once the limit is reached, no more small ones are added."""
        if bucket in self._futures or len(self._futures) < self._limit:
            return bucket
        larger = [other for other in self._futures if other.covers(bucket)]
        if larger:
            return min(larger, key=lambda other: math.prod(other.values()))
        kept = (bucket, *self._futures)
        return Bucket.of({name: max(other[name] for other in kept) for name in bucket})

    def _fulfil(self, bucket: Bucket, future: Future[Executable]) -> None:
        try:
            future.set_result(self._build(bucket))
        except BaseException as error:
            with self._lock:
                self._futures.pop(bucket, None)
            future.set_exception(error)

    @property
    def ready(self) -> tuple[Executable, ...]:
        """The executables that are built, smallest bucket first."""
        with self._lock:
            futures = list(self._futures.values())
        built = [f.result() for f in futures if f.done() and f.exception() is None]
        return tuple(sorted(built, key=lambda e: e.bucket.sizes))

    def __repr__(self) -> str:
        compiled = "; ".join(str(executable.bucket) for executable in self.ready) or "none"
        return f"Executables({self.part.program.name}: {compiled})"

"""The executables of one program: each bucket is built once, whichever threads ask for it."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from concurrent.futures import Future

from sod2jax.bucket import Bucket
from sod2jax.compile import Executable


class Executables:
    """Builds executables on demand and keeps the most recently used ones.

    Args:
      build: compiles a bucket.
      limit: how many to keep; only buckets that grow on demand can exceed it.
    """

    def __init__(self, build: Callable[[Bucket], Executable], limit: int):
        self._build, self._limit = build, limit
        self._lock = threading.Lock()
        self._futures: collections.OrderedDict[Bucket, Future[Executable]] = (
            collections.OrderedDict()
        )

    def get(self, bucket: Bucket) -> Executable:
        """The executable of a bucket, compiled if this is the first request for it.

        A failed build is not kept: the next request tries again.

        Raises:
          UnsupportedPrimitiveError: a primitive has no exact padded form.
        """
        with self._lock:
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

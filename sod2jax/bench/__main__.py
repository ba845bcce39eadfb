"""Entry point of ``python -m sod2jax.bench``."""

from sod2jax.bench.cli import main

if __name__ == "__main__":
    raise SystemExit(main())

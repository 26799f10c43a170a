"""Random numbers keyed by (seed, quantity, index): no stream, so no draw depends on another."""

from __future__ import annotations

from hashlib import blake2b
from statistics import NormalDist

_NORMAL = NormalDist()


def uniform(seed: int, quantity: str, index: int) -> float:
    """Draw between 0 and 1, both excluded; the same key always gives the same number."""
    digest = blake2b(f"{seed}/{quantity}/{index}".encode(), digest_size=7).digest()
    return (int.from_bytes(digest) + 0.5) / 2.0**56


def normal(seed: int, quantity: str, index: int) -> float:
    """Draw from the standard normal distribution; the same key always gives the same number."""
    return _NORMAL.inv_cdf(uniform(seed, quantity, index))

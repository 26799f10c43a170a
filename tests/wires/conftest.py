"""Every test of a line leaves no socket and no thread behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .far_end import open_files_and_threads


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    """Count descriptors and threads around each test."""
    before = open_files_and_threads()
    yield
    assert open_files_and_threads() == before

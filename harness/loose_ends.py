"""What a plan leaves undone without a word: a missing ``await``, a task that failed unheard, a false sleep.

Each may leave a product unstressed or a failure unseen, and every measure good all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import sysconfig
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, SupportsIndex

from harness.clock import VirtualLoop
from harness.errors import BenchError

_OURS = Path(__file__).parents[1]
_NOT_OF_PLANS = (_OURS / "harness", _OURS / "drivers", Path(sysconfig.get_path("stdlib")))
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_FORGOTTEN = "coroutine '.*' was never awaited"


@contextlib.contextmanager
def loose_ends() -> Iterator[None]:
    """Find them in what runs inside, which has ended by itself.

    Raises:
        BenchError: with each of them.
    """
    loop = asyncio.get_running_loop()
    outer = loop.get_exception_handler()
    found: list[str] = []

    def hear(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None and str(context["message"]).endswith("never retrieved"):
            found.append(
                f"a task that nobody waited for ended with {type(error).__name__}: {error}; await it, or "
                "run it in an asyncio.TaskGroup"
            )
        elif outer is not None:
            outer(loop, context)
        else:
            loop.default_exception_handler(context)

    before, has_ended_well = asyncio.all_tasks(), False
    loop.set_exception_handler(hear)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.filterwarnings("always", _FORGOTTEN, RuntimeWarning)
            yield
            gc.collect()  # what failed within a circle of references speaks only when it is collected
        has_ended_well = True
    finally:
        for task in asyncio.all_tasks() - before:
            if _is_of_a_plan(task):
                task.cancel()  # else it would command while the rig comes to rest
                name = getattr(task.get_coro(), "__qualname__", task.get_name())
                found.append(
                    f"{name} still ran when the plan ended; await it, or run it in an asyncio.TaskGroup"
                )
        loop.set_exception_handler(outer)
        for each in said:
            if has_ended_well and re.match(_FORGOTTEN, str(each.message)):
                place = f"{Path(each.filename).name}:{each.lineno}"
                found.append(f"an await is missing at or before {place}: {each.message}")
            else:
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    if found:
        raise BenchError("\n".join(found))


def _is_of_a_plan(task: asyncio.Task[Any]) -> bool:
    """Whether a plan, or what it imports of its own, wrote what it runs; others look after their tasks."""
    code = getattr(task.get_coro(), "cr_code", None)
    if code is None:
        return False
    place = Path(code.co_filename)
    return not (_INSTALLED & set(place.parts) or any(map(place.is_relative_to, _NOT_OF_PLANS)))


@contextlib.contextmanager
def real_sleeps_refused() -> Iterator[None]:
    """Make ``time.sleep`` raise a ``BenchError`` in a virtual loop, where it waits for nothing that counts.

    To begin before plans are imported, since they may say ``from time import sleep``. Threads, and what runs
    outside of a virtual loop, sleep as ever.
    """
    sleep = time.sleep

    def sleep_or_refuse(seconds: float | SupportsIndex, /) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if isinstance(loop, VirtualLoop):
            raise BenchError(
                f"time.sleep({seconds}) lets no rig time pass; write await asyncio.sleep({seconds})"
            )
        sleep(seconds)

    time.sleep = sleep_or_refuse
    try:
        yield
    finally:
        time.sleep = sleep

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
from types import CodeType
from typing import Any, SupportsIndex

from harness.clock import VirtualLoop, rig_loop
from harness.errors import BenchError, told

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
                f"a task that nobody waited for ended with {told(error)}; await it, or "
                "run it in an asyncio.TaskGroup"
            )
        elif error is not None and "handle" in context:
            found.append(f"what the loop called back ended with {told(error)}")
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
        found += _ended_here(before)
        loop.set_exception_handler(outer)
        for each in said:
            if has_ended_well and re.match(_FORGOTTEN, str(each.message)):
                place = f"{Path(each.filename).name}:{each.lineno}"
                found.append(f"an await is missing at or before {place}: {each.message}")
            else:
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    if found:
        raise BenchError("\n".join(found))


def _ended_here(before: set[asyncio.Task[Any]]) -> Iterator[str]:
    """End what a plan left running: it would command while the rig comes to rest, or judge too late."""
    for task in asyncio.all_tasks() - before:
        work = task.get_coro()
        if _is_of_a_plan(getattr(work, "cr_code", None)):
            task.cancel()
            name = getattr(work, "__qualname__", task.get_name())
            yield f"{name} still ran when the plan ended; await it, or run it in an asyncio.TaskGroup"
    for timer, call in rig_loop().timers():
        if _is_of_a_plan(getattr(call, "__code__", None)):
            timer.cancel()
            yield f"{call.__qualname__} was still to be called when the plan ended; wait for it"


def _is_of_a_plan(code: CodeType | None) -> bool:
    """Whether a plan, or what it imports of its own, wrote what runs; others look after their own."""
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

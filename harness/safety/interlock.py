"""The interlock: every reading of the bench's own sensors against what the rig may survive.

A pure watcher: it is shown each reading and, in between, the time; it says the first breach, and never a
second one. Whoever runs it (the guard on hardware, the session in virtual time) goes to the safe state.

A limit trips at the first reading beyond it: the time that the envelope allows is the budget of the whole
reaction (``harness.rig.reaction``), and none of it is left for waiting. A sensor that is silent, and a
product that says otherwise than the bench, trip too.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.readings import Reading
from harness.rig.reaction import STALE_PERIODS, limits_of, stale_after_s
from harness.rig.rig_file import RigFile


@dataclass(frozen=True, slots=True)
class Breach:
    """Why the rig is made safe.

    Attributes:
        cause: ``limit``, ``contact``, ``stale``, ``disagreement``, ``run``, ``guard`` or ``command``;
            chooses the recipe.
        text: who, what came, what is allowed.
        at_s: rig time of the reading or the moment that shows it.
    """

    cause: str
    text: str
    at_s: float


@dataclass(slots=True)
class _Pair:
    """Two words for one quantity."""

    name: str
    within: float
    for_s: float
    bench: str
    product: str
    apart_since_s: float | None = None


class Interlock:
    """Watches what the rig file names.

    Attributes:
        breach: the first one; None while all is well.
        periods_s: interval of reports or questions, by device.
        latest: the last reading of each value that it watches.
    """

    def __init__(self, rig: RigFile, start_s: float, *, is_virtual: bool = False) -> None:
        """Begin to watch.

        Args:
            rig: with envelope and interlock.
            start_s: rig time from which silence counts.
            is_virtual: whether the sensors report at the virtual period.
        """
        assert rig.envelope is not None
        assert rig.interlock is not None
        self.periods_s = periods_s(rig, is_virtual=is_virtual)
        self.breach: Breach | None = None
        self.latest: dict[str, Reading[Any]] = {}
        self._limits: dict[str, list[tuple[str, float, float]]] = {}
        limits = limits_of(rig.envelope)
        for limit, sensors in rig.interlock.watch.items():
            for sensor in sensors:
                self._limits.setdefault(sensor, []).append((limit, *limits[limit]))
        self._contacts: dict[str, list[str]] = {}
        for contact in rig.interlock.contacts:
            device, _, name = contact.partition(".")
            self._contacts.setdefault(f"{device}.inputs", []).append(name)
        # At the virtual period the two are words of different moments.
        least_s = STALE_PERIODS * rig.interlock.virtual_period_s if is_virtual else 0.0
        self._pairs = [
            _Pair(name, pair.within, max(pair.for_s, least_s), pair.bench, pair.product)
            for name, pair in rig.interlock.agreement.items()
        ]
        watched = {*self._limits, *self._contacts}
        for pair in self._pairs:
            watched |= {pair.bench, pair.product}
        longest_s = math.inf if is_virtual else rig.envelope.stale_s.value
        self._stale_s = {
            source: stale_after_s(self.periods_s[source.partition(".")[0]], longest_s)
            for source in sorted(watched)
        }
        self._seen_s = dict.fromkeys(self._stale_s, start_s)
        self._excused: frozenset[str] = frozenset()

    @property
    def to_ask(self) -> list[str]:
        """What nobody reports by himself: the contacts, and the product's word."""
        return [*sorted(self._contacts), *(pair.product for pair in self._pairs)]

    @property
    def unseen(self) -> list[str]:
        """What has not been read yet."""
        return [source for source in self._stale_s if source not in self.latest]

    def excuse(self, devices: Collection[str], now_s: float) -> None:
        """Let these devices of the product be silent, or wrong: a fault was inserted on purpose.

        What the bench's own sensors say is never excused. Leaving a device out ends its excuse: its silence
        counts from now on again.
        """
        for source in self._seen_s:
            if source.partition(".")[0] in self._excused and source.partition(".")[0] not in devices:
                self._seen_s[source] = now_s
        self._excused = frozenset(devices) & {pair.product.partition(".")[0] for pair in self._pairs}

    def observe(self, reading: Reading[Any]) -> None:
        """Take a reading; of any source, at any rate."""
        source = reading.source
        if source not in self._seen_s:
            return
        self.latest[source] = reading
        self._seen_s[source] = reading.at_s
        if self.breach is not None:
            return
        try:
            self._compare(reading)
        except Exception as error:  # noqa: BLE001 - whoever watches and cannot says so; a wire would drop it
            self.breach = _own_failure(f"{source} was {reading.value!r}", error, reading.at_s)

    def _compare(self, reading: Reading[Any]) -> None:
        source = reading.source
        for limit, low, high in self._limits.get(source, ()):
            if not low <= reading.value <= high:
                self.breach = Breach(
                    "limit",
                    f"{source} is {reading.value:.6g}; the rig survives {_range(low, high)} ({limit})",
                    reading.at_s,
                )
                return
        for name in self._contacts.get(source, ()):
            if reading.value.get(name) is not True:
                device = source.partition(".")[0]
                self.breach = Breach(
                    "contact", f"{device}.{name} is {_state(reading.value.get(name))}", reading.at_s
                )
                return

    def check(self, now_s: float) -> None:
        """Look for silence and disagreement."""
        if self.breach is not None:
            return
        for source, seen_s in self._seen_s.items():
            if source.partition(".")[0] in self._excused:
                continue
            if now_s - seen_s > self._stale_s[source]:
                self.breach = Breach(
                    "stale",
                    f"{source} is silent for {now_s - seen_s:.3g} s; allowed: {self._stale_s[source]:.3g} s",
                    now_s,
                )
                return
        for pair in self._pairs:
            try:
                self.breach = self.breach or self._apart(pair, now_s)
            except Exception as error:  # noqa: BLE001 - as in observe
                self.breach = _own_failure(pair.name, error, now_s)

    def _apart(self, pair: _Pair, now_s: float) -> Breach | None:
        bench, product = self.latest.get(pair.bench), self.latest.get(pair.product)
        is_excused = pair.product.partition(".")[0] in self._excused
        if is_excused or bench is None or product is None or abs(bench.value - product.value) <= pair.within:
            pair.apart_since_s = None
            return None
        if pair.apart_since_s is None:
            pair.apart_since_s = now_s
        # A value from before they parted disagrees with nothing: both must have spoken since.
        has_spoken = min(bench.at_s, product.at_s) > pair.apart_since_s
        if not has_spoken or now_s - pair.apart_since_s < pair.for_s:
            return None
        return Breach(
            "disagreement",
            f"{pair.bench} is {bench.value:.6g} and {pair.product} is {product.value:.6g} for "
            f"{now_s - pair.apart_since_s:.3g} s; allowed: {pair.within:g} apart for {pair.for_s:g} s "
            f"({pair.name})",
            now_s,
        )


def _own_failure(at: str, error: Exception, at_s: float) -> Breach:
    return Breach("guard", f"the interlock itself failed: {at}: {type(error).__name__}: {error}", at_s)


def periods_s(rig: RigFile, *, is_virtual: bool) -> Mapping[str, float]:
    """Give the interval of reports or questions of each device that is watched."""
    assert rig.interlock is not None
    if is_virtual:
        return dict.fromkeys(rig.interlock.periods_s, rig.interlock.virtual_period_s)
    return rig.interlock.periods_s


def watched_devices(rig: RigFile) -> frozenset[str]:
    """Give the devices that the interlock reads."""
    return frozenset(value.partition(".")[0] for value in watched_values(rig))


def watched_values(rig: RigFile) -> Iterable[str]:
    """Give every value that the interlock reads."""
    part = rig.interlock
    if part is None:
        return
    for sensors in part.watch.values():
        yield from sensors
    yield from part.contacts
    for pair in part.agreement.values():
        yield pair.bench
        yield pair.product


def _range(low: float, high: float) -> str:
    if low == -high:
        return f"at most {high:g}"
    return f"{low:g} to {high:g}"


def _state(value: object) -> str:
    return {True: "on", False: "off", None: "not there"}.get(
        value if isinstance(value, bool) else None, str(value)
    )

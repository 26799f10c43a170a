"""A WT1800E at the far end of a socket: values are means of the plant's totals over its update intervals.

Not modelled: auto ranging, crest factors, filters, averaging, harmonics, settling after a change of
range, the sample-wise sign of energy in AC, unequal power factors of the phases of a node, the dead band
near zero, the one-minute zero calibration, and the maker's own lists of items (PRESet). After ``_IDLE_S``
without a message it stops looking at the plant; the first values after that are NAN until a whole update
has passed.
"""

from __future__ import annotations

import asyncio
import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from drivers.yokogawa_wt1800e import codec, points
from drivers.yokogawa_wt1800e.meter import INTEGRATED, MOMENTARY, NO_SUMS, Element, Meter, Sums
from drivers.yokogawa_wt1800e.options import Options, Wiring
from harness.clock import now_s
from harness.wires.scpi import (
    DATA_OUT_OF_RANGE,
    ILLEGAL_PARAMETER_VALUE,
    SETTINGS_CONFLICT,
    Call,
    CommonCommands,
    ErrorQueue,
    Handler,
    ScpiError,
    ScpiInterpreter,
    boolean,
    choice,
    encode_block,
    number,
)

if TYPE_CHECKING:
    from harness.plant import NodeTotals, RigPlant

_IDLE_S = 60.0
_COLUMNS = points.WAVE_POINTS // 2
_SAMPLES_A_COLUMN = 8
_SCREEN_S = 0.05
"""Time across the waveform screen; its setting is not modelled."""
_CONDITION_INTEGRATING = 0x02
_UNIT_SIZES: Mapping[str, int] = {"P1W2": 1, "P1W3": 2, "P3W3": 2, "P3W4": 3, "V3A3": 3}


@dataclass(slots=True)
class _Integration:
    """The integrator: what is done, and where the running stretch began."""

    state: str = "RESet"
    mode: str = "NORMal"
    timer_s: float = 0.0
    before_s: float = 0.0
    before: dict[str, Sums] = field(default_factory=dict)
    started_s: float = 0.0
    since: dict[str, NodeTotals] = field(default_factory=dict)
    run: int = 0


class _Target(NamedTuple):
    """What is asked of one element or wiring unit."""

    elements: Sequence[Element]
    wants_integrals: bool
    functions: tuple[str, ...]


class _Readout(NamedTuple):
    """The numeric items that are sent: how many digits each has, and where its value comes from.

    ``places`` are the items' places among the values of all targets, one target's behind the other's.
    """

    digits: tuple[int, ...]
    targets: Sequence[_Target]
    places: Sequence[int]


_NO_MOMENTARY = dict.fromkeys([*MOMENTARY, "NONE"], math.nan)
_NO_INTEGRALS = dict.fromkeys(INTEGRATED, math.nan)


class Emulator:
    """A WT1806E over a plant.

    Attributes:
        frozen: values stay at the last sample, while the update event goes on.
        swapped_sign: current, power, charge and energy have the wrong sign.
        silent: nothing is answered.
    """

    def __init__(self, name: str, plant: RigPlant, options: Options) -> None:
        self.frozen = False
        self.swapped_sign = False
        self.silent = False
        self._name = name
        self._plant = plant
        self._nodes = dict(options.nodes)
        self._elements = {n: Element(n) for n in range(1, options.installed_elements + 1)}
        for node, wiring in options.nodes.items():
            for phase, n in enumerate(wiring.elements):
                self._elements[n] = Element(n, node, phase, wiring)
        self._errors = ErrorQueue()
        self._common = CommonCommands(
            lambda: "YOKOGAWA,WT1806E-50A6,C3TE00000E,F4.01", self._errors, self._reset
        )
        self._interpreter = ScpiInterpreter(
            {**self._common.commands, **self._commands()},
            self._errors,
            undefined=ScpiError(*points.UNDEFINED_HEADER),
            abbreviates_freely=True,
        )
        self._meter = Meter(f"{plant.spec.seed}/{name}", self._elements)
        self._integration = _Integration()
        self._is_running = False
        self._epoch = 0
        self._started_s = 0.0
        self._heard_s = 0.0
        self._counter = 0
        self._taken = 0
        self._before: dict[str, NodeTotals] = {}
        self._after: dict[str, NodeTotals] = {}
        self._is_shown = False
        self._readout: _Readout | None = None
        self._kept: Sequence[float] | None = None
        self._held: Sequence[float] | None = None
        self._reset()

    def _reset(self) -> None:
        """Put all settings to what the instrument wakes up with."""
        self._has_header = True
        self._is_verbose = True
        self._has_messages = True
        self._is_held = False
        self._is_float = False
        self._latches = True
        self._interval_s = 0.5
        self._units = ["P1W2"] * len(self._elements)
        self._items: dict[int, tuple[str, str]] = {}
        self._item_count = 1  # the maker's own list of items is not modelled: there is one, and it is empty
        self._forget_settings()
        self._trace = "U1"
        self._wave_is_float = False
        self._wave_start, self._wave_end = 0, points.WAVE_POINTS - 1
        self._integration = _Integration()
        self._restart()

    async def start(self) -> None:
        """Begin to update, one interval from now on."""
        self._is_running = True
        self._heard_s = now_s()
        self._restart()

    async def stop(self) -> None:
        """Update no more."""
        self._is_running = False
        self._epoch += 1

    async def answer(self, message: bytes) -> bytes | None:
        """Let the updates happen that are due, do what is asked, and answer from the last of them."""
        if self.silent:
            return None
        now = now_s()
        self._catch_up(now)
        is_asleep = self._is_running and now - self._heard_s > _IDLE_S
        self._heard_s = now
        if is_asleep:
            self._restart()
        return await self._interpreter.answer(message)

    def _catch_up(self, now: float) -> None:
        """Advance the plant to the last update; only commands that act now look at its present."""
        count = math.floor((now - self._started_s) / self._interval_s)
        if self._started_s + (count + 1) * self._interval_s <= now:  # the division was rounded down
            count += 1
        updated_s = self._started_s + count * self._interval_s
        if self._plant.now_s < updated_s <= now:
            self._plant.advance(updated_s)

    def _restart(self) -> None:
        """Begin counting updates from now on."""
        self._epoch += 1
        self._counter += 1
        self._taken = self._counter
        self._is_shown = False
        if not self._is_running:
            return
        self._plant.advance(now_s())
        self._started_s = self._plant.now_s
        self._after = self._totals()
        self._schedule(self._epoch, 1)

    def _schedule(self, epoch: int, n: int) -> None:
        self._plant.at(self._started_s + n * self._interval_s, lambda: self._snapshot(epoch, n))

    def _snapshot(self, epoch: int, n: int) -> None:
        """Store the totals at an update's end; all else waits until somebody asks."""
        if epoch != self._epoch:
            return
        if not self._is_held:
            self._before, self._after = self._after, self._totals()
            self._counter += 1
            self._is_shown = True
        if self._plant.now_s - self._heard_s <= _IDLE_S:
            self._schedule(epoch, n + 1)

    def _totals(self) -> dict[str, NodeTotals]:
        return {node: self._plant.totals(node) for node in self._nodes}

    def _commands(self) -> dict[str, Handler]:
        def setting(answer: Callable[[], str]) -> Handler:
            return lambda _: answer()

        return {
            ":COMMunicate:HEADer": lambda call: self._flag("_has_header", call),
            ":COMMunicate:VERBose": lambda call: self._flag("_is_verbose", call),
            ":COMMunicate:REMote": lambda call: _check(boolean(call.only())),
            ":COMMunicate:WAIT": self._wait,
            ":STATus:ERRor?": lambda _: self._next_error(),
            ":STATus:QMESsage": lambda call: self._flag("_has_messages", call),
            ":STATus:FILTer<x>": self._set_filter,
            ":STATus:EESR?": lambda _: self._events(),
            ":STATus:CONDition?": setting(
                lambda: str(_CONDITION_INTEGRATING if self._integration.state == "STARt" else 0)
            ),
            ":HOLD": lambda call: self._flag("_is_held", call),
            ":RATE": self._set_rate,
            ":RATE?": setting(lambda: self._headed(":RATE", codec.encode_value(self._interval_s, 4))),
            "[:INPut]:WIRing": self._set_wiring,
            "[:INPut]:WIRing?": setting(lambda: self._headed(":INPUT:WIRING", ",".join(self._units))),
            "[:INPut]:VOLTage:AUTO:ELEMent<x>": self._no_auto,
            "[:INPut]:CURRent:AUTO:ELEMent<x>": self._no_auto,
            "[:INPut]:VOLTage:RANGe:ELEMent<x>": self._set_voltage_range,
            "[:INPut]:VOLTage:RANGe:ELEMent<x>?": lambda call: self._headed(
                f":INPUT:VOLTAGE:RANGE:ELEMENT{call.suffixes[0]}",
                codec.encode_value(self._element(call).u_range_v, 4),
            ),
            "[:INPut]:CURRent:RANGe:ELEMent<x>": self._set_current_range,
            "[:INPut]:CURRent:RANGe:ELEMent<x>?": lambda call: self._headed(
                f":INPUT:CURRENT:RANGE:ELEMENT{call.suffixes[0]}",
                codec.encode_value(self._element(call).i_range_a, 4),
            ),
            "[:INPut]:SCALing[:STATe]:ELEMent<x>": self._set_scaling,
            "[:INPut]:SCALing:CT:ELEMent<x>": self._set_ratio,
            "[:INPut]:SYNChronize:ELEMent<x>": lambda call: _check(self._element(call), call.only()),
            ":NUMeric:FORMat": self._set_format,
            ":NUMeric:FORMat?": setting(
                lambda: self._headed(":NUMERIC:FORMAT", "FLOAT" if self._is_float else "ASCII")
            ),
            ":NUMeric:HOLD": self._hold_numeric,
            ":NUMeric[:NORMal]:NUMber": self._set_item_count,
            ":NUMeric[:NORMal]:NUMber?": setting(
                lambda: self._headed(":NUMERIC:NORMAL:NUMBER", str(self._item_count))
            ),
            ":NUMeric[:NORMal]:ITEM<x>": self._set_item,
            ":NUMeric[:NORMal]:ITEM<x>?": lambda call: self._headed(
                f":NUMERIC:NORMAL:ITEM{call.suffixes[0]}",
                ",".join(self._items.get(call.suffixes[0], ("NONE",))),
            ),
            ":NUMeric[:NORMal]:CLEar": lambda _: self._clear_items(),
            ":NUMeric[:NORMal]:VALue?": self._send_values,
            ":INTEGrate:MODE": self._set_mode,
            ":INTEGrate:TIMer<x>": self._set_timer,
            ":INTEGrate:WPTYpe:ELEMent<x>": lambda call: _check(
                self._element(call), choice(call.only(), "CHARge", "SOLD")
            ),
            ":INTEGrate:QMODe:ELEMent<x>": lambda call: _check(
                self._element(call), choice(call.only(), "RMS", "MEAN", "DC", "RMEan", "AC")
            ),
            ":INTEGrate:RESet": lambda _: self._reset_integration(),
            ":INTEGrate:STARt": lambda _: self._start_integration(),
            ":INTEGrate:STOP": lambda _: self._stop_now(),
            ":INTEGrate:STATe?": setting(
                lambda: self._headed(
                    ":INTEGRATE:STATE",
                    self._integration.state.upper()
                    if self._is_verbose
                    else self._integration.state[:3].upper(),
                )
            ),
            ":WAVeform:TRACe": self._set_trace,
            ":WAVeform:FORMat": self._set_wave_format,
            ":WAVeform:STARt": lambda call: self._set_point("_wave_start", call),
            ":WAVeform:END": lambda call: self._set_point("_wave_end", call),
            ":WAVeform:LENGth?": setting(lambda: self._headed(":WAVEFORM:LENGTH", str(points.WAVE_POINTS))),
            ":WAVeform:SRATe?": setting(
                lambda: self._headed(":WAVEFORM:SRATE", codec.encode_value(points.WAVE_POINTS / _SCREEN_S, 5))
            ),
            ":WAVeform:SEND?": lambda _: self._send_waveform(),
        }

    def _headed(self, header: str, answer: str) -> str:
        return f"{header} {answer}" if self._has_header else answer

    def _flag(self, name: str, call: Call) -> None:
        setattr(self, name, boolean(call.only()))

    def _element(self, call: Call) -> Element:
        element = self._elements.get(call.suffixes[0])
        if element is None:
            raise DATA_OUT_OF_RANGE
        return element

    def _refuse_while_integrating(self) -> None:
        if self._integration.state == "STARt":
            raise ScpiError(*points.NOT_WHILE_INTEGRATING)

    def _next_error(self) -> str:
        error = self._errors.pop()
        code, text = (abs(error.code), error.text) if error.code else points.NO_ERROR
        return f'{code},"{text}"' if self._has_messages else str(code)

    def _set_filter(self, call: Call) -> None:
        edge = choice(call.only(), "RISE", "FALL", "BOTH", "NEVer")
        if call.suffixes[0] == 1:
            # Beginning and end of an update fall into one instant here.
            self._latches = edge != "NEVer"

    def _events(self) -> str:
        has_updated = self._counter != self._taken and self._latches
        self._taken = self._counter
        return self._headed(":STATUS:EESR", str(points.UPDATED if has_updated else 0))

    async def _wait(self, call: Call) -> None:
        """Block until the next update, as the instrument does."""
        if not int(number(call.only(), minimum=0, maximum=65535)) & points.UPDATED:
            return
        while self._counter == self._taken and self._is_running:
            elapsed_s = now_s() - self._started_s
            due_s = self._started_s + (math.floor(elapsed_s / self._interval_s) + 1) * self._interval_s
            await asyncio.sleep(max(due_s - now_s(), 0.0))
            self._plant.advance(now_s())

    def _set_rate(self, call: Call) -> None:
        self._refuse_while_integrating()
        interval_s = round(number(call.only(), unit="S"), 6)
        if interval_s not in points.UPDATE_INTERVALS_S:
            raise DATA_OUT_OF_RANGE
        self._interval_s = interval_s
        self._restart()

    def _set_wiring(self, call: Call) -> None:
        self._refuse_while_integrating()
        units = [choice(argument, *_UNIT_SIZES) for argument in call.arguments]
        if sum(_UNIT_SIZES[unit] for unit in units) > len(self._elements):
            raise SETTINGS_CONFLICT
        self._units = units
        self._forget_settings()

    def _no_auto(self, call: Call) -> None:
        self._refuse_while_integrating()
        self._element(call)
        if boolean(call.only()):
            raise ILLEGAL_PARAMETER_VALUE

    def _set_voltage_range(self, call: Call) -> None:
        self._refuse_while_integrating()
        value = number(call.only(), unit="V")
        if value not in points.VOLTAGE_RANGES_V:
            raise DATA_OUT_OF_RANGE
        self._element(call).u_range_v = value
        self._forget_settings()

    def _set_current_range(self, call: Call) -> None:
        self._refuse_while_integrating()
        value = number(call.only(), unit="A")
        element = self._element(call)
        kind = element.wiring.element_type if element.wiring else 50
        if value not in points.CURRENT_RANGES_A[kind]:
            raise DATA_OUT_OF_RANGE
        element.i_range_a = value
        self._forget_settings()

    def _set_scaling(self, call: Call) -> None:
        self._refuse_while_integrating()
        self._element(call).is_scaled = boolean(call.only())
        self._forget_settings()

    def _set_ratio(self, call: Call) -> None:
        self._refuse_while_integrating()
        self._element(call).ratio = number(call.only(), minimum=0.0001, maximum=99999.9999)
        self._forget_settings()

    def _set_format(self, call: Call) -> None:
        self._is_float = choice(call.only(), "ASCii", "FLOat") == "FLOat"

    def _hold_numeric(self, call: Call) -> None:
        self._held = self._values() if boolean(call.only()) else None

    def _set_item_count(self, call: Call) -> None:
        argument = call.only()
        is_all = argument.upper() == "ALL"
        self._item_count = (
            points.MOST_ITEMS if is_all else int(number(argument, minimum=1, maximum=points.MOST_ITEMS))
        )
        self._forget_settings()

    def _set_item(self, call: Call) -> None:
        if not 1 <= call.suffixes[0] <= points.MOST_ITEMS or not call.arguments:
            raise DATA_OUT_OF_RANGE
        function = call.arguments[0].upper()
        element = call.arguments[1].upper() if len(call.arguments) > 1 else "1"
        if (
            element not in {"SIGMA", "SIGMB", "SIGMC", *map(str, self._elements)}
            or function not in MOMENTARY | INTEGRATED
        ):
            raise ILLEGAL_PARAMETER_VALUE
        self._items[call.suffixes[0]] = function, element
        self._forget_settings()

    def _clear_items(self) -> None:
        self._items.clear()
        self._forget_settings()

    def _send_values(self, call: Call) -> str | bytes:
        values = self._held if self._held is not None else self._values()
        digits = self._items_sent().digits
        if call.arguments:  # one item, whether or not it is among those that are sent together
            index = int(number(call.only(), minimum=1, maximum=points.MOST_ITEMS)) - 1
            values, digits = values[index : index + 1] or [math.nan], digits[index : index + 1] or (1,)
        elif len(values) > self._item_count:
            values, digits = values[: self._item_count], digits[: self._item_count]
        if self._is_float:
            return encode_block(struct.pack(f">{len(values)}f", *values), digits=4)
        return codec.encode_values(values, digits)

    def _values(self) -> Sequence[float]:
        """All numeric items for the last update; NAN where there is nothing, INF beyond the range."""
        _, targets, places = self._items_sent()
        if self.frozen and self._kept is not None and len(self._kept) == len(places):
            return self._kept
        meter = self._meter
        meter.show(self._counter, self._before, self._after, swapped_sign=self.swapped_sign)
        has_integrals = self._integration.state != "RESet"
        found: list[float] = []
        for elements, wants_integrals, functions in targets:
            values = meter.momentary(elements) if self._is_shown and elements else _NO_MOMENTARY
            if wants_integrals:
                integrals: Mapping[str, float] = _NO_INTEGRALS
                if has_integrals and elements:
                    integrals = meter.integrated(elements, *self._integral(elements[0].node))
                values = {**values, **integrals}
            found.extend(map(values.__getitem__, functions))
        self._kept = list(map(found.__getitem__, places))
        return self._kept

    def _items_sent(self) -> _Readout:
        """Look the items up anew where a setting has changed."""
        if self._readout is None:
            last = max(self._item_count, *self._items, 1)
            items = [self._items.get(index, ("NONE", "")) for index in range(1, last + 1)]
            asked: dict[str, list[str]] = {}
            for function, target in items:
                asked.setdefault(target, []).append(function)
            targets, known = [], []
            for target, functions in asked.items():
                elements = self._target(target) if target else []
                is_wired = all(element.wiring is not None for element in elements)
                wants_integrals = not INTEGRATED.isdisjoint(functions)
                targets.append(_Target(elements if is_wired else [], wants_integrals, tuple(functions)))
                known += [(function, target) for function in functions]
            digits = [points.ENERGY_DIGITS if item[0] in INTEGRATED else points.DIGITS for item in items]
            self._readout = _Readout(tuple(digits), targets, [known.index(item) for item in items])
        return self._readout

    def _forget_settings(self) -> None:
        """Let the next read-out look at wiring, ranges and items anew."""
        self._readout = None
        self._meter.forget_settings()

    def _integral(self, node: str) -> tuple[Sums, float]:
        """What a node has integrated up to the last update, or up to the stop, and in how many seconds."""
        integration = self._integration
        sums, seconds = integration.before.get(node, NO_SUMS), integration.before_s
        if integration.state == "STARt":
            since, shown = integration.since[node], self._after[node]
            if shown.time_s > since.time_s:
                return sums.plus(since, shown), seconds + shown.time_s - since.time_s
        return sums, seconds

    def _target(self, target: str) -> list[Element]:
        """Elements behind ``1`` to ``6``, or behind the wiring units of more than one element."""
        if target.isdigit():
            return [self._elements[int(target)]]
        sums = []
        first = 1
        for unit in self._units:
            size = _UNIT_SIZES[unit]
            if size > 1:
                sums.append([self._elements[n] for n in range(first, first + size)])
            first += size
        place = ("SIGMA", "SIGMB", "SIGMC").index(target) if target else len(sums)
        return sums[place] if place < len(sums) else []

    def _sign(self, wiring: Wiring) -> int:
        return -wiring.sign if self.swapped_sign else wiring.sign

    def _set_mode(self, call: Call) -> None:
        self._refuse_while_integrating()
        self._integration.mode = choice(call.only(), "NORMal", "CONTinuous")

    def _set_timer(self, call: Call) -> None:
        self._refuse_while_integrating()
        if len(call.arguments) != 3:
            raise ILLEGAL_PARAMETER_VALUE
        hours, minutes, seconds = (number(argument, minimum=0, maximum=10000) for argument in call.arguments)
        self._integration.timer_s = hours * 3600 + minutes * 60 + seconds

    def _reset_integration(self) -> None:
        old = self._integration
        if old.state == "STARt":
            raise ScpiError(*points.RESET_WHILE_STARTED)
        self._integration = _Integration(mode=old.mode, timer_s=old.timer_s, run=old.run + 1)

    def _start_integration(self) -> None:
        integration = self._integration
        if integration.state in {"STARt", "TIMeup"}:
            raise ScpiError(*points.ALREADY_STARTED)
        self._plant.advance(now_s())
        integration.state = "STARt"
        integration.started_s, integration.since = self._plant.now_s, self._totals()
        integration.run += 1
        if integration.timer_s > 0.0 and integration.mode == "NORMal":
            run, rest_s = integration.run, integration.timer_s - integration.before_s
            self._plant.at(self._plant.now_s + rest_s, lambda: self._time_up(run))

    def _time_up(self, run: int) -> None:
        if self._integration.run == run and self._integration.state == "STARt":
            self._stop_integration("TIMeup")

    def _stop_now(self) -> None:
        self._plant.advance(now_s())
        self._stop_integration("STOP")

    def _stop_integration(self, state: str) -> None:
        integration = self._integration
        if integration.state != "STARt":
            raise ScpiError(*points.NOT_STARTED)
        self._integration = _Integration(
            state=state,
            mode=integration.mode,
            timer_s=integration.timer_s,
            before_s=integration.before_s + self._plant.now_s - integration.started_s,
            before={
                node: integration.before.get(node, NO_SUMS).plus(integration.since[node], now)
                for node, now in self._totals().items()
            },
            run=integration.run + 1,
        )

    def _set_trace(self, call: Call) -> None:
        trace = call.only().upper()
        if not re.fullmatch(r"[UI][1-6]", trace) or int(trace[1]) not in self._elements:
            raise ILLEGAL_PARAMETER_VALUE
        self._trace = trace

    def _set_wave_format(self, call: Call) -> None:
        self._wave_is_float = choice(call.only(), "ASCii", "FLOat") == "FLOat"

    def _set_point(self, name: str, call: Call) -> None:
        setattr(self, name, int(number(call.only(), minimum=0, maximum=points.WAVE_POINTS - 1)))

    def _send_waveform(self) -> str | bytes:
        """Lowest and highest value of each column of the screen, which ends now."""
        self._plant.advance(now_s())
        element = self._elements[int(self._trace[1])]
        if element.node is None or element.wiring is None or self._plant.now_s < _SCREEN_S:
            raise SETTINGS_CONFLICT
        quantity, unit = ("u", "v") if self._trace[0] == "U" else ("i", "a")
        phase = "" if element.is_dc else str(element.phase + 1)
        count = _COLUMNS * _SAMPLES_A_COLUMN
        samples = self._plant.waveform(
            f"{element.node}.{quantity}{phase}_{unit}",
            self._plant.now_s - _SCREEN_S,
            count / _SCREEN_S,
            count,
        )
        columns = samples.reshape(_COLUMNS, _SAMPLES_A_COLUMN)
        if quantity == "i":
            columns = columns * self._sign(element.wiring)
        pairs = [value for column in columns for value in (float(column.min()), float(column.max()))]
        sent = pairs[self._wave_start : self._wave_end + 1]
        if self._wave_is_float:
            return encode_block(struct.pack(f">{len(sent)}f", *sent), digits=8)
        return ",".join(codec.encode_value(value, 4) for value in sent)


def _check(*_: object) -> None:
    """Take settings that are checked and change nothing that this emulator shows."""

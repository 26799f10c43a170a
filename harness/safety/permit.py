"""Commands that are refused before they are sent: without a guard, and beyond what the rig may survive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.errors import Unsafe
from harness.readings import Note
from harness.rig.product_file import ProductFile
from harness.rig.rig_file import RigFile
from harness.roles import GridStep

ENERGISES: Mapping[str, frozenset[str]] = {
    "inverter": frozenset({"turn_on", "set_power_w"}),
    "grid_source": frozenset({"turn_on", "set_voltage_v", "set_frequency_hz", "start_profile"}),
    "fault_inserter": frozenset({"insert"}),
    "energy_manager": frozenset({"turn_on"}),  # it commands the battery from then on
    "safety_inputs": frozenset({"set_output"}),
}
"""Commands that may bring energy onto the rig, by role. All others switch off, measure or prepare."""


def refuse_command(command: str, at_s: float, asked: object) -> None:
    """Stand where a ``Permit`` stands, on a bench that was opened to read: no command passes.

    Raises:
        Unsafe: always. Nothing was sent.
    """
    del at_s
    raise Unsafe(
        f"{command}({_spelled(asked)}) refused before it was sent: this bench was opened to read; "
        "a plan commands, on a rig that is armed for it"
    )


class Permit:
    """Stands between every driver and its wire: each command passes here just before it is sent."""

    def __init__(self, rig: RigFile, product: ProductFile, why_not: Callable[[], str], note: Note) -> None:
        """Prepare.

        Args:
            rig: with its envelope.
            product: whose lowest voltage makes the largest current of a power.
            why_not: says why nothing may be energised now; empty where it may.
            note: takes each command that is sent.
        """
        self._roles = {name: device.role for name, device in rig.devices.items()}
        self._rig = rig
        self._lowest_v = product.windows.voltage_v[0]
        self._why_not = why_not
        self._note = note

    def __call__(self, command: str, at_s: float, asked: object) -> None:
        """Let a command pass, and note it.

        Raises:
            Unsafe: it would energise and must not, or it is beyond the envelope. Nothing was sent.
        """
        device, _, verb = command.partition(".")
        role = self._roles.get(device, "")
        if verb in ENERGISES.get(role, ()) and not _switches_off(asked):
            why = self._why_not()
            if why:
                raise Unsafe(f"{command}({_spelled(asked)}) refused before it was sent: {why}")
        reason = self._beyond(role, verb, asked)
        if reason:
            raise Unsafe(f"{command}({_spelled(asked)}) refused before it was sent: {reason}")
        self._note(command, at_s, asked)

    def _beyond(self, role: str, verb: str, asked: object) -> str:
        envelope = self._rig.envelope
        if envelope is None:
            return ""
        if role == "inverter" and verb == "set_power_w" and isinstance(asked, int | float):
            current_a = abs(asked) / self._lowest_v
            if current_a > envelope.battery_current_a.value:
                return (
                    f"at {self._lowest_v:g} V it is {current_a:.4g} A out of the battery; the rig survives "
                    f"{envelope.battery_current_a.value:g} A (envelope.battery_current_a)"
                )
        if role == "grid_source" and envelope.ac_voltage_v is not None:
            highest_v = max(self._volts(verb, asked), default=0.0)
            if highest_v > envelope.ac_voltage_v.value:
                return (
                    f"{highest_v:.4g} V line to neutral; the rig survives {envelope.ac_voltage_v.value:g} V "
                    "(envelope.ac_voltage_v)"
                )
        return ""

    def _volts(self, verb: str, asked: object) -> Sequence[float]:
        if verb == "set_voltage_v" and isinstance(asked, int | float):
            return [float(asked)]
        if verb == "load_profile" and isinstance(asked, Sequence):
            steps = [step for step in asked if isinstance(step, GridStep)]
            return [pu * self._rig.nominal_voltage_v for step in steps for pu in step.voltage_pu]
        return []


def _switches_off(asked: object) -> bool:
    """Whether what is asked is no power, or outputs off."""
    if isinstance(asked, Mapping):
        return not any(asked.values())
    return asked == 0.0


def _spelled(asked: object) -> str:
    text = "" if asked is None else repr(asked)
    return text if len(text) <= 80 else f"{text[:77]}..."

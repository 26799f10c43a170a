"""Faults put into the emulated world on purpose, to see whether a plan catches them.

``dead:<inverter>``   its power stage never conducts, and it does not answer
``powerless:<inverter>``  its power stage never conducts; its telemetry is honest
``frozen:<device>``   its telemetry stays at its first sample; commands still act
``swapped:<device>``  its current and power have the wrong sign; of a device that tells one of them
``silent:<device>``   it does not answer

A device is named by its name, or by its role where no other has it.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import ConfigurationError, near_miss
from harness.rig.bench import FarSide
from harness.rig.rig_file import RigFile

KINDS = ("dead", "powerless", "frozen", "swapped", "silent")

SIGNED_ROLES = frozenset({"battery", "dc_sensor", "energy_manager", "inverter", "power_analyzer", "recorder"})
"""Roles that tell a current or a power; a contact and the voltage of a source have no sign to swap."""


@dataclass(frozen=True, slots=True)
class SeededFault:
    """One fault at one device."""

    kind: str
    device: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.device}"

    @classmethod
    def parse(cls, text: str, rig: RigFile) -> SeededFault:
        """Read ``<kind>:<device>``.

        Raises:
            ConfigurationError: unknown kind or device, or a kind that the device cannot have.
        """
        kind, _, word = text.partition(":")
        if kind not in KINDS:
            raise ConfigurationError(
                f"--seed-fault {text!r}: unknown kind {kind!r}; "
                f"known: {', '.join(KINDS)}{near_miss(kind, KINDS)}"
            )
        try:
            device = rig.named(word)
        except ConfigurationError as error:
            raise ConfigurationError(f"--seed-fault {text!r}: {error}") from None
        if kind in {"dead", "powerless"} and rig.devices[device].role != "inverter":
            raise ConfigurationError(f"--seed-fault {text!r}: {kind} is a fault of an inverter")
        signed = [name for name, each in rig.devices.items() if each.role in SIGNED_ROLES]
        if kind == "swapped" and device not in signed:
            raise ConfigurationError(
                f"--seed-fault {text!r}: a device of role {rig.devices[device].role} tells no current and no "
                f"power, so there is no sign to swap; rig {rig.name} has: {', '.join(signed)}"
            )
        return cls(kind, device)

    def sow(self, side: FarSide) -> None:
        """Put the fault into the emulated world."""
        emulator = side.emulators[self.device]
        match self.kind:
            case "dead":
                side.plant.converter.dead = True
                emulator.silent = True
            case "powerless":
                side.plant.converter.dead = True
            case "frozen":
                emulator.frozen = True
            case "swapped":
                emulator.swapped_sign = True
            case "silent":
                emulator.silent = True

"""Active detection of an island: the Sandia frequency shift.

The current leads the voltage by an angle that grows with the deviation of the frequency:

    lead = pi / 2 (chopping + gain df)      as in Ropp et al.'s description of the method: half a turn times
                                            the part of the cycle that is cut

Against a stiff grid that is a little reactive power. In an island with a parallel RLC load the frequency goes
where the load's own lead is the same,

    tan(lead) = Qf (f / fr - fr / f)

and from nominal frequency it runs away where the shift grows faster than the load's angle: gain above
4 Qf / (pi f0). It leaves the frequency trips, and they do the rest. A converter that sees a frequency of its
own making acts anew each cycle, so the way is one of steps of a cycle:

    f(n+1) = fr / 2 (x + sqrt(x² + 4)),   x = tan(lead(f(n))) / Qf

Not modelled: lag of the phase lock behind one cycle, other units in the same island that work against it,
rotating machines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class SandiaShift:
    """How far the current leads the voltage.

    Attributes:
        nominal_hz: frequency without shift.
        chopping: part of the cycle that is cut at nominal frequency; gives the drift its direction.
        gain_per_hz: by how much it grows with the deviation. 0.1 finds loads up to Qf 4.7 at 60 Hz, where
            IEEE 1547.1 tests with 1.0 (from memory): ours.
        most_deg: largest lead, either sign; 10 degrees cost 1.5 % of the active power, and bring a balanced
            load of quality 2.6 to 62 Hz: ours.
    """

    nominal_hz: float
    chopping: float = 0.005
    gain_per_hz: float = 0.1
    most_deg: float = 10.0

    def lead_rad(self, frequency_hz: float) -> float:
        """Angle by which the current leads the voltage."""
        deviation_hz = frequency_hz - self.nominal_hz
        chopping = math.copysign(self.chopping, deviation_hz) if deviation_hz else self.chopping
        lead = 0.5 * math.pi * (chopping + self.gain_per_hz * deviation_hz)
        most = math.radians(self.most_deg)
        return min(max(lead, -most), most)

    def largest_quality(self) -> float:
        """Quality factor of a resonant load below which nominal frequency is no place to stay."""
        return self.gain_per_hz * math.pi * self.nominal_hz / 4.0


def island_hz(lead_rad: float, resonance_hz: float, quality: float) -> float:
    """Frequency at which a parallel RLC load carries a current that leads its voltage by an angle.

    Raises:
        ValueError: no such load, or an angle of a quarter turn and beyond.
    """
    if not (resonance_hz > 0.0 and quality > 0.0 and abs(lead_rad) < 0.5 * math.pi):
        raise ValueError(
            f"island: lead_rad={lead_rad}, resonance_hz={resonance_hz}, quality={quality}; "
            "allowed above 0 for both, and a lead within a quarter turn"
        )
    ratio = math.tan(lead_rad) / quality
    return 0.5 * resonance_hz * (ratio + math.sqrt(ratio * ratio + 4.0))

"""OpenDER 2.2 (EPRI) and the plant's converter on the same stiff source, step by step."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

from opender import DER, DER_BESS

from harness.plant import BatterySpec, ConverterSpec, GridSpec, LoadSpec, PlantSpec, RigPlant
from harness.plant.ride_through import RideMode

RATED_W = 10_000.0
READY_S = 10.0
INVERTER_S = 0.0115
"""OpenDER's 90 % time of the current: 2.303 times the plant's time constant of 5 ms."""

FINE_S = 0.005
STIFF = GridSpec(source_resistance_ohm=1e-6, source_reactance_ohm=1e-6)

MODES = {
    "Continuous Operation": RideMode.CONTINUOUS,
    "Mandatory Operation": RideMode.MANDATORY,
    "Permissive Operation": RideMode.PERMISSIVE,
    "Momentary Cessation": RideMode.MOMENTARY_CESSATION,
    "Cease to Energize": RideMode.CEASE,
}


class Oracle:
    """OpenDER's battery inverter with the plant's ratings and delays, driven to any time in any steps."""

    def __init__(self, category, power_pu, ride, normal="CAT_B", **settings):
        # It warns of each setting out of a range while another is not yet set, and of states of charge.
        logging.disable(logging.WARNING)
        band = next(band for band in ride.bands if band.does_block)
        self.der = DER_BESS(
            NP_P_MAX=RATED_W,
            NP_VA_MAX=RATED_W,
            NP_P_MAX_CHARGE=RATED_W,
            NP_APPARENT_POWER_CHARGE_MAX=RATED_W,
            NP_Q_MAX_INJ=0.44 * RATED_W,
            NP_Q_MAX_ABS=0.44 * RATED_W,
            NP_AC_V_NOM=200.0,
            NP_V_DC=400.0,
            NP_ABNORMAL_OP_CAT=f"CAT_{category}",
            NP_NORMAL_OP_CAT=normal,
        )
        file = self.der.der_file
        file.NP_CTE_RESP_T = file.MC_RESP_T = band.response_s
        file.NP_RT_RAMP_UP_TIME = band.recovery_s
        file.NP_INV_DELAY = INVERTER_S
        file.PF_MODE_ENABLE = False
        # A setting that is written takes effect at once.
        file.NP_SET_EXE_TIME = 0.0
        for trips, letter in ((ride.under_voltage, "UV"), (ride.over_voltage, "OV")):
            for number, trip in enumerate(trips, 1):
                setattr(file, f"{letter}{number}_TRIP_V", trip.threshold_pu)
                setattr(file, f"{letter}{number}_TRIP_T", trip.clearing_s)
        for name, value in settings.items():
            setattr(file, name, value)
        self.now_s = 0.0
        self.power_pu = power_pu
        self.give(1.0, 60.0)
        self.run_to(READY_S, 0.5)

    def give(self, voltage_pu, hertz):
        self.der.update_der_input(p_dem_pu=self.power_pu, v_pu=voltage_pu, f=hertz)

    def give_phases(self, voltages_pu):
        """Give each phase a voltage of its own, 120 degrees apart at 60 Hz."""
        self.der.der_file.NP_PHASE = "THREE"
        turned = [0.0, -2.0 * math.pi / 3.0, 2.0 * math.pi / 3.0]
        self.der.update_der_input(p_dem_pu=self.power_pu, v_pu=list(voltages_pu), theta=turned, f=60.0)

    def run_to(self, end_s, step_s):
        """Run in equal steps of about a length; stop where it trips, and say so."""
        steps = max(round((end_s - self.now_s) / step_s), 1)
        DER.t_s = (end_s - self.now_s) / steps
        start_s = self.now_s
        for step in range(1, steps + 1):
            self.der.run()
            self.now_s = start_s + step * DER.t_s
            if self.has_tripped:
                return True
        return False

    @property
    def has_tripped(self):
        return self.der.der_status == "Trip"

    @property
    def power(self):
        return self.der.p_out_pu

    @property
    def reactive(self):
        return self.der.q_out_pu

    @property
    def mode(self):
        return MODES[self.der.der_status]


def plant(ride, power_pu, **converter):
    """Make the plant's converter on the stiff source, ready at ``READY_S`` with its power."""
    options = {"response_s": 0.001, "ramp_w_per_s": 1e9, "ramp_var_per_s": 1e9} | converter
    rig = RigPlant(
        PlantSpec(
            battery=BatterySpec(cells_in_parallel=200, soc=0.5),
            converter=ConverterSpec(
                starts_on=True,
                bms_timeout_s=None,
                islanding=False,
                transfer_below_pu=None,
                maximum_dc_current_a=1000.0,
                # OpenDER has one recovery for all: take it for all bands.
                ride_through=replace(ride, bands=tuple(_same(ride))),
                **options,
            ),
            grid=STIFF,
            load=LoadSpec(power_w=0.0),
        )
    )
    rig.converter.hear_bms(1000.0, 1000.0, 70.0)
    rig.converter.set_power_w(power_pu * RATED_W)
    rig.advance(READY_S)
    return rig


def _same(ride):
    first = next(band for band in ride.bands if band.does_block)
    for band in ride.bands:
        yield replace(band, response_s=first.response_s, recovery_s=first.recovery_s)

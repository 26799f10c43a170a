"""What the product and rig files say arrives in the plant."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from pathlib import Path

import pytest

from harness.errors import ConfigurationError
from harness.plant import RideMode, RigPlant
from harness.plant.spec import (
    GeneratorSpec,
    Harmonic,
    LoadKind,
    SolarSpec,
    TransferSwitchSpec,
)
from harness.rig import product_file
from harness.rig.files import load_product
from harness.rig.plant_spec import plant_spec
from harness.rig.product_inverter import AntiIslanding, Droop, LimitCurve, ReactiveCurve, Rocof
from harness.roles import GridStep

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def spec(project, lfp_rack):
    return plant_spec(project.load(project.table()), lfp_rack, 60.0, 5)


def test_a_battery_that_needs_each_of_its_tries_closes_within_the_products_time(project, lfp_rack):
    rig = RigPlant(plant_spec(project.load(project.table()), lfp_rack, 60.0, 5, is_enabled=False))
    connection = rig.bms.connection
    connection.link.fail(precharge_ohm=math.inf)
    rig.bms.close_contactors()

    def advance_until(holds):
        while not holds():
            rig.advance(rig.now_s + 0.05)
            assert rig.now_s < 60.0

    def tries():
        return sum(each.is_closed and each.name == "precharge" for each in connection.operations)

    advance_until(lambda: tries() == 3)
    rig.advance(rig.now_s + 1.6)
    connection.link.repair()
    advance_until(lambda: rig.bms.contactor_closed)
    assert 10.0 < rig.now_s < lfp_rack.bms.closes_within_s == pytest.approx(3 * (2.0 + 3 * 0.125) + 2 * 2.0)


def test_the_battery_is_the_products(spec):
    assert (spec.battery.cells_in_series, spec.battery.cells_in_parallel) == (16, 100)
    assert spec.battery.chemistry == "lfp"
    assert spec.bms.charge_current_limit_a == 130.0
    assert spec.bms.cell_over_voltage_alarm_v == 3.65
    assert spec.bms.charge_taper == ((0.0, 1.0), (1.0, 1.0))
    assert spec.ambient_degc == 25.0
    assert spec.seed == 5


def test_strings_modules_and_age_arrive(project, lfp_rack):
    modules = product_file.Modules(
        cells_in_series=4, heat_capacity_j_per_k=900.0, conductance_w_per_k=2.0, cooling_w_per_k=20.0
    )
    battery = lfp_rack.battery.model_copy(
        update={"modules": modules, "strings": 3, "age_days": 400.0, "bleed_resistance_ohm": 5.0}
    )
    spec = plant_spec(
        project.load(project.table()), lfp_rack.model_copy(update={"battery": battery}), 60.0, 5
    )
    cells = spec.battery
    assert (cells.strings, cells.cells_per_module, cells.age_days, cells.full_cycles) == (3, 4, 400.0, 10.0)
    assert (cells.module_heat_capacity_j_per_k, cells.module_conductance_w_per_k) == (900.0, 2.0)
    assert (cells.cooling_conductance_w_per_k, cells.bleed_resistance_ohm) == (20.0, 5.0)


def test_a_bms_that_asks_too_much_of_its_cells_is_refused(project, lfp_rack):
    bms = lfp_rack.bms.model_copy(update={"charge_current_limit_a": 310.0})
    product = lfp_rack.model_copy(update={"bms": bms})
    with pytest.raises(
        ConfigurationError, match=r"charge_current_limit_a=310.0; allowed up to 300 A, 1 cap.*lfp"
    ):
        plant_spec(project.load(project.table()), product, 60.0, 5)


def test_the_converter_is_the_products(spec):
    assert spec.converter.rated_power_w == 10_000.0
    assert spec.converter.rated_charge_power_w == 8_000.0
    assert spec.converter.bms_timeout_s == 3.0
    assert spec.converter.enter_service.delay_s == 150.0
    settings = spec.converter.ride_through
    assert [(trip.name, trip.threshold_pu, trip.clearing_s) for trip in settings.under_voltage] == [
        ("uv1", 0.70, 10.0),
        ("uv2", 0.45, 2.0),
    ]
    assert settings.bands[0].mode is RideMode.CEASE


def test_the_grid_and_the_load_are_the_rigs(spec):
    assert (spec.grid.source_resistance_ohm, spec.grid.source_reactance_ohm) == (0.02, 0.02)
    assert spec.grid.nominal_voltage_v == spec.load.nominal_voltage_v == 115.47
    assert (spec.load.kind, spec.load.power_w) == (LoadKind.RESISTIVE, 3000.0)
    assert (spec.grid.rise_time_s, spec.grid.sink_power_w) == (0.0002, 15_000.0)
    assert spec.generator is spec.second_mains is spec.transfer_switch is spec.solar is spec.load.rlc is None


MORE_PARTS = """
[topology.transfer_switch]
kind = "mechanical"
gap_s = 0.2
out_of_phase_gap_s = 0.0

[topology.generator]
rated_power_w = 16000.0
rated_apparent_power_va = 20000.0
start_s = 12.0
start_failure_probability = 0.1

[topology.solar]
sky = "osaka"
rated_dc_w = 6000.0
rated_ac_w = 5000.0
starts_at_s = 43200.0

[topology.critical_load.rlc]
power_w = 5000.0
inductive_var = 5000.0
capacitive_var = 4900.0
"""


def with_more_parts(project, text=MORE_PARTS):
    table = project.table()
    more = tomllib.loads(text)["topology"]
    table["topology"]["critical_load"] |= more.pop("critical_load", {})
    table["topology"] |= more
    return table


def test_the_optional_parts_are_the_rigs(project, lfp_rack):
    table = with_more_parts(project)
    table["topology"]["critical_load"] |= {"power_factor": 0.9, "restart_delay_s": 5.0}
    table["topology"]["source"]["harmonics"] = [{"order": 5, "fraction": 0.03, "angle_deg": 10.0}]
    spec = plant_spec(project.load(table), lfp_rack, 50.0, 1)
    assert spec.grid.harmonics == (Harmonic(order=5, fraction=0.03, angle_deg=10.0),)
    assert spec.generator == GeneratorSpec(
        nominal_voltage_v=115.47, frequency_hz=50.0, start_s=12.0, start_failure_probability=0.1
    )
    assert spec.transfer_switch == TransferSwitchSpec(gap_s=0.2, out_of_phase_gap_s=None)
    assert spec.solar == SolarSpec(starts_at_s=43_200.0)
    assert spec.load.rlc.resonance_hz == pytest.approx(50.0 * (5000.0 / 4900.0) ** 0.5)
    assert (spec.load.power_factor, spec.load.restart_delay_s) == (0.9, 5.0)
    plant = RigPlant(spec)
    plant.advance(20.0)
    assert plant.totals("solar_ac").energy_out_j > 0.0


def test_a_static_switch_with_a_second_feeder_is_a_quarter_of_a_cycle(project, lfp_rack):
    text = """
[topology.transfer_switch]
kind = "static"
[topology.second_mains]
r_ohm = 0.01
x_ohm = 0.02
angle_deg = 30.0
"""
    spec = plant_spec(project.load(with_more_parts(project, text)), lfp_rack, 50.0, 1)
    assert spec.transfer_switch.detect_s + spec.transfer_switch.gap_s == pytest.approx(0.005)
    assert (spec.second_mains.angle_deg, spec.second_mains.source_reactance_ohm) == (30.0, 0.02)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[topology.transfer_switch]\nkind = "static"', "second sources: none, transfer_switch given"),
        ("[topology.second_mains]\nr_ohm = 0.0\nx_ohm = 0.0", "transfer_switch not given; allowed"),
        (MORE_PARTS.replace("osaka", "osako"), "sky 'osako'.*osaka"),
        (MORE_PARTS.replace("start_s", "stort_s"), "stort_s"),
    ],
)
def test_parts_that_do_not_fit_are_refused(project, text, says):
    with pytest.raises(ConfigurationError, match=says):
        project.load(with_more_parts(project, text))


def test_a_rig_that_is_not_enabled_begins_with_open_contacts(project, lfp_rack, spec):
    assert spec.bms.closes_on_start
    assert spec.grid.starts_closed
    spec = plant_spec(project.load(project.table()), lfp_rack, 60.0, 5, is_enabled=False)
    plant = RigPlant(spec)
    plant.advance(60.0)
    assert not plant.bms.contactor_closed
    assert plant.grid.terminal_v == (0.0, 0.0, 0.0)


def test_without_a_source_the_public_mains_are_there_enabled_or_not(project, lfp_rack):
    """And give way: 5 kW lift them by a phasor's rise behind 0.24 + j0.15 ohm, almost all of it resistive."""
    table = project.table()
    topology = table["topology"]
    del topology["source"], topology["safety_chain"], table["devices"]["grid"], table["triggers"]
    topology["critical_load"]["power_w"] = 0.0
    rig = project.load(table)
    dead = RigPlant(plant_spec(rig, lfp_rack, 60.0, 5, is_enabled=False))
    dead.advance(60.0)
    assert not dead.bms.contactor_closed
    assert dead.grid.terminal_v[0] == pytest.approx(115.47)
    plant = RigPlant(plant_spec(rig, lfp_rack, 60.0, 5))
    plant.converter.turn_on()
    plant.converter.set_power_w(5_000.0)
    _advance(plant, 10.0)
    assert plant.converter.power_w == pytest.approx(5_000.0, rel=0.01)
    current_a = 5_000.0 / 3.0 / plant.converter.ac_voltage_v(1)
    emf_v = abs(plant.converter.ac_voltage_v(1) - current_a * complex(0.24, 0.15))
    assert emf_v == pytest.approx(115.47, rel=1e-3)
    assert plant.converter.ac_voltage_v(1) > 118.0


@pytest.mark.parametrize(
    ("f0_hz", "over", "under"), [(60.0, (61.2, 62.0), (58.5, 56.5)), (50.0, (51.5,), (47.5,))]
)
def test_the_frequency_chooses_the_frequency_trips(project, lfp_rack, f0_hz, over, under):
    spec = plant_spec(project.load(project.table()), lfp_rack, f0_hz, 1)
    assert spec.grid.frequency_hz == spec.converter.nominal_frequency_hz == f0_hz
    assert tuple(trip.threshold_hz for trip in spec.converter.ride_through.over_frequency) == over
    assert tuple(trip.threshold_hz for trip in spec.converter.ride_through.under_frequency) == under


def test_a_frequency_that_the_product_is_not_made_for_is_refused(project, lfp_rack):
    with pytest.raises(ConfigurationError, match="no settings for 400 Hz"):
        plant_spec(project.load(project.table()), lfp_rack, 400.0, 1)


@pytest.mark.parametrize("part", ["bms", "converter"])
def test_no_number_of_the_plant_is_left_out(project, part):
    """Each field that a file can say changes with the product: two unlike products share no accident."""
    rig = project.load(project.table())
    lfp, zinc = (
        getattr(plant_spec(rig, _unlike(load_product(name, REPOSITORY), name), 60.0, 1), part)
        for name in ("lfp_rack", "zinc_halogen_rack")
    )
    assert set(_same(lfp, zinc)) == LEFT_TO_THE_PLANT[part]


def _same(one, other):
    """Dotted names of the fields that two specs share, those of their tables included."""
    for field in dataclasses.fields(one):
        mine, others = getattr(one, field.name), getattr(other, field.name)
        if mine == others:
            yield field.name
        elif dataclasses.is_dataclass(mine) and type(mine) is type(others):
            yield from (f"{field.name}.{name}" for name in _same(mine, others))


LEFT_TO_THE_PLANT = {
    # No wire of a product is open at time zero, and what it would read as is the sensors' own business.
    "bms": {"closes_on_start", "second_current_sensor.open_value"},
    "converter": {
        "current_time_constant_s",
        "nominal_frequency_hz",
        "ride_through.bands",
        "ride_through.duties",
        "ride_through.over_frequency",
        "ride_through.over_voltage",
        "ride_through.under_frequency",
        "ride_through.under_voltage",
        "starts_on",
        "thermal_resistance_k_per_w",
        "thermal_time_constant_s",
    },
}
"""What no product file says (or, of the frequency and the trips, is tested above)."""


def _unlike(product, name):
    """Change every number of a product that two products might share."""
    product = _monitored(product)
    if name == "lfp_rack":
        return product
    return product.model_copy(
        update={
            "ratings": product.ratings.model_copy(update={"ac_voltage_v": 120.0}),
            "bms": _other(product.bms),
            "inverter": _other(_all_on(product.inverter)),
        }
    )


def _monitored(product):
    """Give a product what neither of the examples has."""
    bms = product.bms
    second = product_file.SecondCurrentSensor(gain_error=0.01, offset=0.1, noise=0.02, span=(-400.0, 400.0))
    monitor = product_file.InsulationMonitor(
        warning_ohm=750e3, alarm_ohm=500e3, response_s=10.0, recovery_factor=1.25, opens=True
    )
    bms = bms.model_copy(
        update={
            "balancing": bms.balancing or _BALANCING,
            "hydrogen": bms.hydrogen or _HYDROGEN,
            "sensors": bms.sensors.model_copy(update={"second_current": second}),
            "insulation": bms.insulation.model_copy(update={"monitor": monitor}),
        }
    )
    strip = product_file.Strip(
        interval_max_s=1.0,
        end_voltage_v=0.2,
        discharge_current_a=20.0,
        load_ohm=0.1,
        refill_current_a=7.0,
        refill_timeout_s=900.0,
        least_cell_v=-0.4,
        needs_permission=False,
        is_available=True,
    )
    return product.model_copy(update={"bms": bms, "strip": product.strip or strip})


def _all_on(inverter):
    """Switch on what an example product leaves off."""
    curve = ReactiveCurve(points=((0.9, 0.4), (1.1, -0.4)), response_s=5.0)
    support = inverter.grid_support.model_copy(
        update={
            "priority": "reactive",
            "volt_var": curve,
            "volt_watt": LimitCurve(points=((1.06, 1.0), (1.1, 0.2)), response_s=10.0),
            "droop": Droop(
                over_dead_band_hz=0.036,
                under_dead_band_hz=0.036,
                over_droop=0.05,
                under_droop=0.05,
                response_s=5.0,
            ),
        }
    )
    ride = inverter.ride_through.model_copy(
        update={"rocof": Rocof(threshold_hz_per_s=3.0), "phase_jump_trip_deg": 60.0}
    )
    return inverter.model_copy(
        update={"anti_islanding": AntiIslanding(), "grid_support": support, "ride_through": ride}
    )


_BALANCING = product_file.Balancing(
    start_spread_v=0.02,
    stop_spread_v=0.01,
    from_cell_v=1.5,
    rest_current_a=2.0,
    while_charging=True,
    while_resting=True,
    interval_s=30.0,
    warning_spread_v=0.2,
)
_HYDROGEN = product_file.Hydrogen(
    volume_m3=1.0,
    airflow_m3_per_h=5.0,
    natural_fraction=0.2,
    warning=0.003,
    limit=0.007,
    alarm=0.009,
    hysteresis=0.002,
)


def _other(part):
    """Make a part with each number a little larger, each yes a no, and its tables likewise."""
    changed = {}
    for key, value in part:
        if isinstance(value, bool):
            changed[key] = not value
        elif isinstance(value, int):
            changed[key] = value + 1
        elif isinstance(value, float):
            changed[key] = value * 1.01 + 0.001
        elif isinstance(value, tuple) and value and isinstance(value[0], float):
            changed[key] = tuple(entry * 1.01 + 0.001 if entry else 0.0 for entry in value)
        elif isinstance(value, tuple) and value and isinstance(value[0], tuple):
            changed[key] = tuple((*row[:-1], row[-1] * 0.99) for row in value)
        elif hasattr(value, "model_copy"):
            changed[key] = _other(value)
    return part.model_copy(update=changed)


# IEEE 1547.1-2020, LVRT category II: level and length of each segment, at the lowest level of the duty.
_SEGMENTS = {
    "A": (1.0, 10.0),
    "B": (0.28, 0.16),
    "C": (0.45, 0.16),
    "D": (0.65, 2.68),
    "d": (0.69, 7.68),
    "E": (0.88, 2.0),
    "F": (1.0, 120.0),
}
_LVRT = [
    GridStep(_SEGMENTS[s][1], (_SEGMENTS[s][0],) * 3, 60.0, is_ramp=s == "E") for s in "ABCDEABCDEFABCdF"
]
# JEAC 9701: residual 20 % for 0.3 s.
_SAG_JAPAN = [
    GridStep(duration_s, (level_pu,) * 3, 60.0)
    for duration_s, level_pu in ((1.0, 1.0), (0.3, 0.20), (5.0, 1.0))
]


def _delivering(project, name):
    """Give a product's plant at 10 s, and the power that it gives then: nine tenths of its rating."""
    product = load_product(name, REPOSITORY)
    plant = RigPlant(plant_spec(project.load(project.table()), product, 60.0, 1))
    plant.load.set_power_w(0.0)
    wanted_w = 0.9 * product.ratings.discharge_power_w
    plant.converter.turn_on()
    plant.converter.set_power_w(wanted_w)
    _advance(plant, 10.0)
    return plant, wanted_w


@pytest.mark.parametrize("name", ["lfp_rack", "zinc_halogen_rack"])
@pytest.mark.parametrize("steps", [_LVRT, _SAG_JAPAN], ids=["lvrt", "japan"])
def test_one_settings_file_rides_through_both_codes_in_the_plant(project, name, steps):
    plant, wanted_w = _delivering(project, name)
    assert plant.converter.power_w == pytest.approx(wanted_w, rel=0.02)
    plant.grid.play(steps)
    _advance(plant, 10.0 + sum(step.duration_s for step in steps) + 1.0)
    assert plant.converter.alarms == frozenset()
    assert plant.converter.power_w == pytest.approx(wanted_w, rel=0.02)


@pytest.mark.parametrize("level_pu", [0.40, 0.0])
def test_a_sag_beyond_the_settings_does_trip(project, lfp_rack, level_pu):
    """The other side: UV2 at 0.45 pu is alive, and acts within its 2.0 s."""
    product = lfp_rack.model_copy(update={"inverter": _without_island(lfp_rack.inverter)})
    plant = RigPlant(plant_spec(project.load(project.table()), product, 60.0, 1))
    plant.load.set_power_w(0.0)
    plant.converter.turn_on()
    plant.converter.set_power_w(9_000.0)
    _advance(plant, 10.0)
    plant.grid.play([GridStep(2.5, (level_pu,) * 3, 60.0), GridStep(5.0, (1.0,) * 3, 60.0)])
    _advance(plant, 11.9)
    assert "uv2" not in plant.converter.alarms
    _advance(plant, 12.1)
    assert "uv2" in plant.converter.alarms
    assert plant.converter.power_w == pytest.approx(0.0, abs=50.0)


@pytest.mark.parametrize("name", ["lfp_rack", "zinc_halogen_rack"])
@pytest.mark.parametrize(
    ("jump_deg", "trips"), [(20.0, False), (-60.0, False), (74.0, False), (-76.0, True), (180.0, True)]
)
def test_a_phase_jump_trips_beyond_what_the_product_follows(project, name, jump_deg, trips):
    """IEEE 1547-2018, 6.5.2.6 asks for 20 deg of the positive sequence; beyond its limit it may trip."""
    plant, wanted_w = _delivering(project, name)
    plant.grid.play([GridStep(5.0, (1.0,) * 3, 60.0, phase_jump_deg=jump_deg)])
    _advance(plant, 14.0)
    assert plant.converter.alarms == ({"phase_jump"} if trips else set())
    assert plant.converter.power_w == pytest.approx(0.0 if trips else wanted_w, rel=0.02, abs=50.0)


def _without_island(inverter):
    return inverter.model_copy(update={"island": inverter.island.model_copy(update={"is_possible": False})})


def _advance(plant, to_s):
    """Go on, with the battery heard each second."""
    while plant.now_s < to_s:
        bms = plant.bms
        plant.converter.hear_bms(
            bms.charge_current_limit_a, bms.discharge_current_limit_a, bms.charge_voltage_limit_v
        )
        plant.advance(min(plant.now_s + 1.0, to_s))

"""The sun over the array: sky, heat, clipping, energy."""

import math

import numpy as np
import pytest

from harness.plant import (
    BatterySpec,
    ConverterSpec,
    FrequencyDroop,
    GridSpec,
    LoadKind,
    LoadSpec,
    PlantSpec,
    RigPlant,
    SolarArray,
    SolarSpec,
)
from harness.plant.solar import Sky, clear_sky_w_per_m2

NOMINAL_V = 115.470053838
DAY_S = 86_400.0


def array(seed=1, **solar):
    return SolarArray(SolarSpec(**solar), seed, NOMINAL_V, 60.0)


def plant(*, power_w=2000.0, is_on=True, kind=LoadKind.RESISTIVE, most_shift_hz=1.5, **solar):
    spec = PlantSpec(
        battery=BatterySpec(cells_in_parallel=67),
        converter=ConverterSpec(starts_on=is_on, bms_timeout_s=None, most_shift_hz=most_shift_hz),
        load=LoadSpec(power_w=power_w, kind=kind),
        solar=SolarSpec(**solar),
    )
    return RigPlant(spec)


def test_the_sun_stands_as_high_as_the_calendar_says():
    """At the solstices 90 degrees less latitude plus or minus 23.44; at an equinox half a day is light."""
    sky = Sky.load("osaka")
    for day, declination_deg in ((172, 23.44), (355, -23.44), (80, 0.0)):
        highest = max(sky.cos_zenith(day, clock_s) for clock_s in range(0, 86_400, 60))
        elevation_deg = math.degrees(math.asin(highest))
        assert elevation_deg == pytest.approx(90.0 - sky.latitude_deg + declination_deg, abs=0.5)
    light_s = sum(60 for clock_s in range(0, 86_400, 60) if sky.cos_zenith(80, clock_s) > 0.0)
    assert light_s == pytest.approx(43_200, abs=600)


def test_noon_in_osaka_is_two_minutes_before_the_clock_of_its_meridian_less_the_equation_of_time():
    """Published extremes of the equation of time: -14.2 min on 11 February, +16.4 min on 3 November."""
    sky = Sky.load("osaka")
    for day, equation_s in ((42, -14.2 * 60.0), (307, 16.4 * 60.0)):
        clocks_s = np.arange(40_000.0, 46_000.0, 1.0)
        noon_s = clocks_s[np.argmax([sky.cos_zenith(day, clock_s) for clock_s in clocks_s])]
        assert noon_s == pytest.approx(43_200.0 - equation_s - 240.0 * 0.52, abs=30.0)


def test_a_clear_sky_is_haurwitz():
    assert clear_sky_w_per_m2(1.0) == pytest.approx(1098.0 * math.exp(-0.057))
    assert clear_sky_w_per_m2(0.5) == pytest.approx(549.0 * math.exp(-0.114))
    assert clear_sky_w_per_m2(0.0) == clear_sky_w_per_m2(-0.3) == 0.0


def test_heat_and_clipping_are_those_of_the_formula():
    sky = Sky.load("osaka")
    noon_s = 12.0 * 3600.0
    light = clear_sky_w_per_m2(sky.cos_zenith(172, noon_s))
    cell_degc = 25.0 + 25.0 * light / 800.0
    expected_w = 0.97 * 6000.0 * light / 1000.0 * (1.0 - 0.0035 * (cell_degc - 25.0))
    assert array(rated_ac_w=9000.0, has_clouds=False).available_w(noon_s) == pytest.approx(expected_w)
    assert array(rated_ac_w=4000.0, has_clouds=False).available_w(noon_s) == 4000.0
    assert array(has_clouds=False).available_w(0.0) == 0.0


def test_clouds_are_keyed_and_their_edges_ramp():
    one, same, other = array(3), array(3), array(4)
    times_s = np.arange(0.0, DAY_S, 7.0)
    light = [one.light_left(t) for t in times_s]
    assert light == [same.light_left(t) for t in times_s]
    assert light != [other.light_left(t) for t in times_s]
    cloudy = np.mean(np.array(light) < 0.99)
    assert 0.25 < cloudy < 0.6
    assert min(light) >= 0.25
    # No edge is steeper than from the thickest cloud to none in the time of an edge.
    assert np.abs(np.diff(light)).max() <= 0.75 * 7.0 / 20.0 + 1e-9


def test_the_energy_of_a_day_is_the_integral_of_its_power():
    rig = plant(has_clouds=False, interval_s=300.0, is_on=False)
    rig.advance(DAY_S)
    times_s = np.arange(15.0, DAY_S, 30.0)
    expected_j = sum(rig.solar.available_w(t) for t in times_s) * 30.0
    found_j = rig.totals("solar_ac").energy_out_j
    assert found_j == pytest.approx(expected_j, rel=2e-4)
    # A clear midsummer day on the horizontal plane: some 8 kWh/m2.
    assert 6.0 < found_j / 3.6e6 / 6.0 < 8.0
    assert rig.balance().residual_fraction < 1e-3
    assert rig.totals("grid_ac").energy_out_j > 0.0


def test_curtailment_holds_and_is_lifted():
    rig = plant(starts_at_s=12.0 * 3600.0, has_clouds=False)
    rig.advance(60.0)
    free_w = rig.solar.power_w
    assert free_w > 4000.0
    rig.solar.curtail(1500.0)
    rig.advance(61.0)
    start = rig.totals("solar_ac")
    rig.advance(121.0)
    assert (rig.totals("solar_ac") - start).energy_out_j == pytest.approx(90_000.0, rel=1e-6)
    rig.solar.curtail(math.inf)
    rig.advance(122.0)
    assert rig.solar.power_w == pytest.approx(free_w, rel=1e-2)
    with pytest.raises(ValueError, match=r"curtail\(-1"):
        rig.solar.curtail(-1.0)


def test_a_high_frequency_takes_power_away_as_the_standard_says():
    """IEEE 1547-2018, 6.5.2.7: (60.6 - 60 - 0.036) / (60 k) of the rating; 90 % of it after Tr."""
    droop = FrequencyDroop(over_dead_band_hz=0.036, over_droop=0.05, response_s=2.0)
    rig = plant(starts_at_s=12.0 * 3600.0, has_clouds=False, frequency_watt=droop, interval_s=3600.0)
    rig.advance(9.95)
    free_w = rig.solar.power_w
    rig.grid.set_frequency_hz(60.6)
    taken_w = 5000.0 * 0.564 / 3.0
    for after_s, part in ((0.05, 0.0), (2.05, 0.9), (4.05, 0.99), (30.0, 1.0)):
        rig.advance(9.95 + after_s)
        assert rig.solar.power_w == pytest.approx(free_w - part * taken_w, abs=1e-5 * 5000.0)
    rig.grid.set_frequency_hz(60.03)
    rig.advance(60.0)
    assert rig.solar.power_w == pytest.approx(free_w, abs=0.01)
    rig.grid.set_frequency_hz(59.0)
    rig.advance(70.0)
    assert rig.solar.power_w == pytest.approx(free_w, abs=0.01)
    assert rig.balance().residual_fraction < 1e-4


def test_without_it_no_frequency_takes_anything():
    rig = plant(starts_at_s=12.0 * 3600.0, has_clouds=False, frequency_watt=None, interval_s=3600.0)
    rig.advance(10.0)
    free_w = rig.solar.power_w
    rig.grid.set_frequency_hz(61.0)
    rig.advance(20.0)
    assert rig.solar.power_w == free_w > 0.0


def test_it_stops_with_the_mains_and_comes_back_after_its_delay():
    rig = plant(starts_at_s=12.0 * 3600.0, has_clouds=False, restart_s=30.0)
    rig.advance(10.0)
    assert rig.solar.is_running
    rig.grid.open_relay()
    rig.advance(20.0)
    assert rig.converter.is_grid_forming
    assert rig.solar.power_w == 0.0
    rig.grid.close_relay()
    rig.advance(35.0)
    back_s = next(0.5 * k for k in range(70, 180) if (rig.advance(0.5 * k), rig.solar.is_running)[1])
    # Ten seconds until the converter has synchronised and closed, about one for that, then its own delay.
    assert 60.0 < back_s < 63.0
    assert rig.balance().residual_fraction < 1e-4


def test_it_charges_the_battery_of_an_island_it_may_follow():
    rig = plant(
        power_w=1000.0, starts_at_s=12.0 * 3600.0, has_clouds=False, follows_islands=True, restart_s=5.0
    )
    rig.advance(10.0)
    rig.grid.open_relay()
    rig.advance(30.0)
    assert rig.converter.is_grid_forming
    assert rig.converter.power_w == pytest.approx(1000.0 - rig.solar.power_w, rel=1e-6)
    assert rig.string.current_a < 0.0
    assert rig.balance().residual_fraction < 1e-4


def test_an_island_is_overloaded_by_what_its_converter_carries_and_not_by_the_load():
    """11.5 kW with some 7 kW of sun are within 10 kVA; without the sun they are not."""
    rig = plant(
        power_w=4000.0,
        kind=LoadKind.CONSTANT_POWER,
        starts_at_s=12.0 * 3600.0,
        has_clouds=False,
        follows_islands=True,
        restart_s=5.0,
        rated_dc_w=9000.0,
        rated_ac_w=8000.0,
    )
    rig.at(10.0, rig.grid.open_relay)
    rig.at(20.0, lambda: rig.load.set_power_w(11_500.0))
    rig.advance(60.0)
    assert rig.solar.power_w > 6000.0
    assert rig.converter.power_w == pytest.approx(11_500.0 - rig.solar.power_w, rel=1e-6)
    assert rig.converter.is_grid_forming
    assert not rig.converter.alarms
    rig.solar.curtail(1000.0)
    rig.advance(60.0 + rig.spec.converter.overload_s - 1e-6)
    assert rig.converter.is_grid_forming
    rig.advance(60.0 + rig.spec.converter.overload_s)
    assert rig.converter.alarms == {"overload"}


def full_island(**more):
    """Half a kilowatt of load, seven of sun, and a battery that takes nothing from 20 s to 80 s."""
    rig = plant(
        power_w=500.0,
        kind=LoadKind.CONSTANT_POWER,
        starts_at_s=12.0 * 3600.0,
        has_clouds=False,
        follows_islands=True,
        restart_s=2.0,
        **{"rated_dc_w": 9000.0, "rated_ac_w": 8000.0, **more},
    )
    rig.at(10.0, rig.grid.open_relay)
    for at_s, charge_a in ((0.0, 200.0), (20.0, 0.0), (80.0, 200.0)):
        rig.at(at_s, lambda charge_a=charge_a: rig.converter.hear_bms(charge_a, 200.0, 58.0))
    return rig


@pytest.mark.parametrize(("rated_dc_w", "rated_ac_w"), [(9000.0, 8000.0), (4000.0, 3500.0), (1500.0, 1200.0)])
def test_an_island_sheds_the_sun_that_neither_load_nor_battery_takes(rated_dc_w, rated_ac_w):
    """Droop asks for 60.036 Hz + 1.2 Hz times the part of the rating that is taken away."""
    rig = full_island(rated_dc_w=rated_dc_w, rated_ac_w=rated_ac_w)
    rig.advance(19.9)
    free_w = rig.solar.power_w
    assert rig.string.current_a == pytest.approx((500.0 - free_w) / rig.string.voltage_v, rel=0.1)
    assert rig.converter.frequency_hz == 60.0
    rig.advance(60.0)
    start = rig.totals("battery_dc")
    rig.advance(79.9)
    taken = rig.totals("battery_dc") - start
    # No more than the part of a rating that counts as nothing.
    assert taken.energy_in_j <= 1.0 * 19.9
    loss_w = rig.converter.loss_w(rig.converter.power_w)
    assert rig.solar.power_w == pytest.approx(500.0 + loss_w, abs=1.0)
    away_w = rig.solar.available_w(79.9) - rig.solar.power_w
    assert rig.converter.frequency_hz == pytest.approx(60.036 + 1.2 * away_w / rated_ac_w, abs=2e-3)
    rig.advance(120.0)
    assert rig.converter.frequency_hz == 60.0
    assert rig.solar.power_w == pytest.approx(free_w, rel=1e-2)
    assert rig.string.current_a < 0.0
    assert rig.converter.is_grid_forming
    assert not rig.converter.alarms
    assert rig.balance().residual_fraction < 1e-4


def test_the_battery_is_relieved_within_seconds_and_its_limit_not_undershot_for_long():
    rig = full_island()
    rig.advance(20.0)
    before_w = rig.solar.power_w
    for at_s, part in ((21.0, 0.7), (22.0, 0.25), (25.0, 0.06), (30.0, 0.01)):
        rig.advance(at_s)
        assert abs(rig.converter.power_w) < part * before_w + 30.0


def test_who_looks_at_a_shedding_island_changes_nothing():
    seldom, often = full_island(), full_island()
    seldom.advance(85.0)
    for k in range(1, 1701):
        often.advance(0.05 * k - 0.013)
    often.advance(85.0)
    for node in ("solar_ac", "load_ac", "battery_dc"):
        one, two = seldom.totals(node), often.totals(node)
        assert two.energy_out_j == pytest.approx(one.energy_out_j, rel=1e-4, abs=20.0), node
        assert two.energy_in_j == pytest.approx(one.energy_in_j, rel=1e-4, abs=20.0), node
    assert often.converter.frequency_hz == pytest.approx(seldom.converter.frequency_hz, abs=1e-4)


def test_a_surplus_that_no_frequency_takes_away_trips_the_converter_before_the_bms():
    rig = full_island(frequency_watt=None)
    rig.advance(20.0 + rig.spec.converter.overload_s)
    assert rig.converter.frequency_hz == 60.0 + rig.spec.converter.most_shift_hz
    assert rig.converter.is_grid_forming
    rig.advance(20.0 + rig.spec.converter.overload_s + 3.0)
    assert rig.converter.alarms == {"surplus"}
    assert rig.string.current_a == 0.0
    assert rig.bms.contactor_closed
    assert rig.load.is_dead
    # 7 kW of surplus let the frequency rise by 1 Hz each second.
    assert rig.converter.tripped_s == pytest.approx(20.0 + 1.6 + rig.spec.converter.overload_s, abs=0.2)


def test_an_array_beyond_the_current_limit_is_a_surplus_and_no_overload():
    """20 kW start beside half a kilowatt of load: 1.2 of 10 kVA is all that the converter can carry."""
    rig = full_island(rated_dc_w=24_000.0, rated_ac_w=20_000.0)
    rig.advance(15.0)
    assert rig.converter.alarms == {"surplus"}
    assert rig.load.is_dead
    assert rig.string.current_a == 0.0


def test_a_converter_that_shifts_no_frequency_trips_on_a_surplus_after_its_time():
    rig = full_island(most_shift_hz=0.0)
    rig.advance(40.0)
    assert rig.converter.alarms == {"surplus"}
    assert rig.converter.tripped_s == 20.0 + rig.spec.converter.overload_s


def test_a_shedding_island_goes_back_to_the_mains_and_the_sun_with_it():
    rig = full_island()
    rig.at(40.0, rig.grid.close_relay)
    rig.advance(70.0)
    assert rig.converter.is_connected
    assert rig.solar.power_w == pytest.approx(rig.solar.available_w(70.0), rel=1e-3)
    assert rig.totals("grid_ac").energy_out_j > 0.0


def test_in_a_sag_its_current_is_limited():
    spec = PlantSpec(
        grid=GridSpec(source_resistance_ohm=1e-6, source_reactance_ohm=1e-6),
        solar=SolarSpec(starts_at_s=12.0 * 3600.0, has_clouds=False, rated_ac_w=3000.0),
    )
    rig = RigPlant(spec)
    rig.advance(10.0)
    rig.grid.set_voltage_v(0.5 * NOMINAL_V)
    rig.advance(11.0)
    start = rig.totals("solar_ac")
    rig.advance(12.0)
    assert (rig.totals("solar_ac") - start).energy_out_j == pytest.approx(1500.0, rel=1e-4)


@pytest.mark.parametrize(
    "bad", [{"interval_s": 0.0}, {"day_of_year": 0}, {"temperature_coefficient_per_k": 0.1}]
)
def test_impossible_arrays_are_refused(bad):
    with pytest.raises(ValueError, match=rf"solar: {next(iter(bad))}=.*; allowed"):
        SolarSpec(**bad)


def test_an_unknown_sky_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="no sky 'mars'; there are osaka"):
        array(sky="mars")

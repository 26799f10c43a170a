"""The generator: start, droop, dip of the voltage, protections."""

import math

import pytest

from harness.plant import (
    BatterySpec,
    ConverterSpec,
    EnterService,
    Generator,
    GeneratorSpec,
    GeneratorState,
    GridSpec,
    LoadSpec,
    PlantSpec,
    RideThrough,
    RigPlant,
    Side,
    TransferSwitchSpec,
)

NOMINAL_V = 115.470053838
MACHINE = GeneratorSpec()


def plant(machine=MACHINE, *, power_w=0.0, step_scale=1.0, seed=1, **switch):
    switch = {"detect_s": 0.05, "gap_s": 0.1, "return_s": None, "start_after_s": 1.0, **switch}
    spec = PlantSpec(
        grid=GridSpec(),
        load=LoadSpec(power_w=power_w),
        generator=machine,
        transfer_switch=TransferSwitchSpec(**switch),
        seed=seed,
    )
    return RigPlant(spec, step_scale=step_scale)


def on_generator(machine=MACHINE, **more):
    """Mains lost at 1 s, carried by the generator from 12.1 s on."""
    rig = plant(machine, **more)
    rig.at(1.0, rig.grid.open_relay)
    rig.advance(30.0)
    assert rig.switch.side is Side.STANDBY
    return rig


def test_it_starts_when_called_and_takes_its_time():
    rig = plant(GeneratorSpec(start_s=8.0, warm_up_s=5.0))
    rig.advance(1.0)
    rig.standby.start()
    rig.advance(8.999)
    assert rig.standby.state is GeneratorState.CRANKING
    assert rig.standby.terminal_v == (0.0, 0.0, 0.0)
    rig.advance(9.001)
    assert rig.standby.state is GeneratorState.WARMING
    assert rig.standby.terminal_v == pytest.approx((NOMINAL_V,) * 3)
    assert not rig.switch.is_good(Side.STANDBY)
    rig.advance(14.001)
    assert rig.switch.is_good(Side.STANDBY)
    assert rig.totals("standby_ac").cycles == pytest.approx(5.001 * 60.0, abs=1e-6)


def test_the_mains_lost_call_it_and_the_switch_brings_it_to_the_load():
    rig = plant(power_w=3000.0)
    rig.at(1.0, rig.grid.open_relay)
    rig.advance(40.0)
    # Called a second after the loss, ten to start, then the gap.
    assert rig.load.dead_s == pytest.approx(1.0 + 10.0 + 0.1, abs=1e-9)
    assert rig.load.power_w == pytest.approx(3000.0, rel=1e-3)
    assert rig.standby.fault == ""


def test_attempts_fail_by_script_and_then_it_gives_up():
    rig = plant(GeneratorSpec(start_s=8.0, attempts=3, rest_s=5.0))
    rig.standby.failing_starts = 2
    rig.standby.start()
    rig.advance(2 * 13.0 + 7.999)
    assert rig.standby.state is GeneratorState.CRANKING
    rig.advance(2 * 13.0 + 8.001)
    assert rig.standby.is_ready
    rig.standby.stop()
    rig.standby.failing_starts = 3
    rig.standby.start()
    rig.advance(100.0)
    assert rig.standby.state is GeneratorState.STOPPED
    assert rig.standby.fault == "no_start"


def test_keyed_failures_are_as_frequent_as_they_are_said_to_be():
    def fails(seed):
        machine = Generator(GeneratorSpec(start_s=1.0, attempts=1, start_failure_probability=0.3), seed)
        machine.start()
        machine.advance(1.0)
        machine.settle()
        return machine.fault == "no_start"

    found = [fails(seed) for seed in range(300)]
    assert found == [fails(seed) for seed in range(300)]
    # Three standard deviations of a binomial count.
    assert sum(found) == pytest.approx(90, abs=3 * math.sqrt(300 * 0.3 * 0.7))


@pytest.mark.parametrize("power_w", [4000.0, 8000.0, 16_000.0])
def test_the_frequency_of_a_load_ends_at_the_droop(power_w):
    rig = on_generator()
    rig.load.set_power_w(power_w)
    rig.advance(60.0)
    drawn_w = rig.load.power_w
    assert drawn_w == pytest.approx(power_w, rel=1e-5)
    assert rig.standby.frequency_hz == pytest.approx(60.0 * (1.0 - 0.04 * drawn_w / 16_000.0), abs=1e-5)


def test_a_load_step_swings_as_the_second_order_system_on_paper():
    machine = GeneratorSpec(transient_reactance_pu=1e-6, resistance_pu=0.0)
    rig = on_generator(machine)
    rig.load.set_power_w(8000.0)
    zero_s = rig.now_s
    h, t_g, droop, step = 1.0, 0.2, 0.04, 0.5
    damping = 0.5 / t_g
    swing = math.sqrt(1.0 / (2.0 * h * t_g * droop) - damping**2)
    # w = 1 - droop step (1 - exp(-a t) (cos wt + b sin wt)) with the slope -step / 2H at zero.
    sine = (damping - 1.0 / (2.0 * h * droop)) / swing
    for k in range(1, 60):
        t = 0.05 * k
        rig.advance(zero_s + t)
        turned = math.exp(-damping * t) * (math.cos(swing * t) + sine * math.sin(swing * t))
        expected = 60.0 * (1.0 - droop * step * (1.0 - turned))
        assert rig.standby.frequency_hz == pytest.approx(expected, abs=2e-4)


def test_the_voltage_dips_by_the_reactance_and_comes_back_with_the_regulator():
    rig = on_generator()
    before_v = rig.standby.terminal_v[0]
    rig.load.set_power_w(16_000.0)
    rig.advance(rig.now_s)
    load_ohm = 3.0 * NOMINAL_V**2 / 16_000.0
    base_ohm = 3.0 * NOMINAL_V**2 / 20_000.0
    expected_v = before_v / abs(1.0 + base_ohm * (0.01 + 0.2j) / load_ohm)
    assert rig.load.voltage_v(1) == pytest.approx(expected_v, rel=1e-9)
    assert expected_v < 0.985 * before_v
    rig.advance(rig.now_s + 3.0)
    assert rig.load.voltage_v(1) == pytest.approx(NOMINAL_V, rel=1e-5)


def test_an_overload_stops_it_after_its_delay():
    rig = on_generator()
    rig.load.set_power_w(18_500.0)
    start_s = rig.now_s
    rig.advance(start_s + 9.9)
    assert rig.standby.is_ready
    rig.advance(start_s + 11.0)
    assert rig.standby.fault == "overload"
    assert rig.load.is_dead


def test_an_engine_cannot_sink():
    """What a converter feeds back into it drives it up, and its reverse-power relay stops it."""
    spec = PlantSpec(
        battery=BatterySpec(cells_in_parallel=67),
        converter=ConverterSpec(
            starts_on=True,
            bms_timeout_s=None,
            islanding=False,
            enter_service=EnterService(frequency_hz=(-3.0, 3.0), delay_s=1.0),
            # Its own relays would see the speed rise first.
            ride_through=RideThrough(),
        ),
        load=LoadSpec(power_w=1000.0),
        generator=GeneratorSpec(start_s=2.0),
        transfer_switch=TransferSwitchSpec(return_s=None),
    )
    rig = RigPlant(spec)
    rig.at(1.0, rig.grid.open_relay)
    rig.advance(20.0)
    assert rig.standby.is_ready
    rig.converter.set_power_w(1700.0)
    rig.advance(24.0)
    # 700 W are 4.4 %: it spins up a little, but below 5 % nothing trips.
    assert rig.standby.is_ready
    rig.converter.set_power_w(3000.0)
    rig.advance(26.5)
    assert rig.standby.fault == "reverse_power"
    assert rig.standby.frequency_hz == 0.0


def test_too_large_a_step_pulls_it_down():
    rig = on_generator(GeneratorSpec(inertia_s=0.3, overload_pu=3.0))
    rig.load.set_power_w(30_000.0)
    rig.advance(rig.now_s + 10.0)
    assert rig.standby.fault == "under_speed"


def test_energy_balances_on_a_generator_and_halved_steps_move_nothing():
    found = []
    for scale in (1.0, 0.5):
        rig = on_generator(power_w=2000.0, step_scale=scale)
        rig.load.set_power_w(9000.0)
        rig.advance(31.0)
        rig.load.set_power_w(1000.0)
        rig.advance(45.0)
        balance = rig.balance()
        assert balance.throughput_j > 1e4
        assert balance.residual_fraction < 1e-6
        found.append((rig.totals("load_ac").energy_out_j, rig.standby.frequency_hz, rig.standby.turns))
        taken = rig.totals("standby_ac")
        assert taken.energy_in_j > 2000.0 * 18.0
    one, two = found
    assert two[0] == pytest.approx(one[0], rel=1e-4)
    assert two[1] == pytest.approx(one[1], abs=1e-5)
    assert two[2] == pytest.approx(one[2], abs=1e-3)


def test_a_settled_generator_costs_no_solutions():
    rig = on_generator(power_w=2000.0)
    rig.advance(60.0)
    flow = rig.converter.flow
    rig.advance(600.0)
    assert rig.converter.flow is flow


@pytest.mark.parametrize(
    "bad", [{"droop": 0.0}, {"start_failure_probability": 1.5}, {"attempts": 0}, {"start_s": -1.0}]
)
def test_impossible_machines_are_refused(bad):
    with pytest.raises(ValueError, match=rf"generator: {next(iter(bad))}=.*; allowed"):
        GeneratorSpec(**bad)


def test_a_generator_without_a_switch_is_refused():
    with pytest.raises(ValueError, match="with a transfer switch"):
        PlantSpec(generator=MACHINE)
    with pytest.raises(ValueError, match="with a transfer switch"):
        PlantSpec(transfer_switch=TransferSwitchSpec())

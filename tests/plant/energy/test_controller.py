"""The reference energy manager: each rule by a closed form, and what may never happen whatever it is told."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.plant.energy import EnergyManager, EnergySite, ManagerSpec, Rule, SiteState
from harness.plant.server_rack import Swing, steady, through
from harness.plant.solar import SolarArray
from harness.plant.spec import SolarSpec

KWH_J = 3.6e6
SPEC = ManagerSpec(
    capacity_j=100.0 * KWH_J,
    charge_limit_w=50_000.0,
    discharge_limit_w=60_000.0,
    contract_power_w=100_000.0,
    margin=0.0,
)
HOUR_S = 3600.0


def site(demand, solar=None, *, soc=0.6, **change):
    return EnergySite(
        EnergyManager(replace(SPEC, **change)), demand=demand, solar=solar or steady(0.0), soc=soc
    )


def state(**change):
    told = {"time_s": 0.0, "demand_w": 50_000.0, "solar_w": 0.0, "grid_w": 0.0, "soc": 0.6, "imported_j": 0.0}
    return SiteState(**(told | change))


def rules(run):
    return {decision.rule for decision in run.decisions}


def test_with_charge_to_spare_nothing_flows_over_the_meter():
    run = site(steady(40_000.0), soc=0.9)
    run.run(HOUR_S)
    assert run.grid_w == pytest.approx(0.0, abs=1e-6)
    assert rules(run) == {Rule.SELF_CONSUMPTION}
    assert run.soc == pytest.approx(0.9 - 40.0 / 0.95 / 100.0)


def test_a_surplus_of_the_sun_charges_and_the_rest_is_exported():
    run = site(steady(20_000.0), steady(90_000.0), soc=0.5)
    run.run(600.0)
    decision = run.decisions[0]
    assert decision.battery_w == -50_000.0
    assert decision.rule is Rule.RATING
    assert run.grid_w == pytest.approx(20_000.0)
    assert run.ledger().curtailed_j == 0.0


def test_what_may_not_be_exported_is_curtailed():
    run = site(steady(20_000.0), steady(90_000.0), soc=0.95, export_limit_w=5000.0)
    run.run(600.0)
    assert run.grid_w == pytest.approx(5000.0)
    assert run.ledger().curtailed_j == pytest.approx(600.0 * 65_000.0)


def test_the_reserve_is_left_alone_and_the_contract_gives_way():
    """120 kW against a contract of 100 kW with nothing above the reserve: it cannot be avoided."""
    run = site(steady(120_000.0), soc=0.3)
    run.run(HOUR_S)
    assert run.soc == pytest.approx(0.3, abs=1e-9)
    assert run.windows_w == pytest.approx([120_000.0] * 2)
    assert Rule.RESERVE in rules(run)
    assert rules(run) <= {Rule.RESERVE, Rule.CONTRACT}


def test_a_peak_is_shaved_to_the_contract_and_no_further():
    """Once a window of it was seen, the battery is kept for what is above the contract."""
    run = site(steady(120_000.0), soc=0.75)
    run.run(1800.0)
    at_first = run.soc
    run.run(3600.0)
    assert run.windows_w[1] == pytest.approx(100_000.0, rel=1e-9)
    assert at_first - run.soc == pytest.approx(20.0 * 0.5 / 0.95 / 100.0, rel=1e-6)
    assert run.decisions[-1].rule is Rule.CONTRACT


def test_the_contract_is_a_mean_over_a_window_by_the_clock():
    """A quarter at 140 kW after a quarter at 40 kW is 90 kW in the mean: no shaving; the other way round
    likewise shaving begins only where the rest of the window cannot make up for it."""
    run = site(through([(0.0, 40_000.0), (900.0, 40_000.0), (900.0, 140_000.0)]), soc=0.31)
    run.run(1800.0)
    # What lies above the reserve goes into self-consumption first, and the window is still below its
    # contract.
    assert run.windows_w[0] <= 90_000.0
    assert Rule.CONTRACT not in rules(run)


@pytest.mark.parametrize("soc", [0.0, 0.15])
def test_below_the_reserve_it_charges_within_the_contract(soc):
    run = site(steady(70_000.0), soc=soc)
    run.run(1800.0)
    assert run.windows_w[0] == pytest.approx(100_000.0, rel=1e-9)
    assert run.soc == pytest.approx(soc + 0.95 * 30.0 * 0.5 / 100.0, rel=1e-6)
    assert rules(run) == {Rule.CONTRACT}


def test_without_mains_the_reserve_is_what_it_is_for():
    run = site(steady(50_000.0), soc=0.35)
    run.lose_mains(600.0, 2400.0)
    run.run(2390.0)
    assert run.ledger().unserved_j == 0.0
    assert run.soc < SPEC.reserve_soc
    islanded = [decision for decision in run.decisions if 600.0 <= decision.time_s < 2400.0]
    assert {decision.rule for decision in islanded} == {Rule.ISLAND}
    assert {decision.battery_w for decision in islanded} == {50_000.0}
    assert run.grid_w == 0.0


def test_an_island_curtails_what_neither_load_nor_battery_takes():
    run = site(steady(10_000.0), steady(80_000.0), soc=0.5)
    run.lose_mains(0.0, 600.0)
    run.run(600.0)
    assert run.decisions[0].solar_limit_w == pytest.approx(60_000.0)
    assert run.ledger().unserved_j == 0.0
    assert run.residual_j() < 1e-3


def test_the_ramp_of_the_grid_is_held():
    """A recharge of 50 kW beside 20 kW of demand comes at 100 W/s; what the reserve forbids outranks the
    ramp."""
    run = site(steady(20_000.0), soc=0.2, ramp_w_per_s=100.0)
    grids_w = []
    while run.now_s < 1000.0:
        run.run(run.now_s + 10.0)
        grids_w.append(run.grid_w)
    assert grids_w[0] == pytest.approx(-20_000.0)
    assert grids_w[:52] == pytest.approx([-20_000.0 - 1000.0 * min(step, 50) for step in range(52)])
    assert run.decisions[10].rule is Rule.RAMP
    assert run.decisions[60].rule is Rule.RATING


def office_day(days=3):
    """60 kW, and 130 kW from 13 to 15 o'clock."""
    points = []
    for day in range(days):
        base_s = 86_400.0 * day
        points += [
            (base_s, 60_000.0),
            (base_s + 13 * HOUR_S, 60_000.0),
            (base_s + 13 * HOUR_S, 130_000.0),
            (base_s + 15 * HOUR_S, 130_000.0),
            (base_s + 15 * HOUR_S, 60_000.0),
        ]
    return through(points)


def test_it_learns_the_peak_and_is_ready_for_it_the_next_day():
    """60 kWh above the contract each day, of 65 kW h that lie above the reserve: only who is full can give
    them."""
    run = site(office_day(), soc=0.3, interval_s=60.0, full_soc=0.97)
    run.run(2 * 86_400.0)
    first, second = run.windows_w[26:30], run.windows_w[48 + 26 : 48 + 30]
    assert max(first) > 120_000.0  # it had used its charge, not knowing
    assert max(second) == pytest.approx(100_000.0, rel=1e-6)
    assert {Rule.PREPARE, Rule.CONTRACT} <= rules(run)
    assert max(run.windows_w[48:]) <= 100_000.0 * (1.0 + 1e-9)
    assert run.decisions[1440 + 13 * 60].need_j == pytest.approx(60.0 * KWH_J, rel=0.02)
    assert len(run.manager.demand.errors()) == 3


def unseen_jumps(days):
    """50 kW, and 100 kW for 90 min: each jump lies a second behind a decision, one in a window's last
    minutes."""
    points = []
    for day in range(days):
        for hour in (9.0 + 29 / 60, 13.0):
            start_s = 86_400.0 * day + hour * HOUR_S + 1.0
            end_s = start_s + (0.5 if hour < 13.0 else 1.5) * HOUR_S
            points += [(start_s, 50_000.0), (start_s, 100_000.0), (end_s, 100_000.0), (end_s, 50_000.0)]
    return through([(0.0, 50_000.0), *points])


@pytest.mark.parametrize("interval_s", [10.0, 30.0, 60.0, 300.0])
def test_the_contract_holds_at_any_interval(interval_s):
    """With energy enough, on the day after the first peak."""
    run = site(unseen_jumps(2), soc=0.9, contract_power_w=70_000.0, interval_s=interval_s, margin=0.01)
    run.run(2 * 86_400.0)
    assert max(run.windows_w[:48]) > 70_000.0  # what nobody has seen yet
    assert max(run.windows_w[48:]) <= 70_000.0


def cloudy(days, seed):
    """100 kW in Osaka at midsummer, the power each five minutes."""
    spec = SolarSpec(rated_dc_w=120_000.0, rated_ac_w=100_000.0, interval_s=300.0)
    array = SolarArray(spec, seed, 115.47, 60.0)
    return through([(300.0 * k, array.available_w(300.0 * k)) for k in range(days * 288 + 1)])


@pytest.mark.parametrize("seed", [2, 3])
def test_it_keeps_charge_for_the_clouds_that_its_forecast_does_not_see(seed):
    """130 kW for two hours, of which the sun carries the most on a mean day; the contract is 70 kW."""
    contract = {"contract_power_w": 70_000.0, "interval_s": 60.0, "margin": 0.01}
    prudent = site(office_day(5), cloudy(5, seed), soc=0.5, **contract)
    careless = site(office_day(5), cloudy(5, seed), soc=0.5, prudence=0.0, **contract)
    for run in (prudent, careless):
        run.run(4 * 86_400.0)
    # Two days to learn what a day is, and by how much days differ.
    assert max(careless.windows_w[96:]) > 75_000.0
    assert max(prudent.windows_w[96:]) <= 70_000.0
    assert prudent.ledger().imported_j == pytest.approx(careless.ledger().imported_j, rel=0.01)


def test_what_a_peak_will_need_is_kept_where_it_could_not_be_filled_again():
    """What may be used of the contract all day, and 120 kW for an hour: 20 kWh at the terminals.

    A thirtieth of the rise is kept back while it has not come: B = 100 kW - (120 kW - B) / 30.
    """
    base_w = 100_000.0 - 20_000.0 / 29.0
    points = [(0.0, base_w)]
    for day in range(2):
        start_s = 86_400.0 * day + 13 * HOUR_S
        points += [(start_s, base_w), (start_s, 120_000.0), (start_s + HOUR_S, 120_000.0)]
        points += [(start_s + HOUR_S, base_w)]
    run = site(through(points), soc=0.3, interval_s=60.0)
    run.run(86_400.0)
    run.soc = 0.8
    run.run(86_400.0 + 12 * HOUR_S)
    # The interval in which it fell counts with the peak: (B' - 100 kW) + (120 kW - B') / 30 for half an hour,
    # with B' = B + (120 kW - B) / 30.
    assert run.soc == pytest.approx(0.3 + (20.0 + 1.0 / 3.0) / 0.95 / 100.0, abs=1e-5)
    assert run.decisions[-1].battery_w == pytest.approx(0.0, abs=1e-6)
    run.run(2 * 86_400.0)
    assert max(run.windows_w[48:]) <= 100_000.0 * (1.0 + 1e-9)


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_and_the_reserve_holds_through_swings(seed):
    demand = Swing(
        low_w=20_000.0, high_w=140_000.0, frequency_hz=1.0 / 700.0, jitter=0.05, seed=seed
    ).pieces()
    solar = Swing(
        low_w=0.0, high_w=90_000.0, frequency_hz=1.0 / 5000.0, ramp_s=900.0, seed=seed + 10
    ).pieces()
    run = site(demand, solar, soc=0.5, export_limit_w=10_000.0, ramp_w_per_s=2000.0)
    run.lose_mains(20_005.0, 20_400.0)
    socs = []
    while run.now_s < 40_000.0:
        run.run(run.now_s + 50.0)
        socs.append((run.now_s, run.soc))
    book = run.ledger()
    assert run.residual_j() < 1e-6 * book.served_j
    assert min(soc for now_s, soc in socs if now_s < 20_000.0) >= SPEC.reserve_soc - 1e-9
    assert book.battery_loss_j > 0.0
    assert book.curtailed_j > 0.0
    equal = site(
        Swing(low_w=20_000.0, high_w=140_000.0, frequency_hz=1.0 / 700.0, jitter=0.05, seed=seed).pieces(),
        Swing(low_w=0.0, high_w=90_000.0, frequency_hz=1.0 / 5000.0, ramp_s=900.0, seed=seed + 10).pieces(),
        soc=0.5,
        export_limit_w=10_000.0,
        ramp_w_per_s=2000.0,
    )
    equal.lose_mains(20_005.0, 20_400.0)
    equal.run(40_000.0)
    assert equal.ledger() == book


def test_a_long_run_keeps_the_last_day_of_decisions():
    run = site(steady(40_000.0), soc=0.9, interval_s=1.0)
    run.run(9000.0)
    assert [run.decisions[0].time_s, run.decisions[-1].time_s] == [9000.0 - 8640.0, 8999.0]
    assert len(run.decisions) == 8640


powers_w = st.floats(0.0, 300_000.0)
states = st.builds(
    SiteState,
    time_s=st.floats(0.0, 1799.0),
    demand_w=powers_w,
    solar_w=powers_w,
    grid_w=st.floats(-200_000.0, 200_000.0),
    soc=st.floats(0.0, 1.0),
    imported_j=st.floats(0.0, 100.0 * KWH_J),
    is_islanded=st.booleans(),
)
specs = st.builds(
    lambda ramp_w_per_s, export_limit_w: replace(
        SPEC, ramp_w_per_s=ramp_w_per_s, export_limit_w=export_limit_w
    ),
    st.sampled_from([math.inf, 500.0]),
    st.sampled_from([math.inf, 0.0, 20_000.0]),
)


@settings(max_examples=300)
@given(told=states, spec=specs)
def test_no_decision_breaks_a_rule_above_the_one_that_bound(told, spec):
    manager = EnergyManager(spec)
    manager.decide(replace(told, time_s=0.0, imported_j=0.0))
    decision = manager.decide(told)
    power_w = decision.battery_w
    slack_w = 1e-6 * max(1.0, told.demand_w, told.solar_w)
    assert -spec.charge_limit_w <= power_w <= spec.discharge_limit_w
    assert all(span.low_w <= power_w <= span.high_w for span in decision.spans)
    grid_after_w = power_w + min(told.solar_w, decision.solar_limit_w) - told.demand_w
    if told.is_islanded:
        # Balanced, unless the demand is more than the battery's converter can give.
        assert grid_after_w == pytest.approx(0.0, abs=slack_w) or power_w == spec.discharge_limit_w
    else:
        if power_w > 0.0:
            drop = power_w * spec.interval_s / (spec.capacity_j * spec.discharge_efficiency)
            assert told.soc - drop >= spec.reserve_soc - 1e-9
            assert grid_after_w <= slack_w  # never out of the battery into the grid
        if grid_after_w > slack_w:
            assert grid_after_w <= spec.export_limit_w + slack_w
            # Exports only what cannot be charged, or must not be by a ramp.
            assert decision.rule in {Rule.RATING, Rule.FULL, Rule.RAMP, Rule.EXPORT}
    if power_w != decision.wanted_w:
        bound = [span for span in decision.spans if span.rule is decision.rule]
        assert any(power_w in {span.low_w, span.high_w} for span in bound)
    assert decision.rule.name.lower() in str(decision)


@pytest.mark.parametrize(
    ("change", "word"),
    [({"soc": 1.2}, "soc=1.2"), ({"demand_w": -1.0}, "demand_w=-1.0"), ({"grid_w": math.nan}, "grid_w=nan")],
)
def test_a_state_that_cannot_be_is_refused(change, word):
    with pytest.raises(ValueError, match=f"energy manager: .*{word}.*allowed"):
        EnergyManager(SPEC).decide(state(**change))


def test_time_does_not_run_back():
    manager = EnergyManager(SPEC)
    manager.decide(state(time_s=20.0))
    with pytest.raises(ValueError, match=r"asked at 10\.0 s after 20\.0 s"):
        manager.decide(state(time_s=10.0))


@pytest.mark.parametrize(
    "change",
    [
        {"capacity_j": 0.0},
        {"reserve_soc": 0.96},
        {"interval_s": 360.0},
        {"interval_s": 70.0},
        {"window_s": 7000.0},
    ],
)
def test_a_site_that_cannot_be_is_refused(change):
    name, value = next(iter(change.items()))
    with pytest.raises(ValueError, match=f"energy manager: .*{name}={value}"):
        replace(SPEC, **change)

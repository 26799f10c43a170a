"""Load profiles: they join, have their edges where they were asked for, and their energy by closed forms."""

import math
from itertools import islice, pairwise

import pytest

from harness.plant.server_rack import Smoothing, Swing, checkpoints, steady, through, total, tripped


def until(profile, end_s):
    """Pieces up to a time, the last one cut there."""
    for piece in profile:
        if piece.end_s >= end_s:
            yield piece._replace(end_s=end_s, to_w=piece.at_w(end_s))
            return
        yield piece


def energy_j(profile, end_s):
    return math.fsum((p.end_s - p.start_s) * 0.5 * (p.from_w + p.to_w) for p in until(profile, end_s))


PROFILES = {
    "steady": lambda: steady(100.0),
    "points": lambda: through([(1.0, 0.0), (1.05, 900.0), (2.0, 900.0), (2.0, 0.0)]),
    "swing": lambda: Swing(low_w=400.0, high_w=1000.0, frequency_hz=3.0, jitter=0.02, seed=7).pieces(),
    "checkpoints": lambda: checkpoints(1000.0, 300.0, every_s=60.0, pause_s=10.0, ramp_s=0.05),
    "tripped": lambda: tripped(Swing(low_w=0.0, high_w=1000.0, frequency_hz=1.0).pieces(), 2.25),
    "smoothed": lambda: Smoothing(
        floor_w=500.0, up_w_per_s=900.0, down_w_per_s=700.0, hysteresis_s=0.3
    ).pieces(Swing(low_w=100.0, high_w=1000.0, frequency_hz=0.5).pieces()),
    "total": lambda: total(
        [Swing(low_w=0.0, high_w=10.0, frequency_hz=2.0, seed=n).pieces() for n in range(3)]
    ),
}


@pytest.mark.parametrize("make", PROFILES.values(), ids=PROFILES.keys())
def test_pieces_begin_at_zero_and_join(make):
    pieces = list(islice(make(), 200))
    assert pieces[0].start_s == 0.0
    assert all(before.end_s == after.start_s for before, after in pairwise(pieces))
    assert all(piece.end_s > piece.start_s for piece in pieces)
    assert len(pieces) == 200 or pieces[-1].end_s == math.inf


@pytest.mark.parametrize("frequency_hz", [0.2, 0.5, 1.0, 2.0, 3.0])
def test_a_swing_has_its_edges_and_its_mean(frequency_hz):
    swing = Swing(low_w=400.0, high_w=1000.0, frequency_hz=frequency_hz, duty=0.3, ramp_s=0.004)
    period_s = 1.0 / frequency_hz
    rises = [p for p in islice(swing.pieces(), 40) if p.to_w > p.from_w]
    for number, rise in enumerate(rises):
        assert rise.start_s == pytest.approx(number * period_s, abs=1e-12)
        assert rise.end_s - rise.start_s == pytest.approx(0.004, abs=1e-12)
    assert energy_j(swing.pieces(), 10 * period_s) == pytest.approx(
        10 * period_s * (400.0 + 0.3 * 600.0), rel=1e-12
    )


def test_jitter_moves_each_edge_by_its_own_key_and_repeats():
    def edges(seed):
        swing = Swing(low_w=0.0, high_w=1.0, frequency_hz=1.0, jitter=0.03, start_s=1.0, seed=seed)
        return [p.start_s for p in islice(swing.pieces(), 1, 200) if p.from_w != p.to_w]

    assert edges(1) == edges(1)
    assert edges(1) != edges(2)
    off = [edge - (1.0 + number / 2) for number, edge in enumerate(edges(1))]
    assert 0.02 < math.sqrt(sum(o * o for o in off) / len(off)) < 0.04
    assert max(map(abs, off)) <= 0.09 + 1e-12


@pytest.mark.parametrize(
    ("change", "word"),
    [({"ramp_s": 0.6}, "ramp_s=0.6"), ({"jitter": 0.2}, "jitter=0.2"), ({"low_w": -1.0}, "low_w=-1.0")],
)
def test_a_swing_that_cannot_be_says_so(change, word):
    with pytest.raises(ValueError, match=f"load swing: .*{word}.*allowed"):
        Swing(**{"low_w": 0.0, "high_w": 1.0, "frequency_hz": 1.0} | change)


def test_a_checkpoint_pauses_where_it_was_asked_to():
    mean_w = (1000.0 * (60.0 - 10.1) + 300.0 * 10.0 + 0.1 * 650.0) / 60.0
    profile = checkpoints(1000.0, 300.0, every_s=60.0, pause_s=10.0, ramp_s=0.05)
    assert energy_j(profile, 600.0) == pytest.approx(600.0 * mean_w, rel=1e-12)


def test_a_trip_is_a_jump_to_nothing():
    pieces = list(tripped(steady(800.0), 3.0))
    assert [(p.start_s, p.end_s, p.from_w, p.to_w) for p in pieces] == [
        (0.0, 3.0, 800.0, 800.0),
        (3.0, math.inf, 0.0, 0.0),
    ]


def test_smoothing_ramps_holds_its_floor_and_gives_it_up_after_the_hysteresis():
    demand = through([(1.0, 100.0), (1.0, 1000.0), (4.0, 1000.0), (4.0, 100.0)])
    smoothing = Smoothing(floor_w=600.0, up_w_per_s=500.0, down_w_per_s=400.0, hysteresis_s=2.0)
    pieces = list(smoothing.pieces(demand))

    def at_w(time_s):
        return next(p.at_w(time_s) for p in pieces if p.start_s <= time_s < p.end_s)

    # From 100 W at 500 W/s: work is below the floor since zero, so the floor's own ramp begins at once.
    assert at_w(0.5) == pytest.approx(350.0)
    assert at_w(1.5) == pytest.approx(850.0)
    assert at_w(1.79) == pytest.approx(995.0)
    assert at_w(2.0) == pytest.approx(1000.0)
    assert at_w(4.5) == pytest.approx(800.0)
    assert at_w(5.0) == pytest.approx(600.0)
    assert at_w(5.99) == pytest.approx(600.0)
    assert at_w(6.5) == pytest.approx(400.0)
    assert at_w(7.25) == pytest.approx(100.0)
    assert at_w(100.0) == pytest.approx(100.0)


def test_smoothing_never_exceeds_its_ramps_and_keeps_a_swing_above_its_floor():
    """A preset of the Blackwell profile: 70 % floor, 200 W/s, 2 s, of 1,000 W."""
    smoothing = Smoothing(floor_w=700.0, up_w_per_s=200.0, down_w_per_s=200.0, hysteresis_s=2.0)
    swing = Swing(low_w=300.0, high_w=1000.0, frequency_hz=0.5)
    pieces = list(until(smoothing.pieces(swing.pieces()), 40.0))
    assert max(abs(p.slope_w_per_s) for p in pieces) <= 200.0 * (1.0 + 1e-6)
    assert all(before.to_w == pytest.approx(after.from_w) for before, after in pairwise(pieces))
    later = [p for p in pieces if p.start_s > 5.0]
    assert min(min(p.from_w, p.to_w) for p in later) >= 700.0 - 1e-9
    assert max(max(p.from_w, p.to_w) for p in later) > 850.0


def test_a_smoothing_that_never_binds_changes_nothing():
    smoothing = Smoothing(floor_w=0.0, up_w_per_s=1e12, down_w_per_s=1e12, hysteresis_s=0.0)
    swing = Swing(low_w=300.0, high_w=1000.0, frequency_hz=0.5, ramp_s=0.01)
    assert energy_j(smoothing.pieces(swing.pieces()), 20.0) == pytest.approx(energy_j(swing.pieces(), 20.0))


def test_the_total_is_the_sum_at_every_time():
    def parts():
        return [Swing(low_w=0.0, high_w=10.0 * n, frequency_hz=0.7 * n, seed=n).pieces() for n in (1, 2, 3)]

    whole = list(until(total(parts()), 5.0))
    singles = [list(until(p, 5.0)) for p in parts()]
    for k in range(1, 400):
        time_s = 0.0123 * k
        found = next(p.at_w(time_s) for p in whole if p.start_s <= time_s < p.end_s)
        summed = sum(next(p.at_w(time_s) for p in one if p.start_s <= time_s < p.end_s) for one in singles)
        assert found == pytest.approx(summed, abs=1e-9)


def test_points_must_not_fall_back_in_time():
    with pytest.raises(ValueError, match="not falling"):
        next(through([(2.0, 1.0), (1.0, 1.0)]))

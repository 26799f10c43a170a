"""Racks cut down to what one test looks at, and a way to find when something happens."""

from dataclasses import replace

from harness.plant.server_rack import orv3_rack


def even(spec):
    """Take the spread of set-points and thresholds away."""
    return replace(
        spec,
        shelf=replace(spec.shelf, setpoint_sigma_v=0.0),
        backup=replace(spec.backup, setpoint_sigma_v=0.0),
        servers=replace(spec.servers, threshold_sigma_v=0.0),
    )


def without_backup(spec):
    return replace(spec, backup=replace(spec.backup, modules=0, spares=0))


def one_rectifier(spec):
    """A supply on its own, as on a bench, with a load of its size."""
    spec = without_backup(even(spec))
    shelf = replace(spec.shelf, rectifiers=1, spares=0)
    servers = replace(
        spec.servers, count=1, rated_power_w=shelf.rated_power_w, throttle_v=46.0, release_v=46.0
    )
    return replace(spec, shelf=shelf, servers=servers)


EVEN = even(orv3_rack())


def first_time(rack, is_true, until_s, *, from_s=0.0, step_s=1e-3, resolution_s=1e-7):
    """Find when a condition that stays becomes true, to the resolution, on a rack that is built anew.

    ``rack`` makes one; each call gives an equal one.
    """
    run = rack()
    run.advance(from_s)
    before_s = run.now_s
    while not is_true(run):
        assert run.now_s < until_s, "it never happened"
        before_s = run.now_s
        run.advance(min(run.now_s + step_s, until_s))
    after_s = run.now_s
    while after_s - before_s > resolution_s:
        middle_s = 0.5 * (before_s + after_s)
        run = rack()
        run.advance(middle_s)
        if is_true(run):
            after_s = middle_s
        else:
            before_s = middle_s
    return after_s

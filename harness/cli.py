"""``rackproof``: a first reading in a minute, a rig's files checked, emulators in their own process."""

from __future__ import annotations

import argparse
import asyncio
import functools
import inspect
import os
import re
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.clock import go_before_others, run_virtual, run_wall
from harness.errors import ConfigurationError, RackproofError, Unsafe, near_miss
from harness.readings import Measured
from harness.report.figures import in_words
from harness.rig.agreement import BenchFiles
from harness.rig.bench import Bench, FarSide, Setup, open_bench
from harness.rig.driver_folders import find_driver
from harness.rig.files import load_rig, shipped_plan_ids, write_rig
from harness.rig.refusals import refusals
from harness.rig.rig_file import RigFile
from harness.rig.toml_file import unknown
from harness.roles import Identity
from harness.safety.permit import refuse_command

if TYPE_CHECKING:
    from harness.rig.product_file import ProductFile

EXIT_OK = 0
EXIT_TROUBLE = 1
EXIT_USAGE = 4
"""As pytest's own: a mistake in a file or an option."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    try:
        options = _options(arguments)
        code = int(options.run(options))
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read has seen enough (``| head``). Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_TROUBLE
    except ConfigurationError as error:
        count = len(error.mistakes)
        print(f"{count} mistake{'s' if count > 1 else ''}:", *error.mistakes, sep="\n  ", file=sys.stderr)
        return EXIT_USAGE
    except RackproofError as error:
        print(f"{'refused: ' if isinstance(error, Unsafe) else ''}{error}", file=sys.stderr)
        return EXIT_TROUBLE
    except OSError as error:
        # A folder that may not be written, a file where a folder is meant, a full disk.
        print(f"{error.filename or 'rackproof'}: {error.strerror or error}", file=sys.stderr)
        return EXIT_TROUBLE
    except KeyboardInterrupt:
        return 130
    return code


def _options(arguments: Sequence[str] | None) -> Any:
    """Parse a command line; what its command does not know is told with that command's own usage."""
    options, rest = _parser().parse_known_args(arguments)
    if rest:
        known = [*options.command._option_string_actions]  # noqa: SLF001 - argparse has no public word for it
        options.command.error(f"unrecognized arguments: {' '.join(rest)}{near_miss(rest[0], known)}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rackproof", description="Test plans for battery and server racks, on a rig."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[Any], int], text: str, *, on_rig: bool = True
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(run=run, command=made)
        if on_rig:
            made.add_argument("rig", help="name in fixtures/rigs/, or a path")
            made.add_argument("--product", help="product under test, if not the rig's own")
        return made

    read = command("read", _read, "Read one value from one device.")
    read.add_argument("value", help="<device>.<reading>, for example inverter.ac_power_w")
    read.add_argument("argument", nargs="*", default=[], help="what the reading asks for: a phase, a node")
    read.add_argument("--emulate", action="store_true", help="on an emulator, in virtual time")
    check = command("check", _check, "Check a rig's files, then reach each of its devices.")
    check.add_argument("--emulate", action="store_true", help="on emulators, in virtual time")
    plans = command("plans", _plans, "List the test plans, and which of them a rig can run.", on_rig=False)
    plans.add_argument("rig", nargs="?", help="name in fixtures/rigs/, or a path")
    plans.add_argument("--emulate", action="store_true", help="as they would run emulated")
    plans.add_argument("--testplans", default="testplans", help="folder of the plans (default: testplans)")
    emulate = command(
        "emulate", _emulate, "Serve a rig's emulators in real time, and write a rig file that points at them."
    )
    emulate.add_argument("--write", metavar="PATH", help="of the rig file (default: <rig>_emulated.toml)")
    emulate.add_argument(
        "--truth", metavar="PATH", type=Path, help="where to write what the plant really does"
    )
    emulate.add_argument("--drill", action="store_true", help="take drills from standard input, a line each")
    emulate.add_argument(
        "--without", action="append", default=[], metavar="DEVICE", help="leave a device on CAN out"
    )
    arm = command("arm", _arm, "Permit a rig to be energised, for a time.")
    arm.add_argument("--person", required=True, help="who answers for it")
    arm.add_argument("--minutes", type=float, default=60.0, help="how long (default: 60)")
    command("disarm", _disarm, "Take the permission back.")
    commission = command(
        "commission", _commission, "Try at low energy whether a rig is wired as its file says."
    )
    commission.add_argument("--person", default="", help="who stands beside it, and answers for it")
    commission.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    command("safe", _safe, "Make a rig safe, verify it, and say what is still live.")
    clear = command("clear", _clear, "Open a rig that was left unsafe.")
    clear.add_argument("--person", required=True, help="who has seen to it, and answers for it")
    verify = command(
        "verify", _verify, "Verify a run: its chain, its files, its signature, its page.", on_rig=False
    )
    verify.add_argument("folder", type=Path, help="of the run")
    seal = command(
        "seal",
        _seal,
        "Seal a run whose process was killed; draw the page of a sealed one again.",
        on_rig=False,
    )
    seal.add_argument("folder", type=Path, help="of the run")
    file = command("file", _file, "Give a sealed run its row in a database.", on_rig=False)
    file.add_argument("folder", type=Path, help="of the run")
    file.add_argument("--store", metavar="URL", help="of the database (default: SQLite beside the run)")
    return parser


def _files(options: Any, *, with_plan_ids: bool = False) -> tuple[RigFile, ProductFile]:
    files = BenchFiles.load(options.rig, options.product)
    mistakes = [*files.mistakes, *(_unknown_plans(files) if with_plan_ids else ())]
    if mistakes or files.rig is None or files.product is None:
        raise ConfigurationError(*mistakes)
    return files.rig, files.product


def on_reading_bench(
    rig: RigFile,
    product: ProductFile,
    work: Callable[[Bench], Coroutine[Any, Any, int]],
    *,
    emulate: bool,
    only: frozenset[str] | None = None,
) -> int:
    """Open a bench on which nothing can be commanded, read something there, close it.

    Raises:
        Unsafe: a device was to be commanded, and nothing was sent; or somebody else holds an exclusive wire.
    """
    f0_hz = float(rig.frequencies_hz[0])
    setup = Setup(rig=rig, product=product, f0_hz=f0_hz, seed=rig.seed, note=refuse_command)

    async def run() -> int:
        async with open_bench(setup, emulate=emulate, only=only) as bench:
            return await work(bench)

    if emulate:
        return run_virtual(run)
    from harness.safety.lease import Lease  # noqa: PLC0415 - an emulated rig is nobody's

    devices = [device for name, device in rig.devices.items() if only is None or name in only]
    exclusive = {each.wire for each in devices if rig.wires[each.wire].sharing == "exclusive"}
    lease = Lease.take(rig, to_read=exclusive)
    try:
        return run_wall(run)
    finally:
        lease.close()


def _read(options: Any) -> int:
    rig, product = _files(options)
    word, _, quantity = options.value.partition(".")
    device = rig.named(word)

    # Before anything is opened: a device that cannot be reached must not hide a wrong word.
    driver: Any = find_driver(rig.devices[device].driver).Driver
    known = readings_of(driver)
    if quantity not in known:
        raise ConfigurationError(
            f"{device} ({rig.devices[device].driver}) has no reading {quantity!r}; "
            f"it has: {', '.join(sorted(known))}{near_miss(quantity, known)}"
        )
    _, *parameters = inspect.signature(getattr(driver, quantity)).parameters.values()  # but self
    wanted = [each for each in parameters if each.default is each.empty]
    if not len(wanted) <= len(options.argument) <= len(parameters):
        raise ConfigurationError(
            f"{options.value} asks for: {', '.join(each.name for each in parameters) or 'nothing'}; "
            f"came: {', '.join(options.argument) or 'nothing'}"
        )
    values = [int(each) if re.fullmatch("-?[0-9]{1,18}", each) else each for each in options.argument]

    async def read(bench: Bench) -> int:
        result = await getattr(bench.devices[device], quantity)(*values)
        print(*_shown(f"{device}.{quantity}", result), sep="\n")
        return EXIT_OK

    return on_reading_bench(rig, product, read, emulate=options.emulate, only=frozenset({device}))


def readings_of(driver: type) -> list[str]:
    """Name the calls of a driver that give something: a command gives None, and is no reading.

    A capture's waveforms are left out: a bench that was just opened has none.
    """
    found: list[str] = []
    for name in dir(driver):
        method = getattr(driver, name)
        if name.startswith("_") or not inspect.iscoroutinefunction(method):
            continue
        given = str(inspect.signature(method).return_annotation)
        if given not in _NOTHING and "Waveform" not in given:
            found.append(name)
    return found


_NOTHING = frozenset({"None", str(inspect.Signature.empty)})
"""What is annotated where a call gives nothing, or does not say what it gives."""


_MEASURED_SETS = (
    "voltage_v", "current_a", "power_w", "reactive_power_var", "frequency_hz",
    "out_j", "in_j", "charge_out_c", "charge_in_c",
)  # fmt: skip
"""What the sets of ``roles.PowerValues`` and ``roles.EnergyValues`` hold."""


def _shown(name: str, result: Any) -> list[str]:
    """Give a line for a reading, or one for each quantity of a set of measured values."""
    if isinstance(result, Measured):
        return [f"{name} = {result.value:.6g} {result.unit} (u = {result.u:.2g})"]
    held = [part for part in _MEASURED_SETS if hasattr(result, part)]
    if held:
        return [line for part in held for line in _shown(f"{name}.{part}", getattr(result, part))]
    if hasattr(result, "lowest"):  # an instrument's screen, with a lowest and a highest value a column
        reach = f"{result.lowest.min():.6g} to {result.highest.max():.6g}"
        return [f"{name} = {reach} in {len(result.lowest)} columns of {result.column_s:.3g} s"]
    value = getattr(result, "value", result)
    at = f"  at {result.at_s:.3f} s" if hasattr(result, "at_s") else ""
    return [f"{name} = {_shown_value(value)}{at}"]


def _shown_value(value: Any) -> str:
    """Write a value without Python's own words; numbers as they come."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_shown_value(each)}" for key, each in value.items())
    if isinstance(value, Identity):
        return f"{value.maker} {value.model}, serial {value.serial or '-'}, firmware {value.firmware or '-'}"
    return in_words(value)


def _unknown_plans(files: BenchFiles, testplans: Path = Path("testplans")) -> Iterator[str]:
    """Name the ids that neither the project's plans nor Rackproof's own have.

    Without a folder of plans, or with none in it, nothing is known of them. Rackproof's own are known beside
    the project's: its files, and copies of them, list plans that a project need not have.
    """
    from harness.listing import collect  # noqa: PLC0415 - pytest loads for the listing alone

    try:
        own = {spec.plan_id for spec, _ in collect(testplans)} if testplans.is_dir() else set[str]()
    except ConfigurationError as error:
        yield from error.mistakes
        return
    known = own | shipped_plan_ids()
    for place, asked in files.plan_ids() if own else ():
        if asked not in known:
            yield f"{place}: {unknown('plan', asked, known)}"


def _check(options: Any) -> int:
    rig, product = _files(options, with_plan_ids=True)
    print(
        f"rig {rig.name}: {len(rig.devices)} devices on {len(rig.wires)} wires, "
        f"product {product.name}: files are sound"
    )
    for reason in refusals(rig, product):
        print(f"not to be energised: {reason}")

    async def reach(bench: Bench) -> int:
        for name, driver in bench.devices.items():
            who = await driver.identity()
            tried = bench.setup.find_driver(rig.devices[name].driver).TRIED
            print(f"  {name:<12} {_shown_value(who)} (driver: {tried})")
        return EXIT_OK

    return on_reading_bench(rig, product, reach, emulate=options.emulate)


def _plans(options: Any) -> int:
    from harness.listing import list_plans  # noqa: PLC0415 - pytest loads for the listing alone

    rig = None if options.rig is None else load_rig(options.rig)
    return list_plans(Path(options.testplans), rig, emulate=options.emulate)


def _emulate(options: Any) -> int:
    from harness.rig.emulation import serve  # noqa: PLC0415 - vendors load when emulators are served

    rig, product = _files(options)
    path = Path(options.write or f"{rig.name}_emulated.toml")
    without = [rig.named(word) for word in options.without]

    async def run() -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop.set)
        setup = Setup(rig=rig, product=product, f0_hz=float(rig.frequencies_hz[0]), seed=rig.seed)
        async with serve(setup, without, options.truth) as (served, side):
            if options.drill:
                loop.add_reader(sys.stdin, _take_drill, side)
            write_rig(served, path)
            count = len(rig.devices) - len(set(without))
            print(f"{rig.name}: {count} emulators in real time; rig file: {path}", flush=True)
            print(f"  rackproof arm {path} --person NAME", flush=True)
            print(f"  pytest testplans/ --rig={path}", flush=True)
            go_before_others()  # a device has a processor of its own
            print("stop with Ctrl-C", flush=True)
            await stop.wait()
        return EXIT_OK

    return run_wall(run)


def _take_drill(side: FarSide) -> None:
    from harness.rig.emulation import drill  # noqa: PLC0415

    words = sys.stdin.readline()
    if not words:
        asyncio.get_running_loop().remove_reader(sys.stdin)
        return
    try:
        drill(side, words)
        print(f"done: {words.strip()}", flush=True)
    except ConfigurationError as error:
        print(f"not done: {error}", flush=True)


def _arm(options: Any) -> int:
    from harness.safety.arming import CHECKLIST, arm  # noqa: PLC0415

    rig, product = _files(options)
    reasons = refusals(rig, product)
    if reasons:
        raise Unsafe("; ".join(reasons))
    until = arm(rig, product, options.person, options.minutes)
    print(f"rig {rig.name} is armed by {options.person} until {until:%Y-%m-%d %H:%M:%S}, who confirms:")
    print(*(f"  - {line}" for line in CHECKLIST), sep="\n")
    return EXIT_OK


def _disarm(options: Any) -> int:
    from harness.safety.arming import disarm  # noqa: PLC0415

    rig = load_rig(options.rig)
    disarm(rig)
    print(f"rig {rig.name} is not armed")
    return EXIT_OK


def _commission(options: Any) -> int:
    from harness.safety.commissioned import fingerprint  # noqa: PLC0415 - numpy loads with the checks
    from harness.safety.commissioning import commission, programme  # noqa: PLC0415
    from harness.safety.commissioning_checks import CHECKS  # noqa: PLC0415

    rig, product = _files(options)
    if options.dry_run:
        print(f"rig {rig.name}, file {fingerprint(rig)[:16]}, {', '.join(rig.devices)}")
        print(*programme(CHECKS, rig, product), sep="\n")
        print(*(f"not to be energised: {reason}" for reason in refusals(rig, product)), sep="\n")
        return EXIT_OK
    tell = functools.partial(print, flush=True)
    return EXIT_OK if commission(rig, product, options.person, CHECKS, tell) else EXIT_TROUBLE


def _safe(options: Any) -> int:
    from harness.safety.recovery import recover  # noqa: PLC0415
    from harness.safety.unsafe import unsafe_lines  # noqa: PLC0415

    rig, product = _files(options)
    setup = Setup(rig=rig, product=product, f0_hz=float(rig.frequencies_hz[0]), seed=rig.seed)

    def say(kind: str, body: object) -> None:
        match kind, body:
            case "not opened", {"device": device, "error": error}:
                print(f"  {device} does not answer: {error}")
            case "step", _:
                step: Any = body
                print(f"  {step.means}: {step.outcome}{' - ' + step.text if step.text else ''}")
            case _:
                pass

    outcome = run_wall(lambda: recover(setup, say))
    for node, sensors in outcome.seen.items():
        print(f"  {node}: {', '.join(f'{sensor} = {value}' for sensor, value in sensors.items())}")
    print(*(unsafe_lines(tuple(outcome.live), options.rig) or [f"rig {rig.name}: {outcome.text}"]), sep="\n")
    return EXIT_OK if outcome.is_safe else EXIT_TROUBLE


def _clear(options: Any) -> int:
    from harness.safety.lease import clear  # noqa: PLC0415

    rig = load_rig(options.rig)
    cause = clear(rig, options.person)
    print(f"rig {rig.name} is open again on the word of {options.person}; it was closed:")
    print(*(f"  {line}" for line in cause.split("; ")), sep="\n")
    return EXIT_OK


def _verify(options: Any) -> int:
    from harness.record.logbook import verify  # noqa: PLC0415
    from harness.report.drawn import not_as_drawn  # noqa: PLC0415 - templates and plots

    findings, notes = list(verify(options.folder)), list[str]()
    if not findings:
        findings, notes = not_as_drawn(options.folder)
    print(*(findings or [f"{options.folder}: sealed, whole and signed"]), *notes, sep="\n")
    return EXIT_TROUBLE if findings else EXIT_OK


def _seal(options: Any) -> int:
    from harness.clock import wall_time  # noqa: PLC0415
    from harness.record.logbook import LOGBOOK, RECORD  # noqa: PLC0415
    from harness.record.record import read_document, record_of  # noqa: PLC0415
    from harness.record.run import seal_folder  # noqa: PLC0415
    from harness.report.drawn import write_drawn  # noqa: PLC0415

    folder: Path = options.folder
    if (folder / LOGBOOK).exists():
        record, done = record_of(read_document(folder / RECORD)), "sealed already, its page drawn again"
    else:
        record, done = seal_folder(folder, wall_time()), "sealed"
    report = write_drawn(folder)
    print(f"{folder}: {done}, {record.verdict}")
    print(f"report: {report}")
    return EXIT_OK


def _file(options: Any) -> int:
    from harness.record.store import file_once  # noqa: PLC0415

    folder: Path = options.folder
    run_id = file_once(folder, options.store or folder.resolve().parent)
    print(f"{folder}: filed as {run_id}")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())

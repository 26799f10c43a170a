"""Series of readings and captured waveforms as Parquet: equal contents give equal bytes.

``<plan>.parquet`` is long: ``source``, ``at_s``, ``value`` (a number, or null) and ``text`` (states and
sets, spelled as JSON, or null). ``<plan>_<capture>.parquet`` has one column of samples a channel; start,
rate and uncertainties stand in the file's own key-value part under ``rackproof``. The bytes also depend
on the version of pyarrow, which the logbook has.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import BenchError
from harness.readings import Waveform
from harness.record.canonical import canonical, digest, plain, spell

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Byte planes of neighbouring samples are alike, which zstd 1 takes a quarter of the size from at
# 0.15 s for 8.6 million samples; without them the same file took longer to write and was larger.
_SAMPLES: Mapping[str, Any] = {
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": False,
    "use_byte_stream_split": True,
    "write_statistics": False,
}
_SERIES: Mapping[str, Any] = {"compression": "zstd", "compression_level": 3, "write_statistics": False}


@dataclass(frozen=True, slots=True)
class Series:
    """Readings of one source in the order in which they came.

    Attributes:
        at_s: rig times, shape (n,).
        values: shape (n,); NaN where a reading was no number.
        texts: the readings that were no numbers, spelled as JSON; None for numbers. Empty where all were.
    """

    at_s: NDArray[np.float64]
    values: NDArray[np.float64]
    texts: tuple[str | None, ...] = ()


Points = Mapping[str, Sequence[tuple[float, Any]]]
"""Rig time and value by source, as a journal gives them."""


def number_of(value: object) -> float | None:
    """Give numbers and booleans as floats; None for states and sets."""
    return float(value) if isinstance(value, bool | int | float) else None


def write_readings(path: Path, points: Points) -> None:
    """Write the readings of one plan, sources in order of name.

    Raises:
        BenchError: the file could not be written.
    """
    import pyarrow as pa  # noqa: PLC0415 - 0.2 s to import, and only needed when something is written

    names = sorted(points)
    flat = [(index, at_s, value) for index, name in enumerate(names) for at_s, value in points[name]]
    numbers = [number_of(value) for _, _, value in flat]
    texts = [
        None if number is not None else spell(plain(value))
        for number, (_, _, value) in zip(numbers, flat, strict=True)
    ]
    indices = pa.array([index for index, _, _ in flat], pa.int32())
    table = pa.table(
        {
            "source": pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string())),
            "at_s": pa.array([at_s for _, at_s, _ in flat], pa.float64()),
            "value": pa.array(numbers, pa.float64()),
            "text": pa.array(texts, pa.string()),
        }
    )
    _write(path, table, _SERIES)


def read_readings(path: Path) -> dict[str, Series]:
    """Read the readings of one plan, by source."""
    import numpy as np  # noqa: PLC0415 - with pyarrow
    import pyarrow.parquet as pq  # noqa: PLC0415 - see write_readings

    table = pq.read_table(path)
    if not len(table):
        return {}
    table = table.unify_dictionaries().combine_chunks()
    names = table["source"].chunk(0)
    at_s = table["at_s"].to_numpy()
    values = table["value"].to_numpy()  # null becomes NaN
    texts = table["text"]
    indices = names.indices.to_numpy()
    edges = np.flatnonzero(np.diff(indices)) + 1
    found: dict[str, Series] = {}
    for first, last in zip([0, *edges.tolist()], [*edges.tolist(), len(indices)], strict=True):
        name = names.dictionary[int(indices[first])].as_py()
        piece = texts.slice(first, last - first)
        spelled = tuple(piece.to_pylist()) if piece.null_count < len(piece) else ()
        found[name] = Series(at_s[first:last], values[first:last], spelled)
    return found


def write_capture(path: Path, channels: Mapping[str, Waveform], trigger_s: float | None = None) -> None:
    """Write the waveforms of one capture, channels in order of name.

    Args:
        path: the file, which is replaced.
        channels: all with the same number of samples.
        trigger_s: rig time of the trigger, where there was one.

    Raises:
        BenchError: the channels differ in length, or the file could not be written.
    """
    import pyarrow as pa  # noqa: PLC0415 - see write_readings

    lengths = {name: len(channels[name].samples) for name in sorted(channels)}
    if len(set(lengths.values())) > 1:
        raise BenchError(f"{path.name}: channels of one capture have equal length; these came with {lengths}")
    about = {
        "trigger_s": trigger_s,
        "channels": {
            name: {
                "start_s": each.start_s,
                "sample_rate_hz": each.sample_rate_hz,
                "gain_u": each.gain_u,
                "offset_u": each.offset_u,
                "trigger_skew_s": each.trigger_skew_s,
            }
            for name, each in channels.items()
        },
    }
    table = pa.table({name: pa.array(channels[name].samples, pa.float64()) for name in sorted(channels)})
    _write(path, table.replace_schema_metadata({"rackproof": canonical(about)}), _SAMPLES)


def read_capture(path: Path) -> tuple[dict[str, Waveform], float | None]:
    """Read the waveforms of one capture by channel, and the rig time of its trigger."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - see write_readings

    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[b"rackproof"])
    channels = {
        name: Waveform(samples=table[name].to_numpy(), channel=name, **each)
        for name, each in about["channels"].items()
    }
    return channels, about["trigger_s"]


def digest_of_capture(channels: Mapping[str, Waveform]) -> dict[str, str]:
    """Hash each waveform: start and rate as little-endian doubles, then the samples as such."""
    return {
        name: digest(
            struct.pack("<dd", each.start_s, each.sample_rate_hz),
            each.samples.astype("<f8", copy=False).tobytes(),
        )
        for name, each in sorted(channels.items())
    }


def digest_of_readings(series: Sequence[tuple[float, Any]]) -> str:
    """Hash one series, out of a journal: canonical JSON of ``[[rig time, value], ...]``."""
    try:
        return digest(spell(series).encode())
    except ValueError:  # a number that is not finite: rare, and slower to spell
        return digest(canonical(series))


def _write(path: Path, table: Any, options: Mapping[str, Any]) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415 - see write_readings

    try:
        pq.write_table(table, path, **options)
    except OSError as error:
        raise BenchError(f"{path}: the trace could not be written ({error})") from error

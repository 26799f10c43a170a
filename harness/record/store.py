"""A row for each run, plan and judgement, in SQLite or PostgreSQL: what yields and histories come from.

The folder of a run is the proof; rows only point at it. Imports SQLAlchemy: import this module where a
run is filed, not before.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import ForeignKey, create_engine, make_url
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from harness.errors import BenchError, ConfigurationError
from harness.record.canonical import revive
from harness.record.logbook import LOGBOOK, RECORD, verify
from harness.record.record import Record, read_document, record_of

DATABASE = "rackproof.sqlite"


class Base(DeclarativeBase):
    """All tables of the store."""


class RunRow(Base):
    """One sealed run."""

    __tablename__ = "runs"

    run_id: Mapped[str] = mapped_column(primary_key=True)
    folder: Mapped[str]
    head: Mapped[str]
    started: Mapped[str]
    rig: Mapped[str]
    product: Mapped[str]
    serial: Mapped[str] = mapped_column(index=True)
    lot: Mapped[str]
    firmware: Mapped[str]
    station: Mapped[str]
    operator: Mapped[str]
    order: Mapped[str] = mapped_column("order_number")
    attempt: Mapped[int]
    attempts_allowed: Mapped[int]
    is_emulated: Mapped[bool] = mapped_column(index=True)
    is_acceptance: Mapped[bool]
    verdict: Mapped[str]
    plans: Mapped[list[PlanRow]] = relationship(cascade="all, delete-orphan")


class PlanRow(Base):
    """One plan of a run."""

    __tablename__ = "plans"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id"), index=True)
    plan: Mapped[str] = mapped_column(index=True)
    head: Mapped[str]
    f0_hz: Mapped[float | None]
    form: Mapped[str]
    verdict: Mapped[str]
    message: Mapped[str]
    rig_time_s: Mapped[float]
    judgements: Mapped[list[JudgementRow]] = relationship(cascade="all, delete-orphan")


class JudgementRow(Base):
    """One judgement of a plan; SI values, NULL where a value is no finite number."""

    __tablename__ = "judgements"

    id: Mapped[int] = mapped_column(primary_key=True)
    plan_row: Mapped[int] = mapped_column(ForeignKey("plans.id"), index=True)
    measure: Mapped[str] = mapped_column(index=True)
    measure_case: Mapped[str]
    value: Mapped[float | None]
    u: Mapped[float | None]
    unit: Mapped[str]
    minimum: Mapped[float | None]
    maximum: Mapped[float | None]
    requirement: Mapped[str]
    is_verified: Mapped[bool]
    verdict: Mapped[str]


def open_store(place: Path | str) -> Engine:
    """Open the store and make its tables where they are missing.

    Args:
        place: the folder of all runs, for SQLite; or a database URL.

    Raises:
        ConfigurationError: no such database, or no right to use it.
    """
    url = f"sqlite:///{place / DATABASE}" if isinstance(place, Path) else place
    # A log is no place for a password.
    shown = re.sub("(?<=password=)[^&]*", "***", re.sub("(?<=://)[^?]*@", "***@", url))
    try:
        address = make_url(url)
    except (SQLAlchemyError, ValueError) as error:
        raise ConfigurationError(
            f"store {shown}: no address of a database; allowed: as SQLAlchemy writes it, for example "
            "sqlite:////srv/all.sqlite or postgresql://NAME:PASSWORD@HOST/DATABASE"
        ) from error
    try:
        engine = create_engine(address)
        Base.metadata.create_all(engine)
    except (SQLAlchemyError, ImportError) as error:
        raise ConfigurationError(f"store {shown}: cannot be opened: {_in_a_line(error)}") from error
    return engine


def _in_a_line(error: Exception) -> str:
    """What the database said, without the page that SQLAlchemy adds to it."""
    return " ".join(str(getattr(error, "orig", None) or error).split())


def file_once(run_dir: Path, place: Path | str) -> str:
    """Open a store, file a sealed run, and let go of it; raises as ``open_store`` and ``file_run`` do."""
    engine = open_store(place)
    try:
        return file_run(run_dir, engine)
    finally:
        engine.dispose()


def file_run(run_dir: Path, engine: Engine) -> str:
    """File a sealed run, whatever its verdict; gives its run id. Filing it again changes nothing.

    Raises:
        BenchError: the run is not sealed, or the database refused it.
    """
    return _file(run_dir, engine, is_acceptance=False)


def file_acceptance(run_dir: Path, engine: Engine, needs: Collection[str]) -> str:
    """File a run as the acceptance of its unit; gives its run id.

    Args:
        run_dir: the sealed run.
        engine: from ``open_store``.
        needs: plans that the product's acceptance needs, by id without parameters.

    Raises:
        BenchError: the run is emulated, was changed, is not all PASS, lacks a plan, judged by an unverified
            number, or showed a short form only; the message has every reason.
    """
    record, _ = _read(run_dir)
    reasons = [*verify(run_dir), *_against_acceptance(record, needs)]
    if reasons:
        listed = "".join(f"\n    {reason}" for reason in reasons)
        raise BenchError(f"{run_dir.name}: cannot be filed as acceptance:{listed}")
    return _file(run_dir, engine, is_acceptance=True)


def _against_acceptance(record: Record, needs: Collection[str]) -> list[str]:
    reasons = []
    if record.subject["is_emulated"]:
        reasons.append("it is emulated: no hardware took part")
    ran = {plan.plan.partition("[")[0] for plan in record.plans}
    reasons += [f"plan {name} was not run" for name in sorted(set(needs) - ran)]
    reasons += [f"plan {name} was not begun" for name in record.not_begun]
    if record.unsafe:
        reasons.append("it left its rig unsafe")
    if not record.plans:
        reasons.append("it has no plan")
    for plan in record.plans:
        if plan.verdict != "PASS":
            reasons.append(f"plan {plan.plan} is {plan.verdict}")
        elif not plan.judgements:
            reasons.append(f"plan {plan.plan} judged nothing")
        if plan.facts.get("does_not_show"):
            reasons.append(f"plan {plan.plan} ran in a form that does not show {plan.facts['does_not_show']}")
        unverified = {str(_id(each)) for each in plan.judgements if not each.get("is_verified")}
        reasons += [
            f"plan {plan.plan} judged by {name}, not verified against the text" for name in sorted(unverified)
        ]
    return reasons


def _read(run_dir: Path) -> tuple[Record, Mapping[str, Any]]:
    return record_of(read_document(run_dir / RECORD)), read_document(run_dir / LOGBOOK)


def _file(run_dir: Path, engine: Engine, *, is_acceptance: bool) -> str:
    record, logbook = _read(run_dir)
    unit = record.subject["unit"]
    row = RunRow(
        run_id=logbook["run_id"],
        folder=run_dir.name,
        head=record.head,
        started=logbook["started"],
        rig=record.subject["rig"],
        product=record.subject["product"],
        serial=unit["serial"],
        lot=unit["lot"],
        firmware=unit["firmware"],
        station=logbook["station"],
        operator=logbook["operator"],
        order=logbook["order"],
        attempt=logbook["attempt"]["number"],
        attempts_allowed=logbook["attempt"]["of"],
        is_emulated=record.subject["is_emulated"],
        is_acceptance=is_acceptance,
        verdict=record.verdict,
        plans=[_plan_row(plan) for plan in record.plans],
    )
    try:
        with Session(engine) as session, session.begin():
            filed = session.get(RunRow, row.run_id)
            if filed is None:
                session.add(row)
            elif filed.head != record.head:
                raise BenchError(f"{run_dir.name}: filed before with another head {filed.head[:12]}...")
            else:
                filed.is_acceptance = filed.is_acceptance or is_acceptance
    except SQLAlchemyError as error:
        raise BenchError(f"{run_dir.name}: the store refused it: {_in_a_line(error)}") from error
    return str(logbook["run_id"])


def _plan_row(plan: Any) -> PlanRow:
    return PlanRow(
        plan=plan.plan,
        head=plan.head,
        f0_hz=plan.facts.get("f0_hz"),
        form=plan.facts.get("form") or "",
        verdict=plan.verdict,
        message=plan.message,
        rig_time_s=plan.duration_s,
        judgements=[_judgement_row(revive(dict(each))) for each in plan.judgements],
    )


def _judgement_row(body: Mapping[str, Any]) -> JudgementRow:
    limits = body.get("limits") or {}
    return JudgementRow(
        measure=body["measure"],
        measure_case=body.get("case") or "",
        value=_finite(body.get("value")),
        u=_finite(body.get("u")),
        unit=body.get("unit") or "",
        minimum=_finite(limits.get("minimum")),
        maximum=_finite(limits.get("maximum")),
        requirement=_id(body),
        is_verified=bool(body.get("is_verified")),
        verdict=body["verdict"],
    )


def _id(body: Mapping[str, Any]) -> str:
    requirement = body.get("requirement") or ""
    return str(requirement["id"] if isinstance(requirement, dict) else requirement)


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

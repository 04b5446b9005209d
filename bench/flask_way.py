"""The plain way to serve the latest result: Flask, SQLAlchemy and jsonify, as most would write it first.

``gunicorn --threads 8 bench.flask_way:app``. It does what pgsched does for each answer: permission, CORS,
request id, and gunicorn's access log; the driver parses the document and jsonify writes it anew.
"""

from __future__ import annotations

import os
import uuid
from datetime import datetime
from typing import Any, ClassVar

from flask import Flask, Response, abort, jsonify, request
from sqlalchemy import BigInteger, ForeignKey, create_engine, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

app = Flask(__name__)
_engine = create_engine(
    os.environ["PG_DSN_APP"].replace("postgresql://", "postgresql+psycopg://", 1), pool_size=8, max_overflow=0
)


class _Model(DeclarativeBase):
    type_annotation_map: ClassVar = {int: BigInteger}


class Query(_Model):
    """What permission is asked of."""

    __tablename__ = "query_job"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    visibility: Mapped[str]


class Run(_Model):
    """A run."""

    __tablename__ = "query_run"
    id: Mapped[int] = mapped_column(primary_key=True)
    query_id: Mapped[int]
    scheduled_at: Mapped[datetime]
    job_timezone: Mapped[str]
    run_started_at: Mapped[datetime | None]
    run_finished_at: Mapped[datetime | None]
    duration_ms: Mapped[int | None]
    status: Mapped[str]
    rows_returned: Mapped[int | None]
    error_message: Mapped[str | None]
    error_code: Mapped[str | None]
    attempt: Mapped[int]
    trigger: Mapped[str]
    truncated: Mapped[bool]
    blob: Mapped[Blob] = relationship()


class Blob(_Model):
    """Its result."""

    __tablename__ = "query_run_blob"
    run_id: Mapped[int] = mapped_column(ForeignKey("query_run.id"), primary_key=True)
    df_json: Mapped[dict[str, Any]] = mapped_column(JSONB)


_TOLD = [column.key for column in Run.__table__.columns]


@app.after_request
def carry(answer: Response) -> Response:
    """Add what every answer carries."""
    answer.headers["Access-Control-Allow-Origin"] = "*"
    answer.headers["X-Request-Id"] = request.headers.get("X-Request-Id") or uuid.uuid4().hex
    return answer


@app.get("/api/queries/<name>/runs/latest")
def latest(name: str) -> Response:
    """Answer with the latest success."""
    with Session(_engine) as session:
        query = session.scalar(select(Query).where(Query.name == name))
        if query is None or query.visibility != "public":
            abort(404)
        newest = (
            select(Run)
            .where(Run.query_id == query.id, Run.status == "success")
            .order_by(Run.scheduled_at.desc(), Run.id.desc())
            .limit(1)
        )
        run = session.scalar(newest)
        if run is None:
            abort(404)
        return jsonify({**{name: getattr(run, name) for name in _TOLD}, "result": run.blob.df_json})

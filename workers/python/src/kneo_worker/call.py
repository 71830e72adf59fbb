"""What a handler may ask about the call that it answers."""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

_FRACTION = re.compile(r"\.(\d{1,6})\d*")


@dataclass(frozen=True)
class Call:
    """One call of a handler."""

    invocation_id: str
    """The same for every attempt."""
    attempt: int
    """Counted from 1."""
    idempotency_key: str = ""
    """The same for every repetition of this call, also after a crash of the server: hand it on to whatever must not act twice."""
    run_id: str = ""
    """The run that the call belongs to."""
    deadline: datetime | None = None
    """The latest time for an answer, in UTC, or ``None``; a later answer is refused."""
    traceparent: str = ""
    """The W3C trace context, or empty."""

    @classmethod
    def of(cls, message: dict[str, Any]) -> Call:
        """Read the call of an ``invocation`` message."""
        return cls(
            invocation_id=str(message.get("invocation_id", "")), attempt=int(message.get("attempt", 1)),
            idempotency_key=str(message.get("idempotency_key") or ""), run_id=str(message.get("run_id") or ""),
            deadline=_time(message.get("deadline")), traceparent=str(message.get("traceparent") or ""),
        )

    def seconds_left(self) -> float | None:
        """Return the time until the deadline, 0 when it has passed, ``None`` when there is none."""
        return None if self.deadline is None else max((self.deadline - datetime.now(timezone.utc)).total_seconds(), 0.0)


def _time(text: Any) -> datetime | None:  # noqa: ANN401
    if not isinstance(text, str) or not text:
        return None
    try:
        parsed = datetime.fromisoformat(_FRACTION.sub(lambda m: "." + m[1].ljust(6, "0"), text.replace("Z", "+00:00")))
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)


current: ContextVar[Call] = ContextVar("kneo_worker_call")


def current_call() -> Call:
    """Return the call that the running handler answers; outside of a handler that is a ``LookupError``."""
    return current.get()

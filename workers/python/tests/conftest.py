"""Every test has a time limit of its own, so that one that hangs fails alone."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

LIMIT_SECONDS = 20

sys.path.insert(0, str(Path(__file__).parent / "modules"))


@pytest.fixture(autouse=True)
def time_limit() -> Iterator[None]:
    def fail(_signum: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"the test took longer than {LIMIT_SECONDS} seconds")

    previous = signal.signal(signal.SIGALRM, fail)
    signal.alarm(LIMIT_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)

"""Handlers for the tests."""

import asyncio
import subprocess  # noqa: F401  (imported modules must not be served)
import sys
import threading
from dataclasses import dataclass
from json import dumps  # noqa: F401  (imported functions must not be served)

from kneo_worker import HandlerError, current_call, handler

release = threading.Event()
notices: list = []


def shout(text):  # noqa: ANN001, ANN201
    """Says it loudly.

    Second paragraph.
    """
    return text.upper()


def number(text):  # noqa: ANN001, ANN201
    return 42


def nothing(text):  # noqa: ANN001, ANN201
    return None


def structure(text):  # noqa: ANN001, ANN201
    return {"a": [1, True, None]}


def lookup(args):  # noqa: ANN001, ANN201
    return {"hit": args["query"], "n": 1}


def odd(args):  # noqa: ANN001, ANN201
    return {1, 2} if args.get("set") else float("nan")


async def slowly(args):  # noqa: ANN001, ANN201
    await asyncio.sleep(0)
    return "async " + args["query"]


async def forever(text):  # noqa: ANN001, ANN201
    await asyncio.Event().wait()


def asked(text):  # noqa: ANN001, ANN201
    call = current_call()
    return f"{text} {call.invocation_id} {call.attempt} {call.idempotency_key} {call.run_id} {call.deadline} {call.traceparent}"


async def asked_too(text):  # noqa: ANN001, ANN201
    return asked(text)


def noted(text):  # noqa: ANN001, ANN201
    notices.append(text)
    return str(notices)


async def noted_too(text):  # noqa: ANN001, ANN201
    return noted(text)


def blocked(text):  # noqa: ANN001, ANN201
    release.wait(15)
    return text


def fails(text):  # noqa: ANN001, ANN201
    raise RuntimeError("no luck")


def fails_silently(text):  # noqa: ANN001, ANN201
    raise ValueError


def leaves(text):  # noqa: ANN001, ANN201
    sys.exit(3)


def coded(text):  # noqa: ANN001, ANN201
    raise HandlerError("later", code="busy", retryable=True, details={"after": 3})


def prints(text):  # noqa: ANN001, ANN201
    print("noise on stdout")
    return input() if text == "read" else text


def short(text):  # noqa: ANN001, ANN201
    return len(text) < 5


def tidy(text):  # noqa: ANN001, ANN201
    return {"passed": False, "reason": "r", "revised_text": "t", "metadata": {"k": 1}, "other": object()}


@dataclass
class Judged:
    passed: bool
    reason: str | None = None


def judged(text):  # noqa: ANN001, ANN201
    return Judged(False, "because")


def unclear(text):  # noqa: ANN001, ANN201
    return "yes"


def notes(text, top_k=5):  # noqa: ANN001, ANN201
    return "; ".join([text] * top_k)


@handler(kinds=["tool"], idempotent=False, description="Charges.", input_schema={"type": "object"})
def charge(args):  # noqa: ANN001, ANN201
    return "charged"


class _Pipeline:
    def run(self, text):  # noqa: ANN001, ANN201
        @dataclass
        class Result:
            output_text: str

        return Result("ran " + text)


pipeline = _Pipeline()


def _private(text):  # noqa: ANN001, ANN201
    return text

"""Speaks with the process that holds the connection to the server: one JSON object per line in each direction.

To this process come ``invocation``, ``cancel`` and ``drain``; from it go ``register`` first, and then exactly one ``result``
or ``error`` for every invocation.
"""

from __future__ import annotations

import asyncio
import functools
import json
import platform
import threading
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

from kneo_worker.call import Call, current
from kneo_worker.catalog import Handler
from kneo_worker.execute import HandlerError, execute

_CLIENT = f"python/1.0.0 ({platform.python_version()})"


async def _in_time(work: Coroutine[Any, Any, Any], seconds: float | None) -> Any:  # noqa: ANN401
    """Await a call until its deadline. A thread cannot be stopped: it goes on, and its result is dropped."""
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not done:
        task.cancel()
        raise _late()
    return task.result()


def _late() -> HandlerError:
    return HandlerError("The call took longer than its time limit.", code="timeout", retryable=True)


class Worker:
    """Serves handlers over two binary streams."""

    def __init__(
        self, handlers: Iterable[Handler], reader: BinaryIO, writer: BinaryIO, *, max_concurrency: int = 16, name: str = "",
    ) -> None:
        self._handlers = list(handlers)
        self._targets = {(kind, item.name): item.target for item in self._handlers for kind in item.kinds}
        self._reader = reader
        self._writer = writer
        self._write_lock = threading.Lock()
        self._max_concurrency = max(max_concurrency, 1)
        self._name = name
        self._tasks: dict[tuple[str, int], asyncio.Task[Any]] = {}

    async def run(self) -> None:
        """Serve until the input ends or says ``drain``, and answer every invocation before returning."""
        executor = ThreadPoolExecutor(self._max_concurrency, thread_name_prefix="handler")
        self._send(
            {
                "type": "register", "client": _CLIENT, "worker_name": self._name, "max_concurrency": self._max_concurrency,
                "handlers": [item for entry in self._handlers for item in entry.registrations()],
            }
        )
        lines: asyncio.Queue[bytes] = asyncio.Queue()
        threading.Thread(target=self._read, args=(asyncio.get_running_loop(), lines), daemon=True).start()
        try:
            while line := await lines.get():
                if not self._take(line, executor):
                    break
            while self._tasks:
                await asyncio.wait(list(self._tasks.values()))
                # The answers are sent by callbacks, which run after the tasks.
                await asyncio.sleep(0)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)

    def _read(self, loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[bytes]) -> None:
        line = b"\n"
        while line:
            try:
                line = self._reader.readline()
            except (OSError, ValueError):
                line = b""
            try:
                loop.call_soon_threadsafe(lines.put_nowait, line)
            except RuntimeError:
                return

    def _take(self, line: bytes, executor: ThreadPoolExecutor) -> bool:
        """Act on one message; return False when it was the last one."""
        if not line.strip():
            return True
        message = json.loads(line)
        kind = message.get("type")
        if kind == "drain":
            return False
        key = (str(message.get("invocation_id")), int(message.get("attempt", 1)))
        if kind == "invocation":
            task = asyncio.get_running_loop().create_task(self._invoke(message, executor))
            self._tasks[key] = task
            # A callback answers even when the task is cancelled before its first step.
            task.add_done_callback(functools.partial(self._answer, key))
        elif kind == "cancel" and key in self._tasks:
            self._tasks[key].cancel()
        return True

    async def _invoke(self, message: dict[str, Any], executor: ThreadPoolExecutor) -> Any:  # noqa: ANN401
        kind, name = str(message.get("kind")), str(message.get("name"))
        target = self._targets.get((kind, name))
        if target is None:
            raise HandlerError(f"This worker serves no {kind} named {name}.", code="handler_unavailable")
        call = Call.of(message)
        current.set(call)
        left = call.seconds_left()
        if left == 0:
            # Nobody takes the answer any more, so the handler does not even begin.
            raise _late()
        return await _in_time(execute(kind, target, message.get("input"), executor), left)

    def _answer(self, key: tuple[str, int], task: asyncio.Task[Any]) -> None:
        self._tasks.pop(key, None)
        answer: dict[str, Any] = {"invocation_id": key[0], "attempt": key[1]}
        if task.cancelled():
            answer |= {"type": "error", "code": "cancelled", "message": "The call was cancelled.", "retryable": False}
        elif (exc := task.exception()) is not None:
            # Nothing is known about an ordinary exception, so another try may succeed.
            answer |= {"type": "error", "code": "handler_error", "message": str(exc) or type(exc).__name__, "retryable": True}
            if isinstance(exc, HandlerError):
                answer |= {"code": exc.code, "retryable": exc.retryable}
                if exc.details is not None:
                    answer["details"] = exc.details
        else:
            answer |= {"type": "result", "output": task.result()}
        self._send(answer)

    def _send(self, message: dict[str, Any]) -> None:
        try:
            data = json.dumps(message, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError):
            data = json.dumps({**message, "output": None, "details": None, "type": "error", "code": "handler_error",
                               "message": "The answer cannot be written as JSON.", "retryable": False})
        with self._write_lock:
            try:
                self._writer.write(data.encode() + b"\n")
                self._writer.flush()
            except (OSError, ValueError):
                # The other side is gone; the end of the input follows.
                pass

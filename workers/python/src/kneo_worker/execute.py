"""Calls a handler in one role and converts what it returns."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import json
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any


class HandlerError(Exception):
    """A failure with a code for programs. Any other exception becomes a retryable ``handler_error`` with its text."""

    def __init__(
        self, message: str, *, code: str = "handler_error", retryable: bool = False, details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable
        self.details = details


async def execute(kind: str, target: Any, value: Any, executor: Executor) -> Any:  # noqa: ANN401
    """Call a handler with the input of its kind and return its output as plain JSON data.

    Coroutine functions run on the loop, everything else in the executor.
    """
    call = _bind(kind, target, value)
    if inspect.iscoroutinefunction(call.entry):
        result = call()
    else:
        result = await asyncio.get_running_loop().run_in_executor(executor, contextvars.copy_context().run, _contained, call)
    if inspect.isawaitable(result):
        result = await _awaited(result)
    return _convert(kind, result)


class _Call:
    def __init__(self, entry: Callable[..., Any], *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        self.entry = entry
        self._args = args
        self._kwargs = kwargs

    def __call__(self) -> Any:  # noqa: ANN401
        return self.entry(*self._args, **self._kwargs)


def _bind(kind: str, target: Any, value: Any) -> _Call:  # noqa: ANN401
    entry = target if callable(target) else target.run
    if kind == "function":
        run = getattr(target, "run", None)
        return _Call(run if callable(run) and not inspect.isroutine(target) else entry, _text(value))
    if kind == "tool":
        if not isinstance(value, dict):
            raise HandlerError("The arguments of a tool are an object.", code="invalid_input")
        return _Call(entry, value)
    if kind == "retriever":
        if not isinstance(value, dict):
            raise HandlerError("The input of a retriever is an object.", code="invalid_input")
        return _Call(entry, _text(value.get("text")), top_k=value.get("top_k", 5))
    return _Call(entry, _text(value))


def _text(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str):
        raise HandlerError("The input is text.", code="invalid_input")
    return value


def _contained(call: _Call) -> Any:  # noqa: ANN401
    # An exit that a handler asks for ends its call, not the worker.
    try:
        return call()
    except Exception:
        raise
    except BaseException as exc:
        raise HandlerError(f"The handler raised {type(exc).__name__}.") from exc


async def _awaited(result: Any) -> Any:  # noqa: ANN401
    try:
        return await result
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as exc:
        raise HandlerError(f"The handler raised {type(exc).__name__}.") from exc


def _convert(kind: str, result: Any) -> Any:  # noqa: ANN401
    if kind == "tool":
        return result if isinstance(result, str) else _plain(result)
    if kind == "guardrail":
        return _verdict(result)
    if kind == "function" and hasattr(result, "output_text"):
        return {"output_text": str(result.output_text)}
    return str(result)


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Return the value when JSON can hold it, else its text."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return str(value)
    return value


def _verdict(result: Any) -> Any:  # noqa: ANN401
    if isinstance(result, bool):
        return result
    if isinstance(result, dict):
        source = result
    else:
        names = ("passed", "reason", "revised_text", "metadata")
        source = {name: getattr(result, name) for name in names if hasattr(result, name)}
    if not isinstance(source.get("passed"), bool):
        raise HandlerError("A guardrail function must return a bool, or a mapping or object with a bool `passed`.")
    out: dict[str, Any] = {"passed": source["passed"]}
    for name in ("reason", "revised_text"):
        if source.get(name) is not None:
            out[name] = str(source[name])
    if isinstance(source.get("metadata"), dict):
        metadata = _plain(source["metadata"])
        if isinstance(metadata, dict):
            out["metadata"] = metadata
    return out

"""Speaks with the server itself: the worker service of the contract over gRPC. Needs ``kneo-worker[grpc]``.

The handlers are served by the same loop as over standard streams; a session translates between its lines and the messages of the stream,
sends heartbeats, and connects again when the server goes away.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import random
import ssl
import sys
import threading
from collections.abc import Iterable, Iterator
from importlib import resources
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from kneo_worker.catalog import Handler
from kneo_worker.stdio import Worker

_METHOD = "/kneo.v1.WorkerService/Connect"
# Messages as large as the server's. A connection that has been silent for a while is asked whether it still lives, no more often than the
# server allows. How long the answer may take has two names: grpcio follows the second one, releases before that the first.
_OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20),
    ("grpc.keepalive_time_ms", 30_000), ("grpc.keepalive_timeout_ms", 10_000), ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 10.0
# The answers of the server that no later attempt will change.
_FINAL = (
    grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INVALID_ARGUMENT,
)


def _messages() -> tuple[Any, Any]:
    """Return the classes of what a worker sends and of what it receives, from the descriptors of the contract."""
    files = descriptor_pb2.FileDescriptorSet.FromString(resources.files(__package__).joinpath("worker.binpb").read_bytes())
    pool: Any = descriptor_pool.DescriptorPool()
    get: Any = message_factory.GetMessageClass
    for file in files.file:
        pool.Add(file)
    find = pool.FindMessageTypeByName
    return get(find("kneo.v1.WorkerMessage")), get(find("kneo.v1.ServerMessage"))


class CertificateError(Exception):
    """A file of certificates or keys cannot be used."""


class Remote:
    """Serves handlers to one server until it is stopped."""

    def __init__(
        self, handlers: Iterable[Handler], url: str, *, api_key: str = "", ca_file: str = "", cert_file: str = "", key_file: str = "",
        max_concurrency: int = 16, name: str = "",
    ) -> None:
        """Read the certificates; a file that cannot be used is a ``CertificateError``."""
        self._handlers = list(handlers)
        self._url = urlsplit(url if "//" in url else f"//{url}")
        self._metadata = (("authorization", f"Bearer {api_key}"),) if api_key else ()
        self._credentials: grpc.ChannelCredentials | None = None
        if self._url.scheme == "https":
            self._credentials = _credentials(ca_file, cert_file, key_file)
        self._max_concurrency = max_concurrency
        self._name = name
        self._sent, self._received = _messages()
        self._stopping = threading.Event()
        self._session: _Session | None = None
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Take no further calls, answer those in progress, and let ``run`` return."""
        self._stopping.set()
        with self._lock:
            if self._session is not None:
                self._session.drain("the worker stops")

    def run(self) -> int:
        """Serve until ``stop``; return 0, or 1 when the server refuses this worker."""
        wait, told = _FIRST_WAIT, ""
        while not self._stopping.is_set():
            with self._channel() as channel:
                session = _Session(self, channel)
                with self._lock:
                    self._session = session
                    if self._stopping.is_set():
                        break
                error = session.serve()
            if error is not None and error.code() in _FINAL:
                print(f"kneo-worker: the server refuses this worker: {error.details()}", file=sys.stderr)
                return 1
            reason = "" if error is None else f"{error.code().name}: {error.details()}"
            if session.registered:
                wait, told = _FIRST_WAIT, ""
            if reason and reason != told and not self._stopping.is_set():
                print(f"kneo-worker: no connection to the server, trying again: {reason}", file=sys.stderr)
                told = reason
            if self._stopping.wait(wait * random.uniform(0.5, 1.0)):
                break
            wait = min(wait * 2, _LONGEST_WAIT)
        return 0

    def _channel(self) -> grpc.Channel:
        target = f"{self._url.hostname}:{self._url.port or (443 if self._credentials else 80)}"
        if self._credentials is None:
            return grpc.insecure_channel(target, _OPTIONS)
        return grpc.secure_channel(target, self._credentials, _OPTIONS)


def _credentials(ca_file: str, cert_file: str, key_file: str) -> grpc.ChannelCredentials:
    """Read certificates. gRPC itself would take anything and then fail at every attempt to connect."""
    content: dict[str, bytes | None] = {"": None}
    for path in (ca_file, cert_file, key_file):
        if path:
            try:
                with open(path, "rb") as file:
                    content[path] = file.read()
            except OSError as exc:
                raise CertificateError(f"{path}: {exc.strerror}") from exc
    check = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file:
        try:
            check.load_verify_locations(ca_file)
        except OSError as exc:
            raise CertificateError(f"{ca_file}: holds no certificates in PEM format") from exc
    if cert_file:
        try:
            # A password would be asked for on the terminal.
            check.load_cert_chain(cert_file, key_file, password=lambda: "")
        except (OSError, ValueError) as exc:
            raise CertificateError(f"{cert_file}, {key_file}: no certificate with its unencrypted key") from exc
    return grpc.ssl_channel_credentials(content[ca_file], content[key_file], content[cert_file])


class _Session:
    """One stream to the server, with a worker loop of its own."""

    def __init__(self, remote: Remote, channel: grpc.Channel) -> None:
        self._remote = remote
        self._out: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._open: dict[tuple[str, int], None] = {}
        self._lock = threading.Lock()
        self._to_worker = _Pipe()
        self._from_worker = _Pipe()
        self._ended = threading.Event()
        self.registered = False
        connect = channel.stream_stream(
            _METHOD, request_serializer=remote._sent.SerializeToString, response_deserializer=remote._received.FromString,
        )
        self._call = connect(self._requests(), metadata=remote._metadata)

    def drain(self, reason: str) -> None:
        """Tell the server, and let the loop end when it has answered what it has."""
        message = self._remote._sent()
        message.drain.reason = reason
        self._out.put(message)
        self._line({"type": "drain"})

    def serve(self) -> grpc.RpcError | None:
        """Serve until the stream has ended; return its error."""
        threads = [threading.Thread(target=run, daemon=True) for run in (self._work, self._answers)]
        for thread in threads:
            thread.start()
        error: grpc.RpcError | None = None
        try:
            for message in self._call:
                self._take(message)
        except grpc.RpcError as exc:
            error = exc
        self._ended.set()
        with self._lock:
            lost = list(self._open)
        for invocation, attempt in lost:
            self._line({"type": "cancel", "invocation_id": invocation, "attempt": attempt})
        self._line({"type": "drain"})
        self._out.put(None)
        for thread in threads:
            thread.join(timeout=5)
        self._to_worker.close()
        return error

    def _requests(self) -> Iterator[Any]:
        while (message := self._out.get()) is not None:
            yield message

    def _work(self) -> None:
        remote = self._remote
        worker = Worker(
            remote._handlers, self._to_worker.reader, self._from_worker.writer, max_concurrency=remote._max_concurrency, name=remote._name,
        )
        try:
            asyncio.run(worker.run())
        finally:
            self._from_worker.writer.close()

    def _answers(self) -> None:
        """Send on what the loop says; its end is the end of this side of the stream."""
        with self._from_worker.reader as lines:
            for line in lines:
                self._out.put(self._message(json.loads(line)))
        self._out.put(None)

    def _heartbeats(self, seconds: float) -> None:
        while not self._ended.wait(seconds):
            message = self._remote._sent()
            with self._lock:
                message.heartbeat.invocation_ids.extend(invocation for invocation, _ in self._open)
            message.heartbeat.SetInParent()
            self._out.put(message)

    def _take(self, message: Any) -> None:  # noqa: ANN401
        kind = message.WhichOneof("message")
        if kind == "registered":
            self.registered = True
            print(f"kneo-worker: connected, serving {len(self._remote._handlers)} handlers", file=sys.stderr)
            threading.Thread(target=self._heartbeats, args=(message.registered.heartbeat_seconds or 5.0,), daemon=True).start()
        elif kind == "invocation":
            call = message.invocation
            with self._lock:
                self._open[call.invocation_id, call.attempt] = None
            self._line({
                "type": "invocation", "invocation_id": call.invocation_id, "attempt": call.attempt, "kind": call.kind, "name": call.name,
                "input": json.loads(call.input.raw or b"null"), "idempotency_key": call.idempotency_key, "run_id": call.run_id,
                "deadline": call.deadline, "traceparent": call.traceparent,
            })
        elif kind == "cancel":
            self._line({"type": "cancel", "invocation_id": message.cancel.invocation_id, "attempt": message.cancel.attempt})
        elif kind == "refused":
            print(f"kneo-worker: an answer was refused: {message.refused.code}: {message.refused.message}", file=sys.stderr)
        elif kind == "drain":
            self._line({"type": "drain"})

    def _message(self, line: dict[str, Any]) -> Any:  # noqa: ANN401
        message = self._remote._sent()
        if line["type"] == "register":
            register = message.register
            register.worker_name, register.client, register.max_concurrency = line["worker_name"], line["client"], line["max_concurrency"]
            for item in line["handlers"]:
                _handler(register.handlers.add(), item)
            return message
        answer = message.result if line["type"] == "result" else message.error
        answer.invocation_id, answer.attempt = line["invocation_id"], line["attempt"]
        with self._lock:
            self._open.pop((answer.invocation_id, answer.attempt), None)
        if line["type"] == "result":
            answer.output.raw = _json(line["output"])
        else:
            answer.code, answer.message, answer.retryable = line["code"], line["message"], line["retryable"]
            if line.get("details") is not None:
                answer.details.raw = _json(line["details"])
        return message

    def _line(self, message: dict[str, Any]) -> None:
        with self._lock:
            self._to_worker.write(json.dumps(message).encode() + b"\n")


def _handler(out: Any, item: dict[str, Any]) -> None:  # noqa: ANN401
    out.name, out.kind = item["name"], item["kind"]
    out.description = item.get("description") or ""
    if item.get("input_schema") is not None:
        out.input_schema.raw = _json(item["input_schema"])
    if item.get("idempotent") is not None:
        out.idempotent = item["idempotent"]


def _json(value: Any) -> bytes:  # noqa: ANN401
    return json.dumps(value, separators=(",", ":")).encode()


class _Pipe:
    """A pair of binary streams between two threads."""

    def __init__(self) -> None:
        reader, writer = os.pipe()
        self.reader: BinaryIO = os.fdopen(reader, "rb")
        self.writer: BinaryIO = os.fdopen(writer, "wb")

    def write(self, data: bytes) -> None:
        """Write, unless the other side is gone."""
        try:
            self.writer.write(data)
            self.writer.flush()
        except (OSError, ValueError):
            pass

    def close(self) -> None:
        """End the stream for its reader."""
        try:
            self.writer.close()
        except OSError:
            pass

"""The gRPC door against a scripted server that speaks the contract's own messages."""

import json
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

grpc = pytest.importorskip("grpc", reason="kneo-worker[grpc] is not installed")
pytest.importorskip("google.protobuf", reason="kneo-worker[grpc] is not installed")

import sample  # noqa: E402

from kneo_worker import remote as remote_module  # noqa: E402
from kneo_worker.catalog import discover  # noqa: E402
from kneo_worker.remote import Remote  # noqa: E402

LIMIT = 10
HERE = Path(__file__).parent


class Stream:
    """One connection of a worker, as the server sees it."""

    def __init__(self, requests: Iterator[Any], message: Callable[[], Any]) -> None:
        self.to_worker: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.from_worker: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._message = message
        threading.Thread(target=self._read, args=(requests,), daemon=True).start()

    def _read(self, requests: Iterator[Any]) -> None:
        try:
            for request in requests:
                self.from_worker.put(request)
        except Exception:  # noqa: BLE001, S110  (the stream was cut)
            pass
        self.from_worker.put(None)

    def next(self, *skip: str) -> Any:  # noqa: ANN401
        while True:
            message = self.from_worker.get(timeout=LIMIT)
            if message is None or message.WhichOneof("message") not in skip:
                return message

    def registered(self, heartbeat: float = 60.0) -> Any:  # noqa: ANN401
        register = self.next().register
        message = self._message()
        message.registered.worker_id, message.registered.heartbeat_seconds, message.registered.lease_seconds = "w", heartbeat, 60.0
        self.to_worker.put(message)
        return register

    def invoke(  # noqa: ANN401
        self, name: str, value: Any, invocation: str = "i", attempt: int = 1, kind: str = "function",
        deadline: str = "2999-01-01T00:00:00Z",
    ) -> None:
        message = self._message()
        call = message.invocation
        call.invocation_id, call.attempt, call.kind, call.name = invocation, attempt, kind, f"sample.{name}"
        call.input.raw = json.dumps(value).encode()
        call.idempotency_key, call.run_id, call.deadline = "key", "run", deadline
        self.to_worker.put(message)

    def cancel(self, invocation: str) -> None:
        message = self._message()
        message.cancel.invocation_id, message.cancel.attempt = invocation, 1
        self.to_worker.put(message)

    def end(self) -> None:
        self.to_worker.put(None)


class Server:
    """Accepts workers; a key in ``refuse`` is turned away."""

    def __init__(self) -> None:
        self.remote = Remote([], "http://127.0.0.1:1")
        self.streams: queue.SimpleQueue[Stream] = queue.SimpleQueue()
        self._all: list[Stream] = []
        self.keys: list[str] = []
        self.refuse = False
        # The pings of the tests are more frequent than what this library puts up with.
        self.server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.http2.max_ping_strikes", 0)])
        handler = grpc.stream_stream_rpc_method_handler(
            self._connect, request_deserializer=self.remote._sent.FromString, response_serializer=self.remote._received.SerializeToString,
        )
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("kneo.v1.WorkerService", {"Connect": handler}),))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def _connect(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:  # noqa: ANN401
        self.keys.append(dict(context.invocation_metadata()).get("authorization", ""))
        if self.refuse:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "unknown key")
        stream = Stream(requests, self.remote._received)
        self._all.append(stream)
        self.streams.put(stream)
        while (message := stream.to_worker.get()) is not None:
            yield message

    def stream(self) -> Stream:
        return self.streams.get(timeout=LIMIT)

    def close(self) -> None:
        # The threads of streams that a failed test leaves would keep the process.
        for stream in self._all:
            stream.end()
        self.server.stop(None).wait(LIMIT)


class Running:
    """A worker that serves the sample module to a server."""

    def __init__(self, server: Server, port: int = 0) -> None:
        self.remote = Remote(discover(["sample"]), f"http://127.0.0.1:{port or server.port}", api_key="k", name="me")
        self.code: int | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self.code = self.remote.run()

    def ended(self) -> int | None:
        self.thread.join(timeout=LIMIT)
        assert not self.thread.is_alive(), "the worker goes on"
        return self.code


class Line:
    """Passes connections on to a server. A dead one stays open and passes nothing any more, as when a cable is pulled."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.dead = threading.Event()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.dead = dead = threading.Event()
            try:
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                near.close()
                continue
            self._sockets += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, sink, dead), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket, dead: threading.Event) -> None:
        try:
            while data := source.recv(1 << 16):
                if not dead.is_set():
                    sink.sendall(data)
            if not dead.is_set():
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        for each in (self._listener, *self._sockets):
            each.close()


@pytest.fixture
def server() -> Iterator[Server]:
    s = Server()
    yield s
    s.close()


def test_registers_answers_and_drains(server: Server) -> None:
    worker = Running(server)
    stream = server.stream()
    register = stream.registered()
    assert (register.worker_name, register.max_concurrency, server.keys) == ("me", 16, ["Bearer k"])
    assert ("sample.shout", "function") in {(item.name, item.kind) for item in register.handlers}
    stream.invoke("shout", "a")
    result = stream.next().result
    assert (result.invocation_id, result.attempt, json.loads(result.output.raw)) == ("i", 1, "A")
    stream.invoke("missing", "a", invocation="j", attempt=3)
    error = stream.next().error
    assert (error.invocation_id, error.attempt, error.code) == ("j", 3, "handler_unavailable")
    worker.remote.stop()
    assert stream.next().WhichOneof("message") == "drain"
    assert stream.next() is None
    stream.end()
    assert worker.ended() == 0


def test_heartbeats_name_what_is_in_progress_and_a_cancelled_call_is_answered(server: Server) -> None:
    worker = Running(server)
    stream = server.stream()
    stream.registered(heartbeat=0.02)
    stream.invoke("forever", "a", invocation="slow")
    while "slow" not in stream.next().heartbeat.invocation_ids:
        pass
    stream.cancel("slow")
    error = stream.next("heartbeat").error
    assert (error.invocation_id, error.code) == ("slow", "cancelled")
    worker.remote.stop()
    assert stream.next("heartbeat").WhichOneof("message") == "drain"
    stream.end()
    assert worker.ended() == 0


def test_a_call_in_progress_is_answered_before_the_worker_leaves(server: Server) -> None:
    sample.release.clear()
    worker = Running(server)
    stream = server.stream()
    stream.registered(heartbeat=0.02)
    stream.invoke("blocked", "a")
    while "i" not in stream.next().heartbeat.invocation_ids:
        pass
    worker.remote.stop()
    assert stream.next("heartbeat").WhichOneof("message") == "drain"
    sample.release.set()
    assert stream.next("heartbeat").result.invocation_id == "i"
    stream.end()
    assert worker.ended() == 0


def test_connects_again_after_the_server_went_away(server: Server) -> None:
    worker = Running(server)
    first = server.stream()
    first.registered()
    first.end()
    second = server.stream()
    assert second.registered().worker_name == "me"
    second.invoke("shout", "again")
    assert json.loads(second.next().result.output.raw) == "AGAIN"
    worker.remote.stop()
    second.end()
    assert worker.ended() == 0


def test_a_handler_may_ask_about_its_call(server: Server) -> None:
    worker = Running(server)
    stream = server.stream()
    stream.registered()
    stream.invoke("asked", "a", attempt=2)
    assert json.loads(stream.next().result.output.raw) == "a i 2 key run 2999-01-01 00:00:00+00:00 "
    worker.remote.stop()
    stream.end()
    assert worker.ended() == 0


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(seconds=0.2)])
def test_a_call_ends_at_its_deadline(server: Server, ahead: timedelta) -> None:
    worker = Running(server)
    stream = server.stream()
    stream.registered()
    stream.invoke("forever", "a", deadline=(datetime.now(timezone.utc) + ahead).isoformat().replace("+00:00", "Z"))
    error = stream.next().error
    assert (error.invocation_id, error.attempt, error.code, error.retryable) == ("i", 1, "timeout", True)
    worker.remote.stop()
    stream.end()
    assert worker.ended() == 0


def test_a_dead_connection_is_noticed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    options = dict(remote_module._OPTIONS)
    assert 10_000 <= options["grpc.keepalive_time_ms"] <= 60_000  # The server ends connections that ask more often than every 10 seconds.
    sooner = {name: 100 if name in ("grpc.keepalive_time_ms", "grpc.http2.ping_timeout_ms") else value for name, value in options.items()}
    monkeypatch.setattr(remote_module, "_OPTIONS", tuple(sooner.items()))
    line = Line(server.port)
    worker = Running(server, line.port)
    server.stream().registered()
    line.dead.set()
    again = server.stream()
    again.registered()
    again.invoke("shout", "a")
    assert json.loads(again.next().result.output.raw) == "A"
    worker.remote.stop()
    again.end()
    assert worker.ended() == 0
    line.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ca-file", "/nowhere/ca.pem"], "/nowhere/ca.pem: No such file or directory"),
        (["--ca-file", "."], ".: Is a directory"),
        (["--ca-file", "text.pem"], "text.pem: holds no certificates in PEM format"),
        (["--ca-file", "broken.pem"], "broken.pem: holds no certificates in PEM format"),
        (["--ca-file", "empty.pem"], "empty.pem: holds no certificates in PEM format"),
        (["--cert-file", "text.pem", "--key-file", "/nowhere/key.pem"], "/nowhere/key.pem: No such file or directory"),
        (["--cert-file", "broken.pem", "--key-file", "text.pem"], "broken.pem, text.pem: no certificate with its unencrypted key"),
    ],
)
def test_bad_certificate_files(tmp_path: Path, options: list[str], message: str) -> None:
    (tmp_path / "text.pem").write_text("text")
    (tmp_path / "empty.pem").write_text("")
    (tmp_path / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    done = command(["--service-url", "https://127.0.0.1:1", "--via", "grpc", *options], tmp_path)
    assert (done.returncode, done.stderr) == (2, f"kneo-worker: {message}\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--service-url", "https://h", "--via", "grpc", "--cert-file", "c.pem"], "--cert-file and --key-file belong together"),
        (["--service-url", "https://h", "--via", "kneo", "--ca-file", "c.pem"], "need --via grpc"),
        (["--service-url", "http://h", "--via", "grpc", "--ca-file", "c.pem"], "begins with https://"),
        (["--ca-file", "c.pem"], "begins with https://"),
    ],
)
def test_certificates_are_never_left_out(tmp_path: Path, options: list[str], message: str) -> None:
    done = command(options, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def command(options: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join([str(HERE.parent / "src"), str(HERE / "modules")])
    return subprocess.run(
        [sys.executable, "-m", "kneo_worker", "--module", "sample", *options], env={**os.environ, "PYTHONPATH": path}, cwd=folder,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=15, check=False,
    )


def test_a_refused_key_is_final(server: Server) -> None:
    server.refuse = True
    worker = Running(server)
    assert worker.ended() == 1
    assert len(server.keys) == 1

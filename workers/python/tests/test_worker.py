import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


class Child:
    """The worker as a process of its own."""

    def __init__(self, *args: str) -> None:
        path = os.pathsep.join([str(HERE.parent / "src"), str(HERE / "modules")])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kneo_worker", *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path}, cwd=HERE,
        )
        self.registration = self.receive()

    def send(self, *messages: dict[str, Any]) -> None:
        assert self.process.stdin
        self.process.stdin.write(b"".join(json.dumps(m).encode() + b"\n" for m in messages))
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "the worker ended"
        message = json.loads(line)
        assert isinstance(message, dict)
        return message

    def call(self, kind: str, name: str, value: Any) -> dict[str, Any]:  # noqa: ANN401
        self.send(invocation("i", kind, name, value))
        answer = self.receive()
        assert (answer.pop("invocation_id"), answer.pop("attempt")) == ("i", 1)
        return answer

    def close(self) -> int:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        try:
            return self.process.wait(10)
        finally:
            self.process.kill()
            self.process.stdout.close()


def invocation(id: str, kind: str, name: str, value: Any, attempt: int = 1) -> dict[str, Any]:  # noqa: ANN401
    return {"type": "invocation", "invocation_id": id, "attempt": attempt, "kind": kind, "name": name, "input": value}


@pytest.fixture
def child() -> Iterator[Child]:
    worker = Child("--module", "sample", "--name", "here", "--max-concurrency", "2")
    yield worker
    worker.close()


def test_registration(child: Child) -> None:
    message = child.registration
    assert (message["type"], message["worker_name"], message["max_concurrency"]) == ("register", "here", 2)
    assert {"name": "sample.number", "kind": "retriever", "description": "", "idempotent": True} in message["handlers"]


@pytest.mark.parametrize("kind,name,value,output", [
    ("function", "shout", "a", "A"),
    ("function", "number", "a", "42"),
    ("function", "nothing", "a", "None"),
    ("function", "structure", "a", "{'a': [1, True, None]}"),
    ("function", "pipeline", "a", {"output_text": "ran a"}),
    ("tool", "lookup", {"query": "q"}, {"hit": "q", "n": 1}),
    ("tool", "slowly", {"query": "q"}, "async q"),
    ("tool", "odd", {}, "nan"),
    ("tool", "odd", {"set": 1}, "{1, 2}"),
    ("guardrail", "short", "abc", True),
    ("guardrail", "short", "abcdef", False),
    ("guardrail", "tidy", "a", {"passed": False, "reason": "r", "revised_text": "t", "metadata": {"k": 1}}),
    ("guardrail", "judged", "a", {"passed": False, "reason": "because"}),
    ("retriever", "notes", {"text": "n", "top_k": 2}, "n; n"),
    ("summarizer", "number", "a", "42"),
])
def test_results(child: Child, kind: str, name: str, value: Any, output: Any) -> None:  # noqa: ANN401
    assert child.call(kind, f"sample.{name}", value) == {"type": "result", "output": output}


@pytest.mark.parametrize("kind,name,value,code,message", [
    ("function", "fails", "a", "handler_error", "no luck"),
    ("function", "fails_silently", "a", "handler_error", "ValueError"),
    ("function", "leaves", "a", "handler_error", "The handler raised SystemExit."),
    ("function", "no_such_name", "a", "handler_unavailable", None),
    ("function", "charge", "a", "handler_unavailable", None),
    ("function", "shout", 3, "invalid_input", None),
    ("tool", "lookup", "a", "invalid_input", None),
    ("retriever", "notes", "a", "invalid_input", None),
    ("guardrail", "unclear", "a", "handler_error", None),
])
def test_failures(child: Child, kind: str, name: str, value: Any, code: str, message: str | None) -> None:  # noqa: ANN401
    answer = child.call(kind, f"sample.{name}", value)
    assert (answer["type"], answer["code"], answer["retryable"]) == ("error", code, name.startswith("fails"))
    assert message is None or answer["message"] == message


def test_own_code(child: Child) -> None:
    assert child.call("function", "sample.coded", "a") == {
        "type": "error", "code": "busy", "message": "later", "retryable": True, "details": {"after": 3}}


def test_prints_do_not_disturb(child: Child) -> None:
    assert child.call("function", "sample.prints", "a") == {"type": "result", "output": "a"}
    assert child.call("function", "sample.prints", "read")["type"] == "error"


@pytest.mark.parametrize("name", ["forever", "shout", "blocked"])
def test_cancelled_before_its_first_step(child: Child, name: str) -> None:
    child.send(invocation("x", "function", f"sample.{name}", "a"), {"type": "cancel", "invocation_id": "x", "attempt": 1})
    answer = child.receive()
    assert answer["invocation_id"] == "x" and (name == "shout" or answer["code"] == "cancelled")
    assert child.call("function", "sample.shout", "b")["output"] == "B"


def test_cancelled_later(child: Child) -> None:
    child.send(invocation("x", "function", "sample.forever", "a"))
    assert child.call("function", "sample.shout", "b")["output"] == "B"
    child.send({"type": "cancel", "invocation_id": "x", "attempt": 2})
    child.send({"type": "cancel", "invocation_id": "x", "attempt": 1})
    assert child.receive()["code"] == "cancelled"


@pytest.mark.parametrize("name", ["asked", "asked_too"])
def test_a_handler_may_ask_about_its_call(child: Child, name: str) -> None:
    facts = {"idempotency_key": "key", "run_id": "run", "deadline": "2999-01-02T03:04:05.123456789Z", "traceparent": "00-a-b-01"}
    child.send({**invocation("i", "function", f"sample.{name}", "a", attempt=2), **facts})
    assert child.receive()["output"] == "a i 2 key run 2999-01-02 03:04:05.123456+00:00 00-a-b-01"
    child.send(invocation("j", "function", f"sample.{name}", "a"))
    assert child.receive()["output"] == "a j 1   None "


@pytest.mark.parametrize("name", ["forever", "blocked"])
def test_a_call_ends_at_its_deadline(child: Child, name: str) -> None:
    deadline = datetime.now(timezone.utc) + timedelta(seconds=0.2)
    child.send({**invocation("i", "function", f"sample.{name}", "a"), "deadline": deadline.isoformat()})
    answer = child.receive()
    assert (answer["code"], answer["retryable"]) == ("timeout", True)
    assert datetime.now(timezone.utc) >= deadline


@pytest.mark.parametrize("name", ["noted", "noted_too"])
def test_a_call_past_its_deadline_does_not_begin(child: Child, name: str) -> None:
    child.send({**invocation("i", "function", f"sample.{name}", "late"), "deadline": "2020-01-01T00:00:00Z"})
    answer = child.receive()
    assert (answer["code"], answer["retryable"]) == ("timeout", True)
    assert child.call("function", f"sample.{name}", "a")["output"] == "['a']"


def test_drain_answers_what_is_in_progress(child: Child) -> None:
    child.send(*(invocation(str(n), "tool", "sample.slowly", {"query": str(n)}) for n in range(20)), {"type": "drain"})
    answers = [child.receive() for _ in range(20)]
    assert {a["output"] for a in answers} == {f"async {n}" for n in range(20)}
    assert child.process.wait(10) == 0


def test_end_of_input(child: Child) -> None:
    assert child.close() == 0


def test_a_stuck_handler_does_not_keep_the_process(child: Child) -> None:
    child.send(invocation("x", "function", "sample.blocked", "a"), {"type": "cancel", "invocation_id": "x", "attempt": 1})
    child.receive()
    assert child.close() == 0


@pytest.mark.parametrize("args", [["--module", "no_such_module"], ["--handler", "sample.no_such"], [], ["--module", "sample_pkg_missing"]])
def test_bad_command_line(args: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kneo_worker", *args], stdin=subprocess.DEVNULL, capture_output=True, timeout=15, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent / "src"), str(HERE / "modules")])},
    )
    assert done.returncode == 2 and done.stderr and not done.stdout


def test_service_url_starts_the_command(tmp_path: Path) -> None:
    command = tmp_path / "kneo"
    command.write_text('#!/bin/sh\necho "$@"\n')
    command.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "kneo_worker", "--module", "m", "--via", "kneo", "--service-url", "http://h",
         "--kneo", str(command), "--name", "n"],
        capture_output=True, text=True, timeout=15, check=False, env={**os.environ, "PYTHONPATH": str(HERE.parent / "src")},
    )
    assert done.stdout.split() == [
        "worker", "python", "--python", sys.executable, "--service-url", "http://h", "--module", "m",
        "--max-concurrency", "16", "--name", "n",
    ]

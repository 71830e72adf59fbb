"""A server of the built binary, and the published applications in front of it. Every test has a time limit of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

LIMIT_SECONDS = 60
KEY = "compat-admin"

AGENT = {"version": "v1", "agent": {"name": "greeter"}}
STEPS = {
    "version": "v1", "agent": {"name": "root"}, "components": {"agents": {"a": {"name": "a"}}},
    "workflow": {"type": "sequential", "name": "pair", "steps": [
        {"id": "one", "kind": "agent", "ref": "a"}, {"id": "two", "kind": "agent", "ref": "a"}]},
}
REVIEW = {
    "version": "v1", "agent": {"name": "root"},
    "components": {"agents": {"a": {"name": "a"}}, "humans": {"h": {"description": "Check the draft"}}},
    "workflow": {"type": "sequential", "name": "line", "steps": [
        {"id": "draft", "kind": "agent", "ref": "a"}, {"id": "review", "kind": "human", "ref": "h"}, {"id": "publish", "kind": "agent", "ref": "a"}]},
}
# Fails at its second step, so that it can be continued.
FAILING = {
    "version": "v1", "agent": {"name": "root"},
    "components": {"agents": {
        "a": {"name": "a"}, "b": {"name": "b", "model": {"provider": "openai", "name": "m", "extra": {"base_url": "http://127.0.0.1:1"}}}}},
    "workflow": {"type": "sequential", "name": "bad", "steps": [
        {"id": "one", "kind": "agent", "ref": "a"}, {"id": "two", "kind": "agent", "ref": "b"}]},
}


@pytest.fixture(autouse=True)
def time_limit():
    def fail(_signum, _frame):
        raise TimeoutError(f"the test took longer than {LIMIT_SECONDS} seconds")

    previous = signal.signal(signal.SIGALRM, fail)
    signal.alarm(LIMIT_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Application:
    """A process that serves HTTP."""

    def __init__(self, command, env, port, cwd: Path, ready: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = cwd / "log.txt"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env={"PATH": os.environ["PATH"], "HOME": str(cwd), "NO_PROXY": "127.0.0.1", **env}, cwd=cwd, stdout=log, stderr=log)
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False, headers={"Origin": self.url})
        deadline = time.monotonic() + 50
        while True:
            try:
                if self.http.get(ready).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.close()
                raise RuntimeError("it did not start:\n" + self.log.read_text()[-4000:])
            time.sleep(0.1)

    def close(self) -> None:
        self.http.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    cwd, port = tmp_path_factory.mktemp("server"), free_port()
    env = {"KNEO_SERV_ADMIN_API_KEY": KEY, "KNEO_SERV_SQLITE_PATH": str(cwd / "kneo.db"), "KNEO_SERV_SPEC_ROOT": str(cwd), "KNEO_SERV_PROVIDER_RETRY_BACKOFF_SECONDS": "0.01"}
    app = Application([os.environ["KNEO_BINARY"], "service", "serve", "--port", str(port)], env, port, cwd, "/readyz")
    app.http.headers["Authorization"] = f"Bearer {KEY}"
    yield app
    app.close()


@pytest.fixture(scope="session")
def dash(server, tmp_path_factory):
    cwd, port = tmp_path_factory.mktemp("dash"), free_port()
    code = f"import uvicorn; from kneo_dash.app import app; uvicorn.run(app, host='127.0.0.1', port={port}, log_level='warning')"
    env = {"KNEO_URL": server.url, "KNEO_API_KEY": KEY, "KNEO_DASH_DEV_MODE": "1", "KNEO_DASH_DB_URL": f"sqlite:///{cwd}/dash.db"}
    app = Application([sys.executable, "-c", code], env, port, cwd, "/api/readyz")
    yield app
    app.close()


@pytest.fixture(scope="session")
def studio(server, tmp_path_factory):
    cwd, port = tmp_path_factory.mktemp("studio"), free_port()
    (cwd / "project").mkdir()
    env = {
        "KNEO_URL": server.url, "KNEO_API_KEY": KEY, "KNEO_STUDIO_DEFAULT_PROFILE": "default", "KNEO_STUDIO_PORT": str(port),
        "KNEO_STUDIO_DB_URL": f"sqlite:///{cwd}/studio.db", "KNEO_STUDIO_PROJECT_ROOT": str(cwd / "project"),
    }
    app = Application([str(Path(sys.executable).parent / "kneo-studio")], env, port, cwd, "/api/readyz")
    app.project = cwd / "project"
    yield app
    app.close()

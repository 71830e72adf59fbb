"""The published studio: a draft is checked, compiled, drawn, reported on and test-run by the server."""

import hashlib
import json
import time

import pytest
from conftest import STEPS

PROJECT = "/api/projects/default"


@pytest.fixture(scope="module")
def artifact(studio):
    text = json.dumps(STEPS)
    (studio.project / "flow.yaml").write_text(text)
    draft = {"path": "flow.yaml", "revision": hashlib.sha256(text.encode()).hexdigest()}
    exposure = studio.http.get(f"{PROJECT}/drafts/exposure").json()["exposure_digest"]
    registered = studio.http.post(f"{PROJECT}/drafts/register", json={**draft, "exposure_digest": exposure})
    assert registered.status_code < 300, registered.text
    created = studio.http.post(f"{PROJECT}/artifacts", json={"base": draft, "alias": "default"})
    assert created.status_code < 300, created.text
    return {"id": created.json()["id"], "draft": draft}


@pytest.mark.parametrize("stage", ["validate", "compile", "policy-report"])
def test_governed(studio, artifact, stage):
    answer = studio.http.post(f"{PROJECT}/specs/{stage}", json={"artifact_id": artifact["id"]})
    assert answer.status_code == 200 and answer.json()["ok"] is True, answer.text


def test_graph(studio, artifact):
    graph = studio.http.post(f"{PROJECT}/specs/graph", json={"artifact_id": artifact["id"]}).json()
    assert graph["workflow_kind"] == "sequential" and [n["id"] for n in graph["nodes"]] == ["one", "two"]


def test_preview(studio, artifact):
    good = studio.http.post(f"{PROJECT}/specs/preview", json={"draft": artifact["draft"], "text": json.dumps(STEPS), "alias": "default"}).json()
    assert good["ok"] is True
    bad = studio.http.post(f"{PROJECT}/specs/preview", json={"draft": artifact["draft"], "text": "version: v1\n", "alias": "default"}).json()
    assert bad["ok"] is False


@pytest.mark.parametrize("what", ["policy", "credential-refs"])
def test_preflight(studio, artifact, what):
    assert studio.http.get(f"{PROJECT}/artifacts/{artifact['id']}/preflight/{what}").json()["state"] == "available"


def test_test_run(studio, artifact):
    started = studio.http.post(f"{PROJECT}/test-runs", json={"artifact_id": artifact["id"], "input": "hello"}).json()
    path = f"{PROJECT}/test-runs/{started['id']}"
    deadline = time.monotonic() + 30
    while (run := studio.http.get(path).json())["platform"]["status"] in ("queued", "running"):
        assert time.monotonic() < deadline, run
        time.sleep(0.1)
    assert run["platform"]["status"] == "completed" and run["platform"]["output_text"] == "Final answer: Final answer: hello"
    assert studio.http.get(f"{path}/graph").json()["visited"] == ["one", "two"]
    assert [e["type"] for e in studio.http.get(f"{path}/trace").json()["events"]][0] == "workflow_started"
    assert [c["type"] for c in studio.http.get(f"{path}/checkpoints").json()["checkpoints"]][-1] == "run_completed"
    assert studio.http.get(f"{path}/checkpoints/diff").status_code == 200


def test_environment(studio):
    assert studio.http.get(f"{PROJECT}/environments").json()[0]["alias"] == "default"


def test_application_is_served(studio):
    answer = studio.http.get("/", headers={"Accept": "text/html"})
    assert answer.status_code == 200 and "<html" in answer.text.lower()

"""Every read of the published dashboard, and one run from its launch form to its review."""

import pytest
from conftest import FAILING, REVIEW, STEPS

# Read only with a sign-in service, or a stream without end.
ELSEWHERE = {"/api/login", "/api/callback", "/api/runs/{run_id}/trace/stream"}


def test_every_read(server, dash):
    done = server.http.post("/v1/runs", json={"input": "hi", "spec": STEPS, "session_id": "dash"}).json()
    server.http.post("/v1/runs", json={"input": "hi", "spec": FAILING})
    paused = server.http.post("/v1/runs", json={"input": "hi", "spec": REVIEW}).json()
    server.http.put("/v1/policies/environment/dash", json={"require_guardrails": True})
    values = {"run_id": done["run_id"], "continuation_id": paused["continuation_id"], "environment": "dash", "session_id": "dash"}
    from kneo_dash.app import app

    seen = 0
    for path, methods in app.openapi()["paths"].items():
        if "get" not in methods or path in ELSEWHERE:
            continue
        required = [p["name"] for p in methods["get"].get("parameters", []) if p.get("required")]
        if any(name not in values for name in required):
            continue
        answer = dash.http.get(path.format(**values))
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:500]}"
        seen += 1
    assert seen >= 28


def test_run_and_review(dash):
    assert dash.http.post("/api/launch/load", json={"spec": REVIEW}).json()["summary"]["root_workflow"] == "line"
    run = dash.http.post("/api/launch/run", json={"spec": REVIEW, "input_text": "hi", "async_mode": False}).json()
    assert run["status"] == "blocked"
    task, = [t for t in dash.http.get("/api/human-tasks").json()["rows"] if t["run_id"] == run["run_id"]]
    done = dash.http.post(f"/api/human-tasks/{task['continuation_id']}/resume", json={"decision": "approved", "request_id": task["request_id"]}).json()
    assert done["status"] == "completed"


def test_cancel_and_continue(server, dash):
    paused = server.http.post("/v1/runs", json={"input": "hi", "spec": REVIEW}).json()
    assert dash.http.post(f"/api/runs/{paused['run_id']}/cancel").status_code == 200
    failed = server.http.post("/v1/runs", json={"input": "hi", "spec": FAILING}).json()
    assert dash.http.post(f"/api/runs/{failed['run_id']}/continue").status_code == 200


@pytest.mark.parametrize("path", ["/", "/runs"])
def test_application_is_served(dash, path):
    answer = dash.http.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 200 and "<html" in answer.text.lower()

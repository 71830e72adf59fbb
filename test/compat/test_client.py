"""Every public method of the published client, asynchronous and synchronous."""

import asyncio
import importlib
import inspect
import pkgutil

import kneo_client._generated.api as generated
import pytest
from conftest import AGENT, FAILING, KEY, REVIEW, STEPS
from kneo_client import KneoClient
from kneo_client._generated.client import AuthenticatedClient
from kneo_client.core import Profile, RetryPolicy


def client(server) -> KneoClient:
    return KneoClient(Profile(name="compat", url=server.url, api_key=KEY), retry_policy=RetryPolicy(max_attempts=1))


def public_methods(obj, prefix="", depth=0) -> set[str]:
    """Names of all coroutines and async generators below a client."""
    found = set()
    for name in dir(obj):
        if name.startswith("_") or (prefix == "" and name not in ("agent", "platform", "request")):
            continue
        value = getattr(obj, name)
        if inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value) or inspect.ismethod(value):
            found.add(prefix + name)
        elif type(value).__module__.startswith("kneo_client") and depth < 3:
            found |= public_methods(value, f"{prefix}{name}.", depth + 1)
    return found


async def collect(stream):
    return [item async for item in stream]


async def tour(c: KneoClient) -> dict[str, object]:
    """Calls every method once and returns the results by name."""
    runs, tasks, specs = c.platform.runs, c.platform.human_tasks, c.agent.specs
    out: dict[str, object] = {}
    run = out["platform.runs.create"] = await runs.create({"input": "hello", "spec": STEPS, "session_id": "tour"}, idempotency_key="tour-1")
    again = await runs.create({"input": "hello", "spec": STEPS, "session_id": "tour"}, idempotency_key="tour-1")
    assert again.run_id == run.run_id
    queued = await runs.create({"input": "later", "spec": AGENT, "async_mode": True})
    out["platform.runs.wait_for_completion"] = await runs.wait_for_completion(queued.run_id, timeout=30, poll_interval=0.05)
    out["platform.runs.tail_trace"] = await collect(runs.tail_trace(queued.run_id, poll_interval=0.05, timeout=30))
    out["platform.runs.list"] = await runs.list(session_id="tour", limit=5)
    for name in ("get", "graph", "policy_report", "recovery", "replay", "trace", "checkpoints", "checkpoints_diff"):
        out[f"platform.runs.{name}"] = await getattr(runs, name)(run.run_id)
    paused = await runs.create({"input": "hello", "spec": REVIEW})
    out["platform.runs.cancel"] = await runs.cancel(paused.run_id)
    failed = await runs.create({"input": "hello", "spec": FAILING})
    assert failed.status == "failed"
    out["platform.runs.continue_"] = await runs.continue_(failed.run_id)
    one = await runs.create({"input": "hello", "spec": REVIEW})
    out["platform.human_tasks.list"] = await tasks.list(run_id=one.run_id)
    task = out["platform.human_tasks.get"] = await tasks.get(one.continuation_id)
    answer = {"request_id": task.request["id"], "decision": "approved"}
    out["platform.human_tasks.resume"] = await tasks.resume(one.continuation_id, answer)
    two = await runs.create({"input": "hello", "spec": REVIEW})
    out["platform.human_tasks.resume_by_id"] = await tasks.resume_by_id(two.continuation_id, {**answer, "request_id": (await tasks.get(two.continuation_id)).request["id"]})
    three = await runs.create({"input": "hello", "spec": REVIEW})
    out["platform.human_tasks.resume_first_pending"] = await tasks.resume_first_pending({**answer, "request_id": (await tasks.get(three.continuation_id)).request["id"]}, run_id=three.run_id)
    out["agent.specs.run"] = await specs.run({"input": "hello", "spec": AGENT})
    for name in ("compile", "dry_run", "explain", "graph", "policy_report", "validate", "validate_then_compile"):
        out[f"agent.specs.{name}"] = await getattr(specs, name)({"spec": STEPS})
    out["agent.skills.list"] = await c.agent.skills.list()
    out["platform.audit.list"] = await c.platform.audit.list(run_id=one.run_id)
    out["platform.credentials.list"] = await c.platform.credentials.list(providers=["openai"])
    policies = c.platform.policies
    out["platform.policies.environment_put"] = await policies.environment_put("tour", {"require_guardrails": True})
    out["platform.policies.environment_get"] = await policies.environment_get("tour")
    out["platform.policies.environment_list"] = await policies.environment_list()
    out["platform.policies.environment_preview"] = await policies.environment_preview("tour", {"require_human_review": True})
    for name in ("healthz", "livez", "readyz"):
        out[f"platform.health.{name}"] = await getattr(c.platform.health, name)()
    out["request"] = await c.request("GET", "/v1/runs")
    return out


def test_every_asynchronous_method(server):
    async def go():
        async with client(server) as c:
            return public_methods(c), await tour(c)

    methods, out = asyncio.run(go())
    missing = {m for m in methods if m not in out and not m.endswith((".aclose", ".from_profile", ".request"))}
    assert not missing, f"not called: {sorted(missing)}"
    assert out["platform.runs.get"].output_text == "Final answer: Final answer: hello"
    assert out["platform.runs.wait_for_completion"].status == "completed"
    assert [e["type"] for e in out["platform.runs.tail_trace"]] == ["run_started", "run_completed"]
    assert out["platform.runs.cancel"].status == "cancelled"
    assert out["platform.runs.continue_"].status == "failed"
    for name in ("resume", "resume_by_id", "resume_first_pending"):
        assert out[f"platform.human_tasks.{name}"].status == "completed"
    assert out["agent.specs.validate"].valid and out["agent.specs.compile"].ok and out["agent.specs.run"].status == "completed"
    assert out["platform.policies.environment_get"].environment == "tour"


def operations() -> dict[str, object]:
    """The generated modules, by operation."""
    found = {}
    for group in pkgutil.iter_modules(generated.__path__):
        package = importlib.import_module(f"{generated.__name__}.{group.name}")
        for module in pkgutil.iter_modules(package.__path__):
            found[module.name] = importlib.import_module(f"{package.__name__}.{module.name}")
    return found


@pytest.fixture(scope="module")
def values(server):
    """An argument for every parameter of the generated functions."""
    post = lambda body: server.http.post("/v1/runs", json=body).json()  # noqa: E731
    done, failed = post({"input": "hello", "spec": STEPS}), post({"input": "hello", "spec": FAILING})
    return {"done": done["run_id"], "failed": failed["run_id"], "paused": lambda: post({"input": "hello", "spec": REVIEW})}


def body_of(function, server, continuation: str | None):
    """A request body of the model that a generated function takes."""
    annotation = inspect.get_annotations(inspect.unwrap(function), eval_str=True)["body"]
    model = next(t for t in getattr(annotation, "__args__", (annotation,)) if hasattr(t, "from_dict"))
    name = model.__name__
    if "HumanResume" in name:
        request = server.http.get(f"/v1/human-tasks/{continuation}").json()["request"]
        return model.from_dict({"request_id": request["id"], "decision": "approved"})
    if "EnvironmentPolicy" in name:
        return model.from_dict({"require_guardrails": True})
    if "RunCreate" in name:
        return model.from_dict({"input": "hello", "spec": AGENT})
    return model.from_dict({"spec": STEPS})


@pytest.mark.parametrize("style", ["sync_detailed", "asyncio_detailed"])
@pytest.mark.parametrize("name", sorted(operations()))
def test_every_generated_operation(server, values, name, style):
    module = operations()[name]
    function = getattr(module, style)
    c = AuthenticatedClient(base_url=server.url, token=KEY, raise_on_unexpected_status=True)
    server.http.put("/v1/policies/environment/compat", json={"require_guardrails": False})
    arguments, continuation = {}, None
    parameters = inspect.signature(function).parameters
    if "continuation_id" in parameters or "cancel_run" in name:
        paused = values["paused"]()
        continuation = paused["continuation_id"]
        arguments["run_id" if "cancel_run" in name else "continuation_id"] = paused["run_id"] if "cancel_run" in name else continuation
    elif "run_id" in parameters and parameters["run_id"].default is inspect.Parameter.empty:
        arguments["run_id"] = values["failed" if "continue_run" in name else "done"]
    if "environment" in parameters:
        arguments["environment"] = "compat"
    if "body" in parameters:
        arguments["body"] = body_of(function, server, continuation)
    if style == "sync_detailed":
        response = function(client=c, **arguments)
    else:
        response = asyncio.run(function(client=c, **arguments))
    assert 200 <= response.status_code < 300 and response.parsed is not None
    assert "HTTPValidationError" not in type(response.parsed).__name__

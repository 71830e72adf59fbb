import pytest

from kneo_worker import KINDS, CatalogError, discover, handler, resolve


def test_public_functions_are_served() -> None:
    found = {item.name: item for item in discover(["sample"])}
    assert "sample.shout" in found and "sample.pipeline" in found and "sample.charge" in found
    assert found["sample.shout"].kinds == KINDS and found["sample.shout"].idempotent
    assert found["sample.shout"].description == "Says it loudly."
    assert list(found) == sorted(found)


@pytest.mark.parametrize("name", ["subprocess", "dumps", "handler", "_private", "_Pipeline", "Judged", "HandlerError", "release"])
def test_nothing_else_is(name: str) -> None:
    assert f"sample.{name}" not in {item.name for item in discover(["sample"])}


def test_decorated_function() -> None:
    item = resolve("sample:charge")
    assert list(item.registrations()) == [
        {"name": "sample.charge", "kind": "tool", "description": "Charges.", "idempotent": False, "input_schema": {"type": "object"}}
    ]


def test_packages_bring_their_submodules() -> None:
    assert [item.name for item in discover(["sample_pkg"])] == ["sample_pkg.inner.deep"]


@pytest.mark.parametrize("name", ["sample", "no_such_module.fn", "sample.no_such_name", "sample.__doc__", ""])
def test_unknown_names(name: str) -> None:
    with pytest.raises(CatalogError):
        resolve(name)


def test_unknown_module() -> None:
    with pytest.raises(CatalogError):
        discover(["no_such_module"])


def test_unknown_kind() -> None:
    with pytest.raises(ValueError):
        handler(kinds=["robot"])

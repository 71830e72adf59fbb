"""Finds the functions of modules that can serve as handlers."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

KINDS: tuple[str, ...] = ("function", "tool", "guardrail", "retriever", "summarizer")
"""Roles in which a handler can be called."""

_MARK = "__kneo_handler__"

_F = TypeVar("_F", bound=Callable[..., Any])


class CatalogError(Exception):
    """A module or name cannot be served."""


@dataclass(frozen=True)
class _Mark:
    kinds: tuple[str, ...] = KINDS
    idempotent: bool = True
    description: str | None = None
    input_schema: dict[str, Any] | None = None


@dataclass(frozen=True)
class Handler:
    """One function under the name by which specs refer to it."""

    name: str
    target: Any
    kinds: tuple[str, ...]
    idempotent: bool
    description: str
    input_schema: dict[str, Any] | None

    def registrations(self) -> Iterator[dict[str, Any]]:
        """Yield one registration for each kind."""
        for kind in self.kinds:
            item: dict[str, Any] = {
                "name": self.name, "kind": kind, "description": self.description, "idempotent": self.idempotent,
            }
            if self.input_schema is not None:
                item["input_schema"] = self.input_schema
            yield item


def handler(
    *,
    kinds: Iterable[str] = KINDS,
    idempotent: bool = True,
    description: str | None = None,
    input_schema: dict[str, Any] | None = None,
) -> Callable[[_F], _F]:
    """Say how a function is served. Functions without this decorator are served in every role and may be repeated."""
    mark = _Mark(tuple(kinds), idempotent, description, input_schema)
    unknown = [kind for kind in mark.kinds if kind not in KINDS]
    if unknown or not mark.kinds:
        raise ValueError(f"kinds must be some of {', '.join(KINDS)}")

    def apply(fn: _F) -> _F:
        setattr(fn, _MARK, mark)
        return fn

    return apply


def discover(module_names: Sequence[str]) -> list[Handler]:
    """Import modules, and the submodules of packages, and return what they serve, sorted by name."""
    found: dict[str, Handler] = {}
    for module_name in module_names:
        for module in _modules(_import(module_name)):
            for name, target in _public(module):
                found.setdefault(name, _describe(name, target))
    return [found[name] for name in sorted(found)]


def resolve(name: str) -> Handler:
    """Return the handler of one name, ``pkg.mod.name`` or ``pkg.mod:name``."""
    canonical = name.strip().replace(":", ".", 1)
    module_name, _, attribute = canonical.rpartition(".")
    if not module_name or not attribute:
        raise CatalogError(f"{name!r} is no name of the form pkg.mod.name")
    module = _import(module_name)
    try:
        target = getattr(module, attribute)
    except AttributeError:
        raise CatalogError(f"module {module_name} has no {attribute}") from None
    if not callable(target) and not _runs(target):
        raise CatalogError(f"{canonical} cannot be called")
    return _describe(canonical, target)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as exc:
        raise CatalogError(f"module {name} cannot be imported: {exc}") from exc


def _modules(module: ModuleType) -> Iterator[ModuleType]:
    yield module
    path = getattr(module, "__path__", None)
    if path is None:
        return
    for info in pkgutil.walk_packages(path, module.__name__ + ".", onerror=_import):
        if info.name.rpartition(".")[2] != "__main__":
            yield _import(info.name)


def _public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    listed = set(getattr(module, "__all__", ()))
    for attribute, target in vars(module).items():
        if attribute in listed or (not attribute.startswith("_") and _own(module, target)):
            if (callable(target) or _runs(target)) and not isinstance(target, ModuleType):
                yield f"{module.__name__}.{attribute}", target


def _own(module: ModuleType, target: Any) -> bool:  # noqa: ANN401
    """Report whether a module offers this value itself. What it merely imported for its own use is not offered."""
    if isinstance(target, (ModuleType, type)):
        return False
    if inspect.isroutine(target):
        return getattr(target, "__module__", None) == module.__name__
    if isinstance(target, functools.partial):
        return True
    return _runs(target) or isinstance(getattr(target, _MARK, None), _Mark)


def _runs(target: Any) -> bool:  # noqa: ANN401
    return not isinstance(target, (ModuleType, type)) and callable(getattr(target, "run", None))


def _describe(name: str, target: Any) -> Handler:  # noqa: ANN401
    mark = getattr(target, _MARK, None)
    if not isinstance(mark, _Mark):
        mark = _Mark()
    description = mark.description
    if description is None:
        own_text = inspect.getdoc(target) if inspect.isroutine(target) else None
        description = (own_text or "").strip().partition("\n\n")[0]
    return Handler(name, target, mark.kinds, mark.idempotent, description, mark.input_schema)

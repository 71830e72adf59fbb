"""Serves Python functions to a Kneo server as handlers of specs."""

from kneo_worker.call import Call, current_call
from kneo_worker.catalog import KINDS, CatalogError, Handler, discover, handler, resolve
from kneo_worker.execute import HandlerError
from kneo_worker.stdio import Worker

__version__ = "1.0.0"

__all__ = ["KINDS", "Call", "CatalogError", "Handler", "HandlerError", "Worker", "current_call", "discover", "handler", "resolve"]

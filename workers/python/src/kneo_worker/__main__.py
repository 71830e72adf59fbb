"""Command line: ``python -m kneo_worker --module pkg.mod --service-url http://host:8000``."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from typing import BinaryIO

from kneo_worker.catalog import CatalogError, Handler, discover, resolve
from kneo_worker.stdio import Worker


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kneo-worker", description="Serve Python functions to a Kneo server.")
    parser.add_argument("--module", action="append", default=[], metavar="PKG.MOD", help="serve the functions of this module or package")
    parser.add_argument("--handler", action="append", default=[], metavar="PKG.MOD.NAME", help="serve this one function")
    parser.add_argument("--path", action="append", default=[], metavar="DIR", help="import from this folder too")
    parser.add_argument("--max-concurrency", type=int, default=16, metavar="N", help="calls at the same time (default 16)")
    parser.add_argument("--name", default=f"{socket.gethostname()}:{os.getpid()}", help="name of this worker for people")
    parser.add_argument("--service-url", metavar="URL", help="the server; without it the messages go over stdin and stdout")
    parser.add_argument("--via", choices=("grpc", "kneo"), help="who holds the connection: this process, which needs kneo-worker[grpc], "
                        "or the kneo command (default: grpc where it is installed)")
    parser.add_argument("--ca-file", default="", metavar="FILE", help="certificates that the server's is checked against, with grpc")
    parser.add_argument("--cert-file", default="", metavar="FILE", help="certificate that this worker shows, with grpc")
    parser.add_argument("--key-file", default="", metavar="FILE", help="key of that certificate")
    parser.add_argument("--kneo", default=os.environ.get("KNEO_BIN", "kneo"), metavar="FILE", help="the kneo command (default: kneo)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    if not args.module and not args.handler:
        parser.error("give --module or --handler")
    if bool(args.cert_file) != bool(args.key_file):
        parser.error("--cert-file and --key-file belong together")
    via = args.via or ("grpc" if _has_grpc() else "kneo")
    if args.ca_file or args.cert_file:
        # Whoever names certificates must not end up without them.
        if not (args.service_url or "").lower().startswith("https://"):
            parser.error("--ca-file and --cert-file go with a --service-url that begins with https://")
        if via != "grpc":
            parser.error("--ca-file and --cert-file need --via grpc, which kneo-worker[grpc] brings along")
    if args.service_url and via == "kneo":
        return _connect(args)
    sys.path[:0] = [*args.path, os.getcwd()]
    if args.service_url:
        return _remote(args)
    reader, writer = _take_stdio()
    _leave_signals()
    try:
        handlers = _handlers(args.module, args.handler)
    except CatalogError as exc:
        print(f"kneo-worker: {exc}", file=sys.stderr)
        return 2
    asyncio.run(Worker(handlers, reader, writer, max_concurrency=args.max_concurrency, name=args.name).run())
    return 0


def _has_grpc() -> bool:
    try:
        return find_spec("grpc") is not None and find_spec("google.protobuf") is not None
    except ModuleNotFoundError:
        return False


def _remote(args: argparse.Namespace) -> int:
    """Hold the connection in this process; a signal drains it."""
    try:
        from kneo_worker.remote import CertificateError, Remote
    except ImportError as exc:
        print(f"kneo-worker: {exc}; install kneo-worker[grpc]", file=sys.stderr)
        return 2
    try:
        handlers = _handlers(args.module, args.handler)
    except CatalogError as exc:
        print(f"kneo-worker: {exc}", file=sys.stderr)
        return 2
    try:
        remote = Remote(
            handlers, args.service_url, api_key=os.environ.get("KNEO_SERV_API_KEY", ""), ca_file=args.ca_file, cert_file=args.cert_file,
            key_file=args.key_file, max_concurrency=args.max_concurrency, name=args.name,
        )
    except CertificateError as exc:
        print(f"kneo-worker: {exc}", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: threading.Thread(target=remote.stop, daemon=True).start())
    return remote.run()


def _handlers(modules: Sequence[str], names: Sequence[str]) -> list[Handler]:
    found = {item.name: item for item in discover(modules)}
    for name in names:
        item = resolve(name)
        found[item.name] = item
    if not found:
        raise CatalogError(f"nothing to serve in {', '.join(modules)}")
    return list(found.values())


def _take_stdio() -> tuple[BinaryIO, BinaryIO]:
    """Keep stdin and stdout for the messages; what user code prints goes to stderr."""
    reader = os.fdopen(os.dup(0), "rb")
    writer = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return reader, writer


def _leave_signals() -> None:
    """Let the parent decide when this process ends: a signal to the whole group must not cut off the calls in progress.

    Ignoring the signals instead would be inherited by the processes that handlers start.
    """
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)


def _connect(args: argparse.Namespace) -> int:
    """Become the kneo command, which holds the connection and starts this package as its child."""
    kneo = shutil.which(args.kneo)
    if kneo is None:
        print(f"kneo-worker: the command {args.kneo} was not found; install it or name it with --kneo", file=sys.stderr)
        return 2
    command = [kneo, "worker", "python", "--python", sys.executable, "--service-url", args.service_url]
    for option, values in (("--module", args.module), ("--handler", args.handler), ("--path", args.path)):
        for value in values:
            command += [option, value]
    command += ["--max-concurrency", str(args.max_concurrency), "--name", args.name]
    os.execv(kneo, command)


def _exit(code: int) -> None:
    sys.stderr.flush()
    # A handler that does not come back must not keep the process.
    if any(thread.name.startswith("handler") for thread in threading.enumerate()):
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    _exit(main())

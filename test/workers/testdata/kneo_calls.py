"""What a handler is told about its call."""

import asyncio
import json

from kneo_worker import current_call


def facts(text):
    call = current_call()
    return json.dumps([text, call.attempt, call.idempotency_key, call.run_id, str(call.deadline), call.traceparent])


async def forever(text):
    await asyncio.Event().wait()

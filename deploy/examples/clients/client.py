"""Talks to a cluster of craft over plain NATS. README.md has the commands that run it."""

import asyncio
import json
import os
import uuid

import nats
from nats.errors import NoRespondersError, TimeoutError
from nats.js.api import DeliverPolicy

# protoc makes them of proto/craft/v1.
from craft.v1.entry_pb2 import Command, EntryBlock
from craft.v1.log_pb2 import MergedBatch

URL = os.environ.get("CRAFT_NATS_URL", "nats://127.0.0.1:4222")
CLUSTER = os.environ.get("CRAFT_CLUSTER", "craft")
SERVER = os.environ.get("CRAFT_SERVER", "s1")
ATTEMPTS_MAX = 10
ATTEMPT_TIMEOUT_S = 3
PAUSE_S = 0.2


async def ask(connection, subject, given, headers):
    """Sends a request until its outcome is known. A command with an id takes effect once, however often it is sent."""
    for _ in range(ATTEMPTS_MAX):
        try:
            message = await connection.request(
                f"{CLUSTER}.{subject}", json.dumps(given).encode(), ATTEMPT_TIMEOUT_S, headers=headers
            )
            reply = json.loads(message.data)
            if reply["ok"] or not reply["error"]["retryable"]:
                return reply
        except (NoRespondersError, TimeoutError):
            pass  # No leader or no answer now.
        await asyncio.sleep(PAUSE_S)
    raise SystemExit(f"{subject}: the outcome is unknown after {ATTEMPTS_MAX} attempts")


async def entries(log):
    """The entries of the merged log, in its order. One message has several."""
    async for message in log.messages:
        batch = MergedBatch.FromString(message.data)
        for at, entry in enumerate(EntryBlock.FromString(batch.entries).entries):
            command = Command.FromString(entry.body)
            yield {
                "index": batch.first_merged_index + at,
                "group": batch.groups[at],
                "timestamp": entry.timestamp,
                "name": command.name,
                "id": command.id,
                "input": json.loads(command.payload),
            }


async def main():
    connection = await nats.connect(URL)
    # From now on. An ordered consumer asks again for what the connection lost.
    log = await connection.jetstream().subscribe(
        f"{CLUSTER}.log.{SERVER}",
        stream=f"{CLUSTER.upper()}_LOG_{SERVER}",
        ordered_consumer=True,
        deliver_policy=DeliverPolicy.NEW,
    )

    key = f"python-{uuid.uuid4()}"
    put = {"key": key, "value": {"n": 1}, "ifVersion": 0}
    first = await ask(connection, "cmd.kv.put", put, {"Nats-Msg-Id": key})
    print(json.dumps(first))
    # The same id again: the same result, although the key is there now.
    print(json.dumps(await ask(connection, "cmd.kv.put", put, {"Nats-Msg-Id": key})))
    # Another id is another command, which is refused.
    print(json.dumps(await ask(connection, "cmd.kv.put", put, {"Nats-Msg-Id": f"{key}-2"})))
    # Any server answers, and sees every command that was acknowledged before.
    print(json.dumps(await ask(connection, "query.kv.get", {"key": key}, {"Craft-Consistency": "linearizable"})))
    print(json.dumps(await ask(connection, "query.craft.describe", {}, {})))
    async for entry in entries(log):
        if entry["id"] == key:
            print(json.dumps(entry))
            break
    await connection.close()


asyncio.run(asyncio.wait_for(main(), timeout=60))

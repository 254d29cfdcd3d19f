"""Plays steps with the official MCP SDK against a server, and prints what came back as JSON.

usage: mcp_client.py STEPS.json SERVER [ARGUMENT...]

A step is {"call": NAME, "arguments": {...}}, {"list": true}, {"parallel": [step...]}, or
{"call": ..., "cancel_after": N}: cancelled once N progress notifications have come. Texts "$NAME" in arguments stand
for the field NAME of the newest structured answer that had one.
"""

import json
import os
import sys
import time

import anyio
from mcp.client.session import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client

known = {}


def filled(value):
    if isinstance(value, str) and value.startswith("$"):
        return known[value[1:]]
    if isinstance(value, dict):
        return {key: filled(inner) for key, inner in value.items()}
    return value


async def play(session, step):
    if "parallel" in step:
        results = [None] * len(step["parallel"])

        async def one(at, inner):
            results[at] = await play(session, inner)

        async with anyio.create_task_group() as group:
            for at, inner in enumerate(step["parallel"]):
                group.start_soon(one, at, inner)
        return results
    if "list" in step:
        return (await session.list_tools()).model_dump(by_alias=True, mode="json")
    seen = []
    with anyio.CancelScope() as scope:

        async def progress(value, total, message):
            seen.append([value, message])
            if len(seen) >= step.get("cancel_after", 10**9):
                scope.cancel()

        # The SDK checks structured answers against the tool's output schema.
        result = await session.call_tool(step["call"], filled(step.get("arguments", {})), progress_callback=progress)
    if scope.cancelled_caught:
        return {"cancelled": True, "progress": seen}
    answer = result.model_dump(by_alias=True, mode="json")
    known.update(answer.get("structuredContent") or {})
    return {**answer, "progress": seen}


async def main():
    with open(sys.argv[1]) as file:
        steps = json.load(file)
    server = StdioServerParameters(command=sys.argv[2], args=sys.argv[3:], env=dict(os.environ), cwd=os.getcwd())
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        first = await session.initialize()
        results = [first.model_dump(by_alias=True, mode="json")]
        for step in steps:
            began = time.monotonic()
            results.append(await play(session, step))
            # Shown where a test fails.
            print(f"{time.monotonic() - began:.1f} s: {json.dumps(step)[:100]}", file=sys.stderr)
    print(json.dumps(results))


anyio.run(main)

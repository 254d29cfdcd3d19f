"""Plays steps with the official MCP SDK against a server, and prints what came back as JSON.

usage: mcp_client.py STEPS.json SERVER [ARGUMENT...]

A step is {"call": NAME, "arguments": {...}}, {"list": true}, {"parallel": [step...]}, {"roots": [PATH...]}, or
{"call": ..., "cancel_after": N}: cancelled once N progress notifications have come. Texts "$NAME" in arguments stand
for the field NAME of the newest structured answer that had one. Every structured answer is checked against the tool's
output schema. Progress is [value, message, seconds since the one before].
"""

import json
import os
import sys
import time

import anyio
import mcp.types as types
from jsonschema import Draft202012Validator
from mcp.client.session import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client

known = {}
schemas = {}
roots = None


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
    if "roots" in step:
        global roots
        roots = step["roots"]
        await session.send_roots_list_changed()
        return {}
    if "list" in step:
        return (await session.list_tools()).model_dump(by_alias=True, mode="json")
    seen = []
    last = time.monotonic()
    with anyio.CancelScope() as scope:

        async def progress(value, total, message):
            nonlocal last
            now = time.monotonic()
            seen.append([value, message, now - last])
            last = now
            if len(seen) >= step.get("cancel_after", 10**9):
                scope.cancel()

        result = await session.call_tool(step["call"], filled(step.get("arguments", {})), progress_callback=progress)
    if scope.cancelled_caught:
        return {"cancelled": True, "progress": seen}
    answer = result.model_dump(by_alias=True, mode="json")
    if not answer["isError"]:
        Draft202012Validator(schemas[step["call"]]).validate(answer["structuredContent"])
    known.update(answer.get("structuredContent") or {})
    return {**answer, "progress": seen}


async def list_roots(_context):
    return types.ListRootsResult(roots=[types.Root(uri="file://" + path) for path in roots])


async def main():
    with open(sys.argv[1]) as file:
        steps = json.load(file)
    server = StdioServerParameters(command=sys.argv[2], args=sys.argv[3:], env=dict(os.environ), cwd=os.getcwd())
    with_roots = any("roots" in step for step in steps)
    callback = list_roots if with_roots else None
    async with (
        stdio_client(server) as (read, write),
        ClientSession(read, write, list_roots_callback=callback) as session,
    ):
        first = await session.initialize()
        results = [first.model_dump(by_alias=True, mode="json")]
        schemas.update((tool.name, tool.output_schema) for tool in (await session.list_tools()).tools)
        for step in steps:
            began = time.monotonic()
            results.append(await play(session, step))
            # Shown where a test fails.
            print(f"{time.monotonic() - began:.1f} s: {json.dumps(step)[:100]}", file=sys.stderr)
    print(json.dumps(results))


anyio.run(main)

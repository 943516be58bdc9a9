"""Answers no provider should give, and no answer at all."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from struct import pack

from aiohttp import web

from tidemill.simulators.threads.faults import Fault

_GATEWAY_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_JSON = {"Content-Type": "application/json; charset=UTF-8"}
_PIECES = 20


async def misbehave(
    request: web.BaseRequest, fault: Fault, answer: Callable[[], web.Response], stopping: asyncio.Event
) -> web.StreamResponse:
    """Give the answer the fault's kind asks for. `answer` does what the call was for and returns what was due."""
    extra = fault.headers
    match fault.kind:
        case "html_502":
            return web.Response(status=502, text=_GATEWAY_PAGE, content_type="text/html", headers=extra)
        case "not_json":
            return web.Response(text="Sorry, something went wrong.", headers=extra)
        case "empty":
            return web.Response(headers={**_JSON, **extra})
        case "redirect":
            return web.Response(status=302, headers={"Location": fault.location, **extra})
        case "truncated_json":
            whole = _body(answer())
            return web.Response(body=whole[: len(whole) // 2], headers={**_JSON, **extra})
        case "slow_body":
            return await _drip(request, fault, _body(answer()), stopping)
        case "huge_body":
            return await _flood(request, fault)
        case "hang":
            await _pause(stopping, fault.seconds)
        case "reset_after_commit":
            answer()
        case _:
            pass
    return _reset(request)


async def _drip(request: web.BaseRequest, fault: Fault, body: bytes, stopping: asyncio.Event) -> web.StreamResponse:
    response = web.StreamResponse(headers={**_JSON, **fault.headers})
    response.content_length = len(body)
    await response.prepare(request)
    size = max(1, -(-len(body) // _PIECES))
    for start in range(0, len(body), size):
        await response.write(body[start : start + size])
        if await _pause(stopping, fault.seconds / _PIECES):
            return _reset(request)
    return response


async def _flood(request: web.BaseRequest, fault: Fault) -> web.StreamResponse:
    # Chunked, so that nothing but reading tells the client how much will come.
    response = web.StreamResponse(headers={**_JSON, **fault.headers})
    response.enable_chunked_encoding()
    await response.prepare(request)
    head, tail = b'{"data":[{"id":"', b'"}]}'
    left = max(0, fault.bytes - len(head) - len(tail))
    await response.write(head)
    block = b"7" * 65_536
    while left:
        await response.write(block[:left])
        left -= min(left, len(block))
    await response.write(tail)
    return response


async def _pause(stopping: asyncio.Event, seconds: float) -> bool:
    """Wait; True if the simulator is being stopped meanwhile."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return False
    return True


def _reset(request: web.BaseRequest) -> web.Response:
    """Break the connection with a TCP reset; what is returned goes nowhere."""
    transport = request.transport
    if transport is not None:
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
        transport.abort()
    return web.Response()


def _body(response: web.Response) -> bytes:
    body = response.body
    return body if isinstance(body, bytes) else b""

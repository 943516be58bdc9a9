"""The OpenAPI document, made from the table of routes and the types of what they take and give."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

import msgspec

from tidemill.web.api.codes import CODES
from tidemill.web.api.route import PREFIX, Route
from tidemill.web.problems import PROBLEM_JSON, Details

__all__ = ["describe"]

_REFERENCE = "#/components/schemas/{name}"
_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
_IF_MATCH = "The ETag of what you read. Another version than the newest is answered 412."
_KEY = "Chosen by you. For 24 hours the same key with the same request gets the same answer, and nothing is done twice."
_NO_HTTP = "As plain text: it is no HTTP, or its first line or a header is longer than 8190 bytes."
_ABOUT = (
    "Connectors, sync jobs, runs and records of a company. Who sees and changes what, row security in the database "
    "decides: members read, admins change definitions. Problems are application/problem+json; code is for programs, "
    "errors names the fields."
)


def describe(routes: Iterable[Route]) -> dict[str, Any]:
    """The document."""
    table = list(routes)
    bodies = [kind for route in table for kind in (route.takes, route.gives) if kind is not None]
    shown, components = msgspec.json.schema_components([*bodies, Details], ref_template=_REFERENCE)
    schemas = dict(zip(map(repr, [*bodies, Details]), shown, strict=True))
    problem = components[_component(schemas[repr(Details)])]
    problem["properties"]["code"] = {"enum": sorted(CODES)}
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tidemill", "version": metadata.version("tidemill"), "description": _ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _operation(route: Route, schemas: Mapping[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.path.split("/")[1]],
        "parameters": _parameters(route),
        "responses": _responses(route, schemas),
    }
    if route.takes is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schemas[repr(route.takes)]}},
        }
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [_ID] if "{id}" in route.path else []
    schema = msgspec.json.schema(route.query)["$defs"][route.query.__name__]
    for name, of in schema["properties"].items():
        # A parameter that is not given is absent, never null.
        kinds = [kind for kind in of.get("anyOf", [of]) if kind != {"type": "null"}]
        kind = {key: value for key, value in kinds[0].items() if key != "description"}
        if of.get("default") is not None:
            kind["default"] = of["default"]
        parameter = {"name": name, "in": "query", "required": name in schema.get("required", []), "schema": kind}
        if about := of.get("description") or kinds[0].get("description"):
            parameter["description"] = about
        parameters.append(parameter)
    if route.if_match:
        parameters.append(_header("If-Match", route.if_match == "must", _IF_MATCH))
    if route.keeps:
        schema = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[\\x21-\\x7e]+$"}
        parameters.append({**_header("Idempotency-Key", False, _KEY), "schema": schema})
    return parameters


def _header(name: str, required: bool, about: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": required, "description": about, "schema": {"type": "string"}}


def _responses(route: Route, schemas: Mapping[str, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": route.summary + "."}
    if route.gives is not None:
        good["content"] = {"application/json": {"schema": schemas[repr(route.gives)]}}
    responses: dict[str, Any] = {str(route.status): good}
    for status in sorted({CODES[code].status for code in route.all_codes}):
        codes = [code for code in route.all_codes if CODES[code].status == status]
        about = " ".join(f"{code}: {CODES[code].meaning}" for code in codes)
        responses[str(status)] = {
            "description": about,
            "content": {
                PROBLEM_JSON: {
                    "schema": {"allOf": [schemas[repr(Details)], {"properties": {"code": {"enum": codes}}}]},
                }
            },
        }
    # The server's parser answers what never becomes a request.
    no_http = responses.setdefault("400", {"description": "", "content": {}})
    no_http["description"] = f"{no_http['description']} {_NO_HTTP}".strip()
    no_http["content"]["text/plain"] = {"schema": {"type": "string"}}
    return responses


def _component(schema: Mapping[str, str]) -> str:
    found = re.fullmatch(r"#/components/schemas/(.+)", schema["$ref"])
    assert found  # noqa: S101 - it is made by the template above
    return found[1]

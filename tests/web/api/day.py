"""What an admin does in a day: each operation of the API, and some that are refused."""

from __future__ import annotations

from tests.web.api.world import Client, Company


async def every_operation(client: Client, company: Company, turn: int) -> None:
    """Whatever an admin does with the API; each answer is of his company alone.

    Args:
        client: his.
        company: whose admin he is.
        turn: differs each time.
    """
    mine = str(company.id)
    key = {"Idempotency-Key": f"k-{turn}"}
    body = {"provider": "shop", "name": f"n{turn}", "config": {"shop": "x"}}
    made = await client("POST", "/connectors", body, headers=key)
    assert (made.status, made.body["company_id"]) == (201, mine)
    assert (await client("POST", "/connectors", body, headers=key)).body == made.body
    path = f"/connectors/{made.body['id']}"
    assert (await client("PUT", f"{path}/credentials", {"secrets": {"token": "x"}})).body["version"] == 1
    assert (await client("POST", f"{path}/check")).body["ok"]
    changed = await client("PATCH", path, {"status": "inactive"}, headers={"If-Match": made.headers["ETag"]})
    assert changed.body["status"] == "inactive"
    job = await client("POST", "/sync-jobs", {"connector_id": made.body["id"], "job_type": "sync"}, headers=key)
    assert job.code == "IDEMPOTENCY_KEY_REUSED"
    job = await client("POST", "/sync-jobs", {"connector_id": made.body["id"], "job_type": "sync"})
    one = f"/sync-jobs/{job.body['id']}"
    run = await client("POST", f"{one}/run")
    assert (await client("GET", f"/runs/{run.body['run_id']}")).body["company_id"] == mine
    for action in ("pause", "resume", "cancel"):
        assert (await client("POST", f"{one}/{action}")).status in (200, 202)
    for listed in ("/connectors", "/sync-jobs", "/runs", "/notifications"):
        items = (await client("GET", f"{listed}?limit=3")).body["items"]
        assert {item["company_id"] for item in items} == {mine}, listed
    records = await client("GET", f"/records?connector_id={company.connector}&stream=orders")
    assert len(records.body["items"]) == 3
    assert (await client("POST", "/schedules/preview", {"schedule": {"every": "1h"}})).status == 200
    assert (await client("PATCH", path, {"provider": "nobody"}, headers={"If-Match": "*"})).code == "INVALID_FIELD"
    assert (await client("DELETE", path)).code == "CONFLICT"
    assert (await client("DELETE", one)).status == 204
    assert (await client("DELETE", path)).status == 204

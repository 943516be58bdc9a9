from __future__ import annotations

import asyncio
from uuid import uuid4

import msgspec
import pytest

from tests.web.api.world import ADMIN, MEMBER, SECRET, VAULT, Client, Company, api_of, served
from tidemill.postgres import Database
from tidemill.sync.jobs import credentials

NEW = {"provider": "shop", "name": "Second", "config": {"shop": "second"}}


async def test_an_admin_makes_reads_changes_and_deletes_a_connector(admin: Client, company: Company) -> None:
    made = await admin("POST", "/connectors", NEW)
    assert made.status == 201
    assert made.headers["ETag"] == '"1"'
    assert (made.body["company_id"], made.body["status"]) == (str(company.id), "active")
    path = made.headers["Location"].removeprefix("/api/v1")
    assert (await admin("GET", path)).body == made.body

    changed = await admin("PATCH", path, {"config": {"shop": "x", "region": "jp"}}, headers={"If-Match": '"1"'})
    assert changed.status == 200
    assert changed.headers["ETag"] == '"2"'
    assert changed.body["config"] == {"shop": "x", "region": "jp"}
    assert changed.body["name"] == "Second"
    unnamed = await admin("PATCH", path, {"name": None}, headers={"If-Match": "*"})
    assert (unnamed.body["name"], unnamed.body["config"]) == (None, changed.body["config"])

    assert (await admin("DELETE", path, headers={"If-Match": '"3"'})).status == 204
    assert (await admin("GET", path)).code == "NOT_FOUND"


async def test_an_edit_says_which_version_it_is_of(admin: Client, company: Company) -> None:
    path = f"/connectors/{company.connector}"
    change = {"status": "inactive"}
    assert (await admin("PATCH", path, change)).code == "PRECONDITION_REQUIRED"
    for stale in ('"7"', '"0"', 'W/"1"', '"1x"', '""'):
        assert (await admin("PATCH", path, change, headers={"If-Match": stale})).code == "PRECONDITION_FAILED"
        assert (await admin("DELETE", path, headers={"If-Match": stale})).code == "PRECONDITION_FAILED"
    for nonsense in ("1", "'1'", '"1', '"1" "2"', "*, *"):
        reply = await admin("PATCH", path, change, headers={"If-Match": nonsense})
        assert (reply.code, reply.fields) == ("INVALID_FIELD", ["If-Match"])
    assert (await admin("PATCH", path, change, headers={"If-Match": '"9", "1"'})).status == 200


async def test_of_two_edits_of_one_version_one_is_refused(admin: Client, company: Company) -> None:
    path = f"/connectors/{company.connector}"
    version = (await admin("GET", path)).headers["ETag"]
    first = await admin("PATCH", path, {"name": "Mine"}, headers={"If-Match": version})
    second = await admin("PATCH", path, {"name": "Yours"}, headers={"If-Match": version})
    assert (first.status, second.status) == (200, 412)
    assert (await admin("GET", path)).body["name"] == "Mine"


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"provider": "nobody"}, "provider"),
        ({"provider": "Shop!"}, "provider"),
        ({"config": {"shop": 7}}, "config.shop"),
        ({"config": {"shop": "a", "region": "TAIWAN"}}, "config.region"),
        ({"config": {"shop": "a", "passwort": "x"}}, "config.passwort"),
        ({"config": {}}, "config.shop"),
        ({"config": []}, "config"),
        ({"config": {"shop": "a\0b"}}, "config.shop"),
        ({"name": ""}, "name"),
        ({"name": "x" * 151}, "name"),
        ({"name": "a\0"}, "name"),
        ({"status": "off"}, "status"),
        ({"connector_type": "y" * 31}, "connector_type"),
        ({"company_id": str(uuid4())}, "company_id"),
        ({"id": str(uuid4())}, "id"),
        ({"version": 9}, "version"),
    ],
)
async def test_a_field_that_cannot_be_taken_is_named(admin: Client, changed: dict[str, object], field: str) -> None:
    reply = await admin("POST", "/connectors", {**NEW, **changed})
    assert (reply.status, reply.code, reply.fields) == (422, "INVALID_FIELD", [field])


async def test_a_missing_field_is_named(admin: Client) -> None:
    reply = await admin("POST", "/connectors", {})
    assert (reply.code, reply.fields, reply.body["errors"][0]["message"]) == (
        "INVALID_FIELD",
        ["provider"],
        "is missing",
    )


async def test_a_name_is_unique_within_the_company_and_not_beyond(
    admin: Client, company: Company, neighbour: Company
) -> None:
    reply = await admin("POST", "/connectors", {**NEW, "name": "The shop"})
    assert (reply.status, reply.code, reply.fields) == (409, "CONFLICT", ["name"])
    other = admin.as_(neighbour.token())
    assert (await other("POST", "/connectors", {**NEW, "name": "Second"})).status == 201
    assert (await admin("POST", "/connectors", {**NEW, "name": "Second"})).status == 201


async def test_a_connector_with_jobs_stays(admin: Client, company: Company) -> None:
    reply = await admin("DELETE", f"/connectors/{company.connector}")
    assert (reply.status, reply.code) == (409, "CONFLICT")
    assert (await admin("DELETE", f"/sync-jobs/{company.job}")).status == 204
    assert (await admin("DELETE", f"/connectors/{company.connector}")).status == 204


async def test_secrets_are_sealed_and_never_come_out(admin: Client, company: Company, db: Database) -> None:
    path = f"/connectors/{company.connector}/credentials"
    assert (await admin("GET", path)).code == "NOT_FOUND"
    first = await admin("PUT", path, {"secrets": {"token": SECRET, "refresh": "r"}})
    assert (first.status, first.body["version"], first.body["rotated_by"]) == (200, 1, str(company.admin))
    second = await admin("PUT", path, {"secrets": {"token": SECRET + "2"}})
    assert second.body["version"] == 2
    assert second.body["checksum"] != first.body["checksum"]
    assert (await admin("GET", path)).body == second.body
    for answer in (first, second, await admin("GET", f"/connectors/{company.connector}")):
        assert SECRET not in msgspec.json.encode(answer.body).decode()
    async with db.connection() as conn:
        opened = await credentials.newest(conn, VAULT, company.id, company.connector)
    assert {name: secret.reveal() for name, secret in opened.items()} == {"token": SECRET + "2"}
    stored = await db.fetch(
        "select secret_ciphertext, checksum from public.connector_credentials where company_id = $1 order by version",
        company.id,
    )
    assert all(SECRET.encode() not in row["secret_ciphertext"] for row in stored)
    assert [row["checksum"] for row in stored] == [first.body["checksum"], second.body["checksum"]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"secrets": {"tokn": SECRET}}, "secrets.tokn"),
        ({"secrets": {"token": ""}}, "secrets.token"),
        ({"secrets": {"token": 7}}, "secrets[...]"),
        ({"secrets": {}}, "secrets"),
        ({"secrets": SECRET}, "secrets"),
        ({"secrets": {"token": SECRET * 2000}}, "secrets"),
        ({"token": SECRET}, "token"),
    ],
)
async def test_a_bad_secret_is_named_and_not_repeated(
    admin: Client, company: Company, body: dict[str, object], field: str
) -> None:
    reply = await admin("PUT", f"/connectors/{company.connector}/credentials", body)
    assert (reply.code, reply.fields) == ("INVALID_FIELD", [field])
    assert SECRET not in str(reply.body)


async def test_two_who_set_secrets_at_once_take_two_versions(admin: Client, company: Company, db: Database) -> None:
    path = f"/connectors/{company.connector}/credentials"
    replies = await asyncio.gather(*(admin("PUT", path, {"secrets": {"token": str(n)}}) for n in range(8)))
    assert sorted(reply.body["version"] for reply in replies) == list(range(1, 9))


async def test_members_know_nothing_of_secrets_and_set_none(admin: Client, company: Company, db: Database) -> None:
    path = f"/connectors/{company.connector}/credentials"
    await admin("PUT", path, {"secrets": {"token": SECRET}})
    member = admin.as_(company.token(MEMBER))
    assert (await member("GET", path)).code == "NOT_FOUND"
    assert (await member("PUT", path, {"secrets": {"token": "mine"}})).code == "FORBIDDEN"
    count = "select count(*) from public.connector_credentials where company_id = $1"
    assert await db.fetchval(count, company.id) == 1


async def test_a_server_without_a_vault_takes_no_secrets(db: Database, company: Company) -> None:
    app_client = served(db, api_of(vault=None))
    async with app_client as nobody:
        client = nobody.as_(company.token(ADMIN))
        async with client.session.put(
            f"/api/v1/connectors/{company.connector}/credentials",
            json={"secrets": {"token": SECRET}},
            headers={"Authorization": f"Bearer {client.token}"},
        ) as response:
            assert (response.status, (await response.json())["code"]) == (501, "NOT_CONFIGURED")


async def test_another_companys_connector_is_not_there(admin: Client, neighbour: Company) -> None:
    path = f"/connectors/{neighbour.connector}"
    for method, below, body in (
        ("GET", "", None),
        ("PATCH", "", {"name": "x"}),
        ("DELETE", "", None),
        ("GET", "/credentials", None),
        ("PUT", "/credentials", {"secrets": {"token": "x"}}),
    ):
        reply = await admin(method, path + below, body, headers={"If-Match": "*"})
        unknown = await admin(method, f"/connectors/{uuid4()}{below}", body, headers={"If-Match": "*"})
        assert (reply.status, reply.body["detail"]) == (404, unknown.body["detail"])

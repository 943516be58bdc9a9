"""The JSON API on a database of a plain owner's does what it does on a superuser's: row security binds both alike."""

from __future__ import annotations

from tests.web.api.day import every_operation
from tests.web.api.world import MEMBER, Company, served
from tidemill.postgres import Database


async def test_a_day_of_the_api_passes_whoever_owns_the_database(owned_url: str) -> None:
    async with await Database.open(owned_url) as db:
        mine, theirs = await Company().create(db), await Company().create(db)
        async with served(db) as nobody:
            for company, foreign in ((mine, theirs), (theirs, mine)):
                admin, member = nobody.as_(company.token()), nobody.as_(company.token(MEMBER))
                await every_operation(admin, company, 1)
                assert (await member("GET", f"/connectors/{company.connector}")).status == 200
                assert (await member("POST", f"/connectors/{company.connector}/check")).code == "FORBIDDEN"
                assert (await admin("GET", f"/runs/{foreign.run}")).code == "NOT_FOUND"
                ticked = await admin("PUT", f"/notifications/{company.notification}/read")
                assert ticked.status == 200

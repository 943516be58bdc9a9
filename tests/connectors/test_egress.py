"""Calls to addresses that a tenant chose go to the public Internet and to what the operator allows, nowhere else."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from tests.connectors.rest_server import RestServer
from tidemill.connectors import Egress, ErrorKind, HttpClient, Limits, ProviderError, Scopes, StatusDialect, Tally
from tidemill.errors import ConfigurationError
from tidemill.settings import Settings

HERE = Egress.of(["127.0.0.1"])
PUBLIC = "93.184.215.14"

INSIDE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a00:1::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
OUTSIDE = [PUBLIC, "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "2002:101:101::1"]


@pytest.mark.parametrize("address", INSIDE)
def test_an_inside_address_is_refused(address: str) -> None:
    assert not Egress().permits(ip_address(address))


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_public_address_is_permitted(address: str) -> None:
    assert Egress().permits(ip_address(address))


def test_what_the_operator_allows_is_permitted_in_every_wrapping_and_nothing_beside_it() -> None:
    egress = Egress.of(["10.1.0.0/16", "fd00::/8"])
    for allowed in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd12::1"):
        assert egress.permits(ip_address(allowed)), allowed
    for refused in ("10.2.0.1", "127.0.0.1", "::ffff:10.2.0.1", "fe80::1"):
        assert not egress.permits(ip_address(refused)), refused


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "http://x", "a b", "*.internal", "127.1", "0x7f000001", "", "x/8"])
def test_a_wrong_entry_of_the_setting_is_told(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="TIDEMILL_EGRESS_ALLOW"):
        Egress.of([entry])


def test_the_setting_takes_networks_and_names_with_commas_between_them() -> None:
    settings = Settings.load(environ={"TIDEMILL_EGRESS_ALLOW": "10.0.0.0/8, ::1 ,api.internal"})
    egress = Egress.load(settings)
    assert egress.hosts == {"api.internal"}
    assert egress.permits(ip_address("::1"))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://017700000001/",
        "http://0177.0.0.1/",
        "http://0x7f.0.0.1/",
        "http://0x7f000001/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[0:0:0:0:0:ffff:7f00:1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://127。0。0。1/",
        "http://①②⑦.0.0.1/",
        "https://localhost:443@127.0.0.1/",
        "http://u:p@example.com/",
        "http://example.com:22/",
        "http://example.com:25/",
        "http://example.com:0/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://" + "a" * 70 + ".com/",
        "http://example.com/" + "a" * 9000,
    ],
)
async def test_an_url_that_shows_where_it_leads_is_not_called(url: str) -> None:
    tally = Tally()
    with pytest.raises(ProviderError) as caught:
        await _get(URL(url), Egress(), tally=tally)
    assert caught.value.kind is ErrorKind.PERMANENT
    assert "not called" in str(caught.value)


@pytest.mark.parametrize("name", ["localhost", "localhost.", "ip6-localhost"])
async def test_a_name_that_resolves_to_this_machine_is_not_called(name: str) -> None:
    async with RestServer() as server:
        with pytest.raises(ProviderError):
            await _get(URL(server.url).with_host(name), Egress())
        assert server.calls == []


class Rebinding(AbstractResolver):
    """Gives another address each time that it is asked."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that sockets were opened for; those of the Internet are refused here, so that nothing leaves."""
    addresses: list[str] = []
    real = Egress._socket

    def counted(self: Egress, info: Any) -> socket.socket:
        made = real(self, info)
        addresses.append(info[4][0])
        if addresses[-1] != "127.0.0.1":
            made.close()
            raise OSError("no network in tests")
        return made

    monkeypatch.setattr(Egress, "_socket", counted)
    return addresses


async def test_a_name_that_turns_to_an_inside_address_after_it_was_looked_at_is_not_connected_to(
    opened: list[str],
) -> None:
    async with RestServer() as server:
        resolver = Rebinding([PUBLIC], ["127.0.0.1"], ["169.254.169.254"])
        url = URL(server.url).with_host("rebinding.example")
        async with await HttpClient.open(limits=Limits(tries=1, connect_s=5), resolver=resolver) as http:
            for _ in range(3):
                with pytest.raises(ProviderError):
                    await _get(url, Egress(), http)
                # What aiohttp remembers of a name is a minute old at most; a rebinding name waits that out.
                connector: Any = http.sessions.to(url, Egress()).connector
                connector.clear_dns_cache()
        assert resolver.asked == 3
        assert opened == [PUBLIC]
        assert server.calls == []


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["169.254.169.254", "10.0.0.1"], ["::1", "127.0.0.1"], ["::ffff:127.0.0.1"], ["127.1"]]
)
async def test_a_name_with_only_inside_addresses_is_refused_at_once_and_does_not_tell_them(
    addresses: list[str], opened: list[str]
) -> None:
    async with RestServer() as server, await HttpClient.open(resolver=Rebinding(addresses)) as http:
        tally = Tally()
        with pytest.raises(ProviderError) as caught:
            await _get(URL(server.url).with_host("inside.example"), Egress(), http, tally=tally)
        assert caught.value.kind is ErrorKind.PERMANENT
        assert not any(address in str(caught.value) for address in addresses)
        assert (tally.calls, opened, server.calls) == (1, [], [])


async def test_of_a_name_with_both_kinds_of_address_only_the_public_one_is_tried(opened: list[str]) -> None:
    async with RestServer() as server:
        resolver = Rebinding(["127.0.0.1", PUBLIC])
        async with await HttpClient.open(limits=Limits(tries=1), resolver=resolver) as http:
            with pytest.raises(ProviderError):
                await _get(URL(server.url).with_host("both.example"), Egress(), http)
        assert set(opened) == {PUBLIC}
        assert server.calls == []


async def test_a_network_that_the_operator_allows_is_called() -> None:
    async with RestServer() as server:
        server.script = _ok
        assert await _get(URL(server.url), HERE) == {}
        resolver = Rebinding(["127.0.0.1"])
        async with await HttpClient.open(resolver=resolver) as http:
            assert await _get(URL(server.url).with_host("here.example"), HERE, http) == {}


async def test_a_host_that_the_operator_allows_is_called_wherever_it_is() -> None:
    async with RestServer() as server:
        server.script = _ok
        assert await _get(URL(server.url).with_host("localhost"), Egress.of(["localhost"])) == {}
        with pytest.raises(ProviderError):
            await _get(URL(server.url), Egress.of(["localhost"]))


async def test_a_redirect_to_an_inside_address_is_not_followed() -> None:
    async with RestServer() as inside, RestServer() as server:

        async def away(request: web.Request) -> web.Response:
            return web.Response(status=302, headers={"Location": inside.url})

        server.script = away
        with pytest.raises(ProviderError, match="redirect") as caught:
            await _get(URL(server.url), HERE)
        assert caught.value.kind is ErrorKind.PERMANENT
        assert inside.calls == []


async def test_no_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RestServer() as proxy, RestServer() as server:
        server.script = proxy.script = _ok
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        async with await HttpClient.open(proxy_from_env=True) as http:
            await _get(URL(server.url), HERE, http)
        assert (len(server.calls), len(proxy.calls)) == (1, 0)


async def test_calls_without_a_guard_are_as_they_were() -> None:
    async with RestServer() as server:
        server.script = _ok
        assert await _get(URL(server.url), None) == {}


async def _ok(request: web.Request) -> web.Response:
    return web.json_response({})


async def _get(url: URL, egress: Egress | None, http: HttpClient | None = None, tally: Tally | None = None) -> object:
    decode: Callable[[bytes], object] = msgspec.json.decode
    if http is None:
        async with await HttpClient.open(limits=Limits(tries=1)) as client:
            return await _get(url, egress, client, tally)
    caller = http.caller(
        StatusDialect(), scopes=Scopes("test"), deadline=time.monotonic() + 60, egress=egress, tally=tally
    )
    return await caller.get(url, decode)

"""The client never reaches an inside address, however it is spelled, resolved, rebound or pointed at."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_socket import SocketConnectBlockedError

import hub.http
from hub.errors import Rejected, Unavailable
from hub.http import Client, Exchange
from hub.testing.simulator import Fault, SimRequest, SimResponse, Simulator


class Inside(Simulator):
    """Something inside that must not be called: an admin page on this machine."""

    origin = "http://inside.example"

    def answer(self, request: SimRequest) -> SimResponse:
        return SimResponse.of_json({"secret": "inside"})


@pytest.fixture
def inside() -> Iterator[Inside]:
    with Inside() as inside:
        inside.serve()
        yield inside


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str], port: int = 443) -> list[str]:
    """A resolver that gives each question the next answer, the last one again and again; returns what was asked."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *arguments: Any, **options: Any) -> list[Any]:
        asked.append(host)
        try:
            ipaddress.ip_address(host)
        except ValueError:
            addresses = answers[min(len(asked), len(answers)) - 1]
        else:
            return real(host, *arguments, **options)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


SPELLINGS = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "2130706433",  # decimal
    "0x7f000001",  # hexadecimal
    "0x7f.0.0.1",
    "0x7f.1",
    "017700000001",  # octal
    "0177.0.0.1",
    "0177.1",
    "127.0.0.1.",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "0",
    "0.0.0.0",  # noqa: S104 (an address to refuse, nothing is bound)
    "0x0",
    "①②⑦.⓪.⓪.①",
    "１２７.0.0.1",
    "127。0。0。1",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[::127.0.0.1]",  # IPv4-compatible
    "[64:ff9b::127.0.0.1]",  # NAT64
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",  # local-use NAT64
    "[2002:7f00:1::]",  # 6to4
    "[2001:0:7f00:1::]",  # Teredo
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[fec0::1]",  # site-local
    "[fd00::1]",
    "[fd00:ec2::254]",  # metadata of AWS
    "[ff02::1]",  # multicast
    "[::ffff:0:127.0.0.1]",  # IPv4-translated
    "[100::1]",  # discard only
    "[2001:db8::1]",
    "[2001:10::1]",
    "[2001:20::1]",
    "[3fff::1]",
    "[5f00::1]",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "169.254.169.254",  # metadata of most clouds
    "2852039166",
    "0xa9fea9fe",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "100.100.100.200",  # metadata of Alibaba
    "100.64.0.1",
    "168.63.129.16",  # Azure's host agent
    "192.0.0.192",  # metadata of Oracle
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_an_inside_address_is_called(inside: Inside, scheme: str, host: str) -> None:
    origin = f"{scheme}://{host}:{inside.serve().rpartition(':')[2]}"
    try:
        client = Client(hosts=[origin], timeout=(1.0, 1.0))
        with pytest.raises((Rejected, Unavailable)) as caught:
            client.get(origin + "/")
    except Rejected as error:  # no address at all, to requests
        assert "is not a web address" in str(error)
    else:
        if isinstance(caught.value, Unavailable):  # a spelling that this machine's resolver does not know
            assert caught.value.sent is False
    assert list(inside.requests) == []


def test_says_why_an_inside_address_is_not_called_and_what_can_be_done(inside: Inside) -> None:
    exchanges: list[Exchange] = []
    client = Client(hosts=[inside.serve()], on_exchange=exchanges.append)
    with pytest.raises(Rejected) as caught:
        client.get(inside.serve() + "/")
    assert str(caught.value) == (
        "127.0.0.1 leads to a private address (127.0.0.1), which is not called: nothing was sent. If the shop really"
        " is in your own network, the operator can allow it with TALLYHUB_PRIVATE_NETWORKS."
    )
    assert [(exchange.status, exchange.error) for exchange in exchanges] == [(None, str(caught.value))]


REFUSED = [
    "0.1.2.3",
    "10.1.2.3",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:168.63.129.16",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",  # NAT64 of a public address: what lies behind cannot be checked
    "64:ff9b:1::1",
    "100::1",
    "1fff:ffff::1",
    "2001::1",
    "2001:10::1",
    "2001:1ff::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1%eth0",
    "fec0::1",
    "feff::1",
    "ff02::1",
    "ff0e::1",
]
REACHED = [
    "1.1.1.1",
    "11.0.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "168.63.129.17",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "192.167.255.255",
    "192.169.0.1",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "2001:200::1",
    "2606:4700::1111",
    "2a00:1450:4001::1",
    "3ffe:ffff::1",
    "::ffff:1.1.1.1",
]


@pytest.mark.parametrize("address", REFUSED)
def test_a_name_that_leads_inside_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    resolve_to(monkeypatch, [address])
    client = Client(hosts=["https://shop.example"], timeout=(1.0, 1.0))
    with pytest.raises(Rejected, match=r"shop\.example leads to a private address"):
        client.get("https://shop.example/")


@pytest.mark.parametrize("address", REACHED)
def test_a_name_that_leads_to_a_public_address_is_called(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    resolve_to(monkeypatch, [address])
    client = Client(hosts=["https://shop.example"], timeout=(1.0, 1.0))
    with pytest.raises(SocketConnectBlockedError):  # the tests' own guard: the connection would have been made
        client.get("https://shop.example/")


@pytest.mark.parametrize("address", REFUSED)
def test_our_own_list_knows_every_inside_address(address: str) -> None:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    assert not hub.http._is_public(getattr(parsed, "ipv4_mapped", None) or parsed)


def test_the_librarys_filter_stands_behind_our_list(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.http, "_is_public", lambda _: True)
    client = Client(hosts=[inside.serve()], timeout=(1.0, 1.0))
    with pytest.raises(Rejected, match="leads to a private address"):
        client.get(inside.serve() + "/")
    assert list(inside.requests) == []


@pytest.mark.parametrize("addresses", [["1.1.1.1", "127.0.0.1"], ["127.0.0.1", "1.1.1.1"], ["1.1.1.1", "::1"]])
def test_one_inside_address_among_public_ones_is_enough(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> None:
    resolve_to(monkeypatch, addresses)
    client = Client(hosts=["https://shop.example"], timeout=(1.0, 1.0))
    with pytest.raises(Rejected, match="leads to a private address"):
        client.get("https://shop.example/")


def test_a_name_that_changes_its_mind_is_connected_where_it_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolve_to(monkeypatch, ["1.1.1.1"], ["127.0.0.1"])
    client = Client(hosts=["https://shop.example"], timeout=(1.0, 1.0))
    with pytest.raises(SocketConnectBlockedError, match=r"1\.1\.1\.1"):
        client.get("https://shop.example/")
    assert asked.count("shop.example") == 1

    with pytest.raises(Rejected, match=r"leads to a private address \(127\.0\.0\.1\)"):
        client.get("https://shop.example/")


def test_the_operator_can_allow_a_network(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    port = int(inside.serve().rpartition(":")[2])
    resolve_to(monkeypatch, ["127.0.0.1"], port=port)
    shop = f"http://shop.example:{port}"
    client = Client(hosts=[shop], private_networks=["127.0.0.0/8"])
    assert client.get(shop + "/").json() == {"secret": "inside"}
    assert inside.requests[0].headers["host"] == f"shop.example:{port}"
    client.close()


def test_an_allowed_network_allows_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ["10.0.0.1"])
    client = Client(hosts=["https://shop.example"], private_networks=["192.168.0.0/16", "fd00::/8"])
    with pytest.raises(Rejected, match="leads to a private address"):
        client.get("https://shop.example/")


def test_a_route_opens_its_vendor_only(inside: Inside) -> None:
    client = Client(hosts=["https://shop.example", inside.serve()], routes={"https://shop.example": inside.serve()})
    with pytest.raises(Rejected, match="leads to a private address"):
        client.get(inside.serve() + "/")
    assert client.get("https://shop.example/").json() == {"secret": "inside"}
    client.close()


def test_the_other_family_is_tried_when_the_first_cannot_be_connected(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(inside.serve().rpartition(":")[2])
    asked = resolve_to(monkeypatch, ["::1", "127.0.0.1"], port=port)  # the server listens on IPv4 only
    shop = f"http://shop.example:{port}"
    client = Client(hosts=[shop], private_networks=["127.0.0.0/8", "::1/128"])
    assert client.get(shop + "/").json() == {"secret": "inside"}
    assert len(inside.requests) == 1
    assert asked.count("shop.example") == 2  # and checked again
    client.close()


def test_a_request_that_may_have_arrived_is_not_sent_to_the_other_family(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(inside.serve().rpartition(":")[2])
    asked = resolve_to(monkeypatch, ["127.0.0.1", "::1"], port=port)
    inside.fail_next("/", Fault.reset())
    shop = f"http://shop.example:{port}"
    client = Client(hosts=[shop], private_networks=["127.0.0.0/8", "::1/128"])
    with pytest.raises(Unavailable) as caught:
        client.post(shop + "/")
    assert caught.value.sent is True
    assert (len(inside.requests), asked.count("shop.example")) == (1, 1)
    client.close()


def test_a_request_that_reached_the_second_family_counts_as_sent(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(inside.serve().rpartition(":")[2])
    resolve_to(monkeypatch, ["::1", "127.0.0.1"], port=port)
    inside.fail_next("/", Fault.reset())
    shop = f"http://shop.example:{port}"
    client = Client(hosts=[shop], private_networks=["127.0.0.0/8", "::1/128"])
    with pytest.raises(Unavailable) as caught:
        client.post(shop + "/")
    assert caught.value.sent is True
    assert len(inside.requests) == 1
    client.close()


def test_gives_up_when_no_family_can_be_connected(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    port = int(inside.serve().rpartition(":")[2])
    inside.close()
    resolve_to(monkeypatch, ["::1", "127.0.0.1"], port=port)
    shop = f"http://shop.example:{port}"
    client = Client(hosts=[shop], private_networks=["127.0.0.0/8", "::1/128"])
    with pytest.raises(Unavailable) as caught:
        client.post(shop + "/")
    assert caught.value.sent is False
    client.close()

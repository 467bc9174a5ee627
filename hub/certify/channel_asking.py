"""The cases for what is asked of people: permission with one click, tokens that are renewed, customers' wishes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from marshmallow import ValidationError

from hub.certify.bench import Bench
from hub.certify.channel import CONTRACT, ChannelBench
from hub.certify.contract import Level, NotApplicable, expect, fail
from hub.certify.webhooks import HOOK, webhook_of
from hub.connector import (
    AuthorizationAnswer,
    AuthorizationRequest,
    Connector,
    PersonalDataErased,
    PersonalDataWanted,
    RawRecord,
)
from hub.errors import AuthError, ConnectorError, Rejected, Unverified

STATE = "kq3x0Zr1vB8mW5nYt7uH2cJ4sD6fG9aLpE_oQi-RkTy"
ANOTHER_STATE = "ANOTHER0Zr1vB8mW5nYt7uH2cJ4sD6fG9aLpE_oQi-A"
BACK = "https://hub.example/connect/return/some"
KEYS_TO = "https://hub.example/connect/callback/1/2"
_HOURS = 3 * 3600.0  # longer than a token that can be renewed is good for


def has_one_click(connector: type[Connector]) -> str:
    """Why it cannot be connected with one click, "" where it can."""
    return "" if connector.authorization_schema is not None else "its vendor has no connecting with one click"


# ---------------------------------------------------------------- permission with one click


_permission = CONTRACT.rule(
    "permission",
    Level.SILVER,
    "Connected with one click, it believes the answer to what was asked, and no other.",
    "Call answer.check_state, and compare every signature with hmac.compare_digest; see read_authorization.",
)


def _asked(bench: Bench) -> tuple[Any, Mapping[str, Any], list[AuthorizationAnswer]]:
    """A vendor whose merchant has agreed, what was typed in before, and what came back, the vendor's own call first."""
    vendor = bench.vendor()
    schema = bench.connector.authorization_schema
    assert schema is not None  # noqa: S101 (what has_one_click made sure of, told to mypy)
    typed = vendor.settings()
    settings = schema().load({name: typed[name] for name in schema().fields if name in typed})
    address = bench.connector.authorization_url(settings, AuthorizationRequest(STATE, BACK, KEYS_TO))
    expect(STATE in address, "The state does not go along to the vendor.")
    try:
        back = vendor.approve(address)
    except NotImplementedError:
        raise NotApplicable("its simulator has no page on which a merchant agrees") from None
    answers = [
        AuthorizationAnswer(STATE, dict(parse_qsl(urlsplit(letter.address).query)), letter.body, by_browser=False)
        for letter in vendor.take_webhooks()
        if letter.address.startswith(KEYS_TO)
    ]
    expect(back.startswith(BACK), f"The vendor sends the browser to {back!r}, not back to the hub.")
    answers.append(AuthorizationAnswer(STATE, dict(parse_qsl(urlsplit(back).query)), b"", by_browser=True))
    return vendor, settings, answers


def _read(bench: Bench, settings: Mapping[str, Any], answer: AuthorizationAnswer) -> Mapping[str, Any] | None:
    """What an answer brought; None too where it was refused. Anything but a refusal in order fails the case."""
    try:
        return bench.connector.read_authorization(settings, answer)
    except (Unverified, Rejected):
        return None
    except Exception as error:
        fail(f"read_authorization raised {type(error).__name__} ({error}), instead of Unverified.")


def _given(bench: Bench, settings: Mapping[str, Any], answers: list[AuthorizationAnswer]) -> tuple[Any, Any]:
    """The answer that brought something, and what it brought."""
    read = [(answer, _read(bench, settings, answer)) for answer in answers]
    given = [(answer, found) for answer, found in read if found is not None]
    expect(given, "The merchant agreed, and nothing came of it.")
    return given[0]


def _connects(bench: ChannelBench, vendor: Any, found: Mapping[str, Any] | None) -> bool:
    """Whether what an answer brought connects the shop: what no vendor has signed is for the check to find out."""
    if found is None:
        return False
    try:
        bench.connect(vendor, settings=found).check()
    except (ValidationError, ConnectorError):
        return False
    return True


@CONTRACT.case(
    _permission, "authorization-connects", "What the vendor answers makes settings that work.", needs=has_one_click
)
def _(bench: ChannelBench) -> None:
    vendor, settings, answers = _asked(bench)
    _, found = _given(bench, settings, answers)
    account = bench.connect(vendor, settings=found).check()
    expect(account.external_id, "check() does not say whose account was connected.")


@CONTRACT.case(
    _permission,
    "authorization-other-state-refused",
    "An answer to somebody else's question is refused.",
    needs=has_one_click,
)
def _(bench: ChannelBench) -> None:
    _, settings, answers = _asked(bench)
    answer, _ = _given(bench, settings, answers)
    for state in (ANOTHER_STATE, STATE[:-1], STATE + "x", "é" * len(STATE)):
        found = _read(bench, settings, replace(answer, state=state))
        expect(found is None, "It took an answer that carries another state than it was asked with.")


@CONTRACT.case(
    _permission,
    "authorization-forged-answer-refused",
    "An answer in the browser of which one parameter was changed or left out brings nothing.",
    needs=has_one_click,
)
def _(bench: ChannelBench) -> None:
    vendor, settings, answers = _asked(bench)
    answer = answers[-1]
    for name, text in answer.parameters.items():
        rest = {each: said for each, said in answer.parameters.items() if each != name}
        for forged in (rest, rest | {name: ""}, rest | {name: text[::-1] + "0"}, rest | {name: "💥"}):
            found = _read(bench, settings, replace(answer, parameters=forged))
            expect(not _connects(bench, vendor, found), f"It took an answer whose “{name}” was forged.")


@CONTRACT.case(
    _permission,
    "authorization-of-another-shop-refused",
    "The answer of another shop than the one that was typed in does not connect that other one.",
    needs=has_one_click,
)
def _(bench: ChannelBench) -> None:
    vendor, settings, answers = _asked(bench)
    schema = bench.connector.authorization_schema
    assert schema is not None  # noqa: S101 (as above)
    secret = {name for name, each in schema().fields.items() if each.metadata.get("secret")}
    elsewhere = {
        name: f"other-{said}" if isinstance(said, str) and name not in secret and vendor.origin.endswith(said) else said
        for name, said in settings.items()
    }
    if elsewhere == settings:
        raise NotApplicable("what is typed in does not name the shop as the vendor does")
    for answer in answers:
        found = _read(bench, elsewhere, answer)
        if found is None:
            continue
        # Keys that nobody signed: whether they are this shop's is for check() to find out, at this shop.
        hosts = bench.connector.hosts(bench.connector.settings_schema().load(dict(found)))
        expect(vendor.origin not in hosts, "It took the answer of another shop for that of this one.")


@CONTRACT.case(
    _permission,
    "authorization-garbled-answer-survived",
    "Whatever comes back, it is read or refused in order.",
    needs=has_one_click,
)
def _(bench: ChannelBench) -> None:
    _, settings, answers = _asked(bench)
    for by_browser in (True, False):
        for body in (b"", b"{", b"[]", b"null", b'{"a": [1]}', b"\xff\xfe", b"[" * 5000, b'"x"', answers[0].body[:-1]):
            for parameters in ({}, {"state": "💥"}, dict.fromkeys(answers[-1].parameters, "")):
                answer = AuthorizationAnswer(STATE, parameters, body, by_browser=by_browser)
                expect(_read(bench, settings, answer) is None, "It made settings of an answer that says nothing.")


# ---------------------------------------------------------------- tokens that are renewed

_renewal = CONTRACT.rule(
    "renewal",
    Level.GOLD,
    "What it was given with one click is renewed in time, by one worker for all of them.",
    "Ask for tokens through Context.tokens alone, and find the refresh token by kept(); see TokenVault.",
)


def _one_click(bench: Bench) -> tuple[Any, Callable[[], Any]]:
    """A vendor, and what makes connectors of one connection to it, which share their tokens as workers do."""
    vendor, settings, answers = _asked(bench)
    _, found = _given(bench, settings, answers)
    first = bench.connect(vendor, settings=found)
    first.check()
    vault = bench.vault()
    if vault.obtained == 0:
        raise NotApplicable("it is given nothing that has to be renewed")

    def another() -> Any:
        made = bench.connect(vendor, settings=found)
        return bench.connector(replace(made.context, tokens=vault))

    return vault, another


@CONTRACT.case(
    _renewal,
    "token-renewed-again-and-again",
    "Hours later, and hours after that, it still reaches the account.",
    needs=has_one_click,
)
def _(bench: ChannelBench) -> None:
    _, another = _one_click(bench)
    for _ in range(3):
        bench.clock.advance(_HOURS)
        _reaches(another())


@CONTRACT.case(
    _renewal,
    "token-renewed-once-for-all-workers",
    "Many workers that find an expired token have it renewed once.",
    needs=has_one_click,
)
def _(bench: ChannelBench) -> None:
    vault, another = _one_click(bench)
    bench.clock.advance(_HOURS)
    before = vault.obtained
    workers = [another() for _ in range(6)]
    failed: list[BaseException] = []

    def work(connector: Any) -> None:
        try:
            connector.check()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(each,)) for each in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(not failed, f"A worker was refused: {failed[0] if failed else ''}")
    expect(
        vault.obtained - before <= 1, f"{len(workers)} workers had the token renewed {vault.obtained - before} times."
    )


def _reaches(connector: Any) -> None:
    try:
        connector.check()
    except (AuthError, Rejected) as error:
        fail(f"Hours after it was connected it is refused: {error}")


# ---------------------------------------------------------------- what customers ask for

_wishes = CONTRACT.rule(
    "wishes",
    Level.GOLD,
    "What customers ask of the shop about their data is recognized and understood, also after it was removed.",
    "Mark the settings that signatures are checked with as signs, and verify with nothing else.",
)


def _wished(bench: ChannelBench) -> tuple[Any, str, list[Any]]:
    """A vendor, an order, and the letters that tell what its customer and then its merchant wish."""
    vendor = bench.vendor()
    if not hasattr(vendor, "erase_customer"):
        raise NotApplicable("its simulator has no customers who ask for anything")
    order = bench.buy(("MUG-1", 1), shop=vendor)
    vendor.take_webhooks()
    vendor.compliance_address = HOOK
    vendor.ask_for_data([order])
    vendor.erase_customer([order])
    vendor.erase_shop()
    return vendor, order, vendor.take_webhooks()


def _after_removal(bench: ChannelBench, vendor: Any) -> Any:
    """A connector as the hub has it for a connection that was removed: what signs is there, other secrets are not."""
    schema = bench.connector.settings_schema()
    loaded = schema.dump(schema.load(dict(vendor.settings())))
    kept = {
        name: loaded.get(name, "") if each.metadata.get("signs") or not each.metadata.get("secret") else ""
        for name, each in schema.fields.items()
    }
    context = bench.reader(vendor).context
    return bench.connector(replace(context, settings=kept, webhook_secret=""))


def _understood(bench: ChannelBench) -> Iterator[tuple[Any, Any]]:
    """What each wish says, and the letter it came with."""
    vendor, _, letters = _wished(bench)
    reader = _after_removal(bench, vendor)
    for letter in letters:
        webhook = webhook_of(letter)
        account = bench.connector.webhook_account(webhook)
        expect(account, "webhook_account does not say whose wish it is.")
        known = {name: str(said) for name, said in reader.settings.items()}
        for name, said in (account or {}).items():
            expect(known.get(name) == said, f"webhook_account names “{name}” otherwise than the settings do.")
        try:
            delivery = reader.verify(webhook)
        except ConnectorError as error:
            fail(f"After the connection was removed it refused a genuine wish: {error}")
        expect(delivery is not None, "It takes a wish for a handshake.")
        record = RawRecord(delivery.topic, "", webhook.body, headers=webhook.headers)
        for fact in reader.read_webhook(record):
            yield fact, letter


@CONTRACT.case(_wishes, "wishes-of-customers-understood", "Each wish says which orders it is about.")
def _(bench: ChannelBench) -> None:
    facts = [fact for fact, _ in _understood(bench)]
    (order,) = {record.external_id for record in bench.records(bench.connect(bench.shop))}
    wanted = [each for each in facts if isinstance(each, PersonalDataWanted)]
    erased = [each for each in facts if isinstance(each, PersonalDataErased)]
    expect([each.order_external_ids for each in wanted] == [(order,)], f"Who wants to know is read as {wanted}.")
    whom = [(each.order_external_ids, each.everything) for each in erased]
    expect(whom == [((order,), False), ((), True)], f"Who is to be forgotten is read as {whom}.")
    references = [each.reference for each in facts]
    expect(all(references) and len(set(references)) == len(references), "Two wishes have one reference.")


@CONTRACT.case(_wishes, "wishes-of-strangers-refused", "A wish that the vendor did not sign is refused.")
def _(bench: ChannelBench) -> None:
    vendor, _, letters = _wished(bench)
    reader = _after_removal(bench, vendor)
    for letter in letters:
        webhook = webhook_of(letter)
        told = json.dumps({**json.loads(webhook.body), "forged": True}).encode()
        try:
            delivery = reader.verify(replace(webhook, body=told))
        except Unverified:
            continue
        expect(delivery is None, "It believed a wish that nobody signed.")

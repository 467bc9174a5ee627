"""The cases for connectors of every kind: what they say about themselves, their settings, account and distribution."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import marshmallow

from hub.certify import distribution
from hub.certify.bench import Bench, only_connector_errors
from hub.certify.contract import Contract, Level, expect, fail
from hub.certify.failing import errors
from hub.certify.secrecy import secrets
from hub.certify.webhooks import watch, webhooks
from hub.connector import Settlement
from hub.core.model import Account
from hub.errors import AuthError, ConnectorError
from hub.testing.simulator import Fault

# ---------------------------------------------------------------- who it is


def describing(contract: Contract) -> None:
    """What a connector says about itself."""
    rule = contract.rule(
        "describes-itself",
        Level.BRONZE,
        "It has a name, a label, hosts and effects that the hub can work with.",
        "Correct the class attributes of the connector; the reference lists what each of them means.",
    )

    @contract.case(rule, "name-is-registrable", "Its name is one the registry takes.")
    def _(bench: Bench) -> None:
        name = bench.connector.name
        expect(re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", name), f"The name is {name!r}.")

    @contract.case(rule, "label-is-for-people", "Its label can be shown to a merchant.")
    def _(bench: Bench) -> None:
        label = bench.connector.label
        expect(label.strip() == label and 0 < len(label) <= 60, f"The label is {label!r}.")

    @contract.case(rule, "description-says-what-it-connects", "It says in a sentence what it connects.")
    def _(bench: Bench) -> None:
        said = bench.connector.description or inspect.getdoc(bench.connector) or ""
        expect(said.strip(), "It has neither a description nor a docstring.")

    @contract.case(rule, "effects-are-methods", "Every effect it declares is a method that takes a request and a key.")
    def _(bench: Bench) -> None:
        for kind in bench.connector.effects:
            method = getattr(bench.connector, kind, None)
            expect(callable(method), f"It declares the effect {kind}, and has no method of that name.")
            names = list(inspect.signature(method).parameters) if method else []
            expect(len(names) == 3, f"{kind} takes {', '.join(names)} instead of self, request, key.")

    @contract.case(rule, "effects-have-a-settlement", "Each effect says how an unclear outcome is settled.")
    def _(bench: Bench) -> None:
        for kind, settlement in bench.connector.effects.items():
            expect(isinstance(settlement, Settlement), f"{kind} is settled by {settlement!r}.")

    @contract.case(rule, "effects-can-be-looked-up", "An effect that is settled by a look-up can be looked up.")
    def _(bench: Bench) -> None:
        for kind, settlement in bench.connector.effects.items():
            needed = settlement in (Settlement.LOOKUP, Settlement.NATIVE_KEY) and settlement is Settlement.LOOKUP
            expect(not needed or callable(getattr(bench.connector, f"find_{kind}", None)), f"There is no find_{kind}.")

    @contract.case(rule, "hosts-are-origins", "Its hosts are origins: scheme, host and port, and nothing else.")
    def _(bench: Bench) -> None:
        vendor = bench.vendor()
        hosts = _addresses(bench, vendor)
        expect(hosts, "It names no host.")
        for host in hosts:
            parts = urlsplit(host)
            plain = (
                parts.scheme in ("http", "https", "sftp")
                and parts.netloc
                and parts.path in ("", "/")
                and not parts.query
            )
            expect(plain and parts.username is None, f"{host} is not an origin such as https://shop.example.")

    @contract.case(rule, "hosts-cover-the-simulator", "Its simulator stands at one of its hosts.")
    def _(bench: Bench) -> None:
        vendor = bench.vendor()
        hosts = _addresses(bench, vendor)
        expect(vendor.origin in [host.rstrip("/") for host in hosts], f"{vendor.origin} is not among {list(hosts)}.")

    @contract.case(rule, "construction-asks-nobody", "Making one sends nothing, so that the web process can make one.")
    def _(bench: Bench) -> None:
        vendor = bench.vendor()
        before = len(vendor.requests)
        bench.reader(vendor)
        expect(len(vendor.requests) == before, "It talked to the vendor while it was made.")

    @contract.case(rule, "budget-is-possible", "Its rate budget, if it has one, lets something through.")
    def _(bench: Bench) -> None:
        budget = bench.connector.rate_budget
        expect(budget is None or (budget.per_second > 0 and budget.burst >= 1), f"The rate budget is {budget}.")


def _addresses(bench: Bench, vendor: Any) -> list[str]:
    """Where it may talk to: over HTTP, and to exchange files."""
    loaded = _loaded(bench, vendor)
    return [*bench.connector.hosts(loaded), *filter(None, [bench.connector.file_host(loaded)])]


def _loaded(bench: Bench, vendor: Any) -> Any:
    return bench.connector.settings_schema().load(vendor.settings())


# ---------------------------------------------------------------- settings

_ODD: Mapping[str, Any] = {
    "nothing": None,
    "a-number": 12345,
    "a-list": ["a", "b"],
    "an-object": {"a": 1},
    "control-characters": "a\x00b\x1b[31m",
    "a-megabyte": "x" * 1_000_000,
    "an-emoji": "🛒 shop",
    "a-half-surrogate": "\ud83d",
    "markup": "<script>alert(1)</script>",
}

_SECRET_NAMES = re.compile(r"secret|passw|pwd|token|private|api_?key|credential|passphrase", re.IGNORECASE)


def settings(contract: Contract) -> None:
    """What the connect form asks for."""
    rule = contract.rule(
        "settings",
        Level.BRONZE,
        "Its connect form is clear, takes what its simulator is connected with, and refuses what cannot be right.",
        "Give each field of settings_schema a label and a hint, mark secrets, and validate what people paste.",
    )

    @contract.case(rule, "settings-have-labels", "Every field of the form has a label.")
    def _(bench: Bench) -> None:
        _each_field(bench, "label")

    @contract.case(rule, "settings-have-hints", "Every field of the form has a hint.")
    def _(bench: Bench) -> None:
        _each_field(bench, "hint")

    @contract.case(rule, "settings-mark-secrets", "Fields named like secrets are marked as secret.")
    def _(bench: Bench) -> None:
        for name, each in bench.connector.settings_schema().fields.items():
            marked = bool(each.metadata.get("secret"))
            expect(marked or not _SECRET_NAMES.search(name), f"{name} is not marked secret.")

    @contract.case(rule, "settings-take-the-simulators", "It accepts what its simulator says a merchant would type.")
    def _(bench: Bench) -> None:
        problems = bench.connector.settings_schema().validate(bench.vendor().settings())
        expect(not problems, f"It refuses {problems}.")

    @contract.case(rule, "settings-refuse-an-empty-form", "An empty form is refused.")
    def _(bench: Bench) -> None:
        expect(bench.connector.settings_schema().validate({}), "It accepts an empty form.")

    @contract.case(rule, "settings-refuse-unknown-fields", "A field that is not in the form is refused.")
    def _(bench: Bench) -> None:
        typed = {**bench.vendor().settings(), "no_such_field": "1"}
        expect(bench.connector.settings_schema().validate(typed), "It accepts a field it does not have.")

    @contract.case(rule, "settings-can-be-stored", "What it makes of the form survives being stored as JSON.")
    def _(bench: Bench) -> None:
        loaded = _loaded(bench, bench.vendor())
        try:
            stored = json.loads(json.dumps(loaded))
        except (TypeError, ValueError) as error:
            fail(f"The settings cannot be stored: {error}.")
        expect(stored == loaded, "The settings are not the same after being stored.")

    @contract.each(
        rule, "settings-survive-{}", "Odd input ({}) in a field is taken or refused, and breaks nothing.", _ODD
    )
    def _(bench: Bench, odd: Any) -> None:
        right = bench.vendor().settings()
        for name in bench.connector.settings_schema().fields:
            try:
                loaded = bench.connector.settings_schema().load({**right, name: odd})
                bench.connector.hosts(loaded)
            except marshmallow.ValidationError:
                continue
            except Exception as error:
                fail(f"{name} raised {type(error).__name__} ({error}) instead of a ValidationError.")

    pasting = contract.rule(
        "settings-as-pasted",
        Level.GOLD,
        "What people copy along with a setting does no harm.",
        "Build settings_schema on hub.SettingsSchema, which drops the spaces and line ends around what was typed.",
    )

    @contract.each(
        pasting,
        "settings-pasted-with-{}",
        "A setting pasted with {} means the same, or is refused.",
        {"a-space-before": " {}", "a-space-behind": "{} ", "a-line-end": "{}\n", "a-tab": "\t{}"},
    )
    def _(bench: Bench, shape: str) -> None:
        right = bench.vendor().settings()
        schema = bench.connector.settings_schema()
        loaded = schema.load(right)
        for name in right:
            try:
                pasted = schema.load({**right, name: shape.format(right[name])})
            except marshmallow.ValidationError:
                continue
            expect(pasted == loaded, f"{name} keeps what was copied along with it.")


def _each_field(bench: Bench, key: str) -> None:
    for name, each in bench.connector.settings_schema().fields.items():
        expect(str(each.metadata.get(key, "")).strip(), f"{name} has no {key} in its metadata.")


# ---------------------------------------------------------------- the account


def account(contract: Contract) -> None:
    """Whose account it reaches."""
    rule = contract.rule(
        "account",
        Level.BRONZE,
        "check() proves the settings and says whose account they reach.",
        "See Connector.check in the reference: return an Account; raise AuthError where the vendor refuses the key.",
    )

    @contract.case(rule, "check-says-whose-account", "check() names the account, by an id that is the vendor's.")
    def _(bench: Bench) -> None:
        found = bench.connect(bench.vendor()).check()
        expect(isinstance(found, Account), f"check() returned {type(found).__name__}.")
        expect(found.external_id and found.name, f"The account is {found.external_id!r}, named {found.name!r}.")

    @contract.case(rule, "check-is-repeatable", "Asked twice, check() names the same account.")
    def _(bench: Bench) -> None:
        connector = bench.connect(bench.vendor())
        expect(connector.check() == connector.check(), "It named another account the second time.")

    @contract.case(
        rule, "check-refuses-wrong-secrets", "With other secrets check() raises AuthError, and says what to do."
    )
    def _(bench: Bench) -> None:
        vendor = bench.vendor()
        stranger = bench.connect(vendor, settings=bench.other_secrets(vendor))
        with only_connector_errors("check() with wrong secrets") as raised:
            stranger.check()
        expect(raised, "check() accepted secrets that are not the vendor's.")
        expect(isinstance(raised[0], AuthError), f"It raised {type(raised[0]).__name__}: {raised[0]}")

    @contract.case(rule, "check-recovers", "After a failure of the vendor's, the same connector checks well.")
    def _(bench: Bench) -> None:
        vendor, connector = bench.connected()
        vendor.fail_next("", Fault.status(500))
        with suppress(ConnectorError):
            connector.check()
        vendor.heal()
        expect(connector.check().external_id, "It does not say whose account it is.")


# ---------------------------------------------------------------- the distribution


def distributed(contract: Contract) -> None:
    """What comes along with a connector."""
    versions = contract.rule(
        "versions-declared",
        Level.PLATINUM,
        "It says which version of the vendor's API it speaks and until when that is served.",
        "Set api_version, and api_version_ends or a word on it in the README's section on the API version.",
    )

    @contract.case(versions, "api-version-is-declared", "It names the version of the API it was written for.")
    def _(bench: Bench) -> None:
        expect(bench.connector.api_version, "api_version is empty.")

    @contract.case(
        versions, "api-version-end-is-known", "The end of that version is declared, or that none is announced."
    )
    def _(bench: Bench) -> None:
        readme = distribution.readme(bench.connector)
        said = re.search(r"(?is)#[^\n]*version.*\b(no end|none is announced|end date|until|ends)\b", readme)
        expect(
            bench.connector.api_version_ends or said,
            "api_version_ends is not set, and the README does not say under “API version” that no end is announced.",
        )

    @contract.case(versions, "api-version-still-served", "That end has not passed.")
    def _(bench: Bench) -> None:
        ends = bench.connector.api_version_ends
        today = distribution.today()
        expect(ends is None or ends > today, f"The vendor stopped serving {bench.connector.api_version} on {ends}.")

    @contract.case(versions, "api-version-in-the-readme", "The README names the same version.")
    def _(bench: Bench) -> None:
        version = bench.connector.api_version
        expect(version and version in distribution.readme(bench.connector), f"It does not mention {version!r}.")

    readme = contract.rule(
        "readme-complete",
        Level.PLATINUM,
        "Its README tells a merchant and an operator what they need.",
        "Write a README.md beside pyproject.toml with these sections, and name it as readme there.",
    )
    sections: Mapping[str, tuple[str, str]] = {
        "what-it-does": ("what it syncs or does", r"(?im)^#+ .*\b(sync|what|does)"),
        "how-to-connect": ("how to connect", r"(?im)^#+ .*\bconnect"),
        "how-to-remove": ("how to remove it", r"(?im)^#+ .*\b(remove|disconnect|uninstall)"),
        "limits": ("its limits", r"(?im)^#+ .*\blimit"),
        "api-version": ("the version of the API", r"(?im)^#+ .*\bversion"),
    }

    @contract.each(readme, "readme-{}", "The README has a section on it ({}).", sections)
    def _(bench: Bench, section: tuple[str, str]) -> None:
        text = distribution.readme(bench.connector)
        expect(text, "It has no README.")
        expect(re.search(section[1], text), f"No heading tells {section[0]}.")

    @contract.case(readme, "readme-explains-every-setting", "The README names every field of the connect form.")
    def _(bench: Bench) -> None:
        text = re.sub(r"[\W_]+", " ", distribution.readme(bench.connector)).lower()
        for name, each in bench.connector.settings_schema().fields.items():
            words = re.sub(r"[\W_]+", " ", str(each.metadata.get("label", name))).lower()
            expect(words in text or name.replace("_", " ") in text, f"It does not mention “{words}”.")

    typed = contract.rule(
        "typed",
        Level.PLATINUM,
        "It ships its types: py.typed is there and every function says what it takes and gives.",
        "Put an empty py.typed into the package, annotate every function, and run mypy --strict.",
    )

    @contract.case(typed, "typed-marker", "The package has a py.typed.")
    def _(bench: Bench) -> None:
        expect((distribution.package(bench.connector) / "py.typed").is_file(), "There is no py.typed in the package.")

    @contract.case(typed, "typed-functions", "Every function is annotated whole.")
    def _(bench: Bench) -> None:
        bare = distribution.unannotated(bench.connector)
        expect(not bare, f"These are not: {', '.join(bare[:5])}.")

    documented = contract.rule(
        "documented",
        Level.PLATINUM,
        "Its code says what it is for, and its distribution what it needs.",
        "Open each module and each public class with a sentence; complete the [project] table of pyproject.toml.",
    )

    @contract.case(documented, "modules-have-docstrings", "Every module opens with a sentence.")
    def _(bench: Bench) -> None:
        silent = distribution.undocumented(bench.connector)
        expect(not silent, f"These do not: {', '.join(silent[:5])}.")

    @contract.each(
        documented,
        "distribution-states-{}",
        "The distribution states its {}.",
        {"license": "License", "summary": "Summary", "python": "Requires-Python"},
    )
    def _(bench: Bench, header: str) -> None:
        about = distribution.metadata(bench.connector)
        expect(
            about is not None,
            "It is neither installed as a distribution nor is there a pyproject.toml beside its package.",
        )
        stated = about and (about.get(header) or about.get(f"{header}-Expression"))
        expect(stated, f"Its metadata has no {header}.")

    @contract.case(documented, "distribution-requires-tallyhub", "The distribution requires tallyhub.")
    def _(bench: Bench) -> None:
        about = distribution.metadata(bench.connector)
        needed = about.get_all("Requires-Dist", []) if about is not None else []
        expect(any(re.match(r"tallyhub\b", each) for each in needed), "It does not require tallyhub.")

    @contract.case(documented, "imports-only-the-public-api", "It imports nothing of the hub but its public API.")
    def _(bench: Bench) -> None:
        inner = distribution.inner_imports(bench.connector)
        expect(not inner, f"It imports {', '.join(inner[:5])}.")


def add_to(contract: Contract) -> None:
    """Add every case that is for all kinds."""
    groups = (describing, settings, account, secrets, errors, webhooks, watch, distributed)
    for add in groups:
        add(contract)

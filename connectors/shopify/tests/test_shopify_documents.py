"""The documents the connector sends, held against Shopify's published schemas and its cost rules."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    FieldNode,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    OperationDefinitionNode,
    TypeInfo,
    TypeInfoVisitor,
    VariableNode,
    Visitor,
    build_client_schema,
    get_named_type,
    parse,
    validate,
    visit,
)
from graphql.validation import NoDeprecatedCustomRule

from hub.connector import StockPush, StockRef
from hub.testing.context import connector_for
from hub_shopify import documents
from hub_shopify.authorization import OLD_ORDERS, SCOPES, granted
from hub_shopify.connector import ShopifyConnector
from hub_shopify.simulator import ShopifySimulator
from hub_shopify.simulator_graphql import MOST_COST, SCHEMA, requested_cost
from hub_shopify.translation import INVENTORY_ITEM
from hub_shopify.webhooks import COMPLIANCE, READERS, TOPICS

REPOSITORY = Path(__file__).parents[3]
SPECS = Path(os.environ.get("TALLYHUB_SPECS") or REPOSITORY.parent / "shared" / "specs") / "shopify"
VERSIONS = ("2026-04", "2026-07", "2026-10")

# How many ids a document is sent with at most.
IDS = {
    "ORDERS": documents.ORDER_BATCH,
    "ORDER_PARTS": documents.PART_BATCH,
    "STOCK": documents.STOCK_BATCH,
    "REFUNDABLE_LINES": documents.REFUND_CALL,
}


@lru_cache
def published(version: str) -> dict[str, Any]:
    path = SPECS / f"admin_{version}.json.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not there: set TALLYHUB_SPECS to the folder with Shopify's published schemas.")
    with gzip.open(path) as file:
        return dict(json.load(file))


@lru_cache
def official(version: str) -> GraphQLSchema:
    return build_client_schema(published(version)["data"], assume_valid=True)


def fields_of(text: str, schema: GraphQLSchema) -> set[tuple[str, str, str]]:
    """(type, field, type of the field) of everything a document asks for."""
    found: set[tuple[str, str, str]] = set()
    types = TypeInfo(schema)

    class Collect(Visitor):
        def enter_field(self, node: Any, *_: Any) -> None:
            parent, field = types.get_parent_type(), types.get_field_def()
            if parent and field:
                found.add((parent.name, node.name.value, str(field.type).strip("[]!")))

    visit(parse(text), TypeInfoVisitor(types, Collect()))
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", documents.ALL)
def test_every_document_is_valid_in(name: str, version: str) -> None:
    assert validate(official(version), parse(documents.ALL[name].text)) == []


@pytest.mark.parametrize("name", documents.ALL)
def test_no_document_asks_for_what_shopify_is_about_to_remove(name: str) -> None:
    document = parse(documents.ALL[name].text)
    assert validate(official(documents.API_VERSION), document, [NoDeprecatedCustomRule]) == []


@pytest.mark.parametrize("name", documents.ALL)
def test_every_document_costs_what_it_says_and_less_than_shopify_allows(name: str) -> None:
    document = documents.ALL[name]
    ids = ["gid://shopify/Order/1"] * IDS.get(name, 0)
    assert requested_cost(parse(document.text), {"ids": ids}) == document.cost < MOST_COST


# ---------------------------------------------------------------- rules that no schema states


def mutations_of(text: str) -> dict[str, FieldNode]:
    """The mutations of a document, by name."""
    operations = (each for each in parse(text).definitions if isinstance(each, OperationDefinitionNode))
    return {
        node.name.value: node
        for operation in operations
        if operation.operation.value == "mutation"
        for node in operation.selection_set.selections
        if isinstance(node, FieldNode)
    }


def must_have_a_key(version: str) -> set[str]:
    """The mutations of which Shopify's descriptions say that they fail without a key."""
    root = official(version).mutation_type
    assert root
    said = "the idempotency key is required"
    return {name for name, field in root.fields.items() if said in (field.description or "")}


def compare_quantities(version: str) -> set[str]:
    """The mutations that fail where changeFromQuantity is left out, though their inputs allow it."""
    schema = official(version)
    root = schema.mutation_type
    assert root

    def takes_it(kind: Any, seen: frozenset[str] = frozenset()) -> bool:
        kind = get_named_type(kind)
        if not isinstance(kind, GraphQLInputObjectType) or kind.name in seen:
            return False
        inside = seen | {kind.name}
        return any(name == "changeFromQuantity" or takes_it(each.type, inside) for name, each in kind.fields.items())

    return {name for name, field in root.fields.items() if any(takes_it(each.type) for each in field.args.values())}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_mutation_has_a_key_where_shopify_demands_one_and_nowhere_else(version: str) -> None:
    demanded = must_have_a_key(version)
    assert {"inventorySetQuantities", "inventoryActivate", "refundCreate"} <= demanded
    assert len(demanded) == 16 + ("inventorySetScheduledChanges" in demanded)
    for name, document in documents.ALL.items():
        for mutation, node in mutations_of(document.text).items():
            keys = [
                argument.value.name.value
                for directive in node.directives or ()
                if directive.name.value == "idempotent"
                for argument in directive.arguments or ()
                if isinstance(argument.value, VariableNode)
            ]
            assert keys == (["key"] if mutation in demanded else []), name


@pytest.mark.parametrize("version", VERSIONS)
def test_one_mutation_alone_has_to_compare_and_what_it_is_sent_says_what_with(version: str) -> None:
    comparing = {
        name
        for name, document in documents.ALL.items()
        if not compare_quantities(version).isdisjoint(mutations_of(document.text))
    }
    assert comparing == {"SET_STOCK"}
    with ShopifySimulator() as shop:
        listing = shop.add_product("MUG", "Mug", 5, "1.00")
        item, location = str(shop.variants[int(listing)].item_id), str(next(iter(shop.locations)))
        connector = connector_for(ShopifyConnector, shop)
        target = StockRef(listing, location, {INVENTORY_ITEM: item})
        connector.push_stock([StockPush(target, 6, 5, "a"), StockPush(target, 7, None, "b")])
        sent = [
            request.json()["variables"]["input"]["quantities"]
            for request in shop.requests
            if b"SetStock" in request.body
        ]
    assert [quantity["changeFromQuantity"] for call in sent for quantity in call] == [5, None]


# ---------------------------------------------------------------- access scopes


def needed_by(texts: Iterable[str]) -> dict[str, set[str]]:
    """What of the documents needs a scope, each with those of which one will do."""
    published_scopes = {
        (item["typeName"], item.get("fieldName", "")): set(item["offlineScopes"])
        for item in published(documents.API_VERSION)["offline_scopes"]["items"]
        if item["offlineScopes"]
    }
    assert ("Order", "") in published_scopes, "the published scopes have another form now"
    return {
        ".".join(filter(None, place)): published_scopes[place]
        for text in texts
        for parent, field, result in fields_of(text, official(documents.API_VERSION))
        for place in ((parent, field), (result, ""))
        if place in published_scopes
    }


def needed_to_hear(topics: Iterable[str]) -> dict[str, set[str]]:
    """What Shopify's descriptions of the topics say of scopes, each with those of which one will do."""
    descriptions = {
        value["name"]: value["description"]
        for kind in published(documents.API_VERSION)["data"]["__schema"]["types"]
        if kind["name"] == "WebhookSubscriptionTopic"
        for value in kind["enumValues"]
    }
    named = {topic: set(re.findall(r"read_\w+", descriptions[topic.replace("/", "_").upper()])) for topic in topics}
    return {topic: scopes for topic, scopes in named.items() if scopes}


def lacking(needed: Mapping[str, set[str]], scopes: Iterable[str]) -> dict[str, set[str]]:
    have = granted(scopes)
    return {place: enough for place, enough in needed.items() if have.isdisjoint(enough)}


ASKED = tuple(document.text for document in documents.ALL.values())


def test_the_scopes_asked_for_are_enough_for_every_document_and_topic() -> None:
    assert lacking(needed_by(ASKED), SCOPES) == {}
    assert lacking(needed_to_hear(TOPICS), SCOPES) == {}


@pytest.mark.parametrize("scope", SCOPES)
def test_no_scope_is_asked_for_that_nothing_needs(scope: str) -> None:
    needed = {**needed_by(ASKED), **needed_to_hear(TOPICS)}
    if scope.endswith("_fulfillment_orders"):
        # Each of them shows fulfillment orders that the others hide: Shopify says that one will do, for what it shows.
        assert any(scope in enough for enough in needed.values()), f"{scope} is used by no mutation"
    else:
        assert lacking(needed, set(SCOPES) - {scope}), f"nothing needs {scope}"


def test_a_document_that_needs_another_scope_is_found_out() -> None:
    further = "query { giftCards(first: 1) { nodes { id } } }"
    assert lacking(needed_by([*ASKED, further]), SCOPES) == {
        "GiftCard": {"read_gift_cards"},
        "QueryRoot.giftCards": {"read_gift_cards"},
    }


def test_who_may_write_may_read_and_who_may_read_may_not_write() -> None:
    assert granted(["write_inventory"]) == {"write_inventory", "read_inventory"}
    assert granted(["read_orders"]) == {"read_orders"}


def test_every_topic_that_is_subscribed_to_is_read_and_exists() -> None:
    theirs = official(documents.API_VERSION).type_map["WebhookSubscriptionTopic"]
    assert isinstance(theirs, GraphQLEnumType)
    assert {topic.replace("/", "_").upper() for topic in TOPICS} <= set(theirs.values)
    assert {*TOPICS, *COMPLIANCE} <= set(READERS)
    assert not COMPLIANCE & set(TOPICS)


def test_the_connector_names_the_version_it_speaks() -> None:
    assert ShopifyConnector.api_version == documents.API_VERSION == "2026-10"
    assert ShopifyConnector.api_version_ends is not None


def test_the_readme_names_what_a_merchant_must_enter_and_when_the_version_ends() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    assert f"`{', '.join(SCOPES)}`" in readme
    assert f"`{OLD_ORDERS}`" in readme
    assert f"`{documents.API_VERSION}`, which Shopify serves until {ShopifyConnector.api_version_ends:%B %Y}" in readme
    assert f"subscribes to {len(TOPICS)} webhook topics" in readme


def test_the_simulated_schema_is_a_part_of_the_published_one() -> None:
    theirs = official(documents.API_VERSION)
    for name, ours in SCHEMA.type_map.items():
        if name.startswith("__"):
            continue
        other = theirs.type_map[name]
        assert type(ours) is type(other), name
        if isinstance(ours, GraphQLEnumType):
            assert set(ours.values) <= set(other.values), name
        elif isinstance(ours, GraphQLInputObjectType):
            for field_name, field in ours.fields.items():
                assert str(field.type) == str(other.fields[field_name].type), f"{name}.{field_name}"
        elif isinstance(ours, GraphQLObjectType | GraphQLInterfaceType):
            for field_name, field in ours.fields.items():
                assert str(field.type) == str(other.fields[field_name].type), f"{name}.{field_name}"
                for argument_name, argument in field.args.items():
                    published_argument = other.fields[field_name].args[argument_name]
                    assert str(argument.type) == str(published_argument.type), f"{name}.{field_name}({argument_name})"
                    assert argument.default_value == published_argument.default_value, f"{name}.{field_name}"
        else:
            assert isinstance(ours, GraphQLScalarType), name
    idempotent = theirs.get_directive("idempotent")
    assert idempotent and str(idempotent.args["key"].type) == "String!"

"""The documents the connector sends, held against Shopify's published schemas and its cost rules."""

from __future__ import annotations

import gzip
import json
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    build_client_schema,
    parse,
    validate,
    visit,
)
from graphql.validation import NoDeprecatedCustomRule

from hub_shopify import documents
from hub_shopify.connector import OLD_ORDERS, SCOPES, TOPICS, ShopifyConnector
from hub_shopify.simulator_graphql import MOST_COST, SCHEMA, requested_cost

REPOSITORY = Path(__file__).parents[3]
SPECS = Path(os.environ.get("TALLYHUB_SPECS") or REPOSITORY.parent / "shared" / "specs") / "shopify"
VERSIONS = ("2026-04", "2026-07", "2026-10")

# How many ids a document is sent with at most.
IDS = {"ORDERS": documents.ORDER_BATCH, "STOCK": documents.STOCK_BATCH}


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


def test_the_scopes_asked_for_are_enough_for_all_that_is_read_and_written() -> None:
    needed: dict[tuple[str, str], list[str]] = {}
    for item in published(documents.API_VERSION)["offline_scopes"]["items"]:
        if item["offlineScopes"]:
            needed[item["typeName"], item.get("fieldName", "")] = item["offlineScopes"]
    granted = {*SCOPES, *(scope.replace("write_", "read_") for scope in SCOPES)}
    used = set().union(*(fields_of(each.text, official(documents.API_VERSION)) for each in documents.ALL.values()))
    lacking = {
        place: scopes
        for parent, field, result in used
        for place in ((parent, field), (result, ""))
        if (scopes := needed.get(place)) and granted.isdisjoint(scopes)
    }
    assert ("Order", "") in needed, "the published scopes have another form now"
    assert lacking == {}


def test_the_scopes_are_enough_for_the_webhooks_too() -> None:
    topics = {
        value["name"]: value["description"]
        for kind in published(documents.API_VERSION)["data"]["__schema"]["types"]
        if kind["name"] == "WebhookSubscriptionTopic"
        for value in kind["enumValues"]
    }
    for topic in TOPICS:
        scopes = set(re.findall(r"(?:read|write)_\w+", topics[topic]))
        assert not scopes or scopes & set(SCOPES), f"{topic} needs one of {scopes}"


def test_the_connector_names_the_version_it_speaks() -> None:
    assert ShopifyConnector.api_version == documents.API_VERSION == "2026-10"
    assert ShopifyConnector.api_version_ends is not None


def test_the_readme_names_what_a_merchant_must_enter_and_when_the_version_ends() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    assert f"`{', '.join(SCOPES)}`" in readme
    assert f"`{OLD_ORDERS}`" in readme
    assert f"`{documents.API_VERSION}`, which Shopify serves until {ShopifyConnector.api_version_ends:%B %Y}" in readme
    assert len(TOPICS) == 10
    assert "subscribes to ten webhook topics" in readme


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

"""Listings and their stock: found by the thousand, read together, written one by one or in a feed, and settled."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import hub
from hub.testing import Clock, Fault, connector_for, context_for
from hub_amazon.channel import AmazonConnector
from hub_amazon.listings import FEED_SECONDS, FEW, MOST_FOUND, PATCH_PATIENCE, PATCH_SECONDS
from hub_amazon.settings import AmazonSettings
from hub_amazon.simulator import AmazonSimulator
from hub_amazon.simulator_models import Models

SPECS = Path(os.environ.get("TALLYHUB_SPECS") or Path(__file__).parents[4] / "shared" / "specs") / "amazon-sp-api"
MODELS = Models(SPECS) if SPECS.is_dir() else None
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DE, FR = "A1PA6795UKMFR9", "A13V1IB3VIYZZH"
AWKWARD = "MUG / blue+50% ä"


def put_up(amazon: AmazonSimulator, sku: str, quantity: int, price: str = "15.00") -> None:
    """Put a SKU up for sale in both marketplaces, which share its stock."""
    for code in ("DE", "FR"):
        amazon.listings.add(sku, "Mug" if sku == "MUG-1" else "Other", quantity, price, marketplace=code)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def amazon(clock: Clock) -> Iterator[AmazonSimulator]:
    with AmazonSimulator(now=clock, models=MODELS) as simulator:
        put_up(simulator, "MUG-1", 10, "9.50")
        put_up(simulator, AWKWARD, 5, "12.00")
        yield simulator


@pytest.fixture
def connector(amazon: AmazonSimulator, clock: Clock) -> AmazonConnector:
    return connector_for(AmazonConnector, amazon, now=clock)


def ref(sku: str, place: str = DE) -> hub.StockRef:
    return hub.StockRef(f"{place}/{sku}", "DEFAULT", {"product_type": "HOME"})


def push(sku: str, quantity: int, place: str = DE) -> hub.StockPush:
    return hub.StockPush(ref(sku, place), quantity, None, f"{place}/{sku}/{quantity}")


def called(amazon: AmazonSimulator) -> Counter[str]:
    """What was asked, by method and the first parts of its path."""
    return Counter(f"{each.method} {'/'.join(each.path.split('/')[1:4])}" for each in amazon.requests)


def listings(connector: AmazonConnector, cursor: str | None = None) -> dict[str, hub.Listing]:
    found = {}
    for page in connector.fetch_listings(cursor):
        for record in page.records:
            for listing in connector.read_listing(record):
                assert record.external_id == listing.external_id
                found[listing.external_id] = listing
    return found


# ---------------------------------------------------------------- found


def test_every_listing_of_every_marketplace_is_found(connector: AmazonConnector) -> None:
    found = listings(connector)
    assert found.keys() == {f"{place}/{sku}" for place in (DE, FR) for sku in ("MUG-1", AWKWARD)}
    mug = found[f"{DE}/MUG-1"]
    assert (mug.sku, mug.title, mug.price) == ("MUG-1", "Mug", hub.Money.of("9.50", "EUR"))
    assert mug.tracked
    assert mug.levels == (hub.ListingLevel(location_external_id="DEFAULT", available=10),)
    assert mug.handles == {"product_type": "HOME"}


def test_what_lies_with_amazon_is_read_and_never_tracked(amazon: AmazonSimulator, connector: AmazonConnector) -> None:
    amazon.add_product_shipped_by_channel("FBA-1", "Lamp", "30.00")
    lamp = listings(connector)[f"{DE}/FBA-1"]
    assert (lamp.tracked, lamp.levels) == (False, ())
    assert connector.read_stock([ref("FBA-1"), ref("MUG-1")]) == [None, 10]


def test_a_sku_with_slashes_spaces_and_signs_is_one_name_in_an_address(
    amazon: AmazonSimulator, connector: AmazonConnector
) -> None:
    record = connector.fetch_listing(f"{DE}/{AWKWARD}")
    [listing] = connector.read_listing(record)
    assert (record.external_id, listing.sku) == (f"{DE}/{AWKWARD}", AWKWARD)
    [outcome] = connector.push_stock([push(AWKWARD, 4)])
    assert outcome.state is hub.PushState.PENDING
    assert amazon.stock()[AWKWARD] == 4


@pytest.mark.parametrize("name", ["", "MUG-1", f"{DE}/", "A1C3SOZRARQ6R3/MUG-1", "../orders", f"{DE}/.."])
def test_what_names_no_listing_here_is_not_found_and_not_asked_for(
    amazon: AmazonSimulator, connector: AmazonConnector, name: str
) -> None:
    connector.fetch_listing(f"{DE}/MUG-1")
    before = len(amazon.requests)
    with pytest.raises(hub.NotFound):
        connector.fetch_listing(name)
    assert len(amazon.requests) == before


def test_the_next_walk_begins_where_the_last_one_ended(
    amazon: AmazonSimulator, connector: AmazonConnector, clock: Clock
) -> None:
    cursor = list(connector.fetch_listings(None))[-1].cursor
    clock.advance(hours=1)
    put_up(amazon, "TEE-S", 3)
    assert f"{DE}/TEE-S" in listings(connector, cursor)
    # Those that stood there are told once more only where they were changed at the very moment of the cursor.
    last = list(connector.fetch_listings(cursor))[-1].cursor
    clock.advance(hours=1)
    assert listings(connector, last).keys() == {f"{DE}/TEE-S", f"{FR}/TEE-S"}


def test_a_walk_that_is_cut_off_goes_on_from_its_page(
    amazon: AmazonSimulator, connector: AmazonConnector, clock: Clock
) -> None:
    for number in range(50):
        clock.advance(seconds=1)
        put_up(amazon, f"TEE-{number:02}", 3)
    everything = listings(connector).keys()
    first = next(iter(connector.fetch_listings(None)))
    assert len(first.records) == 20
    assert {record.external_id for record in first.records} | listings(connector, first.cursor).keys() == everything


def test_more_than_a_search_leads_through_are_found_by_the_next_search(amazon: AmazonSimulator, clock: Clock) -> None:
    settings = AmazonSettings().load({**amazon.settings(), "marketplaces": "DE"})
    connector = AmazonConnector(context_for(settings, amazon, hosts=AmazonConnector.hosts(settings), now=clock))
    for number in range(MOST_FOUND + 30):
        clock.advance(seconds=1)
        amazon.add_product(f"TEE-{number:04}", "Tee", 3, "15.00")
    pages = list(connector.fetch_listings(None))
    found = {record.external_id for page in pages for record in page.records}
    assert len(found) == MOST_FOUND + 32
    assert pages[0].total == MOST_FOUND + 32


def test_more_than_that_of_one_moment_are_not_left_out_in_silence(connector: AmazonConnector) -> None:
    def answered(asked: Mapping[str, Any]) -> dict[str, Any]:
        summary = {"marketplaceId": DE, "lastUpdatedDate": "2026-11-21T12:00:00.000Z"}
        items = [{"sku": f"TEE-{number}", "summaries": [summary]} for number in range(MOST_FOUND)]
        return {"items": items, "numberOfResults": MOST_FOUND + 1}

    connector._listings._search = answered  # type: ignore[method-assign]
    with pytest.raises(hub.Unavailable, match="changed in the same moment"):
        list(connector.fetch_listings(None))


# ---------------------------------------------------------------- what they say


def test_stock_is_read_twenty_listings_at_a_time(amazon: AmazonSimulator, connector: AmazonConnector) -> None:
    for number in range(45):
        put_up(amazon, f"TEE-{number:02}", number)
    connector.fetch_listing(f"{DE}/MUG-1")
    before = called(amazon)
    refs = [ref(f"TEE-{number:02}") for number in range(45)] + [ref("MUG-1", FR)]
    assert connector.read_stock(refs) == [*range(45), 10]
    # Three questions for the first marketplace. A SKU that is asked for alone is asked for by its name.
    assert called(amazon) - before == {"GET listings/2021-08-01/items": 4}


def test_skus_with_commas_are_asked_for_alone(amazon: AmazonSimulator, connector: AmazonConnector) -> None:
    put_up(amazon, "TEE,S", 3)
    assert connector.read_stock([ref("MUG-1"), ref("TEE,S"), ref(AWKWARD)]) == [10, 3, 5]


def test_what_amazon_does_not_know_has_no_stock(connector: AmazonConnector) -> None:
    elsewhere = hub.StockRef("A1C3SOZRARQ6R3/MUG-1", "DEFAULT")
    assert connector.read_stock([ref("NONE-1"), ref("MUG-1"), ref("NONE-2"), elsewhere]) == [None, 10, None, None]
    assert connector.read_stock([ref("NONE-1")]) == [None]


def test_where_amazon_stops_answering_the_rest_is_unread(amazon: AmazonSimulator, connector: AmazonConnector) -> None:
    for number in range(40):
        put_up(amazon, f"TEE-{number:02}", number)
    refs = [ref(f"TEE-{number:02}") for number in range(40)]
    amazon.fail_next("/listings/", Fault.status(503), after=1)
    assert connector.read_stock(refs) == [*range(20), *[hub.UNREAD] * 20]
    # And recovers.
    assert connector.read_stock(refs) == [*range(40)]


def test_where_amazon_answers_nothing_at_all_it_says_so(amazon: AmazonSimulator, connector: AmazonConnector) -> None:
    amazon.fail_next("/listings/", Fault.status(503))
    with pytest.raises(hub.Unavailable):
        connector.read_stock([ref("MUG-1"), ref(AWKWARD)])


# ---------------------------------------------------------------- written one by one


def test_a_quantity_is_pending_until_the_listing_says_it(
    amazon: AmazonSimulator, connector: AmazonConnector, clock: Clock
) -> None:
    amazon.listings.applies_after = timedelta(seconds=40)
    pushed = push("MUG-1", 7)
    [outcome] = connector.push_stock([pushed])
    assert (outcome.state, outcome.after_seconds) == (hub.PushState.PENDING, PATCH_SECONDS)
    clock.advance(seconds=20)
    [still] = connector.settle_stock(outcome.reference, [pushed])
    assert (still.state, still.quantity) == (hub.PushState.PENDING, 10)
    clock.advance(seconds=30)
    [done] = connector.settle_stock(outcome.reference, [pushed])
    assert (done.state, done.quantity) == (hub.PushState.WRITTEN, 7)


def test_a_quantity_that_was_accepted_and_found_wrong_is_refused_with_amazons_words(
    amazon: AmazonSimulator, connector: AmazonConnector
) -> None:
    amazon.listings.refused["MUG-1"] = "The quantity is above the limit of this product."
    pushed = push("MUG-1", 7)
    [outcome] = connector.push_stock([pushed])
    assert outcome.state is hub.PushState.PENDING
    [refused] = connector.settle_stock(outcome.reference, [pushed])
    assert refused.state is hub.PushState.REJECTED
    assert "The quantity is above the limit of this product." in refused.message


def test_a_quantity_that_never_comes_true_is_written_anew(
    amazon: AmazonSimulator, connector: AmazonConnector, clock: Clock
) -> None:
    amazon.listings.applies_after = timedelta(days=1)
    pushed = push("MUG-1", 7)
    [outcome] = connector.push_stock([pushed])
    clock.advance(seconds=PATCH_PATIENCE - 1)
    [still] = connector.settle_stock(outcome.reference, [pushed])
    assert still.state is hub.PushState.PENDING
    clock.advance(seconds=2)
    [again] = connector.settle_stock(outcome.reference, [pushed])
    assert (again.state, again.quantity) == (hub.PushState.RETRY, 10)
    assert again.message == "Amazon took in 7 and says 10 after all that time."


def test_one_bad_listing_does_not_spoil_the_others(amazon: AmazonSimulator, connector: AmazonConnector) -> None:
    elsewhere = hub.StockPush(hub.StockRef("A1C3SOZRARQ6R3/MUG-1", "DEFAULT"), 1, None, "elsewhere")
    outcomes = connector.push_stock([push("MUG-1", 7), push("NONE-1", 3), elsewhere, push(AWKWARD, 2)])
    states = [outcome.state for outcome in outcomes]
    assert states[0] is states[3] is hub.PushState.PENDING
    assert states[1] in (hub.PushState.REJECTED, hub.PushState.GONE)
    assert states[2] is hub.PushState.GONE
    assert "reconnect" in outcomes[2].message
    assert amazon.stock() == {"MUG-1": 7, AWKWARD: 2}


def test_where_amazon_stops_answering_the_rest_is_written_later(
    amazon: AmazonSimulator, connector: AmazonConnector
) -> None:
    amazon.fail_next("/listings/", Fault.status(503), after=1)
    first, second = connector.push_stock([push("MUG-1", 7), push(AWKWARD, 2)])
    assert (first.state, second.state) == (hub.PushState.PENDING, hub.PushState.RETRY)
    assert amazon.stock() == {"MUG-1": 7, AWKWARD: 5}


def test_a_listing_that_went_away_meanwhile_is_gone(amazon: AmazonSimulator, connector: AmazonConnector) -> None:
    gone = hub.StockPush(ref("NONE-1"), 7, None, "1")
    [outcome] = connector.settle_stock(f"patch/{int(NOON.timestamp())}/1", [gone])
    assert outcome.state is hub.PushState.GONE


@pytest.mark.parametrize("reference", ["", "patch", "patch/soon/1", "letter/1", "feed/99999999"])
def test_a_reference_that_is_not_known_is_not_found(connector: AmazonConnector, reference: str) -> None:
    with pytest.raises(hub.NotFound):
        connector.settle_stock(reference, [push("MUG-1", 7)])


# ---------------------------------------------------------------- written in a feed


def stocked(amazon: AmazonSimulator, many: int) -> list[str]:
    skus = [f"TEE-{number:03}" for number in range(many)]
    for sku in skus:
        put_up(amazon, sku, 1)
    return skus


def test_many_quantities_go_out_in_one_feed_of_each_marketplace(
    amazon: AmazonSimulator, connector: AmazonConnector, clock: Clock
) -> None:
    amazon.listings.feed_takes = timedelta(minutes=3)
    skus = stocked(amazon, 15)
    pushes = [push(sku, 8, place) for place in (DE, FR) for sku in skus]
    outcomes = connector.push_stock(pushes)
    references = [outcome.reference for outcome in outcomes]
    assert {outcome.state for outcome in outcomes} == {hub.PushState.PENDING}
    assert {outcome.after_seconds for outcome in outcomes} == {FEED_SECONDS}
    assert len(set(references[:15])) == len(set(references[15:])) == 1
    assert references[0] != references[15]
    assert called(amazon)["POST feeds/2021-06-30/feeds"] == 2
    assert called(amazon)["PATCH listings/2021-08-01/items"] == 0
    clock.advance(minutes=1)
    waiting = connector.settle_stock(references[0], pushes[:15])
    assert {outcome.state for outcome in waiting} == {hub.PushState.PENDING}
    clock.advance(minutes=10)
    for half in (slice(0, 15), slice(15, 30)):
        settled = connector.settle_stock(references[half][0], pushes[half])
        assert {outcome.state for outcome in settled} == {hub.PushState.WRITTEN}
    assert {amazon.stock()[sku] for sku in skus} == {8}


def test_of_a_feed_of_500_exactly_the_three_that_fail_are_refused_and_why(
    amazon: AmazonSimulator, connector: AmazonConnector, clock: Clock
) -> None:
    skus = stocked(amazon, 500)
    why = {skus[17]: "Not an approved brand.", skus[250]: "Listing is closed.", skus[499]: "Needs a safety sheet."}
    amazon.listings.refused |= why
    pushes = [push(sku, 8) for sku in skus]
    [reference] = {outcome.reference for outcome in connector.push_stock(pushes)}
    clock.advance(minutes=10)
    settled = connector.settle_stock(reference, pushes)
    refused = {
        each.ref.listing_external_id: got.message for each, got in zip(pushes, settled, strict=True) if got.message
    }
    assert refused.keys() == {f"{DE}/{sku}" for sku in why}
    for sku, words in why.items():
        assert words in refused[f"{DE}/{sku}"]
    assert Counter(outcome.state for outcome in settled) == {hub.PushState.WRITTEN: 497, hub.PushState.REJECTED: 3}
    # One document, one feed, and one report of it.
    assert called(amazon)["POST feeds/2021-06-30/feeds"] == 1
    assert called(amazon)["GET feeds/2021-06-30/documents"] == 1


def test_what_is_fed_is_what_the_schema_says(amazon: AmazonSimulator, connector: AmazonConnector) -> None:
    skus = stocked(amazon, FEW + 1)
    connector.push_stock([push(sku, 8) for sku in skus])
    [upload] = [each for each in amazon.requests if each.method == "PUT"]
    feed = json.loads(upload.body)
    assert feed["header"] == {"sellerId": amazon.seller_id, "version": "2.0", "issueLocale": "en_US"}
    assert feed["messages"][0] == {
        "messageId": 1,
        "sku": skus[0],
        "operationType": "PATCH",
        "productType": "HOME",
        "patches": [
            {
                "op": "replace",
                "path": "/attributes/fulfillment_availability",
                "value": [{"fulfillment_channel_code": "DEFAULT", "quantity": 8}],
            }
        ],
    }
    # Whoever has the address may write there: no token of ours goes along.
    assert "x-amz-access-token" not in upload.headers
    if MODELS is not None:
        assert MODELS.problem_of_feed("listings-feed-schema-v2", feed) == ""


def test_a_feed_that_could_not_be_handed_in_is_handed_in_later(
    amazon: AmazonSimulator, connector: AmazonConnector
) -> None:
    skus = stocked(amazon, 15)
    amazon.fail_next("/feeds/2021-06-30/feeds", Fault.status(503), after=1)
    pushes = [push(sku, 8, place) for place in (DE, FR) for sku in skus]
    states = [outcome.state for outcome in connector.push_stock(pushes)]
    assert states == [hub.PushState.PENDING] * 15 + [hub.PushState.RETRY] * 15


def test_an_address_of_a_document_that_is_over_does_not_end_the_connection(
    amazon: AmazonSimulator, connector: AmazonConnector, clock: Clock
) -> None:
    skus = stocked(amazon, FEW + 1)
    pushes = [push(sku, 8) for sku in skus]
    amazon.fail_next("/", Fault.status(403), after=2)  # after the login and createFeedDocument
    with pytest.raises(hub.Unavailable, match="address that Amazon gave for a document is over"):
        connector.push_stock(pushes)
    # And recovers.
    [reference] = {outcome.reference for outcome in connector.push_stock(pushes)}
    clock.advance(minutes=10)
    assert {outcome.state for outcome in connector.settle_stock(reference, pushes)} == {hub.PushState.WRITTEN}


def told_of_a_feed(connector: AmazonConnector, feed: dict[str, Any], report: Any) -> list[hub.PushOutcome]:
    """What becomes of two pushes when Amazon says this of their feed."""
    api = connector._api

    def call(name: str, **_: Any) -> hub.Response:
        said = feed if name == "getFeed" else {"feedDocumentId": "d", "url": "https://documents.example/d"}
        return hub.Response(200, {}, json.dumps(said).encode())

    api.call = call  # type: ignore[method-assign]
    api.download = lambda url, compression: json.dumps(report).encode()  # type: ignore[method-assign]
    return list(connector.settle_stock("feed/1", [push("MUG-1", 7), push(AWKWARD, 2)]))


def issue(severity: str = "ERROR", **more: Any) -> dict[str, Any]:
    return {"severity": severity, "message": "No.", **more}


@pytest.mark.parametrize(
    ("feed", "report", "states"),
    [
        ({"processingStatus": "CANCELLED"}, None, "retry retry"),
        ({"processingStatus": "FATAL"}, None, "rejected rejected"),
        ({"processingStatus": "FATAL", "resultFeedDocumentId": "d"}, {"issues": [issue()]}, "rejected rejected"),
        ({"processingStatus": "DONE"}, None, "written written"),
        ({"processingStatus": "DONE", "resultFeedDocumentId": "d"}, {"issues": []}, "written written"),
        (
            {"processingStatus": "DONE", "resultFeedDocumentId": "d"},
            {"issues": [issue("WARNING", sku="MUG-1", messageId=1)]},
            "written written",
        ),
        (
            {"processingStatus": "DONE", "resultFeedDocumentId": "d"},
            {"issues": [issue(sku="MUG-1", messageId=1, code="90220")]},
            "rejected written",
        ),
        ({"processingStatus": "DONE", "resultFeedDocumentId": "d"}, {"issues": [issue()]}, "rejected rejected"),
    ],
)
def test_what_amazon_says_of_a_feed_is_what_becomes_of_its_quantities(
    connector: AmazonConnector, feed: dict[str, Any], report: Any, states: str
) -> None:
    assert [outcome.state.value for outcome in told_of_a_feed(connector, feed, report)] == states.split()


def test_a_report_that_is_none_is_asked_for_again(connector: AmazonConnector) -> None:
    done = {"processingStatus": "DONE", "resultFeedDocumentId": "d"}
    with pytest.raises(hub.Unavailable, match="no list of issues"):
        told_of_a_feed(connector, done, {"summary": {}})
    connector._api.download = lambda url, compression: b"<html>"  # type: ignore[method-assign]
    with pytest.raises(hub.Unavailable, match="cannot be read"):
        connector.settle_stock("feed/1", [push("MUG-1", 7)])


@pytest.mark.skipif(not SPECS.is_dir(), reason="the vendor's specifications are not there; set TALLYHUB_SPECS")
def test_reads_the_processing_report_that_amazon_publishes(connector: AmazonConnector) -> None:
    path = SPECS / "schemas" / "feeds" / "listings-feed-processing-report-schema-v2.example.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    connector._api.call = lambda name, **_: hub.Response(  # type: ignore[method-assign]
        200, {}, b'{"processingStatus": "DONE", "resultFeedDocumentId": "d", "url": "https://documents.example/d"}'
    )
    connector._api.download = lambda url, compression: json.dumps(report).encode()  # type: ignore[method-assign]
    pushes = [push(sku, 1) for sku in ("My-SKU-A", "My-SKU-B", "My-SKU-C")]
    outcomes = connector.settle_stock("feed/1234567890", pushes)
    assert [outcome.state.value for outcome in outcomes] == ["written", "rejected", "rejected"]
    assert outcomes[1].message == (
        "'[batteries_required]' is required but not supplied. (90220); "
        "'[supplier_declared_dg_hz_regulation]' is required but not supplied. (90220)"
    )

"""Rates: how fast a carrier's answer becomes rates, beside karrio reading the very same answers.

karrio is not in requirements.lock: `pip install karrio karrio-ups karrio-easypost` before it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import hub
from bench.measure import Figures, Result, Say, in_turns
from bench.places import CannotMeasure
from hub.testing import CarrierSimulator, connector_for
from hub_carriers.easypost import EasyPostConnector
from hub_carriers.easypost_translation import QuoteBody
from hub_carriers.simulator_easypost import EasyPostSimulator
from hub_carriers.simulator_ups import UpsSimulator
from hub_carriers.ups import UpsConnector
from hub_carriers.ups_translation import read_quotes

# Reads an answer's bytes; how many rates were in it.
Reader = Callable[[bytes], int]

_NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def rates_read(seconds: float, repeats: int, say: Say) -> Iterator[Result]:
    """How many rates are read in a second, from the bytes of an answer to the hub's model, in one process."""
    rivals = _karrio()
    for carrier, connector, simulator, ours in (
        ("UPS", UpsConnector, UpsSimulator(now=lambda: _NOON), _ups),
        ("EasyPost", EasyPostConnector, EasyPostSimulator(), _easypost),
    ):
        body = _complete(_answer(connector, simulator))
        theirs = rivals[carrier]
        if (found := ours(body)) != theirs(body):
            raise CannotMeasure(f"karrio finds {theirs(body)} rates where the hub finds {found}.")
        say(f"  {carrier}: an answer of {found} rates in {len(body):,} bytes")
        figures = Figures()
        in_turns(
            repeats,
            figures,
            partial(_per_second, ours, body, seconds / 2, say, "the hub"),
            partial(_per_second, theirs, body, seconds / 2, say, "karrio"),
        )
        yield from figures.results(f"rates read, {carrier}", "rates/s", "karrio, the same answer", "none")


def _answer(connector: type[hub.Carrier], simulator: CarrierSimulator) -> bytes:
    """What the simulated carrier answers when it is asked for the rates of a parcel."""
    bodies = []
    with simulator:
        carrier = connector_for(connector, simulator, now=lambda: _NOON)
        send = carrier.client.request

        def noted(*arguments: Any, **options: Any) -> hub.Response:
            answer = send(*arguments, **options)
            bodies.append(answer.body)
            return answer

        carrier.client.request = noted  # type: ignore[method-assign]
        carrier.rates(simulator.example("R-1"))
    return bodies[-1]


def _complete(body: bytes) -> bytes:
    """The answer with the parts that UPS may leave out and karrio cannot do without."""
    said = json.loads(body)
    for each in said.get("RateResponse", {}).get("RatedShipment", ()):
        own = each.get("NegotiatedRateCharges", each)
        own.setdefault("BaseServiceCharge", each["TransportationCharges"])
        own.setdefault("ItemizedCharges", [])
    return json.dumps(said).encode()


def _ups(body: bytes) -> int:
    return len(read_quotes(hub.load_json(body), hub.Address(country="US", region="NY")).rates)


def _easypost(body: bytes) -> int:
    return len(QuoteBody().read(hub.load_json(body)).rates)


def _karrio() -> Mapping[str, Reader]:
    """Read an answer with karrio, as its gateway does after the request."""
    try:
        import karrio.lib as lib
        from karrio.mappers.easypost.settings import Settings as EasyPostSettings
        from karrio.mappers.ups.settings import Settings as UpsSettings
        from karrio.providers.easypost.rate import parse_rate_response as read_easypost
        from karrio.providers.ups.rate import parse_rate_response as read_ups
        from loguru import logger
    except ImportError as error:
        raise CannotMeasure(f"{error}: pip install karrio karrio-ups karrio-easypost") from error
    # They write of every answer to their logs, which would be what is measured.
    logger.disable("karrio")
    logging.getLogger("jstruct").setLevel(logging.ERROR)
    ups = UpsSettings(client_id="id", client_secret="secret", account_number="A1B2C3", account_country_code="US")
    easypost = EasyPostSettings(api_key="key")

    def ups_rates(body: bytes) -> int:
        rates, _ = read_ups(lib.Deserializable(body.decode(), lib.to_dict, {"origin": "US"}), ups)
        return len(rates)

    def easypost_rates(body: bytes) -> int:
        rates, _ = read_easypost(lib.Deserializable(body.decode(), lib.to_dict), easypost)
        return len(rates)

    return {"UPS": ups_rates, "EasyPost": easypost_rates}


def _per_second(read: Reader, body: bytes, seconds: float, say: Say, who: str) -> dict[str, float]:
    began, done = time.perf_counter(), 0
    while (took := time.perf_counter() - began) < seconds:
        done += read(body)
    say(f"    {who}: {done / took:.0f} rates/s")
    return {"": done / took}

"""Talking to one WooCommerce shop: keys, lists read without a gap, and what its refusals mean."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import requests
import requests_oauthlib
from marshmallow import ValidationError

from hub.connector import Context, RawRecord, SalesChannel
from hub.errors import AuthError, ConnectorError, NotFound, Unavailable, Unreadable
from hub.http import Response
from hub.translation import UtcMoment, load_json

CORE = "wc/v3"
TRACKING = "wc-shipment-tracking/v3"  # of the plugin Shipment Tracking, and of others that speak like it

PER_PAGE = 100  # more is refused
SECOND = timedelta(seconds=1)  # the resolution of every time in WooCommerce

_NEW_KEY = (
    "In WooCommerce, under Settings > Advanced > REST API, add a key with the permission Read/Write for an "
    "administrator or a shop manager, and enter both of its parts."
)
_SIGNED = "Without https:// the clocks of hub and shop must agree; enter an https:// address if the shop has one."
NO_API = (
    "No WooCommerce answers at {site}/wp-json/. Check the address (the one of the shop's front page); see that the "
    "WooCommerce plugin is active; and in WordPress, under Settings > Permalinks, choose anything but “Plain”."
)


class ShopApi(SalesChannel):
    """What every part of the connector asks the shop through."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._site = str(self.settings["site"])
        self._key = str(self.settings["consumer_key"])
        self._secret = str(self.settings["consumer_secret"])
        self.client.redact(self._key)
        self.client.redact(self._secret)

    @classmethod
    def hosts(cls, settings: Mapping[str, Any]) -> Sequence[str]:
        parts = urlsplit(settings["site"])
        return (f"{parts.scheme}://{parts.netloc}",)

    # --- one request

    def _auth(self) -> requests.auth.AuthBase:
        """Over plain HTTP WooCommerce takes only signed requests (OAuth 1.0a), so that the secret is never sent.

        The signature goes into the query, because some web servers keep the Authorization header from PHP.
        """
        if self._site.startswith("https://"):
            return requests.auth.HTTPBasicAuth(self._key, self._secret)
        return requests_oauthlib.OAuth1(
            self._key,
            self._secret,
            signature_method="HMAC-SHA256",
            signature_type="QUERY",
            timestamp=str(int(self.context.now().timestamp())),
        )

    def _ask(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str | int] | None = None,
        *,
        body: Any = None,
        namespace: str = CORE,
        expect: Collection[int] = (401, 403, 404),
    ) -> Response:
        """Send one request and return whatever the shop said, unless it is an error that needs no WooCommerce."""
        return self.client.request(
            method,
            f"{self._site}/wp-json/{namespace}/{path}",
            params=parameters,
            json=body,
            auth=self._auth(),
            expect=expect,
        )

    def _call(
        self, method: str, path: str, *, body: Any = None, namespace: str = CORE, **parameters: str | int
    ) -> Response:
        response = self._ask(method, path, parameters, body=body, namespace=namespace)
        if response.status >= 400:
            raise self._refusal(response)
        return response

    def _refusal(self, response: Response) -> ConnectorError:
        code, message = said(response)
        # Only WooCommerce itself can say that something is gone, or a key wrong. A page "not found" while the shop is
        # being repaired must not remove an order, nor a firewall's whim pause the connection.
        if not code.startswith("woocommerce_rest_"):
            if response.status == 404:
                return Unavailable(NO_API.format(site=self._site))
            if "WWW-Authenticate" in response.headers:
                return Unavailable(
                    f"The web server asks for a password of its own before WordPress sees the request "
                    f"({response.status}). Let the hub reach /wp-json/ without it."
                )
            return Unavailable(
                f"Something in front of WooCommerce refused the request ({response.status}): a security plugin, a "
                "firewall or a password on the site. Let the hub reach /wp-json/wc/v3/ there."
            )
        if response.status == 404:
            return NotFound("WooCommerce does not have it any more.", code)
        if code != "woocommerce_rest_authentication_error":
            message = "It is wrong, or was revoked, or may not do this."
        clocks = "" if self._site.startswith("https://") else f" {_SIGNED}"
        return AuthError(f"WooCommerce refused the key. {message} {_NEW_KEY}{clocks}")

    # --- lists

    def _walk(self, path: str, **parameters: str) -> Iterator[tuple[list[dict[str, Any]], int | None]]:
        """Every row of a list by id, page by page, with how many there are.

        WooCommerce pages by position only, and a row that leaves the list (deleted, or no longer matching) moves all
        later ones forward, past the start of the next page. So each page begins with the row that ended the one
        before. If it does not, something moved, and reading goes back a page.
        """
        position, last = 0, 0
        turned_back = False
        while True:
            response = self._call(
                "GET", path, orderby="id", order="asc", per_page=PER_PAGE, offset=position, **parameters
            )
            rows, total = rows_of(response), total_of(response)
            if total is not None and position + len(rows) > total:
                raise self._repeats_itself()
            if position and (not rows or rows[0]["id"] > last):
                position, turned_back = max(0, position - PER_PAGE), True
                continue
            fresh = [row for row in rows if row["id"] > last]
            if fresh:
                last = fresh[-1]["id"]
                yield fresh, total
            # Some hosts lower per_page, so a short page alone says nothing.
            if (position + len(rows) >= total) if total is not None else (len(rows) < PER_PAGE):
                return
            if not fresh and not turned_back:
                raise self._repeats_itself()
            position, turned_back = position + len(rows) - 1, False

    def _all(self, path: str, **parameters: str) -> list[dict[str, Any]]:
        return [row for rows, _ in self._walk(path, **parameters) for row in rows]

    def _still_there(
        self, record: Callable[[dict[str, Any]], RawRecord], rows: Iterable[dict[str, Any]]
    ) -> Iterator[RawRecord]:
        """The rows as records, without those that were deleted while the list was being read."""
        for row in rows:
            try:
                yield record(row)
            except NotFound:
                continue

    def _repeats_itself(self) -> Unavailable:
        return Unavailable(
            f"{self._site} answers different questions with the same page. Exclude /wp-json/ from caching there, "
            "and see that WooCommerce is up to date."
        )


# ---------------------------------------------------------------- answers


def object_of(response: Response) -> dict[str, Any] | None:
    """The JSON object in an answer; None if it is none, such as a page for people."""
    try:
        answer = load_json(response.body)
    except Unreadable:
        return None
    return answer if isinstance(answer, dict) else None


def said(response: Response) -> tuple[str, str]:
    """WooCommerce's code and message in a refusal, "" where something else refused."""
    answer = object_of(response) or {}
    code, message = answer.get("code"), answer.get("message")
    return (code if isinstance(code, str) else ""), (html.unescape(message)[:200] if isinstance(message, str) else "")


def no_route(response: Response) -> bool:
    """Whether the shop says that it has no such part at all: a feature is off, or a plugin is not there."""
    return response.status == 404 and said(response)[0] == "rest_no_route"


def list_of(response: Response) -> list[dict[str, Any]]:
    """The JSON objects in an answer that is a list. Raises Unavailable for anything else."""
    rows = response.json()
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Unavailable("WooCommerce answered with something else than the list that was asked for.")
    return rows


def rows_of(response: Response) -> list[dict[str, Any]]:
    """The rows of a list, each with its id. Raises Unavailable for anything else."""
    rows = list_of(response)
    if not all(is_id(row.get("id")) for row in rows):
        raise Unavailable("WooCommerce answered with something else than the list that was asked for.")
    return rows


def one_of(response: Response, member: str = "id") -> dict[str, Any]:
    """The object in an answer, known by one of its members. Raises Unavailable for anything else."""
    answer = response.json()
    if not isinstance(answer, dict) or member not in answer:
        raise Unavailable("WooCommerce answered with something else than what was asked for.")
    return answer


def is_id(value: Any) -> bool:
    """Whether a value is an id: a whole number, and not true or false."""
    return isinstance(value, int) and not isinstance(value, bool)


def total_of(response: Response) -> int | None:
    """How many rows the whole list has; some proxies keep that to themselves."""
    text = response.headers.get("X-WP-Total", "")
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) else None


def body_of(record: Mapping[str, Any]) -> bytes:
    """A record to be stored."""
    # PHP wrote every fraction from a double, so a double gives it back digit by digit.
    return json.dumps(record, default=float, ensure_ascii=False, separators=(",", ":")).encode()


def is_number(external_id: str) -> bool:
    """Whether a text is an id of WooCommerce's."""
    return re.fullmatch(r"[0-9]{1,19}", external_id, re.ASCII) is not None


def path_id(external_id: str) -> str:
    """An id fit to stand in an address. Raises NotFound: whatever else it is, WooCommerce has nothing of that name."""
    if not is_number(external_id):
        raise NotFound(f"WooCommerce has no id “{external_id[:40]}”.")
    return external_id


# ---------------------------------------------------------------- times

_MOMENT = UtcMoment(assume_utc=True, allow_none=True)


def modified(row: Mapping[str, Any]) -> datetime | None:
    """When a row was changed, as far as it says so."""
    return moment_of(row.get("date_modified_gmt"))


def moment_of(text: Any) -> datetime | None:
    """The moment that a text in UTC names, None if it names none."""
    try:
        moment: datetime | None = _MOMENT.deserialize(text or None)
    except ValidationError:
        return None
    return moment


def stamp(moment: datetime | None) -> str:
    """A moment as WooCommerce is to be asked with: to the second, with its zone."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else ""


def between(after: datetime | None, before: datetime | None = None) -> dict[str, str]:
    """The bounds of a query, both exclusive.

    WooCommerce reads a time without a zone in the shop's own, which loses or repeats hours of orders; the zone and
    ``dates_are_gmt`` each prevent that.
    """
    bounds = {"modified_after": stamp(after), "modified_before": stamp(before), "dates_are_gmt": "true"}
    return {name: bound for name, bound in bounds.items() if bound} if after else {}

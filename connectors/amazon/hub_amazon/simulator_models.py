"""Amazon's published models, against which the simulator's requests, answers, messages and feeds are checked.

The models are no part of this package: whoever has them says where. Members that a model does not name are refused
too, as the models themselves would not.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.errors import Unreadable
from hub.testing import SimResponse

if TYPE_CHECKING:
    from hub_amazon.simulator_operations import Call, Operation

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)")


class Models:
    """The models and schemas in a folder such as Amazon publishes it. Needs jsonschema."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    # --- operations

    @functools.cache  # noqa: B019 (there are a handful of these, as long as the process)
    def model(self, name: str) -> dict[str, Any]:
        """One model, as it is published."""
        [path] = self._folder.glob(f"models/*/{name}.json")
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def described(self, operation: Operation) -> dict[str, Any]:
        """What the operation's model says of it; parameters that all of its path have are among its own."""
        path = self.model(operation.model)["paths"][operation.path]
        described: dict[str, Any] = path[operation.method.lower()]
        shared = [each for each in path.get("parameters", []) if each not in described.get("parameters", [])]
        return {**described, "parameters": [*described.get("parameters", []), *shared]}

    def problem_of_request(self, operation: Operation, call: Call) -> str:
        """What the model refuses of a request's body, "" for nothing."""
        wanted = next((each for each in self.described(operation)["parameters"] if each["in"] == "body"), None)
        if wanted is None:
            return "A body that nobody reads." if call.request.body else ""
        return self._problem(operation.model, wanted["schema"], call.body())

    def problem_of_answer(self, operation: Operation, response: SimResponse) -> str:
        """What the model does not allow of an answer, "" for nothing."""
        described = self.described(operation)["responses"].get(str(response.status))
        if described is None:
            return f"no status {response.status}"
        schema = described.get("schema")
        if schema is None:
            return "a body" if response.body not in (b"", b"{}") else ""
        try:
            return self._problem(operation.model, schema, response.json())
        except Unreadable:
            return "no JSON"

    def problem(self, model: str, definition: str, value: Any) -> str:
        """What a definition of a model does not allow of a value, "" for nothing."""
        return self._problem(model, {"$ref": f"#/definitions/{definition}"}, value)

    def _problem(self, model: str, schema: Mapping[str, Any], value: Any) -> str:
        errors = self._validator(model, json.dumps(schema)).iter_errors(value)
        return next((f"{'/'.join(map(str, each.absolute_path))}: {each.message[:300]}" for each in errors), "")

    @functools.cache  # noqa: B019
    def _validator(self, model: str, schema: str) -> Any:
        published = self.model(model).get("definitions", {})
        parts = _combined(published)
        definitions = {name: each if name in parts else _closed(each) for name, each in published.items()}
        return _validator({**json.loads(schema), "definitions": definitions})

    # --- messages and feeds

    @functools.cache  # noqa: B019
    def schema(self, kind: str, name: str) -> dict[str, Any]:
        """A schema of "notifications" or "feeds", by the name of its file."""
        found: dict[str, Any] = json.loads((self._folder / "schemas" / kind / f"{name}.json").read_text("utf-8"))
        return found

    def check_notification(self, type: str, message: Any) -> None:
        """Raises AssertionError where a message is not what the schema of its type says."""
        self._checked("notifications", SCHEMAS[type], message)

    def problem_of_feed(self, name: str, document: Any) -> str:
        """What the schema of a feed or of its report does not allow of a document, "" for nothing."""
        errors = self._schema_validator("feeds", name).iter_errors(document)
        return next((f"{'/'.join(map(str, each.absolute_path))}: {each.message[:300]}" for each in errors), "")

    def _checked(self, kind: str, name: str, document: Any) -> None:
        for error in self._schema_validator(kind, name).iter_errors(document):
            where = "/".join(map(str, error.absolute_path))
            raise AssertionError(f"{name} does not allow it: {where}: {error.message[:300]}")

    @functools.cache  # noqa: B019
    def _schema_validator(self, kind: str, name: str) -> Any:
        schema = _closed(self.schema(kind, name))
        # The enum of one of them contradicts its own example; the type is what the schema was chosen by.
        for each in ("NotificationType", "notificationType"):
            schema["properties"].get(each, {}).pop("enum", None)
        return _validator(schema)


SCHEMAS = {
    "ORDER_CHANGE": "OrderChangeNotification",
    "FULFILLMENT_ORDER_STATUS": "FulfillmentOrderStatusNotification",
    "FBA_INVENTORY_AVAILABILITY_CHANGES": "FBAInventoryAvailabilityChangeNotification",
    "LISTINGS_ITEM_MFN_QUANTITY_CHANGE": "ListingsItemMfnQuantityChange",
    "LISTINGS_ITEM_STATUS_CHANGE": "ListingsItemStatusChangeNotification",
    "FEED_PROCESSING_FINISHED": "FeedProcessingFinishedNotification",
}


_COMBINING = ("allOf", "anyOf", "oneOf")


def _closed(schema: Any) -> Any:
    """A schema that allows no members beside those it names, where it names any by itself."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {
        name: each if name in _COMBINING else _closed(each)
        for name, each in schema.items()
        if name not in ("examples", "example", "default")
    }
    combined = schema.keys() & {*_COMBINING, "additionalProperties", "patternProperties"}
    if isinstance(schema.get("properties"), dict) and schema.get("type", "object") == "object" and not combined:
        closed["additionalProperties"] = False
    return closed


def _combined(schema: Any) -> set[str]:
    """The definitions that are parts of others: what they do not name, another part may."""
    if isinstance(schema, list):
        return set().union(*map(_combined, schema))
    if not isinstance(schema, dict):
        return set()
    found = set().union(*(_combined(each) for each in schema.values()))
    for name in _COMBINING:
        found |= {each["$ref"].rpartition("/")[2] for each in schema.get(name, []) if "$ref" in each}
    return found


def _validator(schema: Mapping[str, Any]) -> Any:
    from jsonschema import Draft7Validator, FormatChecker

    formats = FormatChecker(formats=())
    formats.checks("date-time")(lambda value: not isinstance(value, str) or _TIME.fullmatch(value) is not None)
    return Draft7Validator(schema, format_checker=formats)

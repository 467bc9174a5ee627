"""The simulated shop's bulk operations: orders written into a file on another host, as long as the clock says.

The rules are Shopify's: one query at a time, the form a query may have, a file with an object per line, in which what
belongs together stands together only where that was asked for, and which is gone after a week.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLOutputType,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    execute_sync,
    get_named_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    parse,
    print_ast,
    validate,
)

from hub.testing.simulator import SimRequest, SimResponse
from hub_shopify.simulator_graphql import IN_BULK, SCHEMA
from hub_shopify.simulator_model import gid, iso

if TYPE_CHECKING:
    from hub_shopify.simulator import ShopifySimulator

FILES_HOST = "storage.googleapis.com"
KEPT = timedelta(days=7)
MOST_CONNECTIONS = 5
MOST_NESTED = 2
SLICE = 250  # orders written at once

_RUNNING = ("CREATED", "RUNNING", "CANCELING")


@dataclass
class Operation:
    """A bulk operation; ``lines`` are what it has written, ``roots`` the orders it has still to write."""

    id: int
    query: str
    selections: SelectionSetNode
    grouped: bool
    created_at: datetime
    due_at: datetime
    roots: list[int]
    status: str = "CREATED"
    error: str | None = None
    ended_at: datetime | None = None
    written: int = 0
    nodes: list[tuple[int, str]] = field(default_factory=list)  # (how deep, line)
    file: bytes = b""


class BulkOperations:
    """Every bulk operation of a shop. ``seconds`` is how long one takes, by the shop's clock, and ``slice`` how many
    orders one writes between two looks at it once it is due.
    """

    def __init__(self, shop: ShopifySimulator) -> None:
        self._shop = shop
        self._all: dict[int, Operation] = {}
        self._failures: list[tuple[str, int]] = []
        self.seconds = 0.0
        self.slice = 20 * SLICE

    # --- what happens in the shop

    def fail_next(self, error: str = "INTERNAL_SERVER_ERROR", after: int = 0) -> None:
        """The next operation fails when it has written so many orders."""
        with self._shop.lock:
            self._failures.append((error, after))

    # --- mutations

    def run(self, query: str, *, grouped: bool) -> dict[str, Any]:
        """Carry out bulkOperationRunQuery."""
        self._carry_on()
        if any(each.status in _RUNNING for each in self._all.values()):
            words = "A bulk query operation for this app and shop is already in progress."
            return _refused("OPERATION_IN_PROGRESS", words)
        try:
            selections = _orders_selection(query)
        except GraphQLError as error:
            return _refused("INVALID", error.message)
        shop, now = self._shop, self._shop._second()
        known = [
            order.id
            for order in shop.sold.values()
            if any(visible <= shop.now() for visible, _ in order.marks) and shop._api.may_see(order)
        ]
        made = Operation(
            next(shop._ids), query, selections, grouped, now, now + timedelta(seconds=self.seconds), sorted(known)
        )
        self._all[made.id] = made
        return {"bulkOperation": self._view(made), "userErrors": []}

    def cancel(self, id: int) -> dict[str, Any]:
        """Carry out bulkOperationCancel."""
        found = self._all.get(id)
        if found is None or found.status not in _RUNNING:
            words = "A bulk operation cannot be canceled when it is completed"
            return {"userErrors": [{"field": ["id"], "message": words}]}
        found.status, found.ended_at = "CANCELED", self._shop._second()
        return {"bulkOperation": self._view(found), "userErrors": []}

    # --- looks

    def shown(self, id: int) -> dict[str, Any] | None:
        """An operation as the API shows it now."""
        self._carry_on()
        return self._view(self._all[id]) if id in self._all else None

    def all(self) -> list[dict[str, Any]]:
        """All operations, newest first."""
        self._carry_on()
        return [self._view(each) for each in sorted(self._all.values(), key=lambda each: -each.id)]

    def _view(self, operation: Operation) -> dict[str, Any]:
        file = self._address(operation) if operation.file else None
        return {
            "__typename": "BulkOperation",
            "id": gid("BulkOperation", operation.id),
            "type": "QUERY",
            "status": operation.status,
            "errorCode": operation.error,
            "query": operation.query,
            "createdAt": iso(operation.created_at),
            "completedAt": iso(operation.ended_at) if operation.status == "COMPLETED" and operation.ended_at else None,
            "objectCount": str(len(operation.nodes)),
            "rootObjectCount": str(operation.written),
            "fileSize": str(len(operation.file)) if operation.status == "COMPLETED" else None,
            "url": file if operation.status == "COMPLETED" else None,
            "partialDataUrl": file if operation.status == "FAILED" else None,
        }

    def _address(self, operation: Operation) -> str:
        expires = int(((operation.ended_at or operation.created_at) + KEPT).timestamp())
        return f"https://{FILES_HOST}/simulated-exports/{operation.id}.jsonl?Expires={expires}&Signature=c2lnbmVk"

    # --- writing

    def _carry_on(self) -> None:
        """Let every operation go on as far as the time allows."""
        now = self._shop.now()
        for each in self._all.values():
            if each.status in _RUNNING:
                each.status = "RUNNING"
                if now >= each.due_at:
                    self._write(each)
            elif each.status == "COMPLETED" and each.ended_at and now >= each.ended_at + KEPT:
                each.status, each.file = "EXPIRED", b""

    def _write(self, operation: Operation) -> None:
        error, most = self._failures[0] if self._failures else ("", None)
        room = self.slice
        while operation.roots and room > 0:
            if most is not None and operation.written >= most:
                break
            size = SLICE if most is None else min(SLICE, most - operation.written)
            ids, operation.roots = operation.roots[:size], operation.roots[size:]
            room -= size
            try:
                self._write_orders(operation, ids)
            except GraphQLError as denied:
                code = (denied.extensions or {}).get("code")
                self._end(operation, "FAILED", "ACCESS_DENIED" if code == "ACCESS_DENIED" else "INTERNAL_SERVER_ERROR")
                return
        if most is not None and (operation.written >= most or not operation.roots):
            self._failures.pop(0)
            self._end(operation, "FAILED", error)
        elif not operation.roots:
            self._end(operation, "COMPLETED", None)

    def _write_orders(self, operation: Operation, ids: list[int]) -> None:
        wanted = f"query ($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on Order {print_ast(operation.selections)} }} }}"
        variables = {"ids": [gid("Order", id) for id in ids]}
        token = IN_BULK.set(True)
        try:
            result = execute_sync(SCHEMA, parse(wanted), root_value=self._shop._api, variable_values=variables)
        finally:
            IN_BULK.reset(token)
        if result.errors:
            raise result.errors[0]
        for node in (result.data or {})["nodes"]:
            if node:
                operation.written += 1
                operation.nodes += _flat(node)

    def _end(self, operation: Operation, status: str, error: str | None) -> None:
        # Sorting keeps the order within each depth: everything is there, but no longer together.
        nodes = operation.nodes if operation.grouped else sorted(operation.nodes, key=lambda each: each[0])
        operation.status, operation.error, operation.ended_at = status, error, self._shop._second()
        operation.file = b"".join(line.encode() + b"\n" for _, line in nodes)
        if status == "FAILED":
            operation.file = operation.file[:-1]  # cut off

    # --- the files

    def answer(self, request: SimRequest) -> SimResponse:
        """What the host of the files answers."""
        if "x-shopify-access-token" in request.headers:
            return SimResponse(400, {"Content-Type": "application/xml"}, b"<Error><Code>InvalidArgument</Code></Error>")
        found = re.fullmatch(r"/simulated-exports/(\d+)\.jsonl", request.path)
        operation = self._all.get(int(found[1])) if found else None
        expires = dict(request.query).get("Expires", "0")
        if operation is None or dict(request.query).get("Signature") != "c2lnbmVk":
            return SimResponse(403, {"Content-Type": "application/xml"}, b"<Error><Code>AccessDenied</Code></Error>")
        if self._shop.now().timestamp() >= int(expires):
            return SimResponse(400, {"Content-Type": "application/xml"}, b"<Error><Code>ExpiredToken</Code></Error>")
        if not operation.file:
            return SimResponse(404, {"Content-Type": "application/xml"}, b"<Error><Code>NoSuchKey</Code></Error>")
        return _part(operation.file, request.headers)


def _part(file: bytes, headers: Mapping[str, str]) -> SimResponse:
    """The part of a file that is asked for; all of it where it would have to be packed first."""
    about = {"Content-Type": "application/jsonl"}
    asked = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("range", ""))
    if asked is None or headers.get("accept-encoding", "") != "identity":
        return SimResponse(200, about, file)
    first, last = int(asked[1]), min(int(asked[2]), len(file) - 1)
    if first >= len(file):
        return SimResponse(416, {**about, "Content-Range": f"bytes */{len(file)}"})
    return SimResponse(206, {**about, "Content-Range": f"bytes {first}-{last}/{len(file)}"}, file[first : last + 1])


def _flat(node: Mapping[str, Any], parent: str | None = None, depth: int = 0) -> Iterator[tuple[int, str]]:
    """An object as a line, and after it those of its connections, which name it."""
    own = {name: value for name, value in node.items() if not _is_connection(value)}
    if parent is not None:
        own["__parentId"] = parent
    yield depth, json.dumps(own, ensure_ascii=False)
    for value in node.values():
        if _is_connection(value):
            for edge in value["edges"]:
                yield from _flat(edge["node"], node["id"], depth + 1)


def _is_connection(value: Any) -> bool:
    return isinstance(value, dict) and "edges" in value


# ---------------------------------------------------------------- what may be asked


def _refused(code: str, words: str) -> dict[str, Any]:
    return {"bulkOperation": None, "userErrors": [{"code": code, "field": ["query"], "message": words}]}


def _orders_selection(query: str) -> SelectionSetNode:
    """What a bulk query asks for of each order. Raises GraphQLError for what Shopify does not export."""
    document = parse(query, max_tokens=20_000)
    if errors := validate(SCHEMA, document):
        raise errors[0]
    (operation,) = (each for each in document.definitions if isinstance(each, OperationDefinitionNode))
    roots = [each for each in operation.selection_set.selections if isinstance(each, FieldNode)]
    if any(root.name.value in ("node", "nodes") for root in roots):
        raise GraphQLError("Bulk queries cannot contain the top-level node or nodes fields.")
    if len(roots) != 1 or roots[0].name.value != "orders" or roots[0].arguments:
        raise GraphQLError("The simulation exports all orders, and nothing else.")
    if len(list(_connections(document))) > MOST_CONNECTIONS:
        raise GraphQLError(f"Bulk queries cannot contain more than {MOST_CONNECTIONS} connections.")
    return _node_of(roots[0])


def _node_of(connection: FieldNode) -> SelectionSetNode:
    (edges,) = (each for each in _fields(connection) if each.name.value == "edges")
    (node,) = (each for each in _fields(edges) if each.name.value == "node")
    if node.selection_set is None or not any(each.name.value == "id" for each in _fields(node)):
        raise GraphQLError("The parent 'node' field for a nested connection must select the 'id' field.")
    return node.selection_set


def _fields(parent: FieldNode) -> list[FieldNode]:
    selections = parent.selection_set.selections if parent.selection_set else ()
    return [each for each in selections if isinstance(each, FieldNode)]


def _connections(document: DocumentNode) -> Iterator[str]:
    """The connections a query asks for. Raises GraphQLError where one is too deep, or inside a list."""

    def inside(selections: SelectionSetNode | None, parent: Any, depth: int, in_list: bool) -> Iterator[str]:
        for each in selections.selections if selections else ():
            if isinstance(each, FragmentSpreadNode):
                raise GraphQLError("The simulation takes no named fragments in a bulk query.")
            if isinstance(each, InlineFragmentNode):
                kind = SCHEMA.get_type(each.type_condition.name.value) if each.type_condition else parent
                yield from inside(each.selection_set, kind, depth, in_list)
            elif isinstance(each, FieldNode) and isinstance(parent, GraphQLObjectType):
                yield from of_field(each, parent, depth, in_list)

    def of_field(each: FieldNode, parent: GraphQLObjectType, depth: int, in_list: bool) -> Iterator[str]:
        name = each.name.value
        kind = parent.fields[name].type
        result = get_named_type(kind)
        if is_leaf_type(result):
            return
        connection = result.name.endswith("Connection")
        if connection:
            if in_list:
                raise GraphQLError("Queries that contain a connection field within a list field are not supported.")
            if depth > MOST_NESTED:
                raise GraphQLError(f"Bulk queries cannot nest connections deeper than {MOST_NESTED}.")
            yield name
        listed = _is_list(kind) and not parent.name.endswith("Connection")
        yield from inside(each.selection_set, result, depth + connection, in_list or listed)

    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            yield from inside(definition.selection_set, SCHEMA.query_type, 0, False)


def _is_list(kind: GraphQLOutputType) -> bool:
    return is_list_type(kind.of_type if is_non_null_type(kind) else kind)

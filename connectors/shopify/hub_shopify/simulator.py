"""A simulated Shopify shop: its Admin GraphQL API with the rules it really has, its webhooks, its customers and staff.

The API executes whatever document it is sent over ``simulator.graphql``, so that a connector cannot pass by asking in
the one way a fake expects. What Shopify enforces at run time is enforced here: tokens that expire, query costs and the
budget they are taken from, page sizes, access scopes, ``@idempotent``, ``changeFromQuantity``, all or nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import math
import random
import re
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from importlib import resources
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLResolveInfo,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    build_schema,
    execute_sync,
    get_directive_values,
    get_named_type,
    is_leaf_type,
    is_list_type,
    parse,
    validate,
)
from graphql.pyutils import is_awaitable  # noqa: F401

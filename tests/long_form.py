"""How long a generated test goes on: a few fixed examples in the suite, many new ones in `make simulate`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Set by `make simulate` to the number of examples each machine is to try.
EXAMPLES = "TALLYHUB_TEST_EXAMPLES"


def examples(short: int, *, steps: int) -> settings:
    """``short`` examples of ``steps`` steps, the same in every run of the suite."""
    long = int(os.environ.get(EXAMPLES, "0"))
    return settings(
        max_examples=long or short,
        stateful_step_count=steps,
        deadline=None,
        derandomize=not long,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )

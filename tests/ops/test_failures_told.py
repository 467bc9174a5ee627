"""What stands at the end of the log of a run that failed: the tests, with their words, on one screen."""

from __future__ import annotations

from xml.sax.saxutils import escape

from tools import failures

PASSED = '<testcase classname="tests.core.test_money" name="test_adds" file="tests/core/test_money.py"/>'


def report(*cases: str) -> str:
    return f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>"


def case(name: str, words: str, *, inner: str = "", kind: str = "failure") -> str:
    place = f'classname="tests.core.test_money{inner}" name="{name}" file="tests/core/test_money.py"'
    return f"<testcase {place}><{kind} message='as it was'>{escape(words)}</{kind}></testcase>"


def test_a_failed_test_is_named_as_pytest_takes_it_with_the_place_and_what_was_expected() -> None:
    words = "def test_euro():\nE       assert 1 == 2\nE         +2\n\ntests/core/x.py:9: AssertionError"

    assert failures.told(report(PASSED, case("test_euro[a]", words, inner=".TestEuro"))) == [
        "1 of 2 tests failed:",
        "FAILED tests/core/test_money.py::TestEuro::test_euro[a]",
        "    tests/core/x.py:9: AssertionError",
        "    assert 1 == 2",
        "    +2",
    ]


def test_a_fixture_that_broke_and_a_worker_that_died_are_failures_too() -> None:
    died = case("test_dies", "worker 'gw1' crashed while running it", kind="error")

    assert failures.told(report(died, PASSED)) == [
        "1 of 2 tests failed:",
        "FAILED tests/core/test_money.py::test_dies",
        "    worker 'gw1' crashed while running it",
    ]


def test_nothing_is_said_of_a_run_in_which_nothing_failed() -> None:
    skipped = '<testcase classname="tests.core.test_money" name="test_b" file="b.py"><skipped message="no"/></testcase>'

    assert failures.told(report(PASSED, skipped)) == []


def test_long_messages_share_what_room_there_is_and_names_come_before_messages() -> None:
    talk = "\n".join(f"E   line {number} {'x' * 500}" for number in range(1000))
    two = failures.told(report(case("test_a", talk), case("test_b", talk)))
    many = failures.told(report(*(case(f"test_{number}", talk) for number in range(100))))

    assert (len(two), two.index("FAILED tests/core/test_money.py::test_b")) == (43, 22)
    assert max(map(len, two)) == 4 + failures.WIDTH
    assert (len(many), many[0], many[-1]) == (44, "100 of 100 tests failed:", "and 58 more")
    assert all(line.startswith("FAILED tests/core/test_money.py::test_") for line in many[1:-1])

"""Children: however a drain ends, its parent lives on and hears why."""

from __future__ import annotations

import faulthandler
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from hub import children
from hub.children import Child, Exit, Runner
from hub.store.database import DatabaseAway

Eventually = Callable[..., None]


@pytest.fixture
def start() -> Iterator[Callable[..., Child]]:
    """Starts children, and leaves none behind."""
    started: list[Child] = []

    def start(target: Callable[[], object], deadline: float = 20.0) -> Child:
        started.append(Child(target, deadline))
        return started[-1]

    yield start
    for child in started:
        if child.pid in alive(child):
            child.kill()
            wait_for(child)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """``later(seconds)``: so much later it is now for those who look after children."""
    passed = 0.0

    def later(seconds: float) -> None:
        nonlocal passed
        passed += seconds

    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + passed, sleep=time.sleep)
    monkeypatch.setattr(children, "time", clock)
    return later


def alive(child: Child) -> list[int]:
    try:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return []
    return [child.pid]


def wait_for(child: Child) -> Exit:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if (ended := child.ended()) is not None:
            return ended
        select.select([child], (), (), 0.05)
    raise AssertionError("it does not end")


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_what_it_does_stays_in_the_child(start: Callable[..., Child], tmp_path: Path) -> None:
    seen: list[str] = []

    def target() -> None:
        seen.append("in the child")
        (tmp_path / "done").write_text(str(os.getpid()))

    child = start(target)

    assert wait_for(child) == Exit("")
    assert (seen, (tmp_path / "done").read_text()) == ([], str(child.pid))


def dump_core() -> None:
    faulthandler.disable()  # pytest's, which would fill the log
    os.abort()


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (dump_core, "killed by SIGABRT"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "killed by SIGKILL"),
        (lambda: os._exit(9), "exit status 9"),
        (lambda: sys.exit(0), "SystemExit: 0"),  # a plugin has no business exiting
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (interrupt, "KeyboardInterrupt"),
    ],
)
def test_tells_how_it_broke_down(start: Callable[..., Child], target: Callable[[], object], reason: str) -> None:
    assert wait_for(start(target)) == Exit(reason)


def test_a_database_that_is_away_is_nobodys_fault(start: Callable[..., Child]) -> None:
    def target() -> None:
        raise DatabaseAway("The database cannot be reached.")

    assert wait_for(start(target)).database_away


def test_is_killed_at_its_deadline_with_all_it_started(
    start: Callable[..., Child], tmp_path: Path, eventually: Eventually, later: Callable[[float], None]
) -> None:
    def target() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        started = subprocess.Popen(["/bin/sleep", "60"])
        (tmp_path / "pid").write_text(str(started.pid))
        while True:
            time.sleep(60)

    child = start(target, deadline=60)
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    grandchild = int((tmp_path / "pid").read_text())
    assert child.ended() is None

    later(60)

    assert wait_for(child) == Exit("it took longer than 60 seconds")
    eventually(lambda: not runs(grandchild))


def test_what_an_orderly_child_leaves_behind_is_killed_too(
    start: Callable[..., Child], tmp_path: Path, eventually: Eventually
) -> None:
    def target() -> None:
        (tmp_path / "pid").write_text(str(subprocess.Popen(["/bin/sleep", "60"]).pid))

    assert wait_for(start(target)) == Exit("")

    eventually(lambda: not runs(int((tmp_path / "pid").read_text())))


def test_the_system_ends_it_when_nobody_looks_after_it(start: Callable[..., Child]) -> None:
    child = start(lambda: time.sleep(60), deadline=0.2)
    began = time.monotonic()

    assert select.select([child], (), (), 60)[0]  # the parent does nothing

    assert time.monotonic() - began > 1.0
    assert wait_for(child) == Exit("it took longer than 0 seconds")


def test_is_asked_to_stop_and_may_finish(start: Callable[..., Child], tmp_path: Path, eventually: Eventually) -> None:
    def target() -> None:
        (tmp_path / "began").touch()
        while not children.stop_requested():
            time.sleep(0.01)
        (tmp_path / "finished").touch()

    child = start(target)
    eventually((tmp_path / "began").exists)
    child.ask_to_stop()

    assert wait_for(child) == Exit("")
    assert (tmp_path / "finished").exists()
    assert not children.stop_requested()  # that was in the child


def test_waking_up_does_not_wait_for_a_fork_of_the_child(start: Callable[..., Child]) -> None:
    def target() -> None:
        if os.fork() == 0:
            time.sleep(600)

    assert wait_for(start(target)) == Exit("")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_does_not_outlive_its_parent(tmp_path: Path, eventually: Eventually) -> None:
    script = f"""
import os, time
from pathlib import Path
from hub.children import Child
def target():
    Path({str(tmp_path / "pid")!r}).write_text(str(os.getpid()))
    time.sleep(60)
Child(target, 60.0)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", script])
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    child = int((tmp_path / "pid").read_text())
    assert runs(child)

    parent.kill()
    parent.wait()

    eventually(lambda: not runs(child))


class Unprintable(BaseException):
    """Neither an Exception nor one that can be shown."""

    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


def test_an_error_that_cannot_be_shown_is_told_by_its_name(start: Callable[..., Child]) -> None:
    def target() -> None:
        raise Unprintable

    assert wait_for(start(target)) == Exit("Unprintable: it cannot say what went wrong")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the memory a process really has")
def test_memory_beyond_all_reason_is_refused_to_the_child_alone(
    start: Callable[..., Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "MOST_MEMORY", 64 * 1024**2)

    def target() -> None:
        kept = []
        while True:
            kept.append(bytearray(1024**2))

    assert wait_for(start(target)) == Exit("MemoryError")
    assert len(bytearray(128 * 1024**2)) > 0, "the parent has no such limit"


def test_what_it_says_is_cut_off_before_it_fills_the_disk(tmp_path: Path) -> None:
    program = (
        "from hub import children\n"
        "children.MOST_TALK = 1000\n"
        "def talk():\n"
        "    for number in range(100_000):\n"
        "        print('line', number)\n"
        "child = children.Child(talk, 20)\n"
        "while child.ended() is None: pass\n"
        "print('the parent goes on')\n"
    )

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60).stdout

    assert len(said) < 1200
    assert said.startswith("line 0\nline 1\n")
    assert said.endswith("\n(It said more, which was left out.)\nthe parent goes on\n")


# ---------------------------------------------------------------- one process for many tasks


class Tasks:
    """What a runner does: the task's first word says what, in the runner's process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done = 0

    def __call__(self, task: str) -> None:
        self.done += 1
        (self.folder / task.replace(" ", "_")).write_text(f"{self.done} {os.getpid()}")
        match task.split()[0]:
            case "hang":
                time.sleep(60)
            case "break":
                raise ValueError(task)
            case "leave":
                os._exit(0)
            case "litter":
                (self.folder / "pid").write_text(str(subprocess.Popen(["/bin/sleep", "60"]).pid))

    def said(self, task: str) -> str:
        return (self.folder / task.replace(" ", "_")).read_text()


@pytest.fixture
def tasks(tmp_path: Path) -> Tasks:
    return Tasks(tmp_path)


@pytest.fixture
def runner(tasks: Tasks) -> Iterator[Runner]:
    runner = Runner(tasks, deadline=60.0)
    yield runner
    if runs(runner.pid):
        runner.retire()


def outcome(runner: Runner, task: str) -> Exit:
    assert runner.begin(task)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        select.select([runner], (), (), 0.1)
        if (ended := runner.ended()) is not None:
            return ended
    raise AssertionError("it does not end")


def test_a_runner_does_one_task_after_another_in_one_process(runner: Runner, tasks: Tasks) -> None:
    assert [outcome(runner, f"task {number}") for number in (1, 2, 3)] == [Exit()] * 3

    assert [tasks.said(f"task {number}") for number in (1, 2, 3)] == [f"{n} {runner.pid}" for n in (1, 2, 3)]
    assert (runner.tasks, tasks.done) == (3, 0)


def test_each_task_of_a_runner_may_say_something(tmp_path: Path) -> None:
    program = (
        "from hub import children\n"
        "children.MOST_TALK = 50\n"
        "runner = children.Runner(lambda task: print(task * 40), 20)\n"
        "for task in 'ab':\n"
        "    runner.begin(task)\n"
        "    while runner.ended() is None: pass\n"
        "runner.retire()\n"
    )

    done = subprocess.run([sys.executable, "-u", "-c", program], capture_output=True, text=True, timeout=60)

    assert done.stdout == f"{'a' * 40}\n{'b' * 40}\n"


def test_each_task_of_a_runner_has_the_whole_time(later: Callable[[float], None], runner: Runner) -> None:
    for number in range(3):
        assert outcome(runner, f"task {number}") == Exit()
        later(40)  # idle time is nobody's

    assert runs(runner.pid)


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("break", "ValueError: break"),
        ("leave", "it ended its process"),
    ],
)
def test_a_task_that_goes_wrong_ends_its_runner(runner: Runner, task: str, reason: str) -> None:
    assert outcome(runner, "first") == Exit()

    assert outcome(runner, task) == Exit(reason)

    assert not runs(runner.pid)


def test_a_task_that_takes_too_long_ends_its_runner(
    later: Callable[[float], None], runner: Runner, tasks: Tasks, eventually: Eventually
) -> None:
    assert outcome(runner, "first") == Exit()
    assert runner.begin("hang")
    eventually((tasks.folder / "hang").exists)
    assert runner.ended() is None

    later(60)
    ended: list[Exit | None] = []
    eventually(lambda: ended.append(runner.ended()) or ended[-1])

    assert ended[-1] == Exit("it took longer than 60 seconds")
    assert not runs(runner.pid)


def test_a_runner_ends_when_a_task_has_left_something_running(
    runner: Runner, tasks: Tasks, eventually: Eventually
) -> None:
    assert outcome(runner, "litter") == Exit()

    assert not runner.begin("one that nobody would do")
    eventually(runner.gone)

    eventually(lambda: not runs(int((tasks.folder / "pid").read_text())))


def test_a_runner_that_died_takes_no_task(runner: Runner, eventually: Eventually) -> None:
    assert outcome(runner, "first") == Exit()
    os.kill(runner.pid, signal.SIGKILL)
    eventually(lambda: not runs(runner.pid))

    assert not runner.begin("second")
    assert runner.gone()


def test_a_runner_is_retired_at_once(runner: Runner) -> None:
    assert outcome(runner, "first") == Exit()

    runner.retire()

    assert not runs(runner.pid)

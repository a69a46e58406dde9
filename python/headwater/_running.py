"""A job that runs, in a process of its own; and how one is asked."""

from __future__ import annotations

import atexit
import collections
import datetime
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import weakref
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ._errors import Error, NotFound, NotRunning, RunError, SeamError, UsageError
from ._progress import Bar
from ._toml import time as rfc3339

if TYPE_CHECKING:
    from ._job import Job

#: The command of this package, as a file.
_COMMAND = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
_LINES_KEPT = 1_000
_LINES_TOLD = 20
_LOOK_EVERY_SECONDS = 0.1
#: What a key, or a window's start, may be.
Scalar = Any


class Row(dict[str, Any]):
    """A row's columns by name, as JSON has them: decimals and times are texts."""

    #: The key columns.
    key: dict[str, Any]
    #: Start and end, in a group with windows of its own.
    window: tuple[datetime.datetime, datetime.datetime] | None
    #: The tick at which the row last changed.
    changed_at: datetime.datetime
    #: The row is right as of then; `None` until the store is whole for the first time.
    as_of: datetime.datetime | None

    @classmethod
    def of(cls, line: str) -> Row:
        """From what `headwater get` prints."""
        told = json.loads(line)
        row = cls(told["row"])
        row.key = told["key"]
        window = told.get("window")
        row.window = (_time(window["start"]), _time(window["end"])) if window else None
        row.changed_at = _time(told["changed_at"])
        row.as_of = _time(told["as_of"]) if told["as_of"] else None
        return row


def _time(text: str) -> datetime.datetime:
    whole, _, fraction = text.removesuffix("Z").partition(".")
    at = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc)
    return at + datetime.timedelta(microseconds=int(fraction.ljust(6, "0") or 0))


def as_text(scalar: Scalar) -> str:
    """A value as the command line has it.

    >>> as_text(datetime.datetime(2026, 1, 31, 10)), as_text(True), as_text(7)
    ('2026-01-31T10:00:00Z', 'true', '7')
    """
    if isinstance(scalar, bool):
        return "true" if scalar else "false"
    if isinstance(scalar, datetime.datetime):
        return rfc3339(scalar)
    if isinstance(scalar, datetime.date):
        return scalar.isoformat()
    return str(scalar)


class Endpoint:
    """A running job, as it is asked."""

    def __init__(self, path: str) -> None:
        self._path = path

    def ask(self, path: str, query: Iterable[tuple[str, str]] = ()) -> str | None:
        """What it answers; `None`: nobody is there."""
        try:
            with open(self._path, encoding="utf-8") as file:
                where = json.load(file)
        except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
            return None
        url = f"{where['url']}{path}?{urllib.parse.urlencode(list(query))}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {where['token']}"})
        # It is on this machine: no proxy is asked.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                text: str = answer.read().decode()
                return text if answer.headers.get("headwater") else None
        except urllib.error.HTTPError as refused:
            if refused.code == 401 or not refused.headers.get("headwater"):
                return None
            message = refused.read().decode()
            kind: type[Error] = {400: UsageError, 404: NotFound}.get(refused.code, RunError)
            raise kind(message) from None
        except (ConnectionError, http.client.HTTPException):
            return None  # it has just ended
        except urllib.error.URLError as error:
            if isinstance(error.reason, ConnectionError):
                return None
            raise RunError(f"asking the running job: {error.reason}") from error

    def get(self, group: str, key: Mapping[str, Scalar], window: Scalar, sink: str | None, at: Scalar) -> list[Row] | None:
        """A key's rows; `None`: nobody is there."""
        query = [("group", group), *(("key", f"{name}={as_text(of)}") for name, of in key.items())]
        query += [("window", as_text(window))] if window is not None else []
        query += [("sink", sink)] if sink is not None else []
        query += [("at", as_text(at))] if at is not None else []
        answer = self.ask("/get", query)
        return None if answer is None else [Row.of(line) for line in answer.splitlines()]


def child(job: Job, arguments: Iterable[str], **options: Any) -> subprocess.Popen[str]:
    """The command, in a process of its own, with the job on its stdin."""
    # `-I`: what lies in the job's directory is no module.
    line = [sys.executable, "-I", _COMMAND, *arguments]
    text = job._text()
    process: subprocess.Popen[str] = subprocess.Popen(
        line, cwd=job.dir, stdin=subprocess.PIPE, encoding="utf-8", errors="replace", **options
    )
    assert process.stdin is not None
    try:
        process.stdin.write(text)
        process.stdin.close()
    except BrokenPipeError:
        pass  # it ended before it had read the job: its end says why
    process.stdin = None
    return process


def failure(code: int, told: str) -> Error:
    """Of a command that ended so. What failed is told last, behind the log."""
    lines = told.splitlines()
    begins = [n for n, line in enumerate(lines) if line.startswith(("error: ", "refused: "))]
    message = "\n".join(lines[begins[-1] :] if begins else lines[-_LINES_TOLD:]).strip()
    message = message.removeprefix("error: ").removeprefix("refused: ") or f"it ended with exit code {code}"
    if message.startswith("not found: "):
        return NotFound(message)
    kind: type[Error] = {2: UsageError, 3: SeamError}.get(code, RunError)
    return kind(message)


class Running:
    """A job that was started with `Job.run`. Used as a context it is stopped at the end."""

    _all: weakref.WeakSet[Running] = weakref.WeakSet()

    def __init__(self, job: Job, arguments: Iterable[str], echo: bool) -> None:
        self.job = job
        self._echo = echo
        self._lines: collections.deque[str] = collections.deque(maxlen=_LINES_KEPT)
        # Of a session of its own, so that Ctrl-C is ours: we stop it, once, and wait. Where we are killed, the pipe ends, and so does it.
        pipe, held = os.pipe()
        environment = {**os.environ, "HEADWATER_PARENT_PIPE": str(pipe)}
        try:
            options = {"stderr": subprocess.PIPE, "start_new_session": True, "pass_fds": [pipe], "env": environment}
            self._process = child(job, ["run", "-", *arguments], **options)
        finally:
            os.close(pipe)
        # At the end of the program `_stop_all` has the word: a second signal would end it at once.
        weakref.finalize(self, os.close, held).atexit = False
        self._reader = threading.Thread(target=self._read, name=f"headwater-{job.name}", daemon=True)
        self._reader.start()
        self._endpoint = Endpoint(job._native().endpoint)
        Running._all.add(self)

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.append(line)
            if self._echo:
                sys.stderr.write(line)

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    @property
    def log(self) -> str:
        """The last lines that it wrote."""
        return "".join(list(self._lines))

    def is_running(self) -> bool:
        """Whether its process has not ended."""
        return self._process.poll() is None

    def status(self) -> dict[str, Any]:
        """How it is, as `headwater status --json` says it."""
        answer: dict[str, Any] = json.loads(self._ours(self._endpoint.ask("/status")))
        return answer

    def get(
        self,
        group: Any,
        key: Mapping[str, Scalar] | None = None,
        *,
        window: Scalar = None,
        sink: str | None = None,
        at: Scalar = None,
        **columns: Scalar,
    ) -> Any:
        """A key's row, as `Job.get`."""
        rows = self._ours(self._endpoint.get(_group(group), {**(key or {}), **columns}, window, sink, at))
        return self.job._one_or_all(group, rows, only_one=window is not None)

    def get_many(
        self, group: Any, keys: Iterable[Mapping[str, Scalar]], *, sink: str | None = None, at: Scalar = None
    ) -> list[Any]:
        """The rows of many keys, in their order; `None` for one that has none. `at`: as of `Job.get`, so that all are of one tick."""
        return [self._get_or_none(group, key, sink, at) for key in keys]

    def _get_or_none(self, group: Any, key: Mapping[str, Scalar], sink: str | None, at: Scalar) -> Any:
        try:
            return self.get(group, key, sink=sink, at=at)
        except NotFound:
            return None

    def _ours(self, answer: Any) -> Any:
        if answer is not None:
            return answer
        if self.is_running():
            raise NotRunning(f"{self.job.name} is still being planned: wait for it with ready()")
        self._raise_if_failed()
        raise NotRunning(f"{self.job.name} has ended")

    def ready(self, timeout: float | None = None) -> dict[str, Any]:
        """Waits until every group has rows: the status then. A progress bar is shown meanwhile."""
        return self._until(lambda status: all(group["as_of"] for group in status["groups"]), timeout, "its rows")

    def fresh(self, within: str | datetime.timedelta | float, timeout: float | None = None) -> dict[str, Any]:
        """Waits until every group's rows are behind the clock by less than so many seconds: the status then."""
        seconds = within.total_seconds() if isinstance(within, datetime.timedelta) else float(str(within).removesuffix("s"))

        def is_fresh(status: dict[str, Any]) -> bool:
            ages = [group["staleness_seconds"] for group in status["groups"]]
            return all(age is not None and age < seconds for age in ages)

        return self._until(is_fresh, timeout, f"rows of {seconds} s")

    def _until(self, is_so: Any, timeout: float | None, what: str) -> dict[str, Any]:
        deadline = None if timeout is None else time.monotonic() + timeout
        with Bar() as bar:
            while True:
                answer = self._endpoint.ask("/status")
                status: dict[str, Any] | None = json.loads(answer) if answer else None
                if status and status["pid"] == self.pid:
                    if is_so(status):
                        return status
                    read = status["bootstrap"]
                    bar("history", "rows", read["rows_read"], read["rows_total"])
                elif not self.is_running():
                    self._ours(None)
                if deadline is not None and time.monotonic() > deadline:
                    raise TimeoutError(f"{self.job.name}: waited {timeout} s for {what}")
                time.sleep(_LOOK_EVERY_SECONDS)

    def wait(self, timeout: float | None = None) -> None:
        """Waits for its end: of a run that was started with `until_end`, or of a job without a stream. Ctrl-C stops the run."""
        try:
            with Bar() as bar:
                self._wait(timeout, bar)
        except KeyboardInterrupt:
            self.stop()
            raise
        self._raise_if_failed()

    def _wait(self, timeout: float | None, bar: Bar) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.is_running():
            answer = self._endpoint.ask("/status")
            if answer:
                read = json.loads(answer)["bootstrap"]
                bar("history", "rows", read["rows_read"], read["rows_total"])
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"{self.job.name} has not ended after {timeout} s")
            try:
                self._process.wait(_LOOK_EVERY_SECONDS)
            except subprocess.TimeoutExpired:
                continue

    def _raise_if_failed(self) -> None:
        code = self._process.wait()
        self._reader.join()
        if code:
            raise failure(code, self.log)

    def stop(self, timeout: float | None = None) -> None:
        """Asks it to stop, and waits: what was read is written, a checkpoint is taken. A second Ctrl-C meanwhile ends it at once."""
        if self.is_running():
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout)
        except KeyboardInterrupt:
            self._process.kill()
            self._process.wait()
            raise
        self._reader.join()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop()
        if kind is None and self._process.returncode not in (0, -signal.SIGTERM):
            self._raise_if_failed()

    def __repr__(self) -> str:
        how = f"runs, process {self.pid}" if self.is_running() else f"has ended with exit code {self._process.returncode}"
        return f"<{self.job.name} {how}>"


def _group(group: Any) -> str:
    return str(getattr(group, "name", group))


@atexit.register
def _stop_all() -> None:
    """No run outlives the program that started it."""
    for running in list(Running._all):
        if running.is_running():
            running._process.terminate()
    for running in list(Running._all):
        running._process.wait()


"""A job runs in a process of its own, is asked, and stops."""

import contextlib
import datetime
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import types

import polars
import pytest
from payments import at

import headwater as hw
from headwater._progress import Bar

WAIT = 60


@pytest.fixture
def live(tmp_path):
    """A job that follows a file."""
    write(tmp_path, "c1")
    schema = {"ts": "timestamp", "card_id": "string", "amount": "float64", "day": "date32"}
    source = hw.Source("payments", event_time="ts", schema=schema, stream=hw.jsonl("payments.jsonl"))
    columns = {"n": hw.count(window="all"), "spend": hw.sum("amount", window="all")}
    card = hw.Features("card", source=source, key="card_id", columns=columns)
    hourly = hw.Features("hourly", source=source, key=["card_id", "day"], window=hw.tumbling("1h"), columns={"n": hw.count()}, retain="9999d")
    return hw.Job("live", features=[card, hourly])


def write(tmp_path, card):
    """A payment of this moment: the job's clock waits for what comes from long ago."""
    now = datetime.datetime.now(datetime.timezone.utc)
    event = {"ts": now.isoformat(), "card_id": card, "amount": 2.5, "day": "2026-01-05"}
    with open(tmp_path / "payments.jsonl", "a") as file:
        file.write(json.dumps(event) + "\n")


def until(is_so):
    ends = time.monotonic() + WAIT
    while not is_so():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_a_sample_is_a_part_of_the_report(live):
    text = live.check(sample=1).text
    assert text.startswith(live.check().text) and "card: 1 rows\n" in text and "dead letters: 0\n" in text


def test_a_live_job_is_asked_and_stopped(live, tmp_path):
    with live.run() as running:
        status = running.ready(timeout=WAIT)
        assert status["job"] == "live" and status["pid"] == running.pid
        row = running.get("card", card_id="c1")
        assert row == {"n": 1, "spend": 2.5} and row.key == {"card_id": "c1"} and row.window is None
        assert row.as_of >= row.changed_at > datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=5)
        write(tmp_path, "c2")
        until(lambda: running.get_many("card", [{"card_id": "c2"}, {"card_id": "c9"}, {"card_id": "c1"}]) == [{"n": 1, "spend": 2.5}, None, row])
        with pytest.raises(hw.NotFound):
            running.get(live.features[0], card_id="c9")
        with pytest.raises(hw.UsageError, match="did you mean `card`"):
            running.get("crad", card_id="c9")
        # So does whoever has the job alone.
        assert live.get("card", {"card_id": "c1"}) == row
        until(lambda: live.status()["groups"][0]["rows"] == 2)
        [window] = live.get("hourly", card_id="c1", day=datetime.date(2026, 1, 5))
        starts, ends = window.window
        assert window == {"n": 1} and ends - starts == datetime.timedelta(hours=1) and starts.minute == 0
        assert live.get("hourly", card_id="c1", day="2026-01-05", window=starts) == {"n": 1}
        assert live.export("card").to_polars()["card_id"].to_list() == ["c1", "c2"]
        assert "process" in repr(running)
    assert not running.is_running() and running.log
    # And once it has ended.
    assert live.get("card", card_id="c1") == row
    assert live.export("card").to_polars().select("card_id", "n").rows() == [("c1", 1), ("c2", 1)]
    with pytest.raises(hw.NotFound):
        live.get("card", card_id="c9")
    with pytest.raises(hw.NotRunning, match="has ended"):
        running.status()


def test_rows_are_read_as_they_were(live, tmp_path):
    card, hourly = live.features
    card.history, hourly.history = "10m", datetime.timedelta(minutes=10)
    total = hw.View("total", key="k", sql="SELECT 'all' AS k, sum(n) AS n FROM card", history="10m")
    live.views = [total]
    assert 'history = "10m"' in live.to_toml()
    with live.run() as running:
        running.ready(timeout=WAIT)
        then = running.get("card", card_id="c1").as_of
        write(tmp_path, "c1")
        until(lambda: running.get("card", card_id="c1")["n"] == 2)
        row = running.get(card, card_id="c1", at=then)
        assert row == {"n": 1, "spend": 2.5} and row.as_of == then and row.changed_at <= then
        assert live.get("card", {"card_id": "c1"}, at=then.isoformat()) == row
        keys = [{"card_id": "c1"}, {"card_id": "c9"}]
        assert running.get_many("card", keys, at=then) == [row, None]
        assert running.get(total, k="all", at=then) == {"n": 1}
        [window] = running.get(hourly, card_id="c1", day="2026-01-05", at=then)
        assert window == {"n": 1} and running.get(hourly, card_id="c1", day="2026-01-05", window=window.window[0], at=then) == window
        with pytest.raises(hw.UsageError, match="too long ago"):
            running.get("card", card_id="c1", at="2020-01-01T00:00:00Z")
    with pytest.raises(hw.RunError, match="not running"):
        live.get("card", card_id="c1", at=then)


def test_a_run_to_the_end_ends_by_itself(live):
    running = live.run(until_end=True, workers=2)
    running.wait(timeout=WAIT)
    assert repr(running) == "<live has ended with exit code 0>"
    hourly = live.export("hourly").to_polars()
    assert hourly.schema["window_start"] == polars.Datetime("us", "UTC") and hourly["n"].to_list() == [1]


def test_a_run_that_fails_says_why(live, tmp_path):
    with live.run() as first:
        first.ready(timeout=WAIT)
        with pytest.raises(hw.RunError, match="another run holds"):
            live.run().wait(timeout=WAIT)
    live.features[0].where = "no_such_column"
    with pytest.raises(hw.JobError, match="features.card.where: error: unknown column"):
        live.run()
    live.features[0].where = None
    (tmp_path / "history.jsonl").write_text('{"ts":"2026-01-05T00:00:00Z","card_id":"c1","p":0,"o":0}\n')
    [source] = live._all_sources()
    source.schema |= {"p": "int32", "o": "int64"}
    source.history, source.seam = hw.jsonl("history.jsonl"), hw.by_offset("p", "o")
    source.stream = hw.jsonl("payments.jsonl", first_offset=5)
    with pytest.raises(hw.SeamError, match="^payments|gap|partition 0"):
        live.run(fresh=True).wait(timeout=WAIT)


def test_waiting_has_an_end(live):
    with live.run() as running:
        running.ready(timeout=WAIT)
        with pytest.raises(TimeoutError):
            running.wait(timeout=0.2)
        with pytest.raises(TimeoutError):
            running.fresh(within=0.0, timeout=0.2)


def test_ctrl_c_stops_the_run_and_a_checkpoint_is_taken(live, tmp_path):
    live.to_toml("job.toml")
    script = """
        import headwater as hw
        running = hw.Job.from_toml("job.toml").run()
        running.ready(60)
        print(running.pid, flush=True)
        running.wait()
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    pid = int(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=WAIT)
    assert "KeyboardInterrupt" in told
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert list((tmp_path / ".headwater/live/checkpoints").glob("*/manifest.json"))


@pytest.mark.parametrize("end", ["pass", "import os; os.kill(os.getpid(), 9)"])
def test_no_run_outlives_its_program(live, tmp_path, end):
    live.to_toml("job.toml")
    script = f"import headwater as hw; r = hw.Job.from_toml('job.toml').run(); r.ready(60); print(r.pid, flush=True); {end}"
    told = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, timeout=WAIT)
    until(lambda: not is_alive(int(told.stdout)))
    # It has ended cleanly: the last thing that it does is to take a checkpoint of what it has read.
    assert any('"t":null' not in path.read_text() for path in (tmp_path / ".headwater/live/checkpoints").glob("*/manifest.json"))


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One that has ended, and whose new parent has not noticed, is not alive.
    with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/stat") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    return True


def test_the_command_is_in_the_package(live, tmp_path):
    def headwater(*arguments, **options):
        return subprocess.run([sys.executable, "-m", "headwater", *arguments], capture_output=True, text=True, timeout=WAIT, **options)

    assert headwater("--version").stdout.startswith("headwater ")
    wrong = headwater("check", "-", input='name = 1\n')
    assert wrong.returncode == 2 and "<stdin>:1:8: error: `name` must be a string, not an integer" in wrong.stderr
    live.to_toml("job.toml")
    assert headwater("run", "job.toml", "--until-end").returncode == 0
    assert json.loads(headwater("get", "job.toml", "card", "card_id=c1").stdout)["row"] == {"n": 1, "spend": 2.5}


def test_what_lies_in_the_directory_is_no_module(live, tmp_path):
    (tmp_path / "headwater").mkdir()
    (tmp_path / "headwater/__init__.py").write_text("raise SystemExit('another one')")
    (tmp_path / "json.py").write_text("raise SystemExit('another one')")
    live.run(until_end=True).wait(timeout=WAIT)


def test_what_was_served_is_verified(live, tmp_path):
    live.serve_log = {"path": "served"}
    live.state = hw.State(admissions=True)
    with pytest.raises(hw.UsageError, match="run the job first"):
        live.verify()
    with live.run() as running:
        running.ready(timeout=WAIT)
        for _ in range(3):
            running.get("card", card_id="c1")
    report = live.verify(since="1d")
    assert report["unexplained"] == 0 and report["groups"][0]["rows"] == 3
    with pytest.raises(hw.UsageError, match="soon"):
        live.verify(since="soon")


def test_lookups_are_of_the_job(tmp_path):
    times = {"ts": at(0).isoformat(), "from": at(-60).isoformat()}
    (tmp_path / "payments.jsonl").write_text(json.dumps({"ts": times["ts"], "shop": "s1", "amount": 2}) + "\n")
    (tmp_path / "shops.jsonl").write_text(json.dumps({"shop": "s1", "valid_from": times["from"], "rate": 3}) + "\n")
    schema = {"shop": "string", "valid_from": "timestamp", "rate": "int64"}
    shops = hw.Table("shops", key="shop", event_time="valid_from", schema=schema, history=hw.jsonl("shops.jsonl"))
    payments = hw.Source("payments", event_time="ts", schema={"ts": "timestamp", "shop": "string", "amount": "int64"}, history=hw.jsonl("payments.jsonl"))
    spend = hw.Features(
        "spend", source=payments, key="shop", lookup={"s": hw.lookup(shops, on="shop")}, columns={"x": hw.sum("amount * s.rate", window="all")}
    )
    job = hw.Job("rates", features=[spend])
    job.run().wait(timeout=WAIT)
    assert job.get(spend, shop="s1") == {"x": 6}
    spend.lookup["s"].on = "shpo"
    with pytest.raises(hw.JobError, match=r"test_run.py:\d+: features.spend.lookup.s.on: error: unknown column `shpo`"):
        job.check()


def test_progress_is_a_bar_in_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Bar() as bar:
        bar("events", "records", 500, 1000)
    assert capsys.readouterr().err == "\r\x1b[2K###############                 50%  events: 500 of 1,000 records\r\x1b[2K"


def test_progress_is_a_line_in_a_notebook(monkeypatch, capsys):
    shown = []

    def display(data, raw, display_id):
        shown.append(data["text/plain"])
        return types.SimpleNamespace(update=lambda data, raw: shown.append(data["text/plain"]))

    shell = types.SimpleNamespace(kernel=True)
    notebook = types.SimpleNamespace(get_ipython=lambda: shell, display=types.SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", notebook.display)
    with Bar() as bar:
        bar("events", "records", 500, 1000)
    assert shown == ["###############                 50%  events: 500 of 1,000 records", ""]
    assert capsys.readouterr().err == ""

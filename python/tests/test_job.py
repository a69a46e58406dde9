"""A job is the same job however it is written, and what is wrong is told where it was written."""

import dataclasses
import datetime
import inspect
import logging
import subprocess
import sys
import textwrap

import pyarrow
import pytest
from payments import ROOT, at

import headwater as hw
from headwater import _native, _sections

CASES = ROOT / "runtime/src/job/cases"


def line():
    """Of whoever asks."""
    return inspect.currentframe().f_back.f_lineno


def is_right(path):
    try:
        _native.Job(path.name, path.read_text(), str(path.parent))
    except _native.NativeError:
        return False
    return True


def jobs():
    return [path for path in sorted([*CASES.glob("*.toml"), *ROOT.glob("examples/*/*.toml")]) if is_right(path)]


def test_there_are_job_files():
    assert len(jobs()) > 10


@pytest.mark.parametrize("path", jobs(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_job_file_is_the_same_job_as_its_objects(path):
    job = hw.Job.from_toml(path)
    text = job.to_toml()
    again = hw.Job.from_toml(text, dir=path.parent)
    assert again.to_toml() == text
    assert again == job
    assert _native.parse_toml(text) == pruned(_native.parse_toml(path.read_text()))


def test_every_key_of_a_job_file_has_a_field():
    parts = {
        "job": hw.Job,
        "source": hw.Source,
        "table": hw.Table,
        "seam": hw.Seam,
        "features": hw.Features,
        "lookup": hw.Lookup,
        "window": hw.Window,
        "column": hw.Column,
        "derived": hw.Derived,
        "view": hw.View,
        "links": hw.Links,
        "state": hw.State,
    }
    known = dict(_native.keys())
    assert known.keys() - parts.keys() == {"serve_log"}  # a mapping
    for section, part in parts.items():
        names = {field.name.removesuffix("_") for field in dataclasses.fields(part) if field.init}
        assert set(known[section]) - names == set(), section
        of_python = {"dir", "extra"} if section == "job" else {"name", "extra"}
        assert names - set(known[section]) == of_python & names, section


def pruned(value):
    """Without tables that say nothing."""
    if not isinstance(value, dict):
        return value
    inner = {name: pruned(of) for name, of in value.items()}
    return {name: of for name, of in inner.items() if of != {} or name not in ("sources", "features", "sinks")}


@pytest.mark.parametrize("path", [path for path in sorted(CASES.glob("*.toml")) if not is_right(path)], ids=lambda path: path.stem)
def test_a_wrong_job_file_is_told_as_the_command_tells_it(path):
    with pytest.raises(hw.JobError) as raised:
        hw.Job.from_toml(path)
    command = [sys.executable, "-m", "headwater", "check", path.name]
    told = subprocess.run(command, cwd=path.parent, capture_output=True, text=True)
    assert told.returncode == 2
    expected = told.stderr.strip().replace(f"{path.name}:", f"{path}:")
    assert str(raised.value).strip() == expected
    assert all(fault.line for fault in raised.value.faults if fault.file == str(path))


TOML = """
name = "fraud"
tick = "1s"
[sources.payments]
event_time = "ts"
lateness = "90m"
schema = { ts = "timestamp", "card id" = "string", amount = "decimal128(18, 2)", "payload.shop" = "string", shop = "string" }
stream = { type = "jsonl", path = "payments.jsonl" }
[sources.payments.history]
type = "csv"
path = "*.csv"
complete_until = "2026-01-01T00:00:00Z"
[features.card]
source = "payments"
key = { card = '"card id"' }
where = "payload.shop <> 'test'"
columns = { n = { agg = "count", windows = ["1h", "1d"], tags = ["a", "b"] }, p = { agg = "approx_percentile", of = "amount", p = 0.5, window = "1d" } }
derived = { share = "n_1h * 1.0 / nullif(n_1d, 0)" }
[features.hourly]
source = ["payments"]
key = ['"card id"']
window = { hopping = "1h", every = "15m" }
retain = "1d"
columns = { n = { agg = "count" } }
[features.sql]
sql = \"\"\"
SELECT shop, COUNT(*) AS n FROM payments GROUP BY shop
\"\"\"
[sinks.local]
type = "embedded"
features = ["card"]
[state]
checkpoint_every = "5s"
"""


def written_in_python():
    payments = hw.Source(
        "payments",
        event_time="ts",
        lateness=datetime.timedelta(minutes=90),
        schema={"ts": "timestamp", "card id": "string", "amount": "decimal128(18, 2)", "payload.shop": "string", "shop": "string"},
        history=hw.csv("*.csv", complete_until=datetime.datetime(2026, 1, 1)),
        stream=hw.jsonl("payments.jsonl"),
    )
    card = hw.Features(
        "card",
        source=payments,
        key={"card": '"card id"'},
        where="payload.shop <> 'test'",
        columns={"n": hw.count(windows=["1h", "1d"], tags=["a", "b"]), "p": hw.approx_percentile("amount", p=0.5, window="1d")},
        derived={"share": "n_1h * 1.0 / nullif(n_1d, 0)"},
    )
    hourly = hw.Features(
        "hourly", source=[payments], key=['"card id"'], window=hw.hopping("1h", every="15m"), retain="1d", columns={"n": hw.count()}
    )
    sql = hw.Features("sql", sql="SELECT shop, COUNT(*) AS n FROM payments GROUP BY shop\n")
    return hw.Job(
        "fraud",
        features=[card, hourly, sql],
        sinks=[hw.Sink("local", hw.embedded(), features=[card])],
        tick="1s",
        state=hw.State(checkpoint_every="5s"),
    )


def test_python_and_toml_are_one_job(tmp_path):
    (tmp_path / "a.csv").write_text("ts,card id,amount\n")
    (tmp_path / "payments.jsonl").write_text("")
    in_python, in_toml = written_in_python(), hw.Job.from_toml(TOML)
    assert in_python.fingerprint() == in_toml.fingerprint()
    assert hw.Job.from_toml(in_python.to_toml()).fingerprint() == in_toml.fingerprint()
    in_python.features[0].where = "payload.shop <> 'tests'"
    assert in_python.fingerprint() != in_toml.fingerprint()
    assert in_python.to_toml(tmp_path / "job.toml") == (tmp_path / "job.toml").read_text()
    with pytest.raises(hw.UsageError, match="relative paths of the job start at"):
        in_python.to_toml(tmp_path / "jobs" / "job.toml")


def test_views_and_links_are_written_too(source):
    card = hw.Features("card", source=source, key=["card_id", "device"], columns={"n": hw.count(window="30d")})
    devices = hw.View("devices", key="device", sql="SELECT device, count(*) AS cards FROM card GROUP BY device")
    rings = hw.Links("rings", from_=card, entity="card_id", shared="device", max_degree=50)
    text = hw.Job("j", features=[card], views=[devices], links=[rings]).to_toml()
    assert '[views.devices]\nkey = "device"\nsql = "SELECT' in text
    assert text.endswith('[links.rings]\nfrom = "card"\nentity = "card_id"\nshared = "device"\nmax_degree = 50\n')


def test_tables_and_lookups_are_written_too(source):
    merchants = hw.Table("merchants", key="merchant_id", event_time="valid_from", lateness="1d", history=hw.parquet("merchants.parquet"))
    by_owner = hw.Features(
        "by_owner", source=source, key="m.owner", lookup={"m": hw.lookup(merchants, on="merchant_id")}, columns={"n": hw.count(window="1h")}
    )
    job = hw.Job("fraud", features=[by_owner], serve_log={"path": "served"}, state=hw.State(admissions=True))
    text = job.to_toml()
    for lines in [
        '[state]\nadmissions = true\n',
        '[serve_log]\npath = "served"\n',
        '[tables.merchants]\nkey = "merchant_id"\nevent_time = "valid_from"\nlateness = "1d"\nhistory = { type = "parquet", path = "merchants.parquet" }\n',
        '[features.by_owner.lookup]\nm = { table = "merchants", on = "merchant_id" }\n',
    ]:
        assert lines in text, text
    assert _sections.parts_of(_native.parse_toml(text))["tables"] == [merchants]


def test_faults_are_told_where_they_were_written(source):
    wrong = hw.Job(
        "fraud",
        features=[
            hw.Features(
                "card",
                source=source,
                key="card_id",
                columns={
                    "n": hw.count(windows=["1h", "soon"]),
                    "s": hw.sum("amuont", window="1h"),
                },
            ),
            hw.Features("by_sql", sql="SELECT card_id,\n  SUM(x) AS x\nFROM payments GROUP BY card_id"),
        ],
        sinks=[hw.Sink("online", hw.redis("http://localhost"))],
    )
    ends = line()
    with pytest.raises(hw.JobError) as raised:
        wrong.check()
    faults = raised.value.faults
    assert [(fault.key, fault.line) for fault in faults] == [
        ("features.card.columns.n.windows[1]", ends - 8),
        ("features.card.columns.s.of", ends - 7),
        ("features.by_sql.sql", ends - 4),
        ("sinks.online.url", ends - 2),
    ]
    assert all(fault.file.endswith("test_job.py") and fault.column is None for fault in faults)
    assert faults[1].message == "unknown column `amuont`, did you mean `amount`?"
    assert ": features.by_sql.sql, line 2, column 7: error: unknown column `x`" in str(raised.value)
    assert not any(fault.warning for fault in faults)


def test_a_fault_of_a_line_that_is_in_no_file_is_told():
    line = "import headwater as hw; hw.Job('j', features=[hw.Features('g', source='s', key='k')]).check()"
    told = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True).stderr
    assert "headwater.JobError: <string>:1: the job: error: the job has no `sources`" in told
    assert "\n<string>:1: features.g.source: error: unknown source `s`" in told


def test_a_job_that_was_read_and_changed_is_told_in_python(tmp_path):
    (tmp_path / "job.toml").write_text(TOML)
    (tmp_path / "payments.jsonl").write_text("")
    (tmp_path / "a.csv").write_text("ts,card id,amount\n")
    job = hw.Job.from_toml("job.toml")
    job.features[0].where = "sohp = 1"
    with pytest.raises(hw.JobError, match=r"features.card.where: error: unknown column `sohp`"):
        job.check()


def test_a_value_of_no_type_that_a_job_has_is_told():
    job = hw.Job("fraud", features=[hw.Features("card", key="card_id", columns={"n": hw.count(window=object())})])
    with pytest.raises(TypeError, match="features.card.columns.n.window: a object is no value of a job"):
        job.to_toml()


def test_check_reports(job, source):
    report = job.check()
    assert "sum of amount over all time, by card_id" in repr(report)
    assert report.catalog["features"][0]["columns"][2]["column"] == "spend"
    assert "<td style='text-align:left'>spend</td>" in report._repr_html_()
    assert report.warnings == []
    job.sources = [source, hw.Source("unused", event_time="ts", history=hw.parquet("payments.parquet"))]
    [warning] = job.check().warnings
    assert warning.warning and warning.message == "no group uses source `unused`" and warning.key == "sources.unused"


def test_what_is_asked_for_wrongly_is_told(job):
    with pytest.raises(hw.UsageError, match="unknown feature group `crad`: did you mean `card`?"):
        job.export("crad")
    with pytest.raises(hw.UsageError, match="`x` is none of: arrival, event, served"):
        job.backfill(spine(), time="at", known="x")
    with pytest.raises(hw.UsageError, match="did you mean `card`"):
        job.backfill(spine(), time="at", features=["crad"])
    with pytest.raises(hw.NotRunning):
        job.status()


def spine():
    return pyarrow.table({"card_id": ["c1"], "at": pyarrow.array([at(60)], pyarrow.timestamp("us", "UTC"))})


def test_hindsight_and_features(source):
    columns = {"n": hw.count(window="1h")}
    groups = [hw.Features(name, source=source, key="card_id", columns=columns) for name in ("a", "b")]
    rows = hw.Job("two", features=groups).backfill(spine(), time="at", known="event", features=[groups[1]], workers=1, memory="64MiB")
    assert rows.column_names == ["card_id", "at", "b__n"]


def test_warnings_of_the_library_are_logged(job, caplog):
    with caplog.at_level(logging.WARNING, "headwater"):
        job.backfill(spine(), time="at")
    assert any("does not say when records arrived" in record.message for record in caplog.records)
    caplog.clear()
    job.features[0].columns["n"].of = "1 / (length(card_id) - 2)"
    with caplog.at_level(logging.WARNING, "headwater"):
        job.backfill(spine(), time="at")
    told = [record.message for record in caplog.records if record.message.startswith("done: 1 rows")]
    assert len(told) == 1 and "dead letters: " in told[0], told


def test_secrets_are_not_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("PASSWORD", "s3cret")
    source = hw.Source("e", event_time="ts", schema={"ts": "timestamp"}, stream=hw.jsonl("e.jsonl"))
    group = hw.Features("g", source=source, key="ts", columns={"n": hw.count(window="1h")})
    job = hw.Job("j", features=[group], sinks=[hw.Sink("r", hw.redis("redis://:${PASSWORD}@localhost:1/0"))])
    (tmp_path / "e.jsonl").write_text("")
    assert "s3cret" not in job.to_toml() and "s3cret" not in repr(job) and "s3cret" not in repr(job.check())


def test_ctrl_c_stops_what_takes_long(tmp_path):
    """In a process of its own: the interrupt is one of the terminal's."""
    script = """
        import os, signal, threading, time
        import pyarrow, pyarrow.parquet
        import headwater._job
        import headwater as hw
        count = 400_000
        times = pyarrow.array(range(0, count * 1_000_000, 1_000_000), pyarrow.timestamp("us", "UTC"))
        table = pyarrow.table({"card_id": [f"c{n % 1000}" for n in range(count)], "ts": times, "amount": [1.0] * count})
        pyarrow.parquet.write_table(table, "many.parquet")
        tx = hw.Source("tx", event_time="ts", history=hw.parquet("many.parquet"))
        columns = {f"s{n}": hw.sum(f"amount + {n}", windows=["1h", "1d", "7d"]) for n in range(12)}
        job = hw.Job("slow", features=[hw.Features("card", source=tx, key="card_id", columns=columns)])
        spine = pyarrow.table({"card_id": table["card_id"], "at": times})
        turns = 0
        def count_turns():
            global turns
            while True:
                turns += 1
                time.sleep(0.005)
        threading.Thread(target=count_turns, daemon=True).start()
        looked = []
        class Interrupt(headwater._job.Bar):
            def __call__(self, doing, *_):
                looked.append(turns)
                if len(looked) == 6:
                    os.kill(os.getpid(), signal.SIGINT)
        headwater._job.Bar = Interrupt
        try:
            job.backfill(spine, time="at", workers=1)
            print("not interrupted", looked)
        except KeyboardInterrupt:
            # Other threads have run between each two looks.
            print("interrupted", len(looked), all(a < b for a, b in zip(looked[1:], looked[2:])))
    """
    path = f"{ROOT}/python/tests"
    run = [sys.executable, "-c", f"import sys; sys.path.insert(0, {path!r})\n{textwrap.dedent(script)}"]
    told = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert told.stdout == "interrupted 6 True\n", told.stdout + told.stderr

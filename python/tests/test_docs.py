"""What the documents show is run, from top to bottom: each block of text is what was printed since the one before."""

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys

import pyarrow.parquet
import pytest
from payments import ROOT, at, payments
from same_text import assert_equal, database, in_duckdb, rows
from shown import DOCUMENTS, FEATURES_FILE, blocks, shown, whole

import headwater as hw
from headwater import _native


def run_python(text, shown, namespace):
    """What it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, shown, "exec"), namespace)
    return printed.getvalue()


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """`python` and `headwater` are on the path, as where the package is installed."""
    for name, line in {"python": "", "headwater": "-m headwater"}.items():
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {line} "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")


def run_sh(text):
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, text + done.stdout + done.stderr
    return done.stdout


def follow(document, shown="page.py", skip=None):
    """Does what it says: the names that its Python has in the end."""
    namespace, printed = {"__name__": "page"}, ""
    for kind, text in blocks(document):
        if skip and text.startswith(skip):
            continue
        if kind == "python":
            printed += run_python(text, shown, namespace)
        elif kind == "sh":
            printed += run_sh(text)
        elif kind == "text":
            assert printed == text
            printed = ""
        elif kind == "json":
            printed = ""  # it has times of this moment
    return namespace


def test_python(tmp_path):
    pyarrow.parquet.write_table(payments(1000), "payments.parquet")
    namespace = follow("docs/python.md", str(tmp_path / "features.py"), skip="pip install")
    assert namespace["training"].height == 2


def test_the_tutorial(commands):
    follow("docs/tutorial.md")


@pytest.fixture
def example(tmp_path, monkeypatch, commands):
    """A copy of an example, in which one is."""

    def of(name):
        copy = tmp_path / name
        shutil.copytree(ROOT / "examples" / name, copy, ignore=shutil.ignore_patterns("data", ".headwater", "__pycache__"))
        monkeypatch.chdir(copy)
        monkeypatch.syspath_prepend(str(copy))
        return copy

    yield of
    sys.modules.pop("job", None)


@pytest.mark.parametrize("name", ["takeover", "newcomers", "gas", "pricing"])
def test_an_example_is_what_its_page_shows(example, name):
    example(name)
    follow(f"examples/{name}/README.md")


def test_sql_of_an_example_is_that_of_duckdb(example):
    example("takeover")
    with open("job.toml", "a") as file:
        file.write('[features.visit]\nretain = "1000d"\n')
    run_sh("python generate.py && headwater run job.toml --until-end")
    job = hw.Job.from_toml("job.toml")
    # What both files hold counts once.
    history = "CREATE VIEW logins AS SELECT DISTINCT * REPLACE (ts::TIMESTAMP AS ts) FROM read_json(['data/logins.jsonl', 'data/live.jsonl'])"
    statements = re.findall(r"CREATE FEATURES (\w+) AS\n(SELECT.*?);", open("features.sql").read(), re.DOTALL)
    for group, sql in statements:
        ours = job.export(group).to_pyarrow().to_pylist()
        text = in_duckdb(sql, ours[0]["as_of"].replace(tzinfo=None))
        key = [next(iter(ours[0]))]
        if "SESSION(" in sql:
            key.append("window_start")
            text = text.replace("SELECT ", "SELECT min(ts) AS window_start, ", 1)
            for row in ours:
                row["window_start"] = row["window_start"].replace(tzinfo=None)
        of_history = database()
        of_history.execute(history)
        theirs = {tuple(row[name] for name in key): row for row in rows(of_history, text)}
        names = next(iter(theirs.values())).keys()
        ours = {tuple(row[name] for name in key): {name: row[name] for name in names} for row in ours}
        # Of keys without an event in a window there is no row.
        is_row = lambda row: len(key) > 1 or any(value for name, value in row.items() if name not in key)
        assert_equal(ours, {of: row for of, row in theirs.items() if of in ours or is_row(row)}, group)
        assert len(ours) > 20, group


def job_of(document, text, tmp_path, monkeypatch):
    """The job that is shown, or that has what is shown in it; but for files that are not here it is right."""
    for name in re.findall(r"\$\{(\w+)\}", text):
        monkeypatch.setenv(name, "secret")
    (tmp_path / "shown.jsonl").touch()
    (tmp_path / "features.sql").write_text(FEATURES_FILE)
    try:
        return hw.Job.from_toml(text, dir=tmp_path)
    except hw.JobError as error:
        wrong = [fault for fault in error.faults if not fault.message.startswith("no file matches")]
        assert not wrong, f"{document}: {error}\n{text}"


@pytest.mark.parametrize(("document", "text"), shown("toml"), ids=lambda of: str(of)[:30])
def test_toml_that_is_shown_is_right(document, text, tmp_path, monkeypatch):
    if "[dependencies]" in text:
        pytest.skip("of cargo")
    text = whole(text)
    job = job_of(document, text, tmp_path, monkeypatch)
    # Of what is elsewhere nothing can be asked here.
    if job and not re.search("kafka|redis|s3:|https:", text):
        (tmp_path / "merchants").mkdir()
        (tmp_path / "merchants/m.jsonl").touch()
        job.check()


@pytest.mark.parametrize(("document", "text"), shown("sql"), ids=lambda of: str(of)[:30])
def test_sql_that_is_shown_is_right(document, text, tmp_path, monkeypatch):
    if text.startswith("CREATE MACRO"):
        database().execute("SELECT TUMBLE(TIMESTAMP '2026-01-05', INTERVAL '1 hour')")
    else:
        job_of(document, whole(f"[features.shown]\nsql = \"\"\"\n{text}\"\"\"\n"), tmp_path, monkeypatch).check()


def test_every_block_says_what_it_is():
    kinds = {kind for document in DOCUMENTS for kind, _ in blocks(document)}
    # Output that is shown, and what has tests elsewhere: Rust, alerts.
    assert kinds == {"toml", "sql", "python", "sh", "json"} | {"text", "rust", "yaml", "dockerfile"}


@pytest.mark.parametrize(("document", "text"), shown("sh"), ids=lambda of: str(of)[:30])
def test_sh_that_is_shown_is_bash(document, text):
    checked = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
    assert checked.returncode == 0, f"{document}: {checked.stderr}"
    known = (ROOT / "dev").read_text()
    for command in re.findall(r"^\./dev (\w+)", text, re.MULTILINE):
        assert f"./dev {command}" in known, f"{document}: ./dev {command}"


@pytest.mark.parametrize(("document", "text"), shown("json"), ids=lambda of: str(of)[:30])
def test_json_that_is_shown_is_json(document, text):
    for line in text.splitlines():
        json.loads(line)


def commands_shown():
    """Each line of the shell that calls the command: its name, and what it is given."""
    found = []
    for document, text in shown("sh"):
        for line in text.replace("\\\n", " ").splitlines():
            called = re.search(r"(?:^|[|;&] *)headwater +(\w+)([^|;&#>]*)", line)
            if called:
                found.append((document, called[1], shlex.split(called[2])))
    return found


def test_commands_that_are_shown_take_what_they_are_given(commands):
    helps = {}
    found = commands_shown()
    assert len(found) > 30
    for document, command, given in found:
        if command not in helps:
            helps[command] = run_sh(f"headwater {command} --help")
        said = f"{document}: headwater {command} {' '.join(given)}"
        usage = re.search(rf"Usage: \S+ {command} (.*)", helps[command])[1]
        usage = re.sub(r"--\S+ <\S+>|\[OPTIONS\]", "", usage).split()
        beside = []
        while given:
            word, *given = given
            if not word.startswith("--"):
                beside.append(word)
                continue
            option = re.search(rf"^ +(?:-\w, )?{word}( <|$|  )", helps[command], re.MULTILINE)
            assert option, said
            if option[1] == " <":
                assert given, said
                given = given[1:]
        least = sum(of.startswith("<") for of in usage)
        assert least <= len(beside) and (len(beside) <= len(usage) or usage[-1].endswith("...")), f"{said}: {usage}"


@pytest.mark.parametrize(("document", "text"), shown("python"), ids=lambda of: str(of)[:30])
def test_python_that_is_shown_is_python(document, text):
    compile(text, str(document), "exec")


def test_python_of_the_changelog_is_that_of_the_program():
    [text] = [text for kind, text in blocks("examples/changelog/README.md") if kind == "python"]
    program = (ROOT / "examples/changelog/fold.py").read_text()
    plain = lambda text: [line.strip() for line in text.splitlines() if line.strip()]
    assert "\n".join(plain(text)) in "\n".join(plain(program))


def test_python_of_the_readme(tmp_path):
    """Its job, with lines for the topic and a store of its own."""
    table = payments(400)
    more = {"status": ["approved"] * 400, "ingested_at": table["ts"], "kafka_partition": [0] * 400, "kafka_offset": range(400)}
    for name, of in more.items():
        table = table.append_column(name, of if name == "ingested_at" else pyarrow.array(of))
    (tmp_path / "data/transactions").mkdir(parents=True)
    pyarrow.parquet.write_table(table.slice(0, 300), "data/transactions/a.parquet")
    with open("topic.jsonl", "w") as lines:
        for row in table.to_pylist():
            lines.write(json.dumps(row | {name: row[name].isoformat() for name in ("ts", "ingested_at")}) + "\n")
    [text] = [text for kind, text in blocks("README.md") if kind == "toml"]
    kafka = re.search(r'type    = "kafka"\n.*?format  = "json"\n', text, re.DOTALL)[0]
    text = text.replace(kafka, 'type = "jsonl"\npath = "topic.jsonl"\n')
    text = text.replace('type = "redis"\nurl  = "redis://localhost:6379/0"', 'type = "embedded"')
    (tmp_path / "fraud.toml").write_text(text)
    labels = pyarrow.table({"card_id": ["c1", "c2"], "label_time": pyarrow.array([at(200), at(390)])})
    [text] = [text for kind, text in blocks("README.md") if kind == "python"]
    namespace = {"headwater": hw, "labels": labels}
    run_python(text, "readme.py", namespace)
    assert namespace["training"]["card_activity__tx_1h"].to_pylist() == [9, 9]
    assert namespace["row"]["spend_all"] == sum(row["amount"] for row in table.to_pylist() if row["card_id"] == "c1")

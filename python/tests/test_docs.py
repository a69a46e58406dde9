"""What the documents show is run, from top to bottom: each block of text is what was printed since the one before."""

import contextlib
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys

import duckdb
import pyarrow.parquet
import pytest
from payments import ROOT, payments
from test_duckdb import assert_equal

import headwater as hw
from headwater import _native

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document):
    return BLOCK.findall((ROOT / document).read_text())


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
    run_sh("python generate.py && headwater run job.toml --until-end")
    job = hw.Job.from_toml("job.toml")
    # What both files hold counts once.
    history = "CREATE VIEW logins AS SELECT DISTINCT * REPLACE (ts::TIMESTAMP AS ts) FROM read_json(['data/logins.jsonl', 'data/live.jsonl'])"
    statements = re.findall(r"CREATE FEATURES (\w+) AS\n(SELECT.*?);", open("features.sql").read(), re.DOTALL)
    compared = 0
    for group, sql in statements:
        if "SESSION(" in sql:
            continue
        rows = job.export(group).to_pyarrow().to_pylist()
        now = rows[0]["as_of"].replace(tzinfo=None)
        database = duckdb.connect()
        database.execute(history)
        found = database.execute(sql.replace("NOW()", f"TIMESTAMP '{now}'"))
        names = [column[0] for column in found.description]
        theirs = {row[0]: dict(zip(names, row)) for row in found.fetchall()}
        ours = {row[names[0]]: {name: row[name] for name in names} for row in rows}
        # Of keys without an event in a window there is no row.
        assert_equal(ours, {key: row for key, row in theirs.items() if key in ours or any(of for name, of in row.items() if name != names[0])}, group)
        compared += len(ours)
    assert compared > 500


DOCUMENTS = sorted(path.relative_to(ROOT) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md")])


def shown(kind):
    return [(document, text) for document in DOCUMENTS for of, text in blocks(document) if of == kind]


@pytest.mark.parametrize(("document", "text"), shown("toml"), ids=lambda of: str(of)[:30])
def test_toml_that_is_shown_is_right(document, text, tmp_path):
    """A whole job is one, but for files that are not here; a piece of one is TOML."""
    keys = _native.parse_toml(text)
    if not {"name", "sources", "features"} <= keys.keys():
        return
    try:
        hw.Job.from_toml(text, dir=tmp_path)
    except hw.JobError as error:
        wrong = [fault for fault in error.faults if not fault.message.startswith("no file matches")]
        assert not wrong, f"{document}: {error}"


@pytest.mark.parametrize(("document", "text"), shown("json"), ids=lambda of: str(of)[:30])
def test_json_that_is_shown_is_json(document, text):
    for line in text.splitlines():
        json.loads(line)


def commands_shown():
    """Each line of the shell that calls the command: its name, and the options that it is given."""
    found = []
    for document, text in shown("sh"):
        for line in text.replace("\\\n", " ").splitlines():
            called = re.search(r"(?:^|[|;&] *)headwater +(\w+)([^|;&#>]*)", line)
            if called:
                found.append((document, called[1], re.findall(r"(?<= )--[\w-]+", called[2])))
    return found


def test_commands_that_are_shown_take_what_they_are_given(commands):
    helps = {}
    found = commands_shown()
    assert len(found) > 30
    for document, command, options in found:
        if command not in helps:
            helps[command] = run_sh(f"headwater {command} --help")
        for option in options:
            assert re.search(rf"{option}\b", helps[command]), f"{document}: headwater {command} {option}"


@pytest.mark.parametrize(("document", "text"), shown("python"), ids=lambda of: str(of)[:30])
def test_python_that_is_shown_is_python(document, text):
    compile(text, str(document), "exec")

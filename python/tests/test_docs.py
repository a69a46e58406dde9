"""What the documents show is run, from top to bottom."""

import contextlib
import io
import os
import re
import stat
import subprocess
import sys

import pyarrow.parquet
import pytest
from payments import ROOT, payments

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
def command(tmp_path, monkeypatch):
    """`headwater` is on the path, as where the package is installed."""
    script = tmp_path / "bin/headwater"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m headwater "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")


def run_sh(text):
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, text + done.stdout + done.stderr
    return done.stdout


def test_python(tmp_path):
    pyarrow.parquet.write_table(payments(1000), "payments.parquet")
    namespace, printed = {}, ""
    for kind, text in blocks("docs/python.md"):
        if kind == "python":
            printed = run_python(text, str(tmp_path / "features.py"), namespace)
        elif kind == "text":
            assert printed == text
    assert namespace["training"].height == 2

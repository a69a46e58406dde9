"""Every test and every example of a docstring has a current directory of its own; jobs are over payments."""

import sys
from pathlib import Path

import pyarrow.parquet
import pytest

import headwater as hw

sys.path.insert(0, str(Path(__file__).parent / "tests"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEADWATER_LOG", raising=False)
    (tmp_path / "transactions.jsonl").touch()


@pytest.fixture
def source(tmp_path):
    import payments

    pyarrow.parquet.write_table(payments.payments(1000), tmp_path / "payments.parquet")
    return hw.Source("payments", event_time="ts", history=hw.parquet("payments.parquet"))


@pytest.fixture
def job(source):
    columns = {"n": hw.count(windows=["1h", "1d"]), "spend": hw.sum("amount", window="all")}
    return hw.Job("fraud", features=[hw.Features("card", source=source, key="card_id", columns=columns)])

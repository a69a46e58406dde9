"""Tables of every library and type go in, and come back as they were."""

import datetime
import decimal

import duckdb
import pandas
import polars
import pyarrow
import pytest
from payments import at

import headwater as hw


def spine():
    times = pyarrow.array([at(300), at(300), None, at(0)], pyarrow.timestamp("us", "UTC"))
    return pyarrow.table({"card_id": ["c1", "nobody", "c1", "c0"], "at": times, "label": [True, False, None, True]})


EXPECTED = {"card__n_1h": [8, 0, 0, 1], "card__n_1d": [43, 0, 0, 1], "card__spend": [1064.0, None, None, 0.0]}


def test_pyarrow(job):
    rows = job.backfill(spine(), time="at")
    assert isinstance(rows, pyarrow.Table)
    assert rows.select(spine().column_names).equals(spine())
    assert rows.select(list(EXPECTED)).to_pydict() == EXPECTED
    batches = job.backfill(spine().to_reader(max_chunksize=1), time="at")
    assert batches.equals(rows)


def test_polars(job):
    rows = job.backfill(polars.DataFrame(spine()), time="at")
    assert isinstance(rows, polars.DataFrame)
    assert rows.select(list(EXPECTED)).to_dict(as_series=False) == EXPECTED
    lazily = job.backfill(polars.DataFrame(spine()).lazy(), time="at")
    assert isinstance(lazily, polars.LazyFrame) and lazily.collect().equals(rows)


def test_pandas(job):
    frame = spine().to_pandas().set_index(pandas.Index(["w", "x", "y", "z"], name="id"))
    frame["kind"] = pandas.Categorical(["a", "b", "a", None])
    rows = job.backfill(frame, time="at")
    assert isinstance(rows, pandas.DataFrame)
    pandas.testing.assert_frame_equal(rows[frame.columns], frame)
    assert rows["card__n_1h"].tolist() == EXPECTED["card__n_1h"]


def test_duckdb(job):
    rows = job.backfill(duckdb.from_arrow(spine()), time="at")
    assert isinstance(rows, duckdb.DuckDBPyRelation)
    assert rows.project("card__n_1h, card__n_1d, card__spend").fetchall() == list(zip(*EXPECTED.values()))


def test_rows_of_anything_else_are_rows(job):
    class Table:
        def __arrow_c_stream__(self, requested_schema=None):
            return spine().__arrow_c_stream__(requested_schema)

    rows = job.backfill(Table(), time="at")
    assert isinstance(rows, hw.Rows) and len(rows) == 4
    assert rows.schema["card__n_1h"] == "Int64"
    assert rows.to_pandas()["card__spend"][0] == 1064.0
    assert repr(rows).startswith("<4 rows of card_id: Utf8, at: Timestamp")
    # It may be read as often as one likes.
    assert rows.to_pyarrow().equals(rows.to_pyarrow())


def test_what_is_no_table_is_told(job):
    with pytest.raises(TypeError, match=r"expected pyarrow.table\(...\)"):
        job.backfill({"card_id": ["c1"]}, time="at")
    with pytest.raises(hw.UsageError, match="no column `when`"):
        job.backfill(spine(), time="when")

    class Once:
        stream = spine().__arrow_c_stream__()

        def __arrow_c_stream__(self, requested_schema=None):
            return self.stream

    job.backfill(Once(), time="at")
    with pytest.raises(hw.UsageError, match="it can be read once"):
        job.backfill(Once(), time="at")

    def torn():
        yield spine().to_batches()[0]
        raise RuntimeError("the disk is gone")

    with pytest.raises(hw.UsageError, match="the disk is gone"):
        job.backfill(pyarrow.RecordBatchReader.from_batches(spine().schema, torn()), time="at")
    with pytest.raises(hw.UsageError, match="expected a table"):
        job.backfill(pyarrow.chunked_array([[1, 2]]), time="at")


def days(kind):
    return pyarrow.array([datetime.date(2026, 1, 1), None, None, datetime.date(1969, 1, 1)], kind)


def numbers(kind):
    return pyarrow.array([1, None, 3, 4], kind)


def decimals(kind):
    return pyarrow.array([decimal.Decimal("1.5"), None, decimal.Decimal("-2.25"), None], kind)


LISTS = [[1, 2], None, [], [3]]
OF_EVERY_TYPE = {
    "null": pyarrow.nulls(4),
    "bool": pyarrow.array([True, None, False, True]),
    "int8": numbers(pyarrow.int8()),
    "uint64": pyarrow.array([1, None, 3, 2**64 - 1], pyarrow.uint64()),
    "float16": numbers(pyarrow.float16()),
    "float32": numbers(pyarrow.float32()),
    "text": pyarrow.array(["a", None, "", "ü"]),
    "large_text": pyarrow.array(["a", None, "", "ü"], pyarrow.large_string()),
    "text_view": pyarrow.array(["a", None, "", "a long text that lies elsewhere"], pyarrow.string_view()),
    "bytes": pyarrow.array([b"a", None, b"", b"\0"]),
    "large_bytes": pyarrow.array([b"a", None, b"", b"\0"], pyarrow.large_binary()),
    "bytes_view": pyarrow.array([b"a", None, b"x" * 40, b""], pyarrow.binary_view()),
    "fixed_bytes": pyarrow.array([b"ab", None, b"cd", b"ef"], pyarrow.binary(2)),
    "decimal32": decimals(pyarrow.decimal32(5, 2)),
    "decimal64": decimals(pyarrow.decimal64(15, 2)),
    "decimal128": decimals(pyarrow.decimal128(20, 2)),
    "decimal256": decimals(pyarrow.decimal256(50, 2)),
    "date": days(pyarrow.date32()),
    "date64": days(pyarrow.date64()),
    "time32": numbers(pyarrow.time32("ms")),
    "time64": numbers(pyarrow.time64("ns")),
    "timestamp": numbers(pyarrow.timestamp("s")),
    "zoned": numbers(pyarrow.timestamp("ns", "Europe/Berlin")),
    "duration": numbers(pyarrow.duration("us")),
    "interval": pyarrow.array([(1, 2, 3), None, (4, 5, 6), (0, 0, 0)], pyarrow.month_day_nano_interval()),
    "list": pyarrow.array(LISTS),
    "large_list": pyarrow.array(LISTS, pyarrow.large_list(pyarrow.int32())),
    "fixed_list": pyarrow.array([[1, 2], None, [4, None], [3, 5]], pyarrow.list_(pyarrow.int16(), 2)),
    "list_view": pyarrow.array(LISTS, pyarrow.list_view(pyarrow.int64())),
    "large_list_view": pyarrow.array(LISTS, pyarrow.large_list_view(pyarrow.int64())),
    "struct": pyarrow.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}, {"a": 4, "b": None}]),
    "map": pyarrow.array([[("a", 1)], None, [], [("b", None)]], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
    "dictionary": pyarrow.array(["x", None, "y", "x"]).dictionary_encode(),
    "ordered": pyarrow.DictionaryArray.from_arrays(numbers(pyarrow.int8()).take([1, 0, 0, 1]).fill_null(0), ["lo", "hi"], ordered=True),
    "runs": pyarrow.RunEndEncodedArray.from_arrays(pyarrow.array([2, 4], pyarrow.int32()), pyarrow.array(["a", None])),
    "sparse": pyarrow.UnionArray.from_sparse(pyarrow.array([0, 1, 0, 1], pyarrow.int8()), [pyarrow.array([1, 2, 3, 4]), pyarrow.array(list("abcd"))]),
}


@pytest.mark.parametrize("name", OF_EVERY_TYPE)
def test_a_column_of_every_type_comes_back(job, name):
    whole = spine().append_column(pyarrow.field(name, OF_EVERY_TYPE[name].type, metadata={"k": "v"}), OF_EVERY_TYPE[name])
    whole = whole.replace_schema_metadata({"of": "the table"})
    parts = [whole, whole.slice(1, 2), whole.slice(3), whole.slice(0, 0), pyarrow.concat_tables([whole.slice(2), whole])]
    for part in parts:
        rows = job.backfill(part, time="at")
        rows.validate(full=True)
        own = rows.select(part.column_names)
        assert own.schema.equals(part.schema, check_metadata=True)
        assert own.to_pylist() == part.to_pylist()


def test_a_dense_union_comes_back(job):
    kinds, offsets = pyarrow.array([0, 1, 0, 1], pyarrow.int8()), pyarrow.array([0, 0, 1, 1], pyarrow.int32())
    union = pyarrow.UnionArray.from_dense(kinds, offsets, [pyarrow.array([1, 2]), pyarrow.array(["a", "b"])])
    rows = job.backfill(spine().append_column("union", union), time="at")
    assert rows["union"].to_pylist() == [1, "a", 2, "b"]

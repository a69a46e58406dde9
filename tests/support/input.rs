//! A command run beside its input, and Parquet files made by hand.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;

/// A command that has ended.
pub struct Ran {
    pub code: Option<i32>,
    /// Its stdout, then its stderr.
    pub told: String,
}

/// Runs a command in a directory, to its end.
pub fn headwater_in(dir: &Path, args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_headwater")).current_dir(dir).args(args).output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    Ran { code: output.status.code(), told: String::from_utf8(told).unwrap() }
}

pub fn write_columns(path: &Path, columns: &[(&str, ArrayRef)]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let batch = RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(n, c)| (*n, c.clone(), true))).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Microseconds since 1970, in UTC.
pub fn times(times: &[i64]) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC"))
}

pub fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// The reasons of the dead letters of a job in a directory, in their order.
pub fn reasons_of_dead_letters(dir: &Path, job: &str) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join(format!(".headwater/{job}/dead_letters.jsonl"))).unwrap_or_default();
    let reason =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["reason"].as_str().unwrap().to_owned();
    text.lines().map(reason).collect()
}

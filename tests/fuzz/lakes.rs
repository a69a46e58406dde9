//! Avro files, and what a Delta table says of itself: its log, in lines of JSON.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use headwater_connectors::history::{avro, delta};

use super::Target;
use super::parquet::read_all;
use crate::support::write_columns;

pub(super) struct AvroFile;

impl Target for AvroFile {
    fn name(&self) -> &'static str {
        "avro-file"
    }

    /// By every codec.
    fn samples(&self) -> Vec<Vec<u8>> {
        let codecs: [&[u8]; 4] = [
            include_bytes!("../../connectors/src/history/avro/data/null.avro"),
            include_bytes!("../../connectors/src/history/avro/data/deflate.avro"),
            include_bytes!("../../connectors/src/history/avro/data/snappy.avro"),
            include_bytes!("../../connectors/src/history/avro/data/zstandard.avro"),
        ];
        codecs.map(<[u8]>::to_vec).to_vec()
    }

    fn words(&self) -> &'static [&'static str] {
        &[
            "avro.schema",
            "avro.codec",
            "deflate",
            "snappy",
            "zstandard",
            "0123456789abcdef",
            "\"null\"",
            "\"record\"",
            "\"Item\"",
        ]
    }

    fn read(&self, input: &[u8]) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.avro");
        std::fs::write(&path, input).unwrap();
        let read = avro::open(path.to_str().unwrap(), None).and_then(|history| read_all(&history));
        if let Err(e) = read {
            let told = e.to_string();
            assert!(told.contains("a.avro"), "{told}");
        }
    }
}

pub(super) struct DeltaLog;

const SCHEMA: &str = r#"{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"long\",\"nullable\":true,\"metadata\":{\"delta.columnMapping.id\":1,\"delta.columnMapping.physicalName\":\"id\"}},{\"name\":\"dt\",\"type\":\"date\",\"nullable\":true,\"metadata\":{\"delta.columnMapping.id\":2,\"delta.columnMapping.physicalName\":\"dt\"}},{\"name\":\"l\",\"type\":{\"type\":\"array\",\"elementType\":{\"type\":\"map\",\"keyType\":\"string\",\"valueType\":\"decimal(12,2)\"}},\"nullable\":true,\"metadata\":{\"delta.columnMapping.id\":3,\"delta.columnMapping.physicalName\":\"l\"}}]}"#;

impl Target for DeltaLog {
    fn name(&self) -> &'static str {
        "delta-log"
    }

    fn samples(&self) -> Vec<Vec<u8>> {
        let log = |mode: &str| {
            let meta = format!(
                r#"{{"metaData":{{"id":"x","schemaString":"{SCHEMA}","partitionColumns":["dt"],"configuration":{{"delta.columnMapping.mode":"{mode}"}}}}}}"#
            );
            let lines = [
                r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors","columnMapping"]}}"#,
                &meta,
                r#"{"add":{"path":"a.parquet","partitionValues":{"dt":"2026-01-31"},"size":9,"deletionVector":{"storageType":"i","pathOrInlineDv":"wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L","sizeInBytes":40,"cardinality":6}}}"#,
                r#"{"add":{"path":"b%2Fc.parquet","partitionValues":{"dt":null},"size":9}}"#,
                r#"{"remove":{"path":"b%2Fc.parquet","dataChange":true}}"#,
            ];
            lines.join("\n").into_bytes()
        };
        ["none", "name", "id"].map(log).to_vec()
    }

    fn words(&self) -> &'static [&'static str] {
        &[
            "\"add\"",
            "\"remove\"",
            "\"protocol\"",
            "\"readerFeatures\"",
            "a.parquet",
            "\"dt\"",
            "struct",
            "\\\"map\\\"",
            "\"u\"",
            "0000",
        ]
    }

    fn read(&self, input: &[u8]) {
        let dir = tempfile::tempdir().unwrap();
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..20));
        write_columns(&dir.path().join("a.parquet"), &[("id", ids)]);
        std::fs::create_dir(dir.path().join("_delta_log")).unwrap();
        std::fs::write(dir.path().join("_delta_log/00000000000000000000.json"), input).unwrap();
        // Any error is fine.
        let _ = delta::open(dir.path().to_str().unwrap()).and_then(|history| read_all(history.as_ref()));
    }
}

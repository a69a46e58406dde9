//! CSV records, by every type that a field may be of; and files of them, whose first record names the fields.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use headwater_connectors::Wanted;
use headwater_connectors::format::csv::CsvDecoder;
use headwater_connectors::format::{Decoder, Message};

use super::Target;

pub(super) struct Csv;

const COLUMNS: [&str; 8] = ["i", "u", "f", "t", "b", "d", "at", "m"];

impl Target for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn samples(&self) -> Vec<Vec<u8>> {
        let records = [
            r#"1,2,0.5,aé😀,true,2026-01-31,1767268800000,12.50"#,
            r#"-9223372036854775808,,-1e300,"a ""b"", c",false,,2026-01-01T10:00:00.123+02:00,-0.01"#,
            "\"7\",\"2\",\"\",\"two\nlines\",,\"2026-12-31\",0,1\r\n",
            ",,,,,,,",
        ];
        records.iter().map(|record| record.as_bytes().to_vec()).collect()
    }

    fn words(&self) -> &'static [&'static str] {
        &[
            ",",
            "\"",
            "\"\"",
            "\n",
            "\r\n",
            "\",\"",
            "null",
            "NaN",
            "true",
            "1e999",
            "-",
            "+00:00",
            "2026-02-30",
            "99999999999999999999",
        ]
    }

    fn read(&self, input: &[u8]) {
        let types = [
            DataType::Int64,
            DataType::UInt8,
            DataType::Float32,
            DataType::Utf8,
            DataType::Boolean,
            DataType::Date32,
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            DataType::Decimal128(12, 2),
        ];
        let fields: Vec<Field> = COLUMNS.iter().zip(types).map(|(name, of)| Field::new(*name, of, true)).collect();
        let wanted = Wanted { schema: Arc::new(Schema::new(fields)), time_unit_ns: 1_000_000 };
        let mut decoder = CsvDecoder::of_columns(&COLUMNS.map(str::to_owned), &wanted).unwrap();
        decoder.push(&Message::of(input));
        decoder.push(&Message::of(&self.samples()[0]));
        let decoded = decoder.finish();
        assert_eq!(decoded.batch.num_rows(), 2);
        let is_malformed = decoded.malformed.is_some_and(|malformed| malformed.value(1));
        assert!(!is_malformed, "a record has harmed the next");
    }
}

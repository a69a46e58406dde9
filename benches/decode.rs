//! What decoding a record costs, by format: the same records of six fields, of which a job uses four, to the same columns. On one thread.
//! Floor: the columns alone, built of values that are known.

mod support;

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Builder, Float64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use headwater_connectors::Wanted;
use headwater_connectors::format::avro::AvroDecoder;
use headwater_connectors::format::csv::CsvDecoder;
use headwater_connectors::format::json::JsonDecoder;
use headwater_connectors::format::protobuf::ProtobufDecoder;
use headwater_connectors::format::{Decoder, Message};

const BATCH: usize = 8192;
const START_MS: i64 = 1_767_268_800_000;

const AVRO: &str = r#"{"type":"record","name":"payment","fields":[
    {"name":"id","type":"long"},{"name":"card","type":"string"},{"name":"ts","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"amount","type":"double"},{"name":"fee","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},{"name":"note","type":["null","string"]}]}"#;
const PROTOBUF: &str = r#"
syntax = "proto3";
import "google/protobuf/timestamp.proto";
message Payment {
  int64 id = 1;
  string card = 2;
  google.protobuf.Timestamp ts = 3;
  double amount = 4;
  string fee = 5;
  optional string note = 6;
}
"#;

/// A payment.
struct Payment {
    id: i64,
    card: String,
    ts_ms: i64,
    amount: f64,
    /// Hundredths.
    fee: i128,
    note: String,
}

fn payment(n: usize) -> Payment {
    Payment {
        id: n as i64 * 1_000_003,
        card: format!("card-{:06}", n * 7919 % 100_000),
        ts_ms: START_MS + n as i64 * 10,
        amount: (n * 104_729 % 5_000_000) as f64 / 100.0,
        fee: (n % 1000) as i128,
        note: format!("paid at till {} in shop {}", n % 9, n % 977),
    }
}

impl Payment {
    fn json(&self) -> Vec<u8> {
        let Payment { id, card, ts_ms, amount, note, .. } = self;
        format!(
            r#"{{"id":{id},"card":"{card}","ts":{ts_ms},"amount":{amount},"fee":{},"note":"{note}"}}"#,
            self.fee_text()
        )
        .into_bytes()
    }

    fn csv(&self) -> Vec<u8> {
        let Payment { id, card, ts_ms, amount, note, .. } = self;
        format!("{id},{card},{ts_ms},{amount},{},{note}", self.fee_text()).into_bytes()
    }

    fn fee_text(&self) -> String {
        format!("{}.{:02}", self.fee / 100, self.fee % 100)
    }

    fn avro(&self) -> Vec<u8> {
        let mut out = vec![];
        zigzag(&mut out, self.id);
        text(&mut out, &self.card);
        zigzag(&mut out, self.ts_ms);
        out.extend(self.amount.to_le_bytes());
        zigzag(&mut out, 2);
        out.extend((self.fee as i16).to_be_bytes());
        zigzag(&mut out, 1);
        text(&mut out, &self.note);
        out
    }

    fn protobuf(&self) -> Vec<u8> {
        let mut out = vec![1 << 3];
        varint(&mut out, self.id as u64);
        let field = |out: &mut Vec<u8>, number: u8, bytes: &[u8]| {
            out.push(number << 3 | 2);
            varint(out, bytes.len() as u64);
            out.extend(bytes);
        };
        field(&mut out, 2, self.card.as_bytes());
        let mut ts = vec![1 << 3];
        varint(&mut ts, (self.ts_ms / 1000) as u64);
        ts.push(2 << 3);
        varint(&mut ts, (self.ts_ms % 1000 * 1_000_000) as u64);
        field(&mut out, 3, &ts);
        out.push(4 << 3 | 1);
        out.extend(self.amount.to_le_bytes());
        field(&mut out, 5, self.fee_text().as_bytes());
        field(&mut out, 6, self.note.as_bytes());
        out
    }
}

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n > 0x7f {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn zigzag(out: &mut Vec<u8>, n: i64) {
    varint(out, ((n << 1) ^ (n >> 63)) as u64);
}

fn text(out: &mut Vec<u8>, text: &str) {
    zigzag(out, text.len() as i64);
    out.extend(text.as_bytes());
}

/// Protobuf has no decimals.
fn wanted(fee: DataType) -> Wanted {
    let columns = [
        ("card", DataType::Utf8),
        ("ts", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        ("amount", DataType::Float64),
        ("fee", fee),
    ];
    let fields = columns.map(|(name, data_type)| Field::new(name, data_type, true));
    Wanted { schema: Arc::new(Schema::new(fields.to_vec())), time_unit_ns: 1_000_000 }
}

/// A format: its name, what decodes it, and what writes a record of it.
type Case = (&'static str, Box<dyn Decoder>, fn(&Payment) -> Vec<u8>);

fn main() {
    let count = support::scale(1_000_000);
    let payments: Vec<Payment> = (0..count).map(payment).collect();
    let decimals = wanted(DataType::Decimal128(12, 2));
    let schema = decimals.schema.clone();
    let floors = (0..support::rounds()).map(|_| support::timed(|| columns(&payments, &schema)).1).collect();
    let floor = support::median(floors);
    println!("decode: {count} records, one thread");
    support::line("floor: the columns alone", count, floor, None);
    let names = ["id", "card", "ts", "amount", "fee", "note"].map(str::to_owned);
    let formats: [Case; 4] = [
        ("json", Box::new(JsonDecoder::new(&decimals)), Payment::json),
        ("csv", Box::new(CsvDecoder::of_columns(&names, &decimals).expect("each name once")), Payment::csv),
        ("avro", Box::new(AvroDecoder::of_schema(AVRO, &decimals).expect("a schema")), Payment::avro),
        (
            "protobuf",
            Box::new(ProtobufDecoder::of_text(PROTOBUF, &wanted(DataType::Utf8)).expect("a schema")),
            Payment::protobuf,
        ),
    ];
    for (name, mut decoder, encode) in formats {
        let records: Vec<Vec<u8>> = payments.iter().map(encode).collect();
        let bytes: usize = records.iter().map(Vec::len).sum();
        let took = (0..support::rounds()).map(|_| support::timed(|| decoded(decoder.as_mut(), &records)).1).collect();
        let what = format!("{name}, {} bytes a record", bytes / count.max(1));
        support::line(&what, count, support::median(took), Some(floor));
    }
}

fn decoded(decoder: &mut dyn Decoder, records: &[Vec<u8>]) {
    for batch in records.chunks(BATCH) {
        batch.iter().for_each(|record| decoder.push(&Message::of(record)));
        let decoded = decoder.finish();
        assert!(decoded.malformed.is_none() && decoded.undecoded.iter().all(Option::is_none));
        black_box(decoded.batch);
    }
}

fn columns(payments: &[Payment], schema: &SchemaRef) {
    for batch in payments.chunks(BATCH) {
        let (mut cards, mut amounts) = (StringBuilder::new(), Float64Builder::new());
        let mut times = TimestampMicrosecondBuilder::new().with_timezone("UTC");
        let mut fees = Decimal128Builder::new().with_data_type(DataType::Decimal128(12, 2));
        for payment in batch {
            cards.append_value(&payment.card);
            times.append_value(payment.ts_ms * 1000);
            amounts.append_value(payment.amount);
            fees.append_value(payment.fee);
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(cards.finish()),
            Arc::new(times.finish()),
            Arc::new(amounts.finish()),
            Arc::new(fees.finish()),
        ];
        black_box(RecordBatch::try_new(schema.clone(), columns).expect("columns of one length"));
    }
}

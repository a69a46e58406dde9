//! Columns that are worked out of others as records are read: times that are SQL. For everybody behind, they are columns like any.
//!
//! Where the SQL fails, or a column that it names does not decode, the column does not decode.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use headwater_clocks::{Arrival, Offset, Span, WallClock};
use headwater_connectors::history::{History, Piece, Pinned};
use headwater_connectors::stream::{Bounds, Reader, Start, Stream};
use headwater_connectors::{Error, Records, Result, Wanted};
use headwater_expression::Expression;

use crate::job::columns;

/// No path has such a name.
pub fn name_of(role: &str) -> String {
    format!("({role})")
}

pub fn is_computed(name: &str) -> bool {
    name.starts_with('(')
}

/// Computed columns by name, over the columns of a source.
pub struct Computed {
    pub columns: Vec<(String, Expression)>,
    pub schema: SchemaRef,
}

impl Computed {
    /// The SQL of a column; `None`: it is read.
    pub fn column(&self, name: &str) -> Option<&Expression> {
        self.columns.iter().find(|(known, _)| known == name).map(|(_, expression)| expression)
    }

    /// What has to be read for what is wanted.
    fn needed(&self, wanted: &Wanted) -> Wanted {
        let fields = wanted.schema.fields();
        let mut needed: Vec<Field> =
            fields.iter().filter(|field| self.column(field.name()).is_none()).map(|f| f.as_ref().clone()).collect();
        for name in fields.iter().filter_map(|field| self.column(field.name())).flat_map(Expression::columns) {
            if needed.iter().all(|field| field.name() != name) {
                let field = columns::field(&self.schema, name).expect("an expression's columns are there");
                needed.push(Field::new(name, field.data_type().clone(), true));
            }
        }
        Wanted { schema: Arc::new(Schema::new(needed)), time_unit_ns: wanted.time_unit_ns }
    }

    fn complete(&self, records: Records, wanted: &SchemaRef) -> Result<Records> {
        let undecoded = |name: &str| records.undecoded[records.batch.schema_ref().index_of(name).ok()?].clone();
        let (mut arrays, mut failed): (Vec<ArrayRef>, Vec<_>) = (vec![], vec![]);
        for field in wanted.fields() {
            match self.column(field.name()) {
                Some(expression) => {
                    let evaluated = expression.evaluate(&records.batch, &undecoded);
                    arrays.push(evaluated.values);
                    failed.push(evaluated.failed);
                }
                None => {
                    let column = records.batch.column_by_name(field.name()).expect("what is wanted is read");
                    arrays.push(column.clone());
                    failed.push(undecoded(field.name()));
                }
            }
        }
        let nullable = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
        let schema = Schema::new(wanted.fields().iter().map(nullable).collect::<Vec<_>>());
        let batch = RecordBatch::try_new(Arc::new(schema), arrays);
        let batch = batch.map_err(|e| Error::world("working out the times of records", e))?;
        Ok(Records { bytes: records.bytes.max(batch.get_array_memory_size()), batch, undecoded: failed, ..records })
    }
}

/// A history with columns that are worked out.
pub struct ComputedHistory {
    pub history: Arc<dyn History>,
    pub computed: Arc<Computed>,
}

impl History for ComputedHistory {
    fn pinned(&self) -> &Pinned {
        self.history.pinned()
    }

    fn schema(&self) -> Option<SchemaRef> {
        self.history.schema()
    }

    /// Nothing is known of what is worked out.
    fn pieces(&self, columns: &[&str]) -> Result<Vec<Piece>> {
        let own: Vec<&str> = columns.iter().copied().filter(|name| self.computed.column(name).is_none()).collect();
        let with = |piece: Piece| {
            let mut known = piece.statistics.iter().copied();
            let of = |name: &&str| if self.computed.column(name).is_some() { None } else { known.next().flatten() };
            let statistics = columns.iter().map(of).collect();
            Piece { statistics, ..piece }
        };
        Ok(self.history.pieces(&own)?.into_iter().map(with).collect())
    }

    fn partitions(&self, file: usize) -> Option<RecordBatch> {
        self.history.partitions(file)
    }

    fn read(&self, piece: &Piece, wanted: &Wanted) -> Result<Box<dyn Iterator<Item = Result<Records>> + Send>> {
        let records = self.history.read(piece, &self.computed.needed(wanted))?;
        let (computed, schema) = (self.computed.clone(), wanted.schema.clone());
        Ok(Box::new(records.map(move |records| computed.complete(records?, &schema))))
    }
}

/// A stream with columns that are worked out.
pub struct ComputedStream {
    pub stream: Arc<dyn Stream>,
    pub computed: Arc<Computed>,
}

impl Stream for ComputedStream {
    fn name(&self) -> String {
        self.stream.name()
    }

    fn schema(&self) -> Option<SchemaRef> {
        self.stream.schema()
    }

    fn pin(&self) -> Option<(&str, &str)> {
        self.stream.pin()
    }

    fn bounds(&self) -> Result<Vec<Bounds>> {
        self.stream.bounds()
    }

    fn offsets_at(&self, from: Arrival) -> Result<Vec<Option<Offset>>> {
        self.stream.offsets_at(from)
    }

    fn stamped_by_broker(&self) -> Result<bool> {
        self.stream.stamped_by_broker()
    }

    fn retention(&self) -> Result<Option<Span>> {
        self.stream.retention()
    }

    fn first_offset(&self) -> Offset {
        self.stream.first_offset()
    }

    fn grows(&self) -> bool {
        self.stream.grows()
    }

    fn appeared(&self, known: &BTreeSet<i32>) -> Result<Vec<Start>> {
        self.stream.appeared(known)
    }

    fn reader(&self, starts: &[Start], wanted: &Wanted) -> Result<Box<dyn Reader>> {
        let reader = self.stream.reader(starts, &self.computed.needed(wanted))?;
        Ok(Box::new(ComputedReader { reader, computed: self.computed.clone(), wanted: wanted.schema.clone() }))
    }
}

struct ComputedReader {
    reader: Box<dyn Reader>,
    computed: Arc<Computed>,
    wanted: SchemaRef,
}

impl Reader for ComputedReader {
    fn poll(&mut self, partition: i32, bytes_max: usize) -> Result<Option<Records>> {
        let records = self.reader.poll(partition, bytes_max)?;
        records.map(|records| self.computed.complete(records, &self.wanted)).transpose()
    }

    fn position(&self, partition: i32) -> Offset {
        self.reader.position(partition)
    }

    fn end_confirmed(&mut self, partition: i32) -> Option<WallClock> {
        self.reader.end_confirmed(partition)
    }

    fn end(&self, partition: i32) -> Option<Offset> {
        self.reader.end(partition)
    }

    fn tombstones(&self) -> u64 {
        self.reader.tombstones()
    }

    fn on_ready(&mut self, wake: Box<dyn Fn() + Send + Sync>) {
        self.reader.on_ready(wake)
    }
}

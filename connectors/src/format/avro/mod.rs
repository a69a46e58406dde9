//! Avro records to columns: by the schema that wrote them, and only of what is used.
//!
//! ```text
//! wanted: amount float64, user.id int64        writer: {amount: int, user: ["null", {id: long, name: string}], note: string}
//!
//! record                             amount    user.id
//! 12  {7, "a"}  "x"                  12.0      7
//! 12  null      "x"                  12.0      null
//! 12  {7, "a"}                       (null)    (null)     malformed: the bytes end too early
//! 12  {7, "\xff"}  "x"               12.0      7          text that is no UTF-8 harms nobody who does not name it
//! ```
//!
//! The bytes are walked by the writer's schema; a reader's schema says what becomes of them (see `resolve`): names that changed, defaults of
//! what was not written, and which types the columns have, where neither files nor the job say it. A wanted column that a writer's
//! schema does not resolve is one that does not decode; whatever else is used of the record is as it is.
//!
//! With a registry, a record says by which schema it was written; the reader's schema is the newest of the subject when the job first starts,
//! and stays. Without one, `schema` is both.
//!
//! A record is malformed if its bytes are not exactly one value of its writer's schema, if they do not say a schema, or one that is no Avro
//! schema. Values may lie at most 100 levels deep.

mod columns;
pub(crate) mod container;
mod default;
mod read;
mod resolve;
mod schema;
#[cfg(test)]
mod tests;
mod walk;
mod wire;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::builder::Builder;
use super::value::{Leniency, Value};
use super::{Decoded, Decoder, Format, FormatKind, Message, Pins, Wake};
use crate::registry::{Registered, Registry, RegistryConfig, WriterId, unframed};
use crate::settings::{Kind, Settings};
use crate::{Error, Path, Result, Wanted};
use resolve::{Resolver, Side};
use schema::Schema;
use walk::{DEPTH, Spot, WantedField};
use wire::Cursor;

/// Avro as a kind of format.
pub static AVRO: &AvroKind = &AvroKind;

/// See [`AVRO`].
#[derive(Debug)]
pub struct AvroKind;

impl Kind for AvroKind {
    fn name(&self) -> &'static str {
        "avro"
    }

    fn keys(&self) -> Vec<&'static str> {
        vec!["registry", "schema"]
    }
}

impl FormatKind for AvroKind {
    fn read(&self, settings: &mut dyn Settings) -> Arc<dyn Format> {
        let (file, registry) = crate::registry::read(settings, "payment.avsc");
        Arc::new(Avro { file, registry })
    }
}

/// Avro as a job has set it.
#[derive(Debug)]
struct Avro {
    file: Option<PathBuf>,
    registry: Option<RegistryConfig>,
}

impl Format for Avro {
    fn decoder(&self, _: &Wanted) -> Result<Box<dyn Decoder>> {
        Err(Error::world("decoding Avro", "its schema was not looked for"))
    }

    fn gives_columns(&self) -> bool {
        true
    }

    fn open(&self, topic: &str, pinned: &Pins) -> Result<Option<Arc<dyn Format>>> {
        let Some(config) = &self.registry else {
            let file = self.file.clone().unwrap_or_default();
            let what = file.display().to_string();
            let text = std::fs::read_to_string(&file);
            let text = text.map_err(|e| Error::Config(format!("the schema {what} cannot be read: {e}")))?;
            let (reader, columns) = reader_of(&text, &[]).map_err(|why| Error::Config(format!("{what}: {why}")))?;
            return Ok(Some(Arc::new(Opened { reader, columns, registry: None, pin: None })));
        };
        let registry = Registry::new(config)?;
        let (subject, found, pin) = registry.reader(config, topic, pinned, ("AVRO", "avro"))?;
        let wrong = |why: String| Error::Config(format!("the newest schema of {subject:?} in the registry: {why}"));
        let (reader, columns) = reader_of(&found.schema, &texts(&found)).map_err(wrong)?;
        Ok(Some(Arc::new(Opened { reader, columns, registry: Some(registry), pin: Some((subject.clone(), pin)) })))
    }
}

fn reader_of(text: &str, references: &[String]) -> Result<(Arc<Schema>, SchemaRef), String> {
    let schema = Schema::parse(text, references)?;
    let columns = columns::columns(&schema)?;
    Ok((Arc::new(schema), columns))
}

fn texts(registered: &Registered) -> Vec<String> {
    registered.references.iter().map(|(_, text)| text.clone()).collect()
}

/// Avro of a topic.
#[derive(Debug)]
struct Opened {
    reader: Arc<Schema>,
    columns: SchemaRef,
    /// `None`: the reader's schema has written all.
    registry: Option<Arc<Registry>>,
    pin: Option<(String, String)>,
}

impl Format for Opened {
    fn decoder(&self, wanted: &Wanted) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(AvroDecoder::new(self.reader.clone(), self.registry.clone(), wanted)))
    }

    fn schema(&self) -> Option<SchemaRef> {
        Some(self.columns.clone())
    }

    fn pin(&self) -> Option<(&str, &str)> {
        self.pin.as_ref().map(|(subject, text)| (subject.as_str(), text.as_str()))
    }
}

/// Decodes Avro records to the wanted columns.
pub struct AvroDecoder {
    paths: Vec<Path>,
    reader: Arc<Schema>,
    writers: Writers,
    builder: Builder,
    /// What a value is made of that does not lie there as it is; kept for its memory.
    plain: Vec<u8>,
}

enum Writers {
    /// All is written by the reader's schema.
    Reader(Arc<Plan>),
    /// By the schemas that records say. `None`: it is no Avro schema.
    Registry(Arc<Registry>, HashMap<WriterId, Option<Arc<Plan>>>),
}

/// How the records of one writer's schema are read.
struct Plan {
    resolver: Resolver,
    root: WantedField,
}

impl Plan {
    fn new(writer: Arc<Schema>, reader: Arc<Schema>, paths: &[Path]) -> Plan {
        let (of, to) = (writer.root, reader.root);
        let mut resolver = Resolver::new(writer, reader);
        let paths = paths.iter().map(Path::names).enumerate().collect();
        let root = WantedField::new(&mut resolver, Side::Writer, of, Some(to), paths);
        Plan { resolver, root }
    }
}

impl AvroDecoder {
    fn new(reader: Arc<Schema>, registry: Option<Arc<Registry>>, wanted: &Wanted) -> AvroDecoder {
        let paths = wanted.paths();
        let writers = match registry {
            Some(registry) => Writers::Registry(registry, HashMap::new()),
            None => Writers::Reader(Arc::new(Plan::new(reader.clone(), reader.clone(), &paths))),
        };
        AvroDecoder { paths, reader, writers, builder: Builder::new(wanted, Leniency::default()), plain: vec![] }
    }

    /// Of records that are all written by one schema, without a registry.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use arrow::array::{AsArray, types::Int64Type};
    /// use arrow::datatypes::{DataType, Field, Schema};
    /// use headwater_connectors::{Wanted, format::{Decoder, Message, avro::AvroDecoder}};
    ///
    /// let schema = Arc::new(Schema::new(vec![Field::new("amount", DataType::Int64, true)]));
    /// let avsc = r#"{"type": "record", "name": "r", "fields": [{"name": "amount", "type": "int"}]}"#;
    /// let mut decoder = AvroDecoder::of_schema(avsc, &Wanted { schema, time_unit_ns: 1_000_000 }).unwrap();
    /// decoder.push(&Message::of(&[14]));
    /// decoder.push(&Message::of(&[14, 0]));
    /// let decoded = decoder.finish();
    /// assert_eq!(decoded.batch.column(0).as_primitive::<Int64Type>().value(0), 7);
    /// assert_eq!(decoded.malformed.unwrap().iter().collect::<Vec<_>>(), [false, true]);
    /// ```
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_schema(text: &str, wanted: &Wanted) -> Result<AvroDecoder, String> {
        let (reader, _) = reader_of(text, &[])?;
        Ok(AvroDecoder::new(reader, None, wanted))
    }

    /// How a record is read, and its bytes without what is around them. `None`: it says no schema, or one that is no Avro schema.
    fn plan<'a>(&self, message: &Message<'a>) -> Option<(Arc<Plan>, &'a [u8])> {
        match &self.writers {
            Writers::Reader(plan) => Some((plan.clone(), message.value)),
            Writers::Registry(_, plans) => {
                let (id, body) = unframed(message)?;
                Some((plans.get(&id)?.clone()?, body))
            }
        }
    }
}

impl Decoder for AvroDecoder {
    fn is_ready(&mut self, message: &Message, wake: Option<&Wake>) -> bool {
        let Writers::Registry(registry, plans) = &mut self.writers else { return true };
        let Some((id, _)) = unframed(message) else { return true };
        if plans.contains_key(&id) {
            return true;
        }
        let Some(registered) = registry.writer(id, wake) else { return false };
        let writer = match registered.kind.as_str() {
            "AVRO" => Schema::parse(&registered.schema, &texts(&registered)),
            kind => Err(format!("it is of the kind {kind}")),
        };
        if let Err(why) = &writer {
            tracing::warn!(
                "the schema {id} of the registry cannot be used: {why}. Records that it wrote are malformed"
            );
        }
        let plan = |writer| Arc::new(Plan::new(Arc::new(writer), self.reader.clone(), &self.paths));
        plans.insert(id, writer.ok().map(plan));
        true
    }

    fn push(&mut self, message: &Message) {
        let Some((plan, body)) = self.plan(message) else { return self.builder.malformed() };
        let (mut cursor, mut spots) = (Cursor::new(body), vec![Spot::Missing; self.paths.len()]);
        let root = plan.resolver.writer.root;
        let read = plan.root.run(&plan.resolver, Side::Writer, root, &mut cursor, &mut spots, DEPTH);
        if read.is_none() || !cursor.at_end() {
            return self.builder.malformed();
        }
        for (column, spot) in spots.into_iter().enumerate() {
            let value = match spot {
                Spot::Missing => Some(Value::Null),
                Spot::Lost => None,
                Spot::At(mut cursor, node) => plan.resolver.value(node, &mut cursor, &mut self.plain, DEPTH).flatten(),
            };
            self.builder.push(column, value);
        }
        self.builder.end();
    }

    fn len(&self) -> usize {
        self.builder.len()
    }

    fn finish(&mut self) -> Decoded {
        self.builder.finish()
    }
}

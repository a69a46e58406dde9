//! Protobuf records to columns: by the reader's message, and only of what is used.
//!
//! ```text
//! message Payment { string card = 1; double amount = 2; optional User user = 3; }
//!
//! record                          card    amount    user.id
//! 1:"c" 2:1.5 3:{1:7}             c       1.5       7
//! 1:"c"                           c       0.0       null      what cannot say that it is missing has its default
//! 1:"c" 2:"x"                     c       (null)    null      encoded as another kind: it does not decode
//! 1:"c" 2:1.5 3:{1:7} 3:{2:"a"}   c       1.5       7         a message in parts is one
//! ```
//!
//! Fields go by their numbers, so a writer's names do not matter: what a record's schema is asked for is which message it is. A record is
//! `malformed` if its bytes are no message, if it is another message than the reader's, or says no schema where there is a registry.

mod columns;
mod read;
#[cfg(test)]
mod tests;
mod types;
mod wire;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use prost_reflect::{FieldDescriptor, FileDescriptor, Kind as Of, MessageDescriptor};

use super::builder::Builder;
use super::value::{Leniency, Value};
use super::{Decoded, Decoder, Format, FormatKind, Message, Pins, Wake};
use crate::registry::{Framed, Registry, RegistryConfig, WriterId, framed};
use crate::settings::{Kind, Settings};
use crate::{Error, Path, Result, Wanted};
use read::{grouped, of_number};
use wire::{Raw, Wire, zigzag};

/// How deep messages may lie in one another.
const DEPTH_MAX: usize = 100;

/// Protobuf as a kind of format.
pub static PROTOBUF: &ProtobufKind = &ProtobufKind;

/// See [`PROTOBUF`].
#[derive(Debug)]
pub struct ProtobufKind;

impl Kind for ProtobufKind {
    fn name(&self) -> &'static str {
        "protobuf"
    }

    fn keys(&self) -> Vec<&'static str> {
        vec!["registry", "schema", "message"]
    }
}

impl FormatKind for ProtobufKind {
    fn read(&self, settings: &mut dyn Settings) -> Arc<dyn Format> {
        let (file, registry) = crate::registry::read(settings, "payment.proto");
        let message = settings.text("message").map(|text| text.text);
        Arc::new(Protobuf { file, registry, message })
    }
}

/// Protobuf as a job has set it.
#[derive(Debug)]
struct Protobuf {
    file: Option<PathBuf>,
    registry: Option<RegistryConfig>,
    message: Option<String>,
}

impl Format for Protobuf {
    fn decoder(&self, _: &Wanted) -> Result<Box<dyn Decoder>> {
        Err(Error::world("decoding Protobuf", "its message was not looked for"))
    }

    fn gives_columns(&self) -> bool {
        true
    }

    fn open(&self, topic: &str, pinned: &Pins) -> Result<Option<Arc<dyn Format>>> {
        let name = self.message.as_deref();
        let Some(config) = &self.registry else {
            let file = self.file.clone().unwrap_or_default();
            let wrong = |why: String| Error::Config(format!("{}: {why}", file.display()));
            let message = types::of_file(&file).and_then(|file| types::message(&file, name, false)).map_err(wrong)?;
            let columns = columns::columns(&message).map_err(wrong)?;
            return Ok(Some(Arc::new(Opened { message, columns, registry: None, pin: None })));
        };
        let registry = Registry::new(config)?;
        let (subject, found, pin) = registry.reader(config, topic, pinned, ("PROTOBUF", "protobuf"))?;
        let wrong = |why: String| Error::Config(format!("the newest schema of {subject:?} in the registry: {why}"));
        let file = types::of_text(&found.schema, &found.references).map_err(wrong)?;
        let message = types::message(&file, name, true).map_err(wrong)?;
        let columns = columns::columns(&message).map_err(wrong)?;
        Ok(Some(Arc::new(Opened { message, columns, registry: Some(registry), pin: Some((subject.clone(), pin)) })))
    }
}

/// Protobuf of a topic.
#[derive(Debug)]
struct Opened {
    message: MessageDescriptor,
    columns: SchemaRef,
    registry: Option<Arc<Registry>>,
    pin: Option<(String, String)>,
}

impl Format for Opened {
    fn decoder(&self, wanted: &Wanted) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(ProtobufDecoder::new(&self.message, self.registry.clone(), wanted)))
    }

    fn schema(&self) -> Option<SchemaRef> {
        Some(self.columns.clone())
    }

    fn pin(&self) -> Option<(&str, &str)> {
        self.pin.as_ref().map(|(subject, text)| (subject.as_str(), text.as_str()))
    }
}

/// Decodes Protobuf records to the wanted columns.
pub struct ProtobufDecoder {
    /// The name of the message that records are.
    name: String,
    tree: Tree,
    width: usize,
    registry: Option<Arc<Registry>>,
    /// By what records say: the types that wrote them. `None`: they are no Protobuf.
    writers: HashMap<WriterId, Option<FileDescriptor>>,
    builder: Builder,
    plain: Vec<u8>,
}

/// What is wanted of a message.
struct Tree(Vec<Branch>);

struct Branch {
    field: FieldDescriptor,
    /// The columns that are the field as it stands.
    columns: Vec<usize>,
    /// The columns inside it, and what is wanted of it for them. `None`: it is no message with fields.
    below: Vec<usize>,
    inside: Option<Tree>,
}

/// Where the value of a column lies.
enum Spot<'a> {
    /// Nobody has such a field, or what it lies in is not there.
    Missing,
    Lost,
    Found(FieldDescriptor, Vec<Raw<'a>>),
}

impl Tree {
    fn new(message: &MessageDescriptor, paths: &[(usize, &[String])]) -> Tree {
        let mut branches: Vec<Branch> = vec![];
        for name in paths.iter().filter_map(|(_, path)| path.first()) {
            let known = |branch: &Branch| branch.field.name() == name;
            let Some(field) = message.get_field_by_name(name).filter(|_| !branches.iter().any(known)) else { continue };
            let of_name = paths.iter().filter(|(_, path)| path.first() == Some(name));
            let rest: Vec<(usize, &[String])> = of_name.map(|(column, path)| (*column, &path[1..])).collect();
            let (columns, below): (Vec<_>, Vec<_>) = rest.into_iter().partition(|(_, path)| path.is_empty());
            let inside = match field.kind() {
                Of::Message(message) if !field.is_list() && !field.is_map() && !below.is_empty() => {
                    columns::well_known(&message).is_none().then(|| Tree::new(&message, &below))
                }
                _ => None,
            };
            let places = |paths: Vec<(usize, &[String])>| paths.into_iter().map(|(column, _)| column).collect();
            branches.push(Branch { field, columns: places(columns), below: places(below), inside });
        }
        Tree(branches)
    }

    /// Notes where the wanted values of a message lie, whose parts these are. `None`: it is no message.
    fn run<'a>(&self, parts: &[&'a [u8]], spots: &mut [Spot<'a>], depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        let mut all = vec![];
        for part in parts {
            let before = all.len();
            all.extend(grouped(part)?.into_iter().map(|(number, place, raw)| (number, before + place, raw)));
        }
        if parts.len() > 1 {
            all.sort_by_key(|(number, place, _)| (*number, *place));
        }
        for branch in &self.0 {
            let found = of_number(&all, branch.field.number(), &branch.field);
            if !branch.below.is_empty() && !found.is_empty() {
                let parts: Option<Vec<&[u8]>> =
                    found.iter().map(|raw| if let Raw::Bytes(bytes) = raw { Some(*bytes) } else { None }).collect();
                let read = branch.inside.as_ref().zip(parts).and_then(|(tree, parts)| tree.run(&parts, spots, depth));
                if read.is_none() {
                    branch.below.iter().for_each(|column| spots[*column] = Spot::Lost);
                }
            }
            for column in &branch.columns {
                spots[*column] = Spot::Found(branch.field.clone(), found.clone());
            }
        }
        Some(())
    }
}

impl ProtobufDecoder {
    fn new(message: &MessageDescriptor, registry: Option<Arc<Registry>>, wanted: &Wanted) -> ProtobufDecoder {
        let paths = wanted.paths();
        let of_columns: Vec<(usize, &[String])> = paths.iter().map(Path::names).enumerate().collect();
        ProtobufDecoder {
            name: message.full_name().to_owned(),
            tree: Tree::new(message, &of_columns),
            width: paths.len(),
            registry,
            writers: HashMap::new(),
            builder: Builder::new(wanted, Leniency::default()),
            plain: vec![],
        }
    }

    /// Of records that are all the first message of a `.proto` text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_text(text: &str, wanted: &Wanted) -> Result<ProtobufDecoder, String> {
        let message = types::message(&types::of_text(text, &[])?, None, true)?;
        Ok(ProtobufDecoder::new(&message, None, wanted))
    }

    /// A record without what is around it. `None`: it is no such message.
    fn body<'a>(&self, message: &Message<'a>) -> Option<&'a [u8]> {
        if self.registry.is_none() {
            return Some(message.value);
        }
        let (id, places, body) = unframed(message)?;
        let writer = self.writers.get(&id)?.as_ref()?;
        (types::at_places(writer, &places)?.full_name() == self.name).then_some(body)
    }
}

/// A record's schema, the message's places in it, and the record without them. `None`: it says none.
fn unframed<'a>(message: &Message<'a>) -> Option<(WriterId, Vec<usize>, &'a [u8])> {
    for Framed { id, before, value } in framed(message) {
        // The places stand behind the id, wherever that is.
        let mut wire = Wire(before.unwrap_or(value));
        let Some(places) = places(&mut wire) else { continue };
        match before {
            Some(_) if wire.at_end() => return Some((id, places, value)),
            Some(_) => {}
            None => return Some((id, places, wire.0)),
        }
    }
    None
}

/// How many places, and each of them; a lone 0 is the first message.
fn places(wire: &mut Wire) -> Option<Vec<usize>> {
    let count = usize::try_from(zigzag(wire.varint()?)).ok()?;
    if count == 0 {
        return Some(vec![0]);
    }
    // No more than there are bytes.
    (count <= wire.0.len()).then_some(())?;
    (0..count).map(|_| usize::try_from(zigzag(wire.varint()?)).ok()).collect()
}

impl Decoder for ProtobufDecoder {
    fn is_ready(&mut self, message: &Message, wake: Option<&Wake>) -> bool {
        let Some(registry) = &self.registry else { return true };
        let Some((id, ..)) = unframed(message) else { return true };
        if self.writers.contains_key(&id) {
            return true;
        }
        let Some(registered) = registry.writer(id, wake) else { return false };
        let types = match registered.kind.as_str() {
            "PROTOBUF" => types::of_text(&registered.schema, &registered.references),
            kind => Err(format!("it is of the kind {kind}")),
        };
        if let Err(why) = &types {
            tracing::warn!(
                "the schema {id} of the registry cannot be used: {why}. Records that it wrote are malformed"
            );
        }
        self.writers.insert(id, types.ok());
        true
    }

    fn push(&mut self, message: &Message) {
        let mut spots: Vec<Spot> = (0..self.width).map(|_| Spot::Missing).collect();
        let read = self.body(message).and_then(|body| self.tree.run(&[body], &mut spots, DEPTH_MAX));
        if read.is_none() {
            return self.builder.malformed();
        }
        for (column, spot) in spots.iter().enumerate() {
            let value = match spot {
                Spot::Missing => Some(Value::Null),
                Spot::Lost => None,
                Spot::Found(field, found) => read::value(field, found, &mut self.plain, DEPTH_MAX),
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

//! How a writer's values are read as the reader has them: Avro's schema resolution, worked out once for each pair of types.
//!
//! ```text
//! writer                         reader                        value
//! int                            long, float, double           the number
//! string, bytes                  bytes, string                 the same bytes
//! timestamp-millis               timestamp-micros              the same time: what is written says its unit
//! ["null", "int"]                "long"                        the number; a null does not decode
//! record, lacks a field          has it, with a default        the default
//! record, lacks a field          has it, without a default     does not decode
//! record, has another field      lacks it                      as it is written, for whoever names it
//! enum                           lacks the symbol              the reader's default symbol; without one it does not decode
//! string                         int                           does not decode
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use super::default;
use super::schema::{Field, Id, Kind, Logical, Schema, Type};

/// A node's number.
pub(super) type NodeId = usize;

/// How values of one type are read.
pub(super) enum Node {
    /// Nothing of the reader's comes of it.
    Lost,
    Null,
    Boolean,
    Int(As),
    Long(As),
    Float,
    Double,
    Bytes(As),
    Text,
    Fixed(usize, As),
    /// The reader's symbols. `None`: it has none such.
    Enum(Vec<Option<String>>),
    Array(NodeId),
    Map(NodeId),
    Union(Vec<NodeId>),
    Record(Vec<Step>),
}

/// What an encoded value stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum As {
    Plain,
    Logical(Logical),
}

/// A field of a record, in the order in which they are written; then what the reader adds.
pub(super) enum Step {
    /// The reader does not know it.
    Skip(Id),
    Read {
        name: String,
        node: NodeId,
    },
    /// `None`: the reader says no default.
    Add {
        name: String,
        default: Option<Given>,
    },
}

/// A value that the reader's schema gives: encoded by it.
#[derive(Clone)]
pub(super) struct Given {
    pub bytes: Arc<[u8]>,
    pub node: NodeId,
}

/// Whose types they are that bytes are written by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Side {
    Writer,
    /// The reader's own, as which its defaults are encoded.
    Reader,
}

pub(super) struct Resolver {
    pub writer: Arc<Schema>,
    pub reader: Arc<Schema>,
    /// Each with the type that it reads.
    nodes: Vec<(Side, Id, Node)>,
    known: HashMap<(Side, Id, Option<Id>), NodeId>,
    depth: usize,
}

/// How deep types may lie in one another; what is deeper is lost.
const DEPTH_MAX: usize = 200;

impl Resolver {
    pub fn new(writer: Arc<Schema>, reader: Arc<Schema>) -> Resolver {
        Resolver { writer, reader, nodes: vec![], known: HashMap::new(), depth: 0 }
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id].2
    }

    /// The schema and the type that a node reads.
    pub fn written(&self, id: NodeId) -> (&Schema, Id) {
        let (side, of, _) = &self.nodes[id];
        (self.schema(*side), *of)
    }

    pub fn schema(&self, side: Side) -> &Arc<Schema> {
        match side {
            Side::Writer => &self.writer,
            Side::Reader => &self.reader,
        }
    }

    /// The node of values of `of`, read as `to`; as they are written, where that is none.
    pub fn resolve(&mut self, side: Side, of: Id, to: Option<Id>) -> NodeId {
        if let Some(known) = self.known.get(&(side, of, to)) {
            return *known;
        }
        let id = self.nodes.len();
        self.nodes.push((side, of, Node::Lost));
        self.known.insert((side, of, to), id);
        if self.depth < DEPTH_MAX {
            self.depth += 1;
            self.nodes[id].2 = self.build(side, of, to);
            self.depth -= 1;
        }
        id
    }

    fn build(&mut self, side: Side, of: Id, to: Option<Id>) -> Node {
        let written = self.schema(side).of(of).clone();
        if let Kind::Union(branches) = &written.kind {
            return Node::Union(branches.iter().map(|branch| self.resolve(side, *branch, to)).collect());
        }
        let target = match to {
            None => None,
            Some(to) => match target(&written, &self.reader, to) {
                Some(target) => Some(target),
                None => return Node::Lost,
            },
        };
        let seen = target.map_or_else(|| written.clone(), |target| self.reader.of(target).clone());
        let Some(seen_as) = seen_as(&written, &seen) else { return Node::Lost };
        match &written.kind {
            Kind::Null => Node::Null,
            Kind::Boolean => Node::Boolean,
            Kind::Int => Node::Int(seen_as),
            Kind::Long => Node::Long(seen_as),
            Kind::Float => Node::Float,
            Kind::Double => Node::Double,
            // Bytes that are read as a string, and a string that is read as bytes, are what the reader says.
            Kind::Bytes | Kind::Text if seen.kind == Kind::Text => Node::Text,
            Kind::Bytes | Kind::Text => Node::Bytes(seen_as),
            Kind::Fixed(size) => Node::Fixed(*size, seen_as),
            Kind::Enum { symbols, .. } => {
                Node::Enum(symbols.iter().map(|symbol| known_symbol(&seen, symbol)).collect())
            }
            Kind::Array(item) => {
                let inside = if let Kind::Array(item) = seen.kind { item } else { *item };
                Node::Array(self.resolve(side, *item, target.map(|_| inside)))
            }
            Kind::Map(value) => {
                let inside = if let Kind::Map(value) = seen.kind { value } else { *value };
                Node::Map(self.resolve(side, *value, target.map(|_| inside)))
            }
            Kind::Record { fields, .. } => Node::Record(self.steps(side, fields, target)),
            Kind::Union(_) => Node::Lost,
        }
    }

    fn steps(&mut self, side: Side, written: &[Field], target: Option<Id>) -> Vec<Step> {
        let reader = self.reader.clone();
        let fields = target.and_then(|target| reader.fields(target));
        let mut steps: Vec<Step> = vec![];
        for field in written {
            let seen = fields.map(|fields| fields.iter().find(|seen| partner(seen, written) == Some(&field.name)));
            steps.push(match seen {
                Some(None) => Step::Skip(field.of),
                Some(Some(seen)) => {
                    Step::Read { name: seen.name.clone(), node: self.resolve(side, field.of, Some(seen.of)) }
                }
                None => Step::Read { name: field.name.clone(), node: self.resolve(side, field.of, None) },
            });
        }
        for seen in fields.unwrap_or_default().iter().filter(|seen| partner(seen, written).is_none()) {
            steps.push(Step::Add { name: seen.name.clone(), default: self.default_of(seen) });
        }
        steps
    }

    /// What the reader gives for a field that was not written.
    pub fn default_of(&mut self, field: &Field) -> Option<Given> {
        let bytes = default::encoded(&self.reader, field.of, field.default.as_ref()?)?;
        Some(Given { bytes: bytes.into(), node: self.resolve(Side::Reader, field.of, Some(field.of)) })
    }
}

/// The name by which a field of the reader is among those that were written: its own, or one that it had.
pub(super) fn partner<'w>(seen: &Field, written: &'w [Field]) -> Option<&'w String> {
    let names = std::iter::once(&seen.name).chain(&seen.aliases);
    names.filter_map(|name| written.iter().find(|field| field.name == *name)).map(|field| &field.name).next()
}

/// As which of the reader's branches a type is read: one like it, else one that it can be made.
fn target(written: &Type, reader: &Schema, to: Id) -> Option<Id> {
    let branches = reader.branches(to);
    let records = branches.iter().filter(|id| matches!(reader.kind(**id), Kind::Record { .. })).count();
    let is_like = |id: &&Id| match (&written.kind, reader.kind(**id)) {
        // Where there is but one, what it is called is all the same.
        (Kind::Record { name, .. }, Kind::Record { name: seen, .. }) => name == seen || records == 1,
        (Kind::Array(_), Kind::Array(_)) | (Kind::Map(_), Kind::Map(_)) | (Kind::Enum { .. }, Kind::Enum { .. }) => {
            true
        }
        (written, seen) => written == seen,
    };
    let becomes = |id: &&Id| {
        use Kind::*;
        matches!(
            (&written.kind, reader.kind(**id)),
            (Int, Long | Float | Double) | (Long, Float | Double) | (Float, Double) | (Text, Bytes) | (Bytes, Text)
        )
    };
    branches.iter().find(is_like).or_else(|| branches.iter().find(becomes)).copied()
}

/// `None`: the two mean something else.
fn seen_as(written: &Type, seen: &Type) -> Option<As> {
    use Logical::*;
    match (written.logical, seen.logical) {
        (_, None) => Some(As::Plain),
        (None, Some(seen)) => Some(As::Logical(seen)),
        // What is written says what was meant.
        (Some(written), Some(seen)) => match (written, seen) {
            (Decimal { .. }, Decimal { .. })
            | (Date, Date)
            | (OfDay(_), OfDay(_))
            | (Time(_), Time(_))
            | (Uuid, Uuid) => Some(As::Logical(written)),
            _ => None,
        },
    }
}

fn known_symbol(seen: &Type, symbol: &str) -> Option<String> {
    let Kind::Enum { symbols, default } = &seen.kind else { return None };
    if symbols.iter().any(|known| known == symbol) { Some(symbol.to_owned()) } else { default.clone() }
}

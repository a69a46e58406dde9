//! Which values of a record are wanted: one pass over its bytes notes where they lie, and holds the rest against the schema.
//!
//! ```text
//! wanted: payload.user.id, payload.tags
//!
//! payload {user {id 7} tags [a]}      7         [a]
//! payload {user null tags []}         null      []        a null on the way is null
//! payload "x"                         (null)    (null)    what is no record has no field: it does not decode
//! ```

use super::resolve::{Given, NodeId, Resolver, Side, partner};
use super::schema::{Field, Id, Kind};
use super::wire::{Cursor, DEPTH_MAX};

/// Where the value of a column lies.
#[derive(Clone, Copy)]
pub(super) enum Spot<'a> {
    /// Nobody has such a field.
    Missing,
    /// It does not decode.
    Lost,
    At(Cursor<'a>, NodeId),
}

/// What is wanted of a record.
pub(super) struct Walk {
    /// In the order in which its fields are written.
    fields: Vec<(Id, Option<WantedField>)>,
    /// What the reader adds. `None`: it says no default.
    added: Vec<(Option<Given>, WantedField)>,
}

/// What is wanted of a field.
pub(super) struct WantedField {
    node: NodeId,
    /// The columns that are the field as it stands.
    columns: Vec<usize>,
    /// The columns inside it.
    below: Vec<usize>,
    /// By branch of a union, or of the one type that it is.
    branches: Vec<Branch>,
    is_union: bool,
}

enum Branch {
    Null,
    Record(Walk),
    /// It has no fields. Its type.
    Other(Id),
}

type Paths<'p> = Vec<(usize, &'p [String])>;

impl Walk {
    /// Of the values of a record type, by the names that lead to each column. `to`: as which type of the reader they are read.
    pub fn new(resolver: &mut Resolver, side: Side, of: Id, to: Option<Id>, paths: &Paths) -> Option<Walk> {
        let written: Vec<Field> = match resolver.schema(side).kind(of) {
            Kind::Record { fields, .. } => fields.clone(),
            _ => return None,
        };
        let reader = resolver.reader.clone();
        let known = to.and_then(|to| reader.fields(to)).unwrap_or_default();
        let mut walk = Walk { fields: written.iter().map(|field| (field.of, None)).collect(), added: vec![] };
        let mut names: Vec<&String> = vec![];
        for name in paths.iter().filter_map(|(_, path)| path.first()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        for name in names {
            let of_name = paths.iter().filter(|(_, path)| path.first() == Some(name));
            let paths: Paths = of_name.map(|(column, path)| (*column, &path[1..])).collect();
            let seen = known.iter().find(|field| field.name == *name);
            let wrote = match seen {
                Some(seen) => partner(seen, &written),
                None => Some(name),
            };
            let place = wrote.and_then(|wrote| written.iter().position(|field| field.name == *wrote));
            match (place, seen) {
                (Some(place), seen) => {
                    let field = &written[place];
                    walk.fields[place].1 =
                        Some(WantedField::new(resolver, side, field.of, seen.map(|seen| seen.of), paths));
                }
                (None, Some(seen)) => {
                    let default = resolver.default_of(seen);
                    let taken = WantedField::new(resolver, Side::Reader, seen.of, Some(seen.of), paths);
                    walk.added.push((default, taken));
                }
                // Nobody has it.
                (None, None) => {}
            }
        }
        Some(walk)
    }

    /// Notes where the wanted values lie, by column. `None`: the bytes are no such record.
    pub fn run<'a>(
        &'a self,
        resolver: &Resolver,
        side: Side,
        cursor: &mut Cursor<'a>,
        spots: &mut [Spot<'a>],
        depth: usize,
    ) -> Option<()> {
        let schema = resolver.schema(side);
        for (of, taken) in &self.fields {
            match taken {
                None => cursor.skip(schema, *of, depth)?,
                Some(taken) => taken.run(resolver, side, *of, cursor, spots, depth)?,
            }
        }
        for (default, taken) in &self.added {
            match default {
                None => taken.columns.iter().chain(&taken.below).for_each(|column| spots[*column] = Spot::Lost),
                Some(default) => {
                    let of = resolver.written(default.node).1;
                    taken.run(resolver, Side::Reader, of, &mut Cursor::new(&default.bytes), spots, depth)?;
                }
            }
        }
        Some(())
    }
}

impl WantedField {
    pub fn new(resolver: &mut Resolver, side: Side, of: Id, to: Option<Id>, paths: Paths) -> WantedField {
        let (columns, below): (Paths, Paths) = paths.iter().partition(|(_, path)| path.is_empty());
        let schema = resolver.schema(side).clone();
        let is_union = matches!(schema.kind(of), Kind::Union(_));
        let mut branches = vec![];
        if !below.is_empty() {
            for branch in schema.branches(of) {
                branches.push(match schema.kind(branch) {
                    Kind::Null => Branch::Null,
                    Kind::Record { .. } => match Walk::new(resolver, side, branch, to, &below) {
                        Some(walk) => Branch::Record(walk),
                        None => Branch::Other(branch),
                    },
                    _ => Branch::Other(branch),
                });
            }
        }
        let places = |paths: &Paths| paths.iter().map(|(column, _)| *column).collect();
        WantedField {
            node: resolver.resolve(side, of, to),
            columns: places(&columns),
            below: places(&below),
            branches,
            is_union,
        }
    }

    /// Notes where the wanted values lie, by column. `None`: the bytes are no such value.
    pub fn run<'a>(
        &'a self,
        resolver: &Resolver,
        side: Side,
        of: Id,
        cursor: &mut Cursor<'a>,
        spots: &mut [Spot<'a>],
        depth: usize,
    ) -> Option<()> {
        let schema = resolver.schema(side);
        self.columns.iter().for_each(|column| spots[*column] = Spot::At(*cursor, self.node));
        if self.below.is_empty() {
            return cursor.skip(schema, of, depth);
        }
        let branch = if self.is_union { cursor.choice(self.branches.len())? } else { 0 };
        let depth = depth.checked_sub(1)?;
        match &self.branches[branch] {
            // A null on the way is null: so the columns stay.
            Branch::Null => Some(()),
            Branch::Record(walk) => walk.run(resolver, side, cursor, spots, depth),
            Branch::Other(of) => {
                self.below.iter().for_each(|column| spots[*column] = Spot::Lost);
                cursor.skip(schema, *of, depth)
            }
        }
    }
}

/// How deep a record itself may be.
pub(super) const DEPTH: usize = DEPTH_MAX;

//! What is wanted of an object, and of the objects inside it: one pass over its text notes where the wanted values lie.
//!
//! ```text
//! wanted: payload.user.id, payload.tags
//!
//! {"payload":{"user":{"id":7},"tags":["a"]}}     7           ["a"]
//! {"payload":{"user":null}}                      null        null       a null on the way is null, as what is missing
//! {"payload":"x"}                                (null)      (null)     what is no object has no field: it does not decode
//! {"payload":{"user":{"id":1}},"payload":{}}     null        null       the last of a repeated field
//! ```

use super::keys::Keys;
use super::scan::{Kind, Scanner, Span};

/// The value of a field behind something that is no object: of no type.
const ASTRAY: Span = Span { kind: Kind::Nested, start: 0, end: 0 };

pub(in crate::format) struct Object {
    keys: Keys,
    /// By the number that `keys` gives.
    fields: Vec<Field>,
}

#[derive(Default)]
struct Field {
    /// The places of the columns that are this field as it stands.
    columns: Vec<usize>,
    /// What is wanted of the object that it should be.
    inside: Option<Object>,
    /// The places of all columns inside.
    below: Vec<usize>,
}

impl Object {
    /// `paths`: by column, the names that lead to it.
    pub fn new<'a>(paths: impl Iterator<Item = &'a [String]>) -> Object {
        let all: Vec<(usize, &[String])> = paths.enumerate().collect();
        Object::of(&all)
    }

    /// Of fields, by their names, and of nothing inside them.
    pub fn of_names<'a>(names: impl Iterator<Item = &'a str>) -> Object {
        let names: Vec<[String; 1]> = names.map(|name| [name.to_owned()]).collect();
        Object::new(names.iter().map(|name| &name[..]))
    }

    fn of(paths: &[(usize, &[String])]) -> Object {
        let mut names: Vec<&str> = vec![];
        for name in paths.iter().filter_map(|(_, path)| path.first()) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let field = |name: &&str| {
            let mut field = Field::default();
            let mut inside = vec![];
            for (column, path) in paths.iter().filter(|(_, path)| path.first().is_some_and(|first| first == name)) {
                match &path[1..] {
                    [] => field.columns.push(*column),
                    rest => inside.push((*column, rest)),
                }
            }
            if !inside.is_empty() {
                field.below = inside.iter().map(|(column, _)| *column).collect();
                field.inside = Some(Object::of(&inside));
            }
            field
        };
        Object { keys: Keys::new(names.iter().copied()), fields: names.iter().map(field).collect() }
    }

    /// Notes where the wanted values lie, by column; `None`: what is ahead is no object. `open` is memory.
    pub fn scan(&mut self, scanner: &mut Scanner, open: &mut Vec<u8>, spans: &mut [Span]) -> Option<()> {
        scanner.expect(b'{')?;
        scanner.space();
        if scanner.eat(b'}') {
            return Some(());
        }
        self.keys.restart();
        loop {
            let field = self.keys.read(scanner)?;
            scanner.colon()?;
            match field {
                Some(field) => self.fields[field].scan(scanner, open, spans)?,
                None => drop(scanner.value(open)?),
            }
            scanner.space();
            if !scanner.eat(b',') {
                break;
            }
            scanner.space();
        }
        scanner.expect(b'}')
    }
}

impl Field {
    fn scan(&mut self, scanner: &mut Scanner, open: &mut Vec<u8>, spans: &mut [Span]) -> Option<()> {
        let start = scanner.at;
        let span = match &mut self.inside {
            Some(inside) if scanner.rest().starts_with(b"{") => {
                self.below.iter().for_each(|column| spans[*column] = Span::MISSING);
                inside.scan(scanner, open, spans)?;
                Span { kind: Kind::Nested, start, end: scanner.at }
            }
            inside => {
                let span = scanner.value(open)?;
                if inside.is_some() {
                    let lost = if span.kind == Kind::Null { Span::MISSING } else { ASTRAY };
                    self.below.iter().for_each(|column| spans[*column] = lost);
                }
                span
            }
        };
        self.columns.iter().for_each(|column| spans[*column] = span);
        Some(())
    }
}

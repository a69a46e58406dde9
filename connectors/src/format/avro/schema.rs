//! An Avro schema (1.12), as its JSON says it: types by number, so that one that holds itself has an end.
//!
//! A logical type that is none, or that its type cannot have, is passed over, as the specification has it.

use std::collections::HashMap;
use std::fmt;

use serde_json::{Map, Value};

/// A type's number.
pub(in crate::format) type Id = usize;

/// A schema. Its last word is its first: `root`.
pub(in crate::format) struct Schema {
    types: Vec<Type>,
    pub root: Id,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::format) struct Type {
    pub kind: Kind,
    pub logical: Option<Logical>,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::format) enum Kind {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    Enum { symbols: Vec<String>, default: Option<String> },
    Array(Id),
    Map(Id),
    Union(Vec<Id>),
    Record { name: String, fields: Vec<Field> },
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::format) struct Field {
    pub name: String,
    pub aliases: Vec<String>,
    pub of: Id,
    /// As the schema's JSON has it.
    pub default: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::format) enum Logical {
    Decimal {
        precision: u8,
        scale: i8,
    },
    Date,
    /// A time of day; how many nanoseconds its unit has.
    OfDay(i64),
    /// A time; the same. Times are UTC here, whatever they are called.
    Time(i64),
    Uuid,
}

impl Schema {
    /// Reads a schema. `references`: others whose names it may use; each may use those before it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, references: &[String]) -> Result<Schema, String> {
        let mut parser = Parser { types: vec![], names: HashMap::new() };
        for text in references {
            parser.whole(text)?;
        }
        let root = parser.whole(text)?;
        Ok(Schema { types: parser.types, root })
    }

    pub fn of(&self, id: Id) -> &Type {
        &self.types[id]
    }

    pub fn kind(&self, id: Id) -> &Kind {
        &self.types[id].kind
    }

    /// A type's branches: of a union, what it may be; else itself.
    pub fn branches(&self, id: Id) -> Vec<Id> {
        if let Kind::Union(branches) = self.kind(id) { branches.clone() } else { vec![id] }
    }

    /// The fields of a record, or of the one record that a union may be.
    pub fn fields(&self, id: Id) -> Option<&[Field]> {
        self.branches(id).into_iter().find_map(|branch| match self.kind(branch) {
            Kind::Record { fields, .. } => Some(&fields[..]),
            _ => None,
        })
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema of {} types", self.types.len())
    }
}

/// Names are whole ones.
struct Parser {
    types: Vec<Type>,
    names: HashMap<String, Id>,
}

impl Parser {
    fn whole(&mut self, text: &str) -> Result<Id, String> {
        let json: Value =
            serde_json::from_str(text).or_else(|e| bare_name(text).ok_or(format!("it is no JSON: {e}")))?;
        self.read(&json, "")
    }

    fn add(&mut self, kind: Kind, logical: Option<Logical>) -> Id {
        self.types.push(Type { kind, logical });
        self.types.len() - 1
    }

    /// `around`: the namespace that a name without one is of.
    fn read(&mut self, json: &Value, around: &str) -> Result<Id, String> {
        match json {
            Value::String(name) => self.named(name, around),
            Value::Array(branches) => {
                let branches =
                    branches.iter().map(|branch| self.read(branch, around)).collect::<Result<Vec<_>, _>>()?;
                if branches.iter().any(|branch| matches!(self.types[*branch].kind, Kind::Union(_))) {
                    return Err("a union stands in a union".into());
                }
                Ok(self.add(Kind::Union(branches), None))
            }
            Value::Object(object) => self.object(object, around),
            other => Err(format!("{other} is no type")),
        }
    }

    fn named(&mut self, name: &str, around: &str) -> Result<Id, String> {
        if let Some(kind) = primitive(name) {
            return Ok(self.add(kind, None));
        }
        let full = full_name(name, around);
        let known = self.names.get(&full).or_else(|| self.names.get(name));
        known.copied().ok_or_else(|| format!("it names the type {full:?}, which is not there"))
    }

    fn object(&mut self, object: &Map<String, Value>, around: &str) -> Result<Id, String> {
        let of = object.get("type").ok_or("a type has no `type`")?;
        let Value::String(of) = of else { return self.read(of, around) };
        let kind = match of.as_str() {
            "record" | "error" => return self.record(object, around),
            "enum" => {
                let symbols = texts(object.get("symbols")).ok_or("an enum has no `symbols`")?;
                let default = object.get("default").and_then(Value::as_str).map(str::to_owned);
                Kind::Enum { symbols, default }
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
                Kind::Fixed(size.ok_or("a fixed has no `size`")?)
            }
            "array" => Kind::Array(self.read(object.get("items").ok_or("an array has no `items`")?, around)?),
            "map" => Kind::Map(self.read(object.get("values").ok_or("a map has no `values`")?, around)?),
            name => match primitive(name) {
                Some(kind) => kind,
                None => return self.named(name, around),
            },
        };
        let logical = logical(object, &kind);
        let is_named = matches!(kind, Kind::Enum { .. } | Kind::Fixed(_));
        let id = self.add(kind, logical);
        if is_named {
            self.name(object, around, id)?;
        }
        Ok(id)
    }

    fn record(&mut self, object: &Map<String, Value>, around: &str) -> Result<Id, String> {
        // Its fields may name it.
        let id = self.add(Kind::Record { name: String::new(), fields: vec![] }, None);
        let full = self.name(object, around, id)?;
        let namespace = full.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        let Some(Value::Array(written)) = object.get("fields") else {
            return Err(format!("the record {full:?} has no `fields`"));
        };
        let mut fields: Vec<Field> = vec![];
        for field in written {
            let name = field.get("name").and_then(Value::as_str);
            let name = name.ok_or_else(|| format!("a field of {full:?} has no `name`"))?.to_owned();
            let of = field.get("type").ok_or_else(|| format!("the field {name:?} of {full:?} has no `type`"))?;
            // `{"name": "x", "type": "array", "items": ...}` is seen, though it is none of the specification.
            let of = self.read(of, namespace).or_else(|why| match (of, field) {
                (Value::String(_), Value::Object(field))
                    if field.contains_key("items") || field.contains_key("values") =>
                {
                    self.object(field, namespace)
                }
                _ => Err(why),
            })?;
            if fields.iter().any(|known| known.name == name) {
                return Err(format!("the record {full:?} has the field {name:?} twice"));
            }
            let aliases = texts(field.get("aliases")).unwrap_or_default();
            fields.push(Field { name, aliases, of, default: field.get("default").cloned() });
        }
        let name = full.rsplit('.').next().unwrap_or_default().to_owned();
        self.types[id].kind = Kind::Record { name, fields };
        Ok(id)
    }

    /// Notes what a type is called.
    fn name(&mut self, object: &Map<String, Value>, around: &str, id: Id) -> Result<String, String> {
        let name = object.get("name").and_then(Value::as_str).ok_or("a record, enum or fixed has no `name`")?;
        let namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(around);
        let full = full_name(name, namespace);
        // A reference may come by several ways.
        self.names.insert(full.clone(), id);
        Ok(full)
    }
}

/// Registries keep a schema that is one name without its quotes, at times.
fn bare_name(text: &str) -> Option<Value> {
    primitive(text.trim()).map(|_| Value::String(text.trim().to_owned()))
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

fn texts(json: Option<&Value>) -> Option<Vec<String>> {
    json?.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}

fn primitive(name: &str) -> Option<Kind> {
    Some(match name {
        "null" => Kind::Null,
        "boolean" => Kind::Boolean,
        "int" => Kind::Int,
        "long" => Kind::Long,
        "float" => Kind::Float,
        "double" => Kind::Double,
        "bytes" => Kind::Bytes,
        "string" => Kind::Text,
        _ => return None,
    })
}

fn logical(object: &Map<String, Value>, kind: &Kind) -> Option<Logical> {
    let name = object.get("logicalType")?.as_str()?;
    match (name, kind) {
        ("decimal", Kind::Bytes | Kind::Fixed(_)) => {
            let precision = object.get("precision")?.as_u64()?;
            let scale = object.get("scale").map_or(Some(0), Value::as_u64)?;
            // What has more digits is bytes to us: see `columns`.
            let fits = (1..=38).contains(&precision) && scale <= precision;
            fits.then_some(Logical::Decimal { precision: precision as u8, scale: scale as i8 })
        }
        ("date", Kind::Int) => Some(Logical::Date),
        ("time-millis", Kind::Int) => Some(Logical::OfDay(1_000_000)),
        ("time-micros", Kind::Long) => Some(Logical::OfDay(1_000)),
        ("timestamp-millis" | "local-timestamp-millis", Kind::Long) => Some(Logical::Time(1_000_000)),
        ("timestamp-micros" | "local-timestamp-micros", Kind::Long) => Some(Logical::Time(1_000)),
        ("timestamp-nanos" | "local-timestamp-nanos", Kind::Long) => Some(Logical::Time(1)),
        ("uuid", Kind::Text | Kind::Fixed(16)) => Some(Logical::Uuid),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_schema() {
        for (text, expected) in [
            ("{", "it is no JSON"),
            ("7", "7 is no type"),
            (r#"{"type": "record", "name": "r"}"#, "the record \"r\" has no `fields`"),
            (r#"{"type": "record", "name": "r", "fields": [{"name": "a", "type": "x.y"}]}"#, "names the type \"x.y\""),
            (r#"{"type": "record", "name": "n.r", "fields": [{"name": "a", "type": "y"}]}"#, "names the type \"n.y\""),
            (r#"["null", ["int"]]"#, "a union stands in a union"),
            (r#"{"type": "fixed", "name": "f"}"#, "no `size`"),
            (r#"{"type": "map"}"#, "no `values`"),
        ] {
            let found = Schema::parse(text, &[]).unwrap_err();
            assert!(found.contains(expected), "{text}: {found}");
        }
    }

    #[test]
    fn names_logical_types_and_references() {
        let address =
            r#"{"type":"record","name":"Address","namespace":"a.b","fields":[{"name":"zip","type":"string"}]}"#;
        let text = r#"{"type":"record","name":"a.b.User","fields":[
            {"name":"home","type":"Address"},
            {"name":"next","type":["null","User"],"default":null},
            {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
            {"name":"odd","type":{"type":"int","logicalType":"timestamp-millis"}},
            {"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}}]}"#;
        let schema = Schema::parse(text, &[address.to_owned()]).unwrap();
        let fields = schema.fields(schema.root).unwrap();
        assert!(matches!(schema.kind(fields[0].of), Kind::Record { name, .. } if name == "Address"));
        assert_eq!(schema.branches(fields[1].of)[1], schema.root);
        assert_eq!(fields[1].default, Some(Value::Null));
        let logical = |at: usize| schema.of(fields[at].of).logical;
        assert_eq!(logical(2), Some(Logical::Time(1_000_000)));
        assert_eq!(logical(3), None);
        assert_eq!(logical(4), Some(Logical::Decimal { precision: 12, scale: 2 }));
        assert_eq!(Schema::parse("string", &[]).map(|schema| schema.kind(schema.root).clone()), Ok(Kind::Text));
    }
}

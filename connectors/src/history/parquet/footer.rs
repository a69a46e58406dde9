//! What a file says of itself: its columns by name, and which rows lie where. Checked before it is believed.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::root_as_message;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema, parquet_to_arrow_schema};
use parquet::file::metadata::{FooterTail, KeyValue, ParquetMetaData, ParquetMetaDataReader};
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use super::part::{Column, Part};
use super::schema;
use super::thrift::{Kind, Walk, Walked};
use crate::Path;
use crate::guard::guarded;

/// The bytes at a file's end that say how long its footer is.
pub(super) const TAIL_BYTES: usize = 8;
/// No file is shorter: its first bytes and its last ones are the same four.
pub(super) const FILE_BYTES_MIN: u64 = 12;

/// How deep columns may lie in each other.
const NESTING_MAX: usize = 64;

pub(super) struct Footer {
    pub metadata: Arc<ParquetMetaData>,
    pub columns: Vec<Column>,
}

/// How many bytes before the tail the footer takes, by the file's last bytes.
pub(super) fn length(tail: &[u8], size: u64) -> Walked<usize> {
    let tail = tail.last_chunk::<TAIL_BYTES>().ok_or("it ends too early")?;
    let tail = FooterTail::try_new(tail).map_err(|e| e.to_string())?;
    if tail.is_encrypted_footer() {
        return Err("it is encrypted".into());
    }
    match tail.metadata_length() as u64 {
        length if length + FILE_BYTES_MIN <= size => Ok(tail.metadata_length()),
        length => Err(format!("a footer of {length} bytes in a file of {size}")),
    }
}

impl Footer {
    pub fn decode(bytes: &[u8]) -> Walked<Footer> {
        walk(bytes)?;
        guarded(|| {
            let metadata = ParquetMetaDataReader::decode_metadata(bytes).map_err(|e| e.to_string())?;
            check_rows(&metadata)?;
            let columns = columns(&metadata)?;
            Ok(Footer { metadata: Arc::new(metadata), columns })
        })?
    }

    /// What lies at a path, of which so much is wanted; `None`: there is none.
    ///
    /// # Errors
    /// Why it cannot be read as that.
    pub fn part(&self, path: &Path, wanted: Option<&DataType>) -> Result<Option<Part>, String> {
        let Some(name) = path.names().first() else { return Ok(None) };
        self.column(name)?.map_or(Ok(None), |column| Part::of(column, path, wanted))
    }

    /// The only column of this name; `None`: there is none.
    fn column(&self, name: &str) -> Result<Option<&Column>, String> {
        let mut named = self.columns.iter().filter(|column| column.name == name);
        match (named.next(), named.next()) {
            (first, None) => Ok(first),
            (_, Some(_)) => Err(format!("it has two columns {name:?}")),
        }
    }
}

/// Looks at what the library would believe: how many elements there are, and how deep they lie.
fn walk(bytes: &[u8]) -> Walked<()> {
    Walk(bytes).fields(|walk, id, kind| match (id, kind) {
        (2, Kind::List) => walk_schema(walk).map(|()| true),
        _ => Ok(false),
    })
}

/// The schema's elements lie in a row: a group, then its children.
fn walk_schema(walk: &mut Walk) -> Walked<()> {
    let (elements, kind) = walk.list()?;
    if kind != Kind::Struct {
        return Err("its schema is no list of elements".into());
    }
    // Of each open group: children that are still to come.
    let mut open: Vec<i64> = vec![];
    for _ in 0..elements {
        let mut children = 0;
        walk.fields(|walk, id, kind| {
            let is_count = (id, kind) == (5, Kind::Int);
            if is_count {
                children = walk.int()?;
            }
            Ok(is_count)
        })?;
        if !(0..=elements as i64).contains(&children) {
            return Err(format!("a group of {children} columns in a schema of {elements} elements"));
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        open.push(children);
        while open.last() == Some(&0) {
            open.pop();
        }
        if open.len() > NESTING_MAX {
            return Err(format!("its columns are nested more than {NESTING_MAX} deep"));
        }
    }
    Ok(())
}

fn check_rows(metadata: &ParquetMetaData) -> Walked<()> {
    let mut rows = 0i64;
    for (number, group) in metadata.row_groups().iter().enumerate() {
        if group.num_rows() < 0 {
            return Err(format!("row group {number} has {} rows by its footer", group.num_rows()));
        }
        rows = rows.checked_add(group.num_rows()).ok_or("its row groups have more rows than can be counted")?;
    }
    let total = metadata.file_metadata().num_rows();
    if rows != total {
        return Err(format!("its footer says {total} rows, and its row groups have {rows}"));
    }
    Ok(())
}

fn columns(metadata: &ParquetMetaData) -> Walked<Vec<Column>> {
    let hints = written_by_arrow(metadata)?;
    let descriptor = metadata.file_metadata().schema_descr();
    let mut leaf = 0;
    let columns = descriptor.root_schema().get_fields().iter().enumerate().map(|(root, parquet)| {
        let first = leaf;
        while leaf < descriptor.num_columns() && descriptor.get_column_root_idx(leaf) == root {
            leaf += 1;
        }
        let hint = hints.as_ref().and_then(|schema| schema.field_with_name(parquet.name()).ok());
        Column {
            name: parquet.name().into(),
            parquet: parquet.clone(),
            leaves: first..leaf,
            arrow: decoded(parquet, hint),
        }
    });
    Ok(columns.collect())
}

/// The schema that a writer of Arrow's leaves in its files: it knows types that Parquet does not.
fn written_by_arrow(metadata: &ParquetMetaData) -> Walked<Option<Schema>> {
    let pairs = metadata.file_metadata().key_value_metadata().into_iter().flatten();
    let Some(written) = pairs.filter(|pair| pair.key == ARROW_SCHEMA_META_KEY).find_map(|pair| pair.value.as_ref())
    else {
        return Ok(None);
    };
    let failed = |e: &dyn std::fmt::Display| format!("its {ARROW_SCHEMA_META_KEY}: {e}");
    let bytes = BASE64_STANDARD.decode(written).map_err(|e| failed(&e))?;
    // A mark and the length may come first.
    let message = bytes.strip_prefix(&[0xff; 4]).and_then(|rest| rest.get(4..)).unwrap_or(&bytes);
    let message = root_as_message(message).map_err(|e| failed(&e))?;
    Ok(Some(fb_to_schema(message.header_as_schema().ok_or_else(|| failed(&"no schema"))?)))
}

/// The type that a column is decoded to, or why it has none. What is wrong with one column harms no other.
fn decoded(parquet: &TypePtr, hint: Option<&Field>) -> Result<Field, String> {
    let in_file = guarded(|| in_file(parquet, hint))??;
    if schema::repeats_int96(parquet) {
        return Err("it has times of the type INT96 in a list".into());
    }
    let decoded = schema::decoded_as(in_file.data_type(), parquet);
    Ok(in_file.with_data_type(decoded).with_nullable(true))
}

fn in_file(parquet: &TypePtr, hint: Option<&Field>) -> Result<Field, String> {
    let alone = descriptor([parquet.clone()])?;
    let plain = parquet_to_arrow_schema(&alone, None).map_err(|e| e.to_string())?;
    let field = plain.fields().first().ok_or("it is a group without columns")?;
    match hint.filter(|hint| hint.data_type() != field.data_type()) {
        None => Ok(field.as_ref().clone()),
        Some(hint) => {
            let hint = encode_arrow_schema(&Schema::new(vec![hint.clone()]));
            let hint = vec![KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), hint)];
            let hinted =
                parquet_to_arrow_schema(&alone, Some(&hint)).ok().and_then(|schema| schema.fields().first().cloned());
            let hinted = hinted.filter(|hinted| !takes_bytes_for_text(field.data_type(), hinted.data_type()));
            Ok(hinted.as_ref().unwrap_or(field).as_ref().clone())
        }
    }
}

/// Whether a hint makes texts of what Parquet knows as bytes: the reader would not look whether they are any.
fn takes_bytes_for_text(plain: &DataType, hinted: &DataType) -> bool {
    use DataType::*;
    match (plain, hinted) {
        (plain, Dictionary(_, values)) => takes_bytes_for_text(plain, values),
        (Binary | LargeBinary | BinaryView | FixedSizeBinary(_), Utf8 | LargeUtf8 | Utf8View) => true,
        (Struct(plain), Struct(hinted)) => {
            plain.iter().zip(hinted).any(|(plain, hinted)| takes_bytes_for_text(plain.data_type(), hinted.data_type()))
        }
        (
            List(plain)
            | LargeList(plain)
            | FixedSizeList(plain, _)
            | ListView(plain)
            | LargeListView(plain)
            | Map(plain, _),
            List(hinted)
            | LargeList(hinted)
            | FixedSizeList(hinted, _)
            | ListView(hinted)
            | LargeListView(hinted)
            | Map(hinted, _),
        ) => takes_bytes_for_text(plain.data_type(), hinted.data_type()),
        _ => false,
    }
}

/// A schema of these columns alone.
pub(super) fn descriptor(columns: impl IntoIterator<Item = TypePtr>) -> Result<SchemaDescriptor, String> {
    let root = Type::group_type_builder("schema").with_fields(columns.into_iter().collect()).build();
    Ok(SchemaDescriptor::new(Arc::new(root.map_err(|e| e.to_string())?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_walked_before_it_is_believed() {
        // A footer whose second field is a list of elements, each with a name and its number of children.
        let footer = |children: &[i64]| {
            let mut bytes = vec![0x29, 0xfc];
            let varint = |bytes: &mut Vec<u8>, mut n: u64| {
                while n > 0x7f {
                    bytes.push(n as u8 | 0x80);
                    n >>= 7;
                }
                bytes.push(n as u8);
            };
            varint(&mut bytes, children.len() as u64);
            for n in children {
                bytes.extend([0x48, 1, b'x', 0x15]);
                varint(&mut bytes, ((n << 1) ^ (n >> 63)) as u64);
                bytes.push(0);
            }
            bytes.push(0);
            bytes
        };
        let deep = |n: usize| [vec![1; n], vec![0]].concat();
        let rows = [
            (vec![2, 0, 0], Ok(())),
            (vec![2, 2, 0, 0, 0], Ok(())),
            (vec![1, -1], Err("a group of -1 columns in a schema of 2 elements")),
            (vec![1 << 30, 0], Err("a group of 1073741824 columns in a schema of 2 elements")),
            (deep(NESTING_MAX), Ok(())),
            (deep(10_000), Err("its columns are nested more than 64 deep")),
        ];
        for (children, expected) in rows {
            assert_eq!(walk(&footer(&children)), expected.map_err(String::from), "{children:?}");
        }
    }
}

//! Avro's own files (`.avro`): a header that says the schema, then blocks of records, each with a mark behind it.
//!
//! ```text
//! Obj 1 | {avro.schema, avro.codec, ...} | mark | records, bytes, data, mark | records, bytes, data, mark | ...
//! ```
//!
//! What a block says of itself is compared with what it holds: as many records as it says, of exactly as many bytes, and behind them the
//! file's mark. A file that breaks off, or is damaged anywhere, is an error. Nothing is believed further than bytes follow, and no block is
//! unpacked to more than [`BLOCK_BYTES_MAX`].

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::schema::Schema;
use super::walk::DEPTH;
use super::wire::Cursor;
use super::{AvroDecoder, reader_of};
use crate::Wanted;
use crate::format::looks;

const MAGIC: &[u8] = b"Obj\x01";
const MARK_BYTES: usize = 16;
const HEADER_BYTES_MAX: u64 = 64 << 20;
/// The largest block, packed or not.
const BLOCK_BYTES_MAX: u64 = 256 << 20;
/// How many records without a byte a block may have.
const EMPTY_MAX: u64 = 1 << 16;
/// How far back a Zstandard block may refer, as a power of two.
const WINDOW_LOG_MAX: u32 = 27;

/// What is wrong with a file: it cannot be read, or is no such file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Wrong {
    #[error("{0}")]
    Read(#[from] std::io::Error),
    #[error("{0}")]
    Damaged(String),
}

fn damaged<T>(why: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Damaged(why.into()))
}

/// A file, of which the header was read.
pub(crate) struct Container<R> {
    reader: BufReader<R>,
    schema: Arc<Schema>,
    columns: SchemaRef,
    codec: Codec,
    mark: [u8; MARK_BYTES],
    blocks: u64,
}

/// Records as they lie in their block, unpacked.
pub(crate) struct Block {
    number: u64,
    records: u64,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
}

impl<R: Read> Container<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// It does not begin as a container does, or with a schema that cannot be read.
    pub fn open(reader: R) -> Result<Container<R>, Wrong> {
        let mut reader = BufReader::new(reader);
        let start = bytes(&mut reader, MAGIC.len() as i64, HEADER_BYTES_MAX)?;
        if start != MAGIC {
            let other = looks::of_bytes(&[start.as_slice(), reader.buffer()].concat());
            let other = other.map(|look| look.instead_of("Avro"));
            return damaged(other.unwrap_or_else(|| "it does not begin as an Avro file does".into()));
        }
        let (mut schema, mut codec) = (None, None);
        let mut left = HEADER_BYTES_MAX;
        loop {
            let count = long(&mut reader)?;
            if count < 0 {
                long(&mut reader)?;
            }
            if count == 0 {
                break;
            }
            for _ in 0..count.unsigned_abs() {
                let [key, value] = [(); 2].map(|()| sized(&mut reader, left));
                let (key, value) = (key?, value?);
                // Entries of no byte are counted too.
                left = left.saturating_sub(1 + (key.len() + value.len()) as u64);
                if left == 0 {
                    return damaged("its header is longer than 64 MiB");
                }
                match key.as_slice() {
                    b"avro.schema" => schema = Some(value),
                    b"avro.codec" => codec = Some(value),
                    _ => {}
                }
            }
        }
        let mark = bytes(&mut reader, MARK_BYTES as i64, HEADER_BYTES_MAX)?;
        let text = schema.and_then(|text| String::from_utf8(text).ok());
        let Some(text) = text else { return damaged("its header has no schema") };
        let (schema, columns) = reader_of(&text, &[]).map_err(|why| Wrong::Damaged(format!("its schema: {why}")))?;
        let codec = Codec::of(codec.as_deref().unwrap_or(b"null"))?;
        let mark = mark.try_into().map_err(|_| Wrong::Damaged("its header ends too early".into()))?;
        Ok(Container { reader, schema, columns, codec, mark, blocks: 0 })
    }

    /// The columns of its records.
    pub fn columns(&self) -> &SchemaRef {
        &self.columns
    }

    /// Decodes its records to the wanted columns.
    pub fn decoder(&self, wanted: &Wanted) -> AvroDecoder {
        AvroDecoder::new(self.schema.clone(), None, wanted)
    }

    /// How many records the blocks say that they hold: all are passed over, and none is unpacked.
    ///
    /// # Errors
    /// It is damaged, or cannot be read.
    pub fn count(mut self) -> Result<u64, Wrong> {
        let mut all = 0u64;
        while let Some((records, _)) = self.packed()? {
            all = all.checked_add(records).ok_or(Wrong::Damaged("it says more records than can be".into()))?;
        }
        Ok(all)
    }

    /// The next block.
    ///
    /// # Errors
    /// It is damaged, or cannot be read.
    pub fn next(&mut self) -> Result<Option<Block>, Wrong> {
        let Some((records, packed)) = self.packed()? else { return Ok(None) };
        let number = self.blocks;
        let bytes = self.codec.unpacked(packed);
        let bytes = bytes.or_else(|why| damaged(format!("block {number} cannot be unpacked: {why}")))?;
        Ok(Some(Block { number, records, bytes }))
    }

    /// How many records the next block has, and its bytes as they lie there.
    fn packed(&mut self) -> Result<Option<(u64, Vec<u8>)>, Wrong> {
        if self.reader.fill_buf()?.is_empty() {
            return Ok(None);
        }
        self.blocks += 1;
        let number = self.blocks;
        let told = |wrong: Wrong| match wrong {
            Wrong::Damaged(why) => Wrong::Damaged(format!("block {number}: {why}")),
            other => other,
        };
        let records = long(&mut self.reader).map_err(told)?;
        let Ok(records) = u64::try_from(records) else {
            return damaged(format!("block {number} says that it has {records} records"));
        };
        let packed = sized(&mut self.reader, BLOCK_BYTES_MAX).map_err(told)?;
        let mark = bytes(&mut self.reader, MARK_BYTES as i64, HEADER_BYTES_MAX).map_err(told)?;
        if mark != self.mark {
            return damaged(format!("behind block {number} there is another mark than the file's"));
        }
        Ok(Some((records, packed)))
    }

    /// Hands over each record of a block.
    ///
    /// # Errors
    /// The block does not hold the records that it says.
    pub fn records(&self, block: &Block, take: &mut dyn FnMut(&[u8])) -> Result<(), Wrong> {
        let Block { number, records, bytes } = block;
        let (mut rest, mut empty) = (bytes.as_slice(), 0);
        for record in 0..*records {
            let mut cursor = Cursor::new(rest);
            let Some(()) = cursor.skip(&self.schema, self.schema.root, DEPTH) else {
                return damaged(format!("record {} of the {records} of block {number} is none", record + 1));
            };
            let length = rest.len() - cursor.left();
            empty += u64::from(length == 0);
            if empty > EMPTY_MAX {
                return damaged(format!("block {number} has too many records that have no bytes"));
            }
            take(&rest[..length]);
            rest = &rest[length..];
        }
        match rest.len() {
            0 => Ok(()),
            left => damaged(format!("block {number} has {left} bytes behind its {records} records")),
        }
    }
}

impl Codec {
    fn of(name: &[u8]) -> Result<Codec, Wrong> {
        match name {
            b"null" | b"" => Ok(Codec::Null),
            b"deflate" => Ok(Codec::Deflate),
            b"snappy" => Ok(Codec::Snappy),
            b"zstandard" => Ok(Codec::Zstandard),
            other => {
                let other = String::from_utf8_lossy(other).into_owned();
                damaged(format!("it is packed with {other:?}: expected null, deflate, snappy or zstandard"))
            }
        }
    }

    fn unpacked(self, packed: Vec<u8>) -> Result<Vec<u8>, String> {
        match self {
            Codec::Null => Ok(packed),
            Codec::Deflate => whole(DeflateDecoder::new(packed.as_slice())),
            Codec::Snappy => {
                let (body, sum) = packed.split_last_chunk::<4>().ok_or("it has no checksum")?;
                let length = snap::raw::decompress_len(body).map_err(|e| e.to_string())?;
                if length as u64 > BLOCK_BYTES_MAX {
                    return Err(TOO_LONG.into());
                }
                let bytes = snap::raw::Decoder::new().decompress_vec(body).map_err(|e| e.to_string())?;
                let mut crc = Crc::new();
                crc.update(&bytes);
                if crc.sum() != u32::from_be_bytes(*sum) {
                    return Err("it does not fit its checksum".into());
                }
                Ok(bytes)
            }
            Codec::Zstandard => {
                let mut decoder = zstd::stream::read::Decoder::new(packed.as_slice()).map_err(|e| e.to_string())?;
                decoder.window_log_max(WINDOW_LOG_MAX).map_err(|e| e.to_string())?;
                whole(decoder)
            }
        }
    }
}

const TOO_LONG: &str = "it is longer than 256 MiB";

fn whole(packed: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = vec![];
    packed.take(BLOCK_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > BLOCK_BYTES_MAX { Err(TOO_LONG.into()) } else { Ok(bytes) }
}

const EARLY: &str = "it ends too early";

fn long(reader: &mut impl BufRead) -> Result<i64, Wrong> {
    let mut number = [0; 10];
    for at in 0..number.len() {
        let [byte] = bytes(reader, 1, 1)?[..] else { return damaged(EARLY) };
        number[at] = byte;
        if byte & 0x80 == 0 {
            return Cursor::new(&number[..=at]).long().ok_or_else(|| Wrong::Damaged("a number is too long".into()));
        }
    }
    damaged("a number is too long")
}

/// Bytes with their length before them.
fn sized(reader: &mut impl BufRead, most: u64) -> Result<Vec<u8>, Wrong> {
    let length = long(reader)?;
    bytes(reader, length, most)
}

/// So many bytes. No more memory is asked for than there are.
fn bytes(reader: &mut impl BufRead, length: i64, most: u64) -> Result<Vec<u8>, Wrong> {
    let Some(length) = u64::try_from(length).ok().filter(|length| *length <= most) else {
        return damaged(format!("it says that {length} bytes follow"));
    };
    let mut bytes = vec![];
    reader.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { damaged(EARLY) }
}

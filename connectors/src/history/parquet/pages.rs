//! A row group in memory: the pages of the columns that are wanted, walked before a library decodes them.
//!
//! ```text
//! what the footer says of a column   what its pages' headers say
//! 1000 values in 4096 bytes          dictionary: 90 values, then 600 + 400 values   = 1000, or the file is damaged
//! ```
//!
//! So no footer can promise rows that are not there, and no header can ask for memory that its page does not fill. A page that has a
//! checksum is held against it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::arrow_reader::RowGroups;
use parquet::basic::{Compression, Encoding, Type as Physical};
use parquet::column::page::{Page, PageIterator, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::SerializedPageReader;

use super::levels::LongestRow;
use super::thrift::{Kind, Walk, Walked};

/// A page is held in memory as a whole. Writers make them of a megabyte; those that know no pages, as large as a row group.
const PAGE_BYTES_MAX: i64 = 256 << 20;

/// A batch's values of one column should not be larger, however often a dictionary is pointed into.
const COLUMN_BYTES_MAX: usize = 64 << 20;

/// No row may have more in the lists of one column, as far as can be told before it is decoded.
const ROW_BYTES_MAX: usize = 512 << 20;

/// A column of a row group, with its bytes from the first page on.
struct Chunk {
    metadata: ColumnChunkMetaData,
    bytes: Bytes,
    /// The most bytes that a value takes, on average over a page.
    heaviest: usize,
}

/// One row group, and of its columns those that are wanted.
pub(super) struct RowGroup {
    metadata: Arc<ParquetMetaData>,
    number: usize,
    rows: usize,
    chunks: Vec<Chunk>,
}

/// Where the pages of a column lie in a file of `size` bytes.
pub(super) fn range(column: &ColumnChunkMetaData, size: u64) -> Walked<Range<u64>> {
    let data = column.data_page_offset();
    // Some writers have 0 for none.
    let first = column.dictionary_page_offset().filter(|first| (1..data).contains(first)).unwrap_or(data);
    let range = u64::try_from(first).ok().zip(u64::try_from(column.compressed_size()).ok());
    let range = range.and_then(|(first, length)| Some(first..first.checked_add(length)?));
    range.filter(|range| range.end <= size).ok_or_else(|| {
        let (name, length) = (column.column_path(), column.compressed_size());
        format!("column {name} lies in {length} bytes from {first} on by its footer, and the file has {size}")
    })
}

impl RowGroup {
    /// Of the columns `leaves`, whose bytes are `bytes`.
    pub fn new(metadata: Arc<ParquetMetaData>, number: usize, leaves: &[usize], bytes: Vec<Bytes>) -> Walked<RowGroup> {
        let group = metadata.row_group(number);
        let chunks = leaves.iter().zip(bytes).map(|(leaf, bytes)| chunk(group, *leaf, bytes));
        let chunks = chunks.collect::<Walked<Vec<_>>>()?;
        let rows = usize::try_from(group.num_rows()).map_err(|e| e.to_string())?;
        Ok(RowGroup { number, rows, chunks, metadata: metadata.clone() })
    }

    /// How many rows a batch may have, up to `max`, so that its texts and lists stay small.
    ///
    /// # Errors
    /// A page says of itself what cannot be.
    pub fn batch_rows(&self, max: usize) -> Result<usize> {
        let mut rows = max;
        for chunk in &self.chunks {
            rows = rows.min(COLUMN_BYTES_MAX / chunk.row_bytes(max)?.max(1));
        }
        Ok(rows.max(1))
    }
}

fn chunk(group: &RowGroupMetaData, leaf: usize, bytes: Bytes) -> Walked<Chunk> {
    let column = group.column(leaf);
    let told = |why: String| format!("column {}: {why}", column.column_path());
    if column.column_descr().max_rep_level() == 0 && column.num_values() != group.num_rows() {
        return Err(told(format!("{} values in a row group of {} rows", column.num_values(), group.num_rows())));
    }
    let (length, heaviest) = walk(column, &bytes).map_err(told)?;
    // The bytes begin with the first page.
    let metadata = column.clone().into_builder().set_dictionary_page_offset(None).set_data_page_offset(0);
    let metadata = metadata.set_total_compressed_size(length).build().map_err(|e| e.to_string())?;
    Ok(Chunk { metadata, bytes, heaviest })
}

/// Walks the headers of a column's pages; how many bytes the pages take, and the most that a value takes, on average over a page.
fn walk(column: &ColumnChunkMetaData, bytes: &Bytes) -> Walked<(i64, usize)> {
    if width(column) > PAGE_BYTES_MAX {
        return Err(format!("values of {} bytes, and no more than {PAGE_BYTES_MAX} are taken", width(column)));
    }
    let mut left = Walk(bytes);
    let (mut values, mut heaviest) = (0i64, 0);
    while values < column.num_values() {
        let mut page = header(&mut left)?;
        if column.compression() == Compression::UNCOMPRESSED {
            page.uncompressed = page.uncompressed.min(page.compressed);
        }
        let holds = usize::try_from(page.compressed).ok().filter(|bytes| *bytes <= left.0.len());
        let Some(compressed) = holds else {
            return Err(format!("a page of {} bytes, where {} are left", page.compressed, left.0.len()));
        };
        let (bytes, rest) = left.0.split_at(compressed);
        left.0 = rest;
        if page.checksum.is_some_and(|told| told != checksum(bytes)) {
            return Err(format!("a page of {compressed} bytes that do not fit its checksum"));
        }
        if !(0..=PAGE_BYTES_MAX).contains(&page.uncompressed) {
            return Err(format!("a page of {} bytes, and no more than {PAGE_BYTES_MAX} are taken", page.uncompressed));
        }
        if !(0..=i64::from(i32::MAX)).contains(&page.values.max(page.entries)) || page.values.min(page.entries) < 0 {
            return Err(format!("a page of {} values", page.values.min(page.entries)));
        }
        if page.entries > page.uncompressed / width(column) {
            return Err(format!("a dictionary of {} values in {} bytes", page.entries, page.uncompressed));
        }
        if page.values > 0 {
            heaviest = heaviest.max((page.uncompressed / page.values) as usize);
        }
        values += page.values;
    }
    if values != column.num_values() {
        return Err(format!("its footer says {} values, and its pages hold {values}", column.num_values()));
    }
    Ok(((bytes.len() - left.0.len()) as i64, heaviest))
}

/// The fewest bytes that a value takes in a dictionary.
fn width(column: &ColumnChunkMetaData) -> i64 {
    match column.column_type() {
        Physical::BOOLEAN => 1,
        Physical::INT32 | Physical::FLOAT | Physical::BYTE_ARRAY => 4,
        Physical::INT64 | Physical::DOUBLE => 8,
        Physical::INT96 => 12,
        Physical::FIXED_LEN_BYTE_ARRAY => i64::from(column.column_descr().type_length()).max(1),
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// What a page's header says.
#[derive(Default)]
struct Header {
    uncompressed: i64,
    compressed: i64,
    values: i64,
    /// Of a dictionary.
    entries: i64,
    /// CRC-32 of the bytes behind the header.
    checksum: Option<u32>,
}

fn header(walk: &mut Walk) -> Walked<Header> {
    let mut header = Header::default();
    walk.fields(|walk, id, kind| {
        match (id, kind) {
            (2, Kind::Int) => header.uncompressed = walk.int()?,
            (3, Kind::Int) => header.compressed = walk.int()?,
            // Thrift knows signed integers alone.
            (4, Kind::Int) => header.checksum = Some(walk.int()? as u32),
            (5 | 8, Kind::Struct) => header.values = first_int(walk)?,
            (7, Kind::Struct) => header.entries = first_int(walk)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(header)
}

/// The first field of the structure that comes next: a number of values.
fn first_int(walk: &mut Walk) -> Walked<i64> {
    let mut first = 0;
    walk.fields(|walk, id, kind| {
        let is_first = (id, kind) == (1, Kind::Int);
        if is_first {
            first = walk.int()?;
        }
        Ok(is_first)
    })?;
    Ok(first)
}

impl Chunk {
    fn pages(&self) -> Result<SerializedPageReader<Bytes>> {
        SerializedPageReader::new(Arc::new(self.bytes.clone()), &self.metadata, 0, None)
    }

    /// A bound on the bytes of a row, but for what its pages hold anyway: no more than the values that it may have, each as long as the longest.
    /// In a batch of lists texts of the pages count as well, since a row may have many.
    fn row_bytes(&self, rows: usize) -> Result<usize> {
        let is_list = self.metadata.column_descr().max_rep_level() > 0;
        let is_text = self.metadata.column_type() == Physical::BYTE_ARRAY;
        let shared = match is_text {
            true => self.longest_shared(if is_list { 0 } else { COLUMN_BYTES_MAX / rows })?,
            // Nulls take as much.
            false => usize::try_from(width(&self.metadata))?,
        };
        if !is_list {
            return Ok(shared);
        }
        let bytes = if is_text { shared.max(self.heaviest) } else { shared };
        if bytes.saturating_mul(usize::try_from(self.metadata.num_values())?) <= COLUMN_BYTES_MAX {
            return Ok(bytes);
        }
        let longest = self.longest_row()?;
        if shared.saturating_mul(longest) > ROW_BYTES_MAX {
            let name = self.metadata.column_path();
            let why = format!(
                "column {name}: a row of {longest} values of up to {shared} bytes, and no more than {ROW_BYTES_MAX} are taken"
            );
            return Err(ParquetError::General(why));
        }
        Ok(bytes.saturating_mul(longest))
    }

    /// The most values that a row has in lists.
    fn longest_row(&self) -> Result<usize> {
        let mut longest = LongestRow::new(self.metadata.column_descr().max_rep_level());
        let mut pages = self.pages()?;
        while let Some(page) = pages.get_next_page()? {
            let walked = match &page {
                Page::DictionaryPage { .. } => continue,
                Page::DataPage { buf, num_values, rep_level_encoding: Encoding::RLE, .. } => {
                    let levels = buf.split_first_chunk::<4>();
                    let levels = levels.and_then(|(length, rest)| rest.get(..u32::from_le_bytes(*length) as usize));
                    levels.and_then(|levels| longest.runs(levels, *num_values as usize))
                }
                Page::DataPage { buf, num_values, .. } => longest.bits(buf, *num_values as usize),
                Page::DataPageV2 { buf, num_values, rep_levels_byte_len, .. } => {
                    let levels = buf.get(..*rep_levels_byte_len as usize);
                    levels.and_then(|levels| longest.runs(levels, *num_values as usize))
                }
            };
            walked.ok_or_else(|| ParquetError::General("a page whose levels end too early".into()))?;
        }
        Ok(longest.longest)
    }

    /// A bound on the bytes of a text that many values may share, where one of up to `enough` bytes does not matter: the longest in the
    /// dictionary.
    fn longest_shared(&self, enough: usize) -> Result<usize> {
        let mut pages = self.pages()?;
        if pages.peek_next_page()?.is_none_or(|page| !page.is_dict) {
            return Ok(0);
        }
        let Some(Page::DictionaryPage { buf, encoding, .. }) = pages.get_next_page()? else { return Ok(0) };
        if buf.len() <= enough {
            return Ok(buf.len());
        }
        Ok(if matches!(encoding, Encoding::PLAIN | Encoding::PLAIN_DICTIONARY) { longest(&buf) } else { buf.len() })
    }
}

/// The longest of texts that lie in a row, each after its length.
fn longest(mut texts: &[u8]) -> usize {
    let mut longest = 0;
    while let Some((length, rest)) = texts.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        longest = longest.max(length.min(rest.len()));
        texts = rest.get(length..).unwrap_or_default();
    }
    longest
}

impl RowGroups for RowGroup {
    fn num_rows(&self) -> usize {
        self.rows
    }

    fn column_chunks(&self, i: usize) -> Result<Box<dyn PageIterator>> {
        let chunk = self.chunks.get(i).ok_or_else(|| ParquetError::General(format!("no column {i} was asked for")))?;
        Ok(Box::new(Pages(Some(Box::new(chunk.pages()?)))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::once(self.metadata.row_group(self.number)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// The pages of one column of one row group.
struct Pages(Option<Box<dyn PageReader>>);

impl Iterator for Pages {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(Ok)
    }
}

impl PageIterator for Pages {}

#[cfg(test)]
mod tests {
    use parquet::schema::types::{ColumnDescriptor, ColumnPath, Type};

    use super::*;

    /// No writer that we have makes checksums: of a page with two booleans, header and all.
    #[test]
    fn a_page_is_held_against_its_checksum() {
        let page = |checksum: Option<u32>, byte: u8| {
            let mut bytes = vec![0x15, 0, 0x15, 2, 0x15, 2];
            if let Some(checksum) = checksum {
                let signed = i64::from(checksum as i32);
                let mut zigzag = ((signed << 1) ^ (signed >> 63)) as u64;
                bytes.push(0x15);
                while zigzag > 0x7f {
                    bytes.push(zigzag as u8 | 0x80);
                    zigzag >>= 7;
                }
                bytes.push(zigzag as u8);
            }
            bytes.push(if checksum.is_some() { 0x1c } else { 0x2c });
            bytes.extend([0x15, 4, 0x15, 0, 0x15, 6, 0x15, 6, 0, 0, byte]);
            Bytes::from(bytes)
        };
        let parquet = Type::primitive_type_builder("b", Physical::BOOLEAN).build().unwrap();
        let descriptor = ColumnDescriptor::new(Arc::new(parquet), 0, 0, ColumnPath::from("b"));
        let column = ColumnChunkMetaData::builder(Arc::new(descriptor)).set_num_values(2).build().unwrap();
        let right = checksum(&[0b01]);
        assert!(right > i32::MAX as u32, "as a signed integer it is negative");
        let rows = [
            (page(None, 0b01), true),
            (page(None, 0b11), true),
            (page(Some(right), 0b01), true),
            (page(Some(right), 0b11), false),
            (page(Some(right ^ 1), 0b01), false),
        ];
        for (bytes, fits) in rows {
            let outcome = walk(&column, &bytes);
            let told = || Err("a page of 1 bytes that do not fit its checksum".to_owned());
            assert_eq!(outcome.map(|(length, _)| length), if fits { Ok(bytes.len() as i64) } else { told() });
        }
    }

    #[test]
    fn the_longest_text_of_a_dictionary() {
        let texts = |all: &[&str]| {
            let one = |text: &&str| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
            all.iter().flat_map(one).collect::<Vec<u8>>()
        };
        assert_eq!(longest(&texts(&[])), 0);
        assert_eq!(longest(&texts(&["a", "abc", ""])), 3);
        assert_eq!(longest(&[9, 0, 0, 0, b'x']), 1, "what is cut short");
    }
}

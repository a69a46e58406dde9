//! Which rows of a file are deleted: a bitmap, in the log itself or in a file of its own.
//!
//! ```text
//! in a file, at an offset      length (4, big end first), bitmap, CRC-32 of it (4, big end first)
//! the bitmap                   1681511377 (4, small end first), then Roaring's 64-bit bitmaps in their portable form
//! ```

use flate2::Crc;
use roaring::RoaringTreemap;

use super::log::{Deletion, Log};
use crate::history::lake::{bytes_of, found};
use crate::history::parquet::store::Stores;
use crate::{Error, Result};

const MAGIC: [u8; 4] = 1_681_511_377u32.to_le_bytes();
/// A UUID in base 85.
const UUID_CHARS: usize = 20;
const BASE_85: &[u8; 85] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

pub(super) fn read(log: &Log, of: &Deletion) -> Result<RoaringTreemap> {
    let (what, bytes) = match of.kind.as_str() {
        "i" => {
            let mut bytes = base_85(&of.text).ok_or_else(|| wrong("a deletion vector", "it is not in base 85"))?;
            bytes.truncate(usize::try_from(of.size).unwrap_or(usize::MAX));
            ("a deletion vector".to_owned(), bytes)
        }
        "u" | "p" => {
            let path = path(log, of)?;
            let mut stores = Stores::default();
            let file = found(&mut stores, &path)?;
            let all = bytes_of(&mut stores, &file)?;
            let bytes = stored(&all, of).map_err(|why| wrong(&path, why))?;
            (path, bytes.to_vec())
        }
        kind => return Err(wrong("a deletion vector", &format!("it is stored as {kind:?}, which is not known here"))),
    };
    let bitmap = bitmap(&bytes).map_err(|why| wrong(&what, &why))?;
    if i64::try_from(bitmap.len()) != Ok(of.rows) {
        let why = format!("it has {} rows, and the log says {}", bitmap.len(), of.rows);
        return Err(wrong(&what, &why));
    }
    Ok(bitmap)
}

fn wrong(what: &str, why: &str) -> Error {
    Error::world(format!("reading {what}"), why)
}

/// `ab^-aqEH.-t@S}K{vb[*k^` is `ab/deletion_vector_UUID.bin`.
fn path(log: &Log, of: &Deletion) -> Result<String> {
    if of.kind == "p" {
        return Ok(log.path_of(&of.text));
    }
    let no_uuid = || wrong("a deletion vector", "its name is no UUID");
    let at = of.text.len().checked_sub(UUID_CHARS).ok_or_else(no_uuid)?;
    let (prefix, uuid) = of.text.split_at_checked(at).ok_or_else(no_uuid)?;
    let uuid = base_85(uuid).ok_or_else(no_uuid)?;
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32]].join("-");
    let slash = if prefix.is_empty() { "" } else { "/" };
    Ok(log.beside(&format!("{prefix}{slash}deletion_vector_{parts}.bin")))
}

/// The bitmap in a file of them.
fn stored<'a>(all: &'a [u8], of: &Deletion) -> Result<&'a [u8], &'static str> {
    const EARLY: &str = "it ends too early";
    let at = usize::try_from(of.offset.unwrap_or(1)).map_err(|_| EARLY)?;
    let size = usize::try_from(of.size).map_err(|_| EARLY)?;
    let rest = all.get(at..).ok_or(EARLY)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(EARLY)?;
    if u32::from_be_bytes(*length) as usize != size {
        return Err("it is of another length than the log says");
    }
    let (bytes, rest) = rest.split_at_checked(size).ok_or(EARLY)?;
    let sum = rest.first_chunk::<4>().ok_or(EARLY)?;
    let mut crc = Crc::new();
    crc.update(bytes);
    if crc.sum() == u32::from_be_bytes(*sum) { Ok(bytes) } else { Err("it does not fit its checksum") }
}

fn bitmap(bytes: &[u8]) -> Result<RoaringTreemap, String> {
    let body = bytes.strip_prefix(&MAGIC).ok_or("it does not begin as a deletion vector does")?;
    RoaringTreemap::deserialize_from(body).map_err(|e| e.to_string())
}

/// Z85: five characters are four bytes.
fn base_85(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(5) {
        return None;
    }
    let mut bytes = vec![];
    for five in text.as_bytes().chunks(5) {
        let mut word = 0u32;
        for c in five {
            let digit = BASE_85.iter().position(|known| known == c)? as u32;
            word = word.checked_mul(85)?.checked_add(digit)?;
        }
        bytes.extend(word.to_be_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_85_is_that_of_zeromq() {
        let bytes = [0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B];
        assert_eq!(base_85("HelloWorld").as_deref(), Some(&bytes[..]));
        for wrong in ["Hello1", "Hell~", "#####"] {
            assert_eq!(base_85(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_stored_bitmap_is_held_against_its_length_and_checksum() {
        let rows: RoaringTreemap = [3, 7, 1 << 40].into_iter().collect();
        let mut body = MAGIC.to_vec();
        rows.serialize_into(&mut body).unwrap();
        let mut crc = Crc::new();
        crc.update(&body);
        let file = [&[1][..], &(body.len() as u32).to_be_bytes(), &body, &crc.sum().to_be_bytes()].concat();
        let of = |size: usize| Deletion {
            kind: "u".into(),
            text: String::new(),
            offset: Some(1),
            size: size as i64,
            rows: 3,
        };
        assert_eq!(bitmap(stored(&file, &of(body.len())).unwrap()), Ok(rows));
        assert!(stored(&file, &of(body.len() + 1)).is_err());
        let mut broken = file.clone();
        broken[12] ^= 1;
        assert_eq!(stored(&broken, &of(body.len())), Err("it does not fit its checksum"));
        assert_eq!(stored(&file[..file.len() - 1], &of(body.len())), Err("it ends too early"));
        for length in 0..body.len() {
            assert!(bitmap(&body[..length]).is_err(), "{length}");
        }
    }
}

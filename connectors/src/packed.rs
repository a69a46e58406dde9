//! Files that are packed, by the ending of their names: `.gz` (gzip), `.zst` (Zstandard). They are unpacked as they are read, and never
//! held as a whole.
//!
//! One file may consist of several packed ones, one after the other, as both tools make it. What is cut short, or does not fit its
//! checksum, is an error: a file that is packed is finished.

use std::io::{Error, Read, Result};

use flate2::read::MultiGzDecoder;

/// How far back a Zstandard file may refer, as a power of two: so much of it is held in memory. The tool's own limit.
const WINDOW_LOG_MAX: u32 = 27;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Packing {
    Gzip,
    Zstandard,
}

impl Packing {
    /// `None`: it is what it is.
    pub fn of(path: &str) -> Option<Packing> {
        match path {
            _ if path.ends_with(".gz") => Some(Packing::Gzip),
            _ if path.ends_with(".zst") => Some(Packing::Zstandard),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Packing::Gzip => "gzip",
            Packing::Zstandard => "Zstandard",
        }
    }
}

/// The bytes of a file, unpacked if its path says that it is packed.
pub(crate) fn unpacked<'a>(path: &str, file: impl Read + Send + 'a) -> Result<Box<dyn Read + Send + 'a>> {
    let Some(packing) = Packing::of(path) else { return Ok(Box::new(file)) };
    let bytes: Box<dyn Read + Send> = match packing {
        Packing::Gzip => Box::new(MultiGzDecoder::new(file)),
        Packing::Zstandard => {
            let mut decoder = zstd::stream::read::Decoder::new(file)?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    };
    Ok(Box::new(Unpacked { packing, bytes }))
}

/// Says of an error what kind of file it was.
struct Unpacked<'a> {
    packing: Packing,
    bytes: Box<dyn Read + Send + 'a>,
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.bytes.read(buffer).map_err(|e| match e.kind() {
            std::io::ErrorKind::Interrupted => e,
            kind => Error::new(kind, format!("it is no whole {} file: {e}", self.packing.name())),
        })
    }
}

/// Packs, for tests.
#[cfg(test)]
pub(crate) fn packed(path: &str, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    match Packing::of(path) {
        None => bytes.to_vec(),
        Some(Packing::Zstandard) => {
            let mut encoder = zstd::Encoder::new(vec![], 3).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Some(Packing::Gzip) => {
            let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut all = vec![];
        unpacked(path, bytes)?.read_to_end(&mut all)?;
        Ok(all)
    }

    #[test]
    fn whole_files_are_unpacked_and_others_told() {
        for (path, name) in [("a.jsonl.gz", "gzip"), ("a.zst", "Zstandard")] {
            let [one, two] = [b"some text, ".repeat(1000), b"and more".to_vec()];
            let packed = [packed(path, &one), packed(path, &two)];
            assert_eq!(read(path, &packed.concat()).unwrap(), [one, two].concat());
            assert_eq!(read(path, &super::packed(path, b"")).unwrap(), b"");
            let cut = &packed[0][..packed[0].len() - 1];
            let mut turned = packed[0].clone();
            turned[packed[0].len() / 2] ^= 0x55;
            let trailing = [&packed[0][..], b"trailing"].concat();
            for damaged in [cut, &turned, &trailing, b"{\"x\":1}\n"] {
                let told = read(path, damaged).unwrap_err().to_string();
                assert!(told.starts_with(&format!("it is no whole {name} file: ")), "{told}");
            }
        }
        assert_eq!(read("gz", b"as it is").unwrap(), b"as it is");
    }
}

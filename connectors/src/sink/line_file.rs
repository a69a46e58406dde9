//! A file of lines that a restart can cut back to where a checkpoint left it.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

const BUFFER_BYTES: usize = 1 << 20;

pub(super) struct LineFile {
    path: PathBuf,
    file: BufWriter<File>,
    /// What the file will hold once the buffer is flushed.
    bytes: u64,
}

impl LineFile {
    /// An empty file, in place of an old one; missing directories are made.
    pub fn create(path: &Path) -> Result<LineFile> {
        LineFile::open(path, 0)
    }

    /// The file cut back to its first `bytes`, to be written on from there. One that is shorter is an error.
    pub fn open(path: &Path, bytes: u64) -> Result<LineFile> {
        let file = open_cut(path, bytes).map_err(|e| Error::world(format!("cannot write {}", path.display()), e))?;
        Ok(LineFile { path: path.into(), file: BufWriter::with_capacity(BUFFER_BYTES, file), bytes })
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn write(&mut self, lines: &[u8]) -> Result<()> {
        self.file.write_all(lines).map_err(|e| failed(&self.path, e))?;
        self.bytes += lines.len() as u64;
        Ok(())
    }

    /// Hands what is buffered to the system: other processes see it, and a crash of this one loses nothing.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|e| failed(&self.path, e))
    }

    /// As `flush`, and on the disk when it returns.
    pub fn sync(&mut self) -> Result<()> {
        self.flush()?;
        self.file.get_ref().sync_data().map_err(|e| failed(&self.path, e))
    }
}

fn open_cut(path: &Path, bytes: u64) -> std::io::Result<File> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(path)?;
    let found = file.metadata()?;
    // Two runs with states of their own would tear each other's lines. Devices and pipes may have many writers.
    if found.is_file() && matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)) {
        return Err(std::io::Error::other("another run writes it"));
    }
    let held = found.len();
    if held < bytes {
        return Err(std::io::Error::other(format!(
            "it holds {held} bytes, but the checkpoint left it at {bytes}: it was cut or replaced since, or is on another host"
        )));
    }
    // A device or a pipe cannot be cut.
    if held > bytes {
        file.set_len(bytes)?;
    }
    if bytes > 0 {
        file.seek(SeekFrom::Start(bytes))?;
    }
    Ok(file)
}

fn failed(path: &Path, cause: std::io::Error) -> Error {
    Error::world(format!("writing {}", path.display()), cause)
}

//! A file of lines that a restart can cut back to where a checkpoint left it. Written by one process.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tracing::warn;

use super::{LineMeta, LineSink, LinesConfig, LinesStart, SinkPosition};
use crate::settings::{Endpoint, Kind, Settings};
use crate::sink::{Home, SinkConfig, SinkKind, Takes};
use crate::storage::{make_dir, sync_dir};
use crate::{Error, Result};

const BUFFER_BYTES: usize = 1 << 20;

/// A position is the length of the file in bytes.
const POSITION: &str = "Bytes";

const LETTERS: &str = "dead_letters.jsonl";
const LETTERS_ELSEWHERE: &str = "the state is in an object store, so say where dead letters go, like dead_letters = { path = \"dead_letters.jsonl\" }";

/// All lines before it are void.
const VOID: &[u8] = br#"{"resume":null}"#;

/// A file of JSON lines as a kind of sink.
pub static JSONL: &JsonlKind = &JsonlKind;

/// See [`JSONL`].
#[derive(Debug)]
pub struct JsonlKind;

impl Kind for JsonlKind {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn keys(&self) -> Vec<&'static str> {
        vec!["path"]
    }
}

impl SinkKind for JsonlKind {
    fn takes(&self) -> Takes {
        Takes::Changes
    }

    fn read(&self, settings: &mut dyn Settings, _: &Home) -> SinkConfig {
        if !settings.has("path") {
            settings.missing("path", "say which file, like path = \"changes.jsonl\"");
        }
        SinkConfig::Changes(Arc::new(Jsonl { path: settings.path("path").unwrap_or_default() }))
    }

    fn read_dead_letters(&self, settings: &mut dyn Settings, home: &Home) -> Option<Arc<dyn LinesConfig>> {
        if home.is_remote && !settings.has("path") {
            settings.missing("path", LETTERS_ELSEWHERE);
        }
        settings.path("path").map(|path| Arc::new(Jsonl { path }) as Arc<dyn LinesConfig>)
    }
}

/// Where dead letters go that the job says nothing of.
pub fn unsaid_dead_letters(home: &Home) -> (Arc<dyn LinesConfig>, Option<&'static str>) {
    (Arc::new(Jsonl { path: home.dir.join(LETTERS) }), home.is_remote.then_some(LETTERS_ELSEWHERE))
}

#[derive(Debug)]
struct Jsonl {
    path: PathBuf,
}

impl LinesConfig for Jsonl {
    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn endpoint(&self) -> Option<Endpoint> {
        (!self.path.as_os_str().is_empty()).then(|| Endpoint::of_file(&self.path))
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn destination(&self, dir: &Path) -> String {
        self.path.strip_prefix(dir).unwrap_or(&self.path).display().to_string()
    }

    fn takes_up(&self, position: &SinkPosition) -> bool {
        position.read::<u64>(POSITION).is_some()
    }

    fn open(&self, start: &LinesStart, _: Arc<AtomicBool>) -> Result<Box<dyn LineSink>> {
        let bytes = bytes_at(start.position).unwrap_or(0);
        let mut file = LineFile::resume(&self.path, bytes)?;
        if start.is_void && bytes > 0 {
            file.write(VOID, &LineMeta { key: &|_| (), time: None })?;
        }
        Ok(Box::new(file))
    }

    /// A device has no place beside it.
    fn waiting_file(&self) -> Option<PathBuf> {
        self.path.metadata().map_or(true, |found| found.is_file()).then(|| {
            let name = self.path.file_name().unwrap_or_default().to_string_lossy();
            self.path.with_file_name(format!("{name}.beside"))
        })
    }
}

/// The length of a file at a position of one.
fn bytes_at(position: Option<&SinkPosition>) -> Option<u64> {
    position.and_then(|position| position.read(POSITION))
}

/// A local file for lines that wait to be added to others.
#[derive(Debug)]
pub struct WaitingFile {
    path: PathBuf,
}

impl WaitingFile {
    /// Of this name, whether it is there or not.
    pub fn at(path: PathBuf) -> WaitingFile {
        WaitingFile { path }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it where a checkpoint left it; anew, if none did.
    ///
    /// # Errors
    /// `World`: it cannot be written, is shorter than it was left, or another run writes it.
    pub fn open(&self, position: Option<&SinkPosition>) -> Result<Box<dyn LineSink>> {
        Ok(Box::new(LineFile::resume(&self.path, bytes_at(position).unwrap_or(0))?))
    }

    /// Whether a checkpoint left lines here: they were not written to where they belong.
    pub fn waits(position: &SinkPosition) -> bool {
        bytes_at(Some(position)).is_some()
    }

    /// Writes the lines that it held at a position to where they belong. `false`: they are gone.
    ///
    /// # Errors
    /// `World`: it cannot be read. And those of the sink.
    pub fn add_to(&self, to: &mut dyn LineSink, position: &SinkPosition) -> Result<bool> {
        let bytes = bytes_at(Some(position)).unwrap_or(0);
        if bytes == 0 {
            return Ok(true);
        }
        if self.path.metadata().map_or(0, |found| found.len()) < bytes {
            return Ok(false);
        }
        let failed = |e| Error::world(format!("reading {}", self.path.display()), e);
        let file = File::open(&self.path).map_err(failed)?;
        for line in BufReader::new(file.take(bytes)).split(b'\n') {
            to.write(&line.map_err(failed)?, &LineMeta { key: &|_| (), time: None })?;
        }
        Ok(true)
    }

    /// Removes it, if it is there.
    ///
    /// # Errors
    /// `World`: it is there and cannot be removed.
    pub fn remove(&self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                Err(Error::world(format!("removing {}", self.path.display()), e))
            }
            _ => Ok(()),
        }
    }
}

/// A file of lines that is being written.
struct LineFile {
    path: PathBuf,
    file: BufWriter<File>,
    /// Devices and pipes may have many writers; they can neither be cut nor written to a disk.
    is_file: bool,
    /// What the file will hold once the buffer is flushed.
    bytes: u64,
}

impl LineFile {
    /// The file cut back to its first `bytes`, to be written on from there. One that is shorter is an error; with 0, missing directories
    /// are made.
    fn resume(path: &Path, bytes: u64) -> Result<LineFile> {
        let failed = |e| Error::world(format!("cannot write {}", path.display()), e);
        let (file, is_file) = open_cut(path, bytes).map_err(failed)?;
        Ok(LineFile { path: path.into(), file: BufWriter::with_capacity(BUFFER_BYTES, file), is_file, bytes })
    }

    fn failed(&self, cause: std::io::Error) -> Error {
        Error::world(format!("writing {}", self.path.display()), cause)
    }
}

impl LineSink for LineFile {
    fn write(&mut self, line: &[u8], _meta: &LineMeta) -> Result<()> {
        let written = self.file.write_all(line).and_then(|()| self.file.write_all(b"\n"));
        written.map_err(|e| self.failed(e))?;
        self.bytes += line.len() as u64 + 1;
        Ok(())
    }

    /// Hands what is buffered to the system: other processes see it, and a crash of this one loses nothing.
    fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|e| self.failed(e))
    }

    fn sync(&mut self) -> Result<SinkPosition> {
        self.flush()?;
        if self.is_file {
            self.file.get_ref().sync_data().map_err(|e| self.failed(e))?;
        }
        Ok(SinkPosition::new(POSITION, self.bytes))
    }
}

/// Whether it is a file, too.
fn open_cut(path: &Path, bytes: u64) -> std::io::Result<(File, bool)> {
    if let Some(parent) = path.parent() {
        make_dir(parent)?;
    }
    let help = "bring it back, or start anew with --fresh";
    let open = OpenOptions::new().create(bytes == 0).write(true).truncate(false).open(path);
    let mut file = open.map_err(|e| match e.kind() {
        ErrorKind::NotFound => {
            std::io::Error::other(format!("it is not there, but the checkpoint left it at {bytes} bytes: {help}"))
        }
        _ => e,
    })?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Ok((file, false));
    }
    // Two runs with states of their own would tear each other's lines.
    if matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)) {
        return Err(std::io::Error::other("another run writes it"));
    }
    let held = found.len();
    if held < bytes {
        return Err(std::io::Error::other(format!(
            "it holds {held} bytes, but the checkpoint left it at {bytes}: it was cut or replaced since, or is on another host; {help}"
        )));
    }
    if held > bytes {
        file.set_len(bytes)?;
    }
    if bytes > 0 {
        file.seek(SeekFrom::Start(bytes))?;
    } else if let Some(parent) = path.parent() {
        sync_name(path, parent)?;
    }
    Ok((file, true))
}

/// A checkpoint may name the file from now on. Some file systems sync no directory, and one that may not be listed cannot be opened.
fn sync_name(path: &Path, parent: &Path) -> std::io::Result<()> {
    match sync_dir(parent) {
        Err(e)
            if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::PermissionDenied) =>
        {
            warn!("a power failure may lose {}: its directory cannot be synced: {e}", path.display());
            Ok(())
        }
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_takes_lines() {
        let meta = LineMeta { key: &|_| (), time: None };
        for bytes in [0, 2] {
            let mut file = LineFile::resume(Path::new("/dev/null"), bytes).unwrap();
            file.write(b"a", &meta).unwrap();
            assert_eq!(file.sync().unwrap(), SinkPosition::new(POSITION, bytes + 2));
        }
    }

    #[test]
    fn a_restart_cuts_back_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/lines.jsonl");
        let meta = LineMeta { key: &|_| (), time: None };
        let mut file = LineFile::resume(&path, 0).unwrap();
        file.write(b"a", &meta).unwrap();
        assert_eq!(file.sync().unwrap(), SinkPosition::new(POSITION, 2u64));
        file.write(b"b", &meta).unwrap();
        file.sync().unwrap();
        drop(file);
        let mut file = LineFile::resume(&path, 2).unwrap();
        file.write(b"c", &meta).unwrap();
        file.flush().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nc\n");

        let second = LineFile::resume(&path, 2).err().unwrap().to_string();
        assert!(second.contains("another run writes it"), "{second}");
        drop(file);
        let short = LineFile::resume(&path, 99).err().unwrap().to_string();
        assert!(short.contains("it holds 4 bytes, but the checkpoint left it at 99"), "{short}");
    }
}

//! Paths of a job: relative ones start at the job file's directory, URLs stay as they are.

use std::path::{Path, PathBuf};

use super::section::{Context, Section};

const SCHEMES: [&str; 8] = ["s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss"];

pub fn is_url(text: &str) -> bool {
    text.contains("://")
}

/// An absolute local path, or the object store's URL.
pub fn local_or_url(dir: &Path, text: &str) -> Result<String, String> {
    match text.split_once("://") {
        Some((scheme, _)) if SCHEMES.contains(&scheme) => Ok(text.into()),
        Some(_) => Err("this kind of URL is not known: expected a local path, s3://, gs:// or az://".into()),
        None => Ok(local(dir, text)?.to_string_lossy().into_owned()),
    }
}

/// As `local_or_url`, for a glob: what looks like a pattern in the job file's directory is meant literally.
pub fn glob(dir: &Path, text: &str) -> Result<String, String> {
    let escaped: String = dir.to_string_lossy().chars().flat_map(escape).collect();
    local_or_url(Path::new(&escaped), text)
}

/// An absolute local path.
pub fn local(dir: &Path, text: &str) -> Result<PathBuf, String> {
    if is_url(text) {
        return Err("this must be a local path, not a URL".into());
    }
    // Collecting the components leaves out every `.` but keeps `..`, which only the file system can resolve.
    Ok(dir.join(text).components().collect())
}

fn escape(c: char) -> Vec<char> {
    if matches!(c, '*' | '?' | '[' | '{') { vec!['[', c, ']'] } else { vec![c] }
}

/// Reads a key that is a path, made absolute by `join`. What a URL takes from the environment is a secret.
pub fn read<T>(
    cx: &mut Context,
    section: &Section,
    key: &str,
    join: fn(&Path, &str) -> Result<T, String>,
) -> Option<T> {
    let (text, at) = section.text(cx, key)?;
    if is_url(&text.text) {
        cx.secrets.extend(text.filled.iter().cloned());
    }
    match join(cx.dir, &text.text) {
        Ok(path) => Some(path),
        Err(message) => {
            cx.error(at, format!("`{key}`: {message}"));
            None
        }
    }
}

//! A Python with packages, made once and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::skipped;

/// What a program put out; or all that it said, where it failed.
pub fn run(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let told = || [output.stdout.as_slice(), &output.stderr].map(String::from_utf8_lossy).concat();
    if output.status.success() { Ok(output) } else { Err(format!("{command:?}: {}", told())) }
}

/// A Python with what the tests need, made once and kept. `None`: it cannot be had here.
pub fn python(requirements: &Path) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let wanted = fs::read(requirements).unwrap();
    let version = match run(Command::new("python3").arg("--version")) {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().replace(' ', "-"),
        Err(e) => {
            skipped(&e);
            return None;
        }
    };
    let of = number(&wanted);
    let kept = cache.join(format!("headwater/{}-{of:016x}", version.to_lowercase()));
    let inside = |venv: &Path| venv.join("bin/python");
    if !inside(&kept).exists() {
        fs::create_dir_all(kept.parent().unwrap()).unwrap();
        // Under another name until it is whole; who comes second takes that of the first.
        let part = kept.with_extension(std::process::id().to_string());
        let made = run(Command::new("python3").args(["-m", "venv"]).arg(&part)).and_then(|_| {
            let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
            run(Command::new(inside(&part)).args(install).arg(requirements))
        });
        if let Err(e) = made {
            let _ = fs::remove_dir_all(&part);
            skipped(&e);
            return None;
        }
        if fs::rename(&part, &kept).is_err() {
            let _ = fs::remove_dir_all(&part);
        }
    }
    Some(inside(&kept))
}

/// FNV-1a: which requirements they are.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

//! The Python package: its own tests, by pytest, on the extension module and the command in it that were built here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::need;
use crate::support::python::{python, run};

/// The extension module is a dependency of these tests, so it lies beside them.
fn extension() -> PathBuf {
    let beside = std::env::current_exe().unwrap();
    let file = format!("{}headwater_python{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    beside.with_file_name(file)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let (path, name) = (entry.path(), entry.file_name());
        let is_code =
            [".py", ".pyi", ".typed", ".toml", ".txt"].iter().any(|end| name.to_string_lossy().ends_with(end));
        if path.is_dir() && !["src", "__pycache__"].contains(&&*name.to_string_lossy()) {
            copy(&path, &to.join(name));
        } else if is_code {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

#[test]
fn pytest_passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = need!(python(&root.join("python/tests/requirements.txt")));
    let extension = extension();
    assert!(extension.exists(), "{} is not built", extension.display());
    let dir = tempfile::tempdir().unwrap();
    copy(&root.join("python"), dir.path());
    std::os::unix::fs::symlink(&extension, dir.path().join("headwater/_native.abi3.so")).unwrap();
    let mut pytest = Command::new(python);
    pytest.current_dir(dir.path()).args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp=tmp"]);
    pytest.env("PYTHONPATH", dir.path()).env("HEADWATER_ROOT", root);
    run(&mut pytest).unwrap_or_else(|told| panic!("{told}"));
}

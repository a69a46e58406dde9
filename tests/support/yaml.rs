//! YAML, read by whatever Python there is.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::skipped;

/// The documents of a YAML file. `None`: no Python here can read it.
pub fn yaml(path: &Path) -> Option<Vec<Value>> {
    let script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let parsed = ["python3", "/usr/bin/python3"].into_iter().find_map(|python| {
        let output = Command::new(python).args(["-c", script]).arg(path).output().ok()?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() || told.contains("No module named 'yaml'"), "{told}");
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    });
    if parsed.is_none() {
        skipped("no Python with a YAML parser");
    }
    parsed
}

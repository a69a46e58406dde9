//! The demo's job: examples/fraud/job.toml, with its variables filled in for a directory of the demo's own.

use std::path::Path;

use crate::base::failure::Failure;

const EXAMPLE: &str = include_str!("../../../examples/fraud/job.toml");
pub const TOPIC: &str = "payments";
/// Below the demo's directory.
pub const HISTORY: &str = "payments";
pub const STATE: &str = "state";
pub const FILE: &str = "job.toml";

/// Empties a directory that an earlier demo has filled, or makes it. One that somebody else has filled is left alone.
pub fn prepare(dir: &Path) -> Result<(), Failure> {
    let failed = |e| Failure::Running(format!("preparing {}: {e}", dir.display()));
    std::fs::create_dir_all(dir).map_err(failed)?;
    let empty = std::fs::read_dir(dir).map_err(failed)?.next().is_none();
    let ours = std::fs::read_to_string(dir.join(FILE)).is_ok_and(|text| text.starts_with(first_line()));
    if !empty && !ours {
        return Err(Failure::Usage(format!(
            "{} is neither empty nor a demo's: name another with --dir",
            dir.display()
        )));
    }
    // Written first, so that a demo that is broken off can be started again.
    std::fs::write(dir.join(FILE), first_line()).map_err(failed)?;
    for part in [HISTORY, STATE] {
        match std::fs::remove_dir_all(dir.join(part)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
    }
    Ok(())
}

/// Writes the job file.
pub fn write(dir: &Path, brokers: &str) -> Result<(), Failure> {
    let path = dir.join(FILE);
    std::fs::write(&path, text(brokers)).map_err(|e| Failure::Running(format!("writing {}: {e}", path.display())))
}

fn first_line() -> &'static str {
    EXAMPLE.lines().next().unwrap_or_default()
}

fn text(brokers: &str) -> String {
    let values =
        [("FRAUD_HISTORY", HISTORY), ("FRAUD_BROKERS", brokers), ("FRAUD_TOPIC", TOPIC), ("FRAUD_STATE", STATE)];
    values.iter().fold(EXAMPLE.to_owned(), |text, (name, value)| {
        let Some((before, rest)) = text.split_once(&format!("${{{name}:-")) else { return text };
        let after = rest.split_once('}').map_or("", |(_, after)| after);
        format!("{before}{value}{after}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::{GroupId, Id};
    use crate::demo::rows::{GROUP, GROUP_AT};
    use crate::job::parse::parse;

    #[test]
    fn the_example_and_the_demo_are_right_jobs() {
        let filled = text("127.0.0.1:1");
        assert!(!filled.contains("${"), "{filled}");
        for text in [EXAMPLE, &filled] {
            let (job, faults) = parse("job.toml", Path::new("/demo"), text, &|_| None).unwrap();
            assert_eq!((job.name.as_str(), faults.faults.len()), ("fraud", 0));
            assert_eq!(job.groups[GroupId::at(GROUP_AT)].name, GROUP);
        }
    }

    #[test]
    fn a_directory_of_somebody_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path()).unwrap();
        std::fs::create_dir_all(dir.path().join(STATE)).unwrap();
        prepare(dir.path()).unwrap();
        assert!(!dir.path().join(STATE).exists());
        std::fs::write(dir.path().join(FILE), "name = \"mine\"").unwrap();
        assert!(prepare(dir.path()).is_err());
    }
}

//! What an event costs on Headwater's main paths, in instructions: a figure that a busy machine does not change.
//!
//! ```text
//! ./dev instructions           walks every path under valgrind, and compares what it costs with what is recorded
//! ./dev instructions record    writes down what it costs now
//! ./dev instructions PATH N    walks one path with N events, to look at by oneself
//! ```
//!
//! Each path is walked twice, with N events and with twice as many: what a start costs is in both, and so in no figure.

mod paths;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use paths::{PATHS, Path};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EVENTS: usize = 20_000;
/// By how much of itself a figure may grow before it is a fault. Tables are hashed with other seeds each time.
const TOLERANCE: f64 = 0.03;

fn main() -> ExitCode {
    // `--bench` is from `cargo bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let told = match &args[..] {
        [] => compare(),
        [word] if word == "record" => record(),
        [name, events] => walk(name, events),
        _ => Err("expected nothing, `record`, or a path and a number of events".to_owned()),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn walk(name: &str, events: &str) -> Result<(), String> {
    let events = events.parse().map_err(|_| format!("`{events}` is no number of events"))?;
    let path = PATHS.iter().find(|path| path.name == name);
    (path.ok_or_else(|| format!("no path is called `{name}`"))?.walk)(events);
    Ok(())
}

fn compare() -> Result<(), String> {
    let recorded = read()?;
    let mut worse = vec![];
    println!("{:26}{:>12}{:>12}", "instructions an event", "recorded", "now");
    for path in PATHS {
        let now = cost(path)?;
        let before = recorded.get(path.name).copied();
        let shown = before.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let change = before.map_or(0.0, |before| now as f64 / before as f64 - 1.0);
        println!("{:26}{shown:>12}{now:>12}  {:>+6.1}%  {}", path.name, change * 100.0, path.what);
        if before.is_none() || change > TOLERANCE {
            worse.push(path.name);
        }
    }
    match worse.as_slice() {
        [] => Ok(()),
        names => Err(format!(
            "more than {:.0}% over what is recorded, or not recorded: {}. Where that is meant, `./dev instructions record` writes it down",
            TOLERANCE * 100.0,
            names.join("; ")
        )),
    }
}

fn record() -> Result<(), String> {
    let mut text = "# Instructions an event. `./dev instructions record` writes them.\n".to_owned();
    for path in PATHS {
        let cost = cost(path)?;
        println!("{:26}{cost:>12}  {}", path.name, path.what);
        let _ = writeln!(text, "{}\t{cost}", path.name);
    }
    std::fs::write(file(), text).map_err(|e| format!("writing {}: {e}", file().display()))
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/recorded.tsv")
}

fn read() -> Result<BTreeMap<String, u64>, String> {
    let text = std::fs::read_to_string(file()).map_err(|e| format!("reading {}: {e}", file().display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    lines
        .map(|(n, line)| {
            let parts = line.split_once('\t').and_then(|(name, cost)| Some((name.to_owned(), cost.parse().ok()?)));
            parts.ok_or_else(|| format!("{}:{}: expected a path, a tab and a number", file().display(), n + 1))
        })
        .collect()
}

/// Of one event more.
fn cost(path: &Path) -> Result<u64, String> {
    let [some, twice] = [EVENTS, 2 * EVENTS].map(|events| instructions(path.name, events));
    Ok((twice? - some?) / EVENTS as u64)
}

/// Of a walk as a whole.
fn instructions(name: &str, events: usize) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(program)
        .args([name, &events.to_string()])
        .output()
        .map_err(|e| format!("starting valgrind: {e}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{name}: {told}"));
    }
    let counted = told.lines().find_map(|line| line.split_once("refs:"));
    let digits = counted.map(|(_, number)| number.replace(',', "").trim().parse());
    digits.and_then(Result::ok).ok_or_else(|| format!("valgrind counted nothing:\n{told}"))
}

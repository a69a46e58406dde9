//! The binary, run with a deadline; killed when a test gives up on it.

use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

/// A run of the binary. What it prints goes to files, so it never waits for us to read.
pub struct Running {
    child: Child,
    stdout: NamedTempFile,
    stderr: NamedTempFile,
}

pub struct Finished {
    pub stdout: String,
    pub stderr: String,
}

const DEADLINE: Duration = Duration::from_secs(120);

/// The binary, logging as it does by itself.
pub fn headwater() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.env_remove("HEADWATER_LOG");
    command
}

pub fn run(args: &[&str]) -> Running {
    run_with(args, &[])
}

/// With more in its environment.
pub fn run_with(args: &[&str], env: &[(&str, String)]) -> Running {
    spawn(headwater().args(args).envs(env.iter().map(|(name, value)| (name, value))))
}

pub fn spawn(command: &mut Command) -> Running {
    let (stdout, stderr) = (NamedTempFile::new().unwrap(), NamedTempFile::new().unwrap());
    let command = command.stdout(stdout.reopen().unwrap()).stderr(stderr.reopen().unwrap());
    Running { child: command.spawn().unwrap(), stdout, stderr }
}

/// Waits for the end, which must have this exit code.
pub fn finish(mut running: Running, code: i32) -> Finished {
    let status = running.wait();
    let finished = Finished { stdout: text(&running.stdout), stderr: running.log() };
    assert_eq!(status.code(), Some(code), "exit code; stderr:\n{}", finished.stderr);
    finished
}

impl Running {
    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < DEADLINE, "it does not end; stderr:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its stderr so far.
    pub fn log(&self) -> String {
        text(&self.stderr)
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// SIGTERM: a clean end.
    pub fn terminate(self) -> Finished {
        self.signal("TERM");
        finish(self, 0)
    }

    /// SIGKILL: no end at all.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Most are gone by now.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- stderr of headwater:\n{}", self.log());
        }
    }
}

fn text(file: &NamedTempFile) -> String {
    String::from_utf8_lossy(&std::fs::read(file.path()).unwrap()).into_owned()
}

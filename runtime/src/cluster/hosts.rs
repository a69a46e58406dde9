//! Where the processes are: a file with one `HOST:PORT` a line, in the order of the processes.

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};

use super::options::Options;
use crate::base::failure::Failure;

/// The addresses of all processes, as written. Empty lines and lines that start with `#` do not count.
pub fn read(options: &Options) -> Result<Vec<String>, Failure> {
    let Options { processes, process, .. } = *options;
    if processes == 0 {
        return Err(Failure::Usage("--processes must be at least 1".to_owned()));
    }
    if process >= processes {
        let last = processes - 1;
        return Err(Failure::Usage(format!(
            "--process {process} is out of range: with --processes {processes} it is 0 to {last}"
        )));
    }
    if processes == 1 {
        return Ok(vec![]);
    }
    let Some(path) = &options.hosts else {
        return Err(Failure::Usage("several processes need --hosts FILE".to_owned()));
    };
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::Usage(format!("reading --hosts {}: {e}", path.display())))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let hosts: Vec<String> = lines.take(processes).map(str::to_owned).collect();
    if hosts.len() < processes {
        let of = path.display();
        let n = hosts.len();
        return Err(Failure::Usage(format!("--processes is {processes}, but {of} has {n} hosts")));
    }
    for host in &hosts {
        resolve(host).map_err(|e| Failure::Usage(format!("{}: `{host}`: {e}", path.display())))?;
    }
    if let Some(twice) = twice(&hosts) {
        return Err(Failure::Usage(format!("{}: `{twice}` is there twice", path.display())));
    }
    Ok(hosts)
}

fn twice(hosts: &[String]) -> Option<&String> {
    let mut seen = BTreeSet::new();
    hosts.iter().find(|host| !seen.insert(*host))
}

/// What a host means at this moment: at least one address.
pub fn resolve(host: &str) -> Result<Vec<SocketAddr>, String> {
    let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none_or(|port| port == 0) {
        return Err("expected HOST:PORT".to_owned());
    }
    let found: Vec<SocketAddr> = host.to_socket_addrs().map_err(|e| format!("it cannot be resolved: {e}"))?.collect();
    if found.is_empty() { Err("it has no address".to_owned()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use super::*;

    fn told(text: Option<&str>, process: usize, processes: usize) -> String {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.unwrap_or_default().as_bytes()).unwrap();
        let hosts = if text.is_some() { file.path().to_owned() } else { "/nowhere/at/all".into() };
        let join_timeout = Duration::from_secs(1);
        let read = read(&Options { workers: 1, processes, process, hosts: Some(hosts.clone()), join_timeout });
        match read {
            Ok(hosts) => hosts.join(" "),
            Err(e) => {
                assert_eq!(e.exit_code(), 2, "{e}");
                e.to_string().replace(&hosts.display().to_string(), "FILE")
            }
        }
    }

    #[test]
    fn hosts_and_what_is_wrong_with_them() {
        let two = "# both\n\nlocalhost:4001\n 127.0.0.1:4002\nlocalhost:4003\n";
        assert_eq!(told(Some(two), 1, 2), "localhost:4001 127.0.0.1:4002");
        assert_eq!(told(None, 0, 1), "");
        let cases = [
            (Some(two), 0, 0, "error: --processes must be at least 1"),
            (Some(two), 2, 2, "error: --process 2 is out of range: with --processes 2 it is 0 to 1"),
            (Some(two), 0, 4, "error: --processes is 4, but FILE has 3 hosts"),
            (Some("localhost:1\nlocalhost:1"), 0, 2, "error: FILE: `localhost:1` is there twice"),
            (Some("localhost\nlocalhost:1"), 0, 2, "error: FILE: `localhost`: expected HOST:PORT"),
            (None, 0, 2, "error: reading --hosts FILE: No such file or directory (os error 2)"),
        ];
        for (text, process, processes, expected) in cases {
            assert_eq!(told(text, process, processes), expected);
        }
        let unknown = told(Some("localhost:1\nno-such-host.invalid:1"), 0, 2);
        assert!(unknown.starts_with("error: FILE: `no-such-host.invalid:1`: it cannot be resolved: "), "{unknown}");
    }
}

//! A TCP proxy between the job and a service: it lets through, holds back, or cuts.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

struct State {
    target: u16,
    /// Bytes wait; connections stay.
    stalled: AtomicBool,
    /// New connections are closed at once.
    refusing: AtomicBool,
    /// Counts the cuts: a connection of an earlier one ends.
    cuts: AtomicU64,
    closed: AtomicBool,
}

const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Proxy {
    pub fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", crate::support::free_port())).unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let state = Arc::new(State {
            target,
            stalled: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            cuts: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let ours = state.clone();
        std::thread::spawn(move || ours.serve(&listener));
        Proxy { port, state }
    }

    /// Ends every connection, wherever it is in what it sends.
    pub fn cut(&self) {
        self.state.cuts.fetch_add(1, Ordering::SeqCst);
    }

    pub fn stall(&self, on: bool) {
        self.state.stalled.store(on, Ordering::SeqCst);
    }

    pub fn refuse(&self, on: bool) {
        self.state.refusing.store(on, Ordering::SeqCst);
        if on {
            self.cut();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
    }
}

impl State {
    fn serve(self: Arc<State>, listener: &TcpListener) {
        while !self.closed.load(Ordering::SeqCst) {
            match listener.accept() {
                Ok((client, _)) if !self.refusing.load(Ordering::SeqCst) => self.clone().connect(client),
                Ok(_) => {}
                Err(_) => std::thread::sleep(LOOK_EVERY / 4),
            }
        }
    }

    fn connect(self: Arc<State>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.target)) else { return };
        let born = self.cuts.load(Ordering::SeqCst);
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (Ok(from), Ok(to), state) = (from.try_clone(), to.try_clone(), self.clone()) else { return };
            std::thread::spawn(move || {
                let _ = state.pump(&from, &to, born);
                for side in [from, to] {
                    let _ = side.shutdown(Shutdown::Both);
                }
            });
        }
    }

    fn pump(&self, mut from: &TcpStream, mut to: &TcpStream, born: u64) -> std::io::Result<()> {
        from.set_nonblocking(false)?;
        from.set_read_timeout(Some(LOOK_EVERY))?;
        to.set_nodelay(true)?;
        let mut buffer = vec![0; 64 << 10];
        while self.cuts.load(Ordering::SeqCst) == born && !self.closed.load(Ordering::SeqCst) {
            if self.stalled.load(Ordering::SeqCst) {
                std::thread::sleep(LOOK_EVERY);
                continue;
            }
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => to.write_all(&buffer[..n])?,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

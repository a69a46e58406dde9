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
    /// Directions of connections that something may go in.
    pumps: AtomicU64,
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
            pumps: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let ours = state.clone();
        std::thread::spawn(move || ours.serve(&listener));
        Proxy { port, state }
    }

    /// Ends every connection, wherever it is in what it sends; whether there was one.
    pub fn cut(&self) -> bool {
        self.state.cuts.fetch_add(1, Ordering::SeqCst);
        self.state.pumps.load(Ordering::SeqCst) > 0
    }

    /// Lets everything through again.
    pub fn open(&self) {
        self.stall(false);
        self.refuse(false);
    }

    /// Whether this was new.
    pub fn stall(&self, on: bool) -> bool {
        self.state.stalled.swap(on, Ordering::SeqCst) != on
    }

    /// Whether this was new.
    pub fn refuse(&self, on: bool) -> bool {
        let before = self.state.refusing.swap(on, Ordering::SeqCst);
        if on {
            self.cut();
        }
        before != on
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
            state.pumps.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                // However it ends, both sides are told; one may be gone.
                let _ = state.pump(&from, &to, born);
                for side in [from, to] {
                    let _ = side.shutdown(Shutdown::Both);
                }
                state.pumps.fetch_sub(1, Ordering::SeqCst);
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

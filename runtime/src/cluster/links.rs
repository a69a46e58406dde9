//! Links between processes that have no dataflow in common: what each tells the others, exchange by exchange.
//!
//! ```text
//! ready   each waits until all are, so that nobody sends before all hear
//! data    to one of them, on a channel; heard as it comes, by a thread for each of the others
//! end     each says that it is done, and waits until all are
//! ```
//!
//! All go through the same exchanges in the same order. Whoever fails tells why, and the others fail with it; so they do when one is gone,
//! whatever they were waiting for.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use headwater_connectors::threads::guarded;
use serde::{Deserialize, Serialize};
use socket2::SockRef;

use super::frame::Patient;
use super::options::Options;
use crate::base::failure::Failure;
use crate::base::secrets::mask;

/// One that takes nothing for so long counts as lost.
const UNHEARD: Duration = Duration::from_secs(60);
/// So long a process that fails goes on telling and hearing, so that nobody is left with half a message.
const LAST_MESSAGE: Duration = Duration::from_secs(5);
/// So long the last word of one that is gone may take.
const LAST_WORD: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a message is; behind it come its channel and its length.
const READY: u8 = 0;
const DATA: u8 = 1;
const END: u8 = 2;
const FAILED: u8 = 3;
const HEAD_BYTES: usize = 9;
/// So much of a message that is announced is believed beforehand.
const BELIEVED_BYTES: usize = 64 << 20;

pub struct Links {
    options: Options,
    hosts: Vec<String>,
    /// What no message to another process shows: its own log may not know it.
    secrets: Vec<String>,
    /// By process, none for this one.
    links: Vec<Option<Link>>,
    /// This process has failed.
    over: AtomicBool,
}

struct Link {
    stream: TcpStream,
    /// Held by whoever writes a message. `false`: one was begun and not finished, and nothing more can be said.
    whole: Mutex<bool>,
    /// Nothing more is heard.
    gone: AtomicBool,
}

/// Why a process failed, as the others are told.
#[derive(Debug, Serialize, Deserialize)]
pub struct Why {
    /// Which one failed first; `None`: the one that says so.
    process: Option<usize>,
    code: u8,
    text: String,
}

impl From<&Failure> for Why {
    fn from(failure: &Failure) -> Why {
        match failure {
            Failure::Elsewhere { process, code, text, .. } => {
                Why { process: Some(*process), code: *code, text: text.clone() }
            }
            own => Why { process: None, code: own.exit_code(), text: own.to_string() },
        }
    }
}

/// Why a message is not taken.
#[derive(Debug)]
pub enum Untaken {
    /// It is none that its sender could mean.
    Senseless,
    /// This process could not.
    Failed(Failure),
}

impl From<Failure> for Untaken {
    fn from(failure: Failure) -> Untaken {
        Untaken::Failed(failure)
    }
}

/// What is done in an exchange with what comes.
pub trait Hearing: Sync {
    /// Takes a message of a process on a channel. It may not wait for others.
    fn hear(&self, from: (usize, u32), message: Vec<u8>) -> Result<(), Untaken>;

    /// Whether to go on. Asked often.
    fn check(&self) -> Result<(), Failure>;

    /// From now on `check` fails. Returns why: the first failure counts.
    fn fail(&self, failure: Failure) -> Why;
}

/// How far the others are in an exchange.
pub struct Heard<'h> {
    by: &'h dyn Hearing,
    others: Mutex<Vec<Other>>,
    changed: Condvar,
}

#[derive(Clone, Copy)]
struct Other {
    is_ready: bool,
    is_done: bool,
}

impl<'h> Heard<'h> {
    fn new(by: &'h dyn Hearing, links: &[Option<Link>]) -> Heard<'h> {
        // Nobody waits for itself.
        let other = |link: &Option<Link>| Other { is_ready: link.is_none(), is_done: link.is_none() };
        Heard { by, others: Mutex::new(links.iter().map(other).collect()), changed: Condvar::new() }
    }

    /// Waits until a process is done with its work.
    pub fn until_done(&self, process: usize) -> Result<(), Failure> {
        self.until(|others| others[process].is_done)
    }

    fn until(&self, is_so: impl Fn(&[Other]) -> bool) -> Result<(), Failure> {
        let mut others = self.others();
        while !is_so(&others) {
            (others, _) = self.changed.wait_timeout(others, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner);
            self.by.check()?;
        }
        // What has failed is done, too.
        self.by.check()
    }

    fn note(&self, process: usize, is_done: bool) {
        self.others()[process] = Other { is_ready: true, is_done };
        self.changed.notify_all();
    }

    fn others(&self) -> MutexGuard<'_, Vec<Other>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Links {
    /// `peers`: a connection to each of the others.
    pub(super) fn new(
        options: Options,
        (hosts, secrets): (Vec<String>, Vec<String>),
        peers: Vec<Option<TcpStream>>,
    ) -> Result<Links, Failure> {
        #[cfg(target_os = "linux")]
        for peer in peers.iter().flatten() {
            let patient = SockRef::from(peer).set_tcp_user_timeout(Some(UNHEARD));
            patient.map_err(|e| Failure::Running(format!("linking processes: {e}")))?;
        }
        let link = |stream| Link { stream, whole: Mutex::new(true), gone: AtomicBool::new(false) };
        let links = peers.into_iter().map(|peer| peer.map(link)).collect();
        Ok(Links { options, hosts, secrets, links, over: AtomicBool::new(false) })
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn process(&self) -> usize {
        self.options.process
    }

    pub fn processes(&self) -> usize {
        self.links.len()
    }

    /// The numbers of the others.
    pub fn others(&self) -> impl Iterator<Item = usize> {
        self.pairs().map(|(process, _)| process)
    }

    /// A process as messages name it.
    pub fn name(&self, process: usize) -> String {
        format!("{} (process {process})", self.hosts[process])
    }

    /// Does `work`, which may send, while what the others send is heard; and waits until all are done with theirs. `None`: it has failed,
    /// or another one has.
    pub fn exchange<T>(&self, by: &dyn Hearing, work: impl FnOnce(&Heard) -> Result<T, Failure>) -> Option<T> {
        let heard = Heard::new(by, &self.links);
        std::thread::scope(|scope| {
            for (from, link) in self.pairs() {
                let heard = &heard;
                scope.spawn(move || {
                    if let Err(failure) = guarded(|| self.listen((from, link), heard)) {
                        by.fail(failure);
                        link.gone.store(true, Ordering::Relaxed);
                    }
                    heard.note(from, true);
                });
            }
            match self.go_through(&heard, work) {
                Ok(done) => Some(done),
                Err(failure) => {
                    let mut why = by.fail(failure);
                    why.text = mask(&why.text, &self.secrets);
                    self.over.store(true, Ordering::Relaxed);
                    let message = serde_json::to_vec(&why).expect("it is plain data");
                    // Whoever does not hear it sees the connection close.
                    self.pairs().for_each(|(_, link)| drop(self.write(link, (FAILED, 0), &message)));
                    None
                }
            }
        })
    }

    fn go_through<T>(&self, heard: &Heard, work: impl FnOnce(&Heard) -> Result<T, Failure>) -> Result<T, Failure> {
        self.tell_all(READY)?;
        heard.until(|others| others.iter().all(|other| other.is_ready))?;
        let done = work(heard)?;
        self.tell_all(END)?;
        heard.until(|others| others.iter().all(|other| other.is_done))?;
        Ok(done)
    }

    /// Hears one of the others, until it is done.
    fn listen(&self, (from, link): (usize, &Link), heard: &Heard) -> Result<(), Failure> {
        let mut connection = self.patient(link);
        let mut is_heard = true;
        loop {
            let (kind, channel, message) = match read(&mut connection) {
                Ok(read) => read,
                // This process has failed, and why is known.
                Err(_) if self.over.load(Ordering::Relaxed) => return Ok(()),
                Err(e) => return Err(self.lost(from, &e)),
            };
            match kind {
                READY => heard.note(from, false),
                DATA if is_heard => {
                    if let Err(untaken) = heard.by.hear((from, channel), message) {
                        heard.by.fail(match untaken {
                            Untaken::Senseless => self.senseless(from),
                            Untaken::Failed(failure) => failure,
                        });
                        // The rest is of no use, but the other one must come to its own end.
                        is_heard = false;
                    }
                }
                DATA => {}
                END => return Ok(()),
                FAILED => return Err(self.elsewhere(from, &message)),
                _ => return Err(self.senseless(from)),
            }
        }
    }

    /// Sends a message to one of the others.
    pub fn send(&self, to: usize, channel: u32, message: &[u8]) -> Result<(), Failure> {
        let Some(link) = &self.links[to] else { return Ok(()) };
        self.write(link, (DATA, channel), message).map_err(|e| self.unsent((to, link), &e))
    }

    fn tell_all(&self, kind: u8) -> Result<(), Failure> {
        self.pairs()
            .try_for_each(|(to, link)| self.write(link, (kind, 0), &[]).map_err(|e| self.unsent((to, link), &e)))
    }

    fn write(&self, link: &Link, (kind, channel): (u8, u32), message: &[u8]) -> io::Result<()> {
        let length = u32::try_from(message.len()).map_err(|_| io::Error::other("a message of more than 4 GiB"))?;
        let mut head = [kind; HEAD_BYTES];
        head[1..5].copy_from_slice(&channel.to_le_bytes());
        head[5..].copy_from_slice(&length.to_le_bytes());
        let mut whole = link.whole.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *whole, false) {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut connection = self.patient(link);
        connection.write_all(&head).and_then(|()| connection.write_all(message))?;
        *whole = true;
        Ok(())
    }

    fn patient<'s>(&'s self, link: &'s Link) -> Patient<'s> {
        let mut patient = Patient::new(&link.stream, None, &self.over);
        patient.grace = LAST_MESSAGE;
        patient
    }

    /// What could not be sent: mostly the other one is gone, and has said why.
    fn unsent(&self, (to, link): (usize, &Link), e: &io::Error) -> Failure {
        let since = Instant::now();
        while !link.gone.load(Ordering::Relaxed) && since.elapsed() < LAST_WORD {
            std::thread::sleep(LOOK_EVERY / 10);
        }
        self.lost(to, e)
    }

    fn lost(&self, process: usize, e: &io::Error) -> Failure {
        use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let why = match e.kind() {
            UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe => "it closed the connection".to_owned(),
            _ => e.to_string(),
        };
        Failure::Running(format!("lost {}: {why}", self.name(process)))
    }

    fn senseless(&self, from: usize) -> Failure {
        Failure::Running(format!("what {} said makes no sense", self.name(from)))
    }

    fn elsewhere(&self, from: usize, message: &[u8]) -> Failure {
        let Ok(Why { process, code, text }) = serde_json::from_slice(message) else {
            return Failure::Running(format!("{} failed, and why makes no sense", self.name(from)));
        };
        let process = process.filter(|process| *process < self.hosts.len()).unwrap_or(from);
        // Whatever it says, it has failed.
        Failure::Elsewhere { process, host: self.hosts[process].clone(), code: code.max(1), text }
    }

    fn pairs(&self) -> impl Iterator<Item = (usize, &Link)> {
        self.links.iter().enumerate().filter_map(|(process, link)| Some((process, link.as_ref()?)))
    }
}

/// What it is, its channel and the rest.
fn read(from: &mut impl Read) -> io::Result<(u8, u32, Vec<u8>)> {
    let mut head = [0; HEAD_BYTES];
    from.read_exact(&mut head)?;
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let length = number(5) as usize;
    let mut message = Vec::with_capacity(length.min(BELIEVED_BYTES));
    if from.take(length as u64).read_to_end(&mut message)? < length {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok((head[0], number(1), message))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Two processes of this one.
    fn pair() -> [Links; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (other, _) = listener.accept().unwrap();
        let told = || (vec!["a:1".to_owned(), "b:2".to_owned()], vec!["hunter2".to_owned()]);
        let options = |process| Options { process, processes: 2, ..Options::alone(1) };
        [
            Links::new(options(0), told(), vec![None, Some(one)]).unwrap(),
            Links::new(options(1), told(), vec![Some(other), None]).unwrap(),
        ]
    }

    /// Keeps what it hears, and refuses a channel.
    #[derive(Default)]
    struct Ear {
        heard: Mutex<Vec<(u32, Vec<u8>)>>,
        failed: Mutex<Option<Failure>>,
    }

    const REFUSED: u32 = 13;
    const SENSELESS: u32 = 14;

    impl Ear {
        fn why(&self) -> String {
            self.failed.lock().unwrap().as_ref().map_or_else(String::new, Failure::to_string)
        }
    }

    impl Hearing for Ear {
        fn hear(&self, (_, channel): (usize, u32), message: Vec<u8>) -> Result<(), Untaken> {
            match channel {
                REFUSED => return Err(Failure::Refused("it is not wanted".to_owned()).into()),
                SENSELESS => return Err(Untaken::Senseless),
                _ => {}
            }
            self.heard.lock().unwrap().push((channel, message));
            Ok(())
        }

        fn check(&self) -> Result<(), Failure> {
            match &*self.failed.lock().unwrap() {
                Some(_) => Err(Failure::Running("stopped".to_owned())),
                None => Ok(()),
            }
        }

        fn fail(&self, failure: Failure) -> Why {
            Why::from(&*self.failed.lock().unwrap().get_or_insert(failure))
        }
    }

    /// What one of them does.
    type Does<'a> = &'a (dyn Fn(&Links, &Heard) -> Result<(), Failure> + Sync);

    /// What one has heard, and why it failed.
    type Outcome = (Vec<(u32, Vec<u8>)>, String);

    fn exchange([one, other]: &[Links; 2], works: [Does; 2]) -> [Outcome; 2] {
        let go = |links: &Links, work: Does| {
            let ear = Ear::default();
            let done = links.exchange(&ear, |heard| work(links, heard));
            assert_eq!(done.is_none(), !ear.why().is_empty(), "{}", ear.why());
            (ear.heard.lock().unwrap().clone(), ear.why())
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(|| go(other, works[1]));
            [go(one, works[0]), other.join().unwrap()]
        })
    }

    #[test]
    fn what_is_sent_is_heard_before_an_exchange_ends() {
        let links = pair();
        let long = vec![7; 3 << 20];
        let sends = |links: &Links, _: &Heard| {
            let to = 1 - links.process();
            links.send(to, 4, &[links.process() as u8])?;
            links.send(to, 5, &long)
        };
        let waits = |links: &Links, heard: &Heard| {
            if links.process() == 1 { heard.until_done(0) } else { links.send(1, 0, &[]) }
        };
        for _ in 0..3 {
            let expected = |of: u8| (vec![(4, vec![of]), (5, long.clone())], String::new());
            assert_eq!(exchange(&links, [&sends, &sends]), [expected(1), expected(0)]);
            assert_eq!(exchange(&links, [&waits, &waits])[1], (vec![(0, vec![])], String::new()));
        }
    }

    #[test]
    fn a_failure_of_one_is_of_both() {
        let fails = |_: &Links, _: &Heard| Err(Failure::Usage("away".to_owned()));
        let waits = |_: &Links, heard: &Heard| heard.until_done(0);
        let told = exchange(&pair(), [&fails, &waits]).map(|(_, why)| why);
        assert_eq!(told, ["error: away", "error: a:1 (process 0) failed:\nerror: away"]);
        // Where what is sent is not wanted, its sender may be at anything.
        let sends = |links: &Links, _: &Heard| links.send(0, REFUSED, &[1]);
        let waits = |_: &Links, heard: &Heard| heard.until_done(1);
        let told = exchange(&pair(), [&waits, &sends]).map(|(_, why)| why);
        assert_eq!(told, ["refused: it is not wanted", "error: a:1 (process 0) failed:\nrefused: it is not wanted"]);
        let babbles = |links: &Links, _: &Heard| links.send(0, SENSELESS, &[1]);
        let told = exchange(&pair(), [&waits, &babbles]).map(|(_, why)| why);
        let senseless = "error: what b:2 (process 1) said makes no sense";
        assert_eq!(told, [senseless.to_owned(), format!("error: a:1 (process 0) failed:\n{senseless}")]);
    }

    #[test]
    fn no_secret_is_told_to_others() {
        let fails = |_: &Links, _: &Heard| Err(Failure::Running("redis://hunter2@host is away".to_owned()));
        let waits = |_: &Links, heard: &Heard| heard.until_done(0);
        let [_, told] = exchange(&pair(), [&fails, &waits]).map(|(_, why)| why);
        assert_eq!(told, "error: a:1 (process 0) failed:\nerror: redis://***@host is away");
    }

    #[test]
    fn one_that_is_gone_is_lost() {
        let [one, other] = pair();
        drop(other);
        let ear = Ear::default();
        assert!(one.exchange(&ear, |heard| heard.until_done(1)).is_none());
        assert_eq!(ear.why(), "error: lost b:2 (process 1): it closed the connection");
    }
}

//! Two processes make sure of each other: both know the secret, and both mean the same run of the same job.
//!
//! ```text
//! dialing                                        listening
//!   MAGIC, hello: a nonce, who I am   ------->
//!                                     <-------   MAGIC, hello
//!   HMAC of both hellos               ------->   wrong: the connection is closed
//!                                     <-------   HMAC of both hellos, in the other role; an answer
//!   "here"                            ------->
//! ```
//!
//! The secret itself never travels. A listener proves nothing to one who has not proved it first. What follows on the
//! connection is neither encrypted nor authenticated: the network between the processes must be trusted.

use std::io::{self, ErrorKind, Read, Write};

use serde::{Deserialize, Serialize};

use super::frame::{self, Patient};
use super::proof;

const MAGIC: &[u8; 8] = b"headwtr\n";
const PROTOCOL: u32 = 1;
/// A hello is a few hundred bytes.
const HELLO_BYTES_MAX: u32 = 64 << 10;

/// What a process says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Who {
    pub process: usize,
    pub processes: usize,
    pub workers: usize,
    /// Of the binary.
    pub version: String,
    pub job: String,
    /// Of the job file.
    pub fingerprint: String,
    /// What decides how the job runs, as typed.
    pub flags: String,
}

impl Who {
    /// Why `other` cannot be of the same run.
    pub fn refuses(&self, other: &Who) -> Option<String> {
        let of = |what: &str, theirs: &dyn std::fmt::Display, ours: &dyn std::fmt::Display| {
            Some(format!("it has {what} {theirs}, this process {ours}"))
        };
        if other.version != self.version {
            return of("version", &other.version, &self.version);
        }
        if other.job != self.job {
            return Some(format!("it runs another job: `{}`, this process `{}`", other.job, self.job));
        }
        if other.fingerprint != self.fingerprint {
            return Some(format!("it runs another job: its file of `{}` has another content", self.job));
        }
        if other.flags != self.flags {
            return of("the options", &format!("`{}`", other.flags), &format!("`{}`", self.flags));
        }
        if other.processes != self.processes {
            return of("--processes", &other.processes, &self.processes);
        }
        if other.workers != self.workers {
            return of("--workers", &other.workers, &self.workers);
        }
        None
    }
}

/// The end of a handshake that failed.
#[derive(Debug)]
pub enum Refused {
    /// It may be somebody else, or it may be better next time.
    ForNow(String),
    /// It is one of ours, but cannot be of this run.
    ForGood(String),
}

impl From<io::Error> for Refused {
    fn from(e: io::Error) -> Refused {
        Refused::ForNow(match e.kind() {
            ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
            _ => e.to_string(),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Hello {
    nonce: [u8; 32],
    who: Who,
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Welcome,
    No(String),
}

const DIALING: &[u8] = b"headwater dialing";
const LISTENING: &[u8] = b"headwater listening";
const HERE: &[u8] = b"here";

/// As the one who connects. `to`: the process that should be there.
pub fn dial(connection: &mut Patient, secret: &[u8], who: &Who, to: usize) -> Result<(), Refused> {
    let ours = say_hello(connection, who)?;
    let theirs = hear_hello(connection)?;
    frame::write(connection, &prove(secret, DIALING, &ours, &theirs))?;
    let unproved = |e: io::Error| match e.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => {
            Refused::ForNow("it closed the connection: is its HEADWATER_SECRET another one?".to_owned())
        }
        _ => e.into(),
    };
    let proof = frame::read(connection, 32).map_err(unproved)?;
    check(&proof, &prove(secret, LISTENING, &ours, &theirs))?;
    let them = parse(&theirs)?.who;
    if them.process != to {
        return Err(Refused::ForGood(format!("process {} is there: do the hosts files differ?", them.process)));
    }
    if let Some(why) = who.refuses(&them) {
        return Err(Refused::ForGood(why));
    }
    match serde_json::from_slice(&frame::read(connection, HELLO_BYTES_MAX)?) {
        Ok(Answer::Welcome) => Ok(frame::write(connection, HERE)?),
        Ok(Answer::No(why)) => Err(Refused::ForNow(why)),
        Err(_) => Err(Refused::ForNow("its answer makes no sense".to_owned())),
    }
}

/// As the one who is connected to. `admit`: whether there is room for a process. Returns which process it is.
pub fn listen(
    connection: &mut Patient,
    secret: &[u8],
    who: &Who,
    admit: impl FnOnce(usize) -> Result<(), String>,
) -> Result<usize, Refused> {
    let theirs = hear_hello(connection)?;
    let ours = say_hello(connection, who)?;
    let proof = frame::read(connection, 32)?;
    check(&proof, &prove(secret, DIALING, &theirs, &ours))?;
    frame::write(connection, &prove(secret, LISTENING, &theirs, &ours))?;
    let them = parse(&theirs)?.who;
    let admitted = match who.refuses(&them) {
        Some(why) => Err(why),
        None if them.process <= who.process || them.process >= who.processes => {
            Err(format!("process {} is not expected to connect: do the hosts files differ?", them.process))
        }
        None => admit(them.process),
    };
    let answer = admitted.clone().map_or_else(Answer::No, |()| Answer::Welcome);
    let answered = frame::write(connection, &serde_json::to_vec(&answer).expect("an answer is plain data"));
    // One that is refused may have found out by itself, and be gone.
    admitted.map_err(Refused::ForGood)?;
    answered?;
    if frame::read(connection, HERE.len() as u32)? != HERE {
        return Err(Refused::ForNow("it did not stay".to_owned()));
    }
    Ok(them.process)
}

fn say_hello(to: &mut Patient, who: &Who) -> io::Result<Vec<u8>> {
    let hello = Hello { nonce: rand::random(), who: who.clone() };
    let bytes = serde_json::to_vec(&hello).expect("a hello is plain data");
    to.write_all(MAGIC)?;
    to.write_all(&PROTOCOL.to_le_bytes())?;
    frame::write(to, &bytes)?;
    Ok(bytes)
}

fn hear_hello(from: &mut Patient) -> Result<Vec<u8>, Refused> {
    let mut magic = [0; MAGIC.len()];
    from.read_exact(&mut magic)?;
    if magic != *MAGIC {
        return Err(Refused::ForNow("it is no headwater process".to_owned()));
    }
    let mut protocol = [0; 4];
    from.read_exact(&mut protocol)?;
    match u32::from_le_bytes(protocol) {
        PROTOCOL => Ok(frame::read(from, HELLO_BYTES_MAX)?),
        other => Err(Refused::ForNow(format!("it is another version of headwater: protocol {other}, not {PROTOCOL}"))),
    }
}

fn parse(hello: &[u8]) -> Result<Hello, Refused> {
    serde_json::from_slice(hello).map_err(|_| Refused::ForNow("its hello makes no sense".to_owned()))
}

fn prove(secret: &[u8], role: &[u8], dialing: &[u8], listening: &[u8]) -> [u8; 32] {
    let length = (dialing.len() as u64).to_le_bytes();
    proof::hmac(secret, &[role, &length, dialing, listening])
}

fn check(proof: &[u8], expected: &[u8; 32]) -> Result<(), Refused> {
    match <&[u8; 32]>::try_from(proof) {
        Ok(proof) if proof::same(proof, expected) => Ok(()),
        _ => Err(Refused::ForNow("it does not know the secret (HEADWATER_SECRET)".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::AtomicBool;
    use std::time::{Duration, Instant};

    use super::*;

    fn who(process: usize) -> Who {
        Who {
            process,
            processes: 3,
            workers: 2,
            version: "1".to_owned(),
            job: "fraud".to_owned(),
            fingerprint: "ab".to_owned(),
            flags: "--fresh".to_owned(),
        }
    }

    /// What comes of it on both sides.
    fn shake(dialing: (&str, Who), listening: (&str, Who), room: bool) -> [String; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let told = |done: Result<String, Refused>| match done {
            Ok(text) => text,
            Err(Refused::ForNow(why)) => format!("now: {why}"),
            Err(Refused::ForGood(why)) => format!("good: {why}"),
        };
        let stop = AtomicBool::new(false);
        let deadline = Some(Instant::now() + Duration::from_secs(10));
        std::thread::scope(|scope| {
            let dialed = scope.spawn(|| {
                let stream = TcpStream::connect(address).unwrap();
                let mut connection = Patient::new(&stream, deadline, &stop);
                told(dial(&mut connection, dialing.0.as_bytes(), &dialing.1, 0).map(|()| "joined".to_owned()))
            });
            let (stream, _) = listener.accept().unwrap();
            let mut connection = Patient::new(&stream, deadline, &stop);
            let admit = |_| if room { Ok(()) } else { Err("taken".to_owned()) };
            let listened = listen(&mut connection, listening.0.as_bytes(), &listening.1, admit);
            drop(stream);
            [dialed.join().unwrap(), told(listened.map(|process| format!("process {process}")))]
        })
    }

    #[test]
    fn who_may_join() {
        let other = |change: fn(&mut Who)| {
            let mut who = who(1);
            change(&mut who);
            ("s", who)
        };
        let secret = "now: it closed the connection: is its HEADWATER_SECRET another one?";
        let cases = [
            (("s", who(2)), ["joined", "process 2"]),
            (("t", who(2)), [secret, "now: it does not know the secret (HEADWATER_SECRET)"]),
            (
                ("s", who(0)),
                [
                    "now: process 0 is not expected to connect: do the hosts files differ?",
                    "good: process 0 is not expected to connect: do the hosts files differ?",
                ],
            ),
            (
                other(|w| w.workers = 1),
                ["good: it has --workers 2, this process 1", "good: it has --workers 1, this process 2"],
            ),
            (
                other(|w| w.job = "b".into()),
                [
                    "good: it runs another job: `fraud`, this process `b`",
                    "good: it runs another job: `b`, this process `fraud`",
                ],
            ),
            (
                other(|w| w.fingerprint = "b".into()),
                ["good: it runs another job: its file of `fraud` has another content"; 2],
            ),
            (
                other(|w| w.flags = String::new()),
                [
                    "good: it has the options `--fresh`, this process ``",
                    "good: it has the options ``, this process `--fresh`",
                ],
            ),
            (
                other(|w| w.version = "2".into()),
                ["good: it has version 1, this process 2", "good: it has version 2, this process 1"],
            ),
        ];
        for (dialing, expected) in cases {
            assert_eq!(shake(dialing, ("s", who(0)), true), expected);
        }
        assert_eq!(shake(("s", who(1)), ("s", who(0)), false), ["now: taken", "good: taken"]);
        let elsewhere = "good: process 2 is there: do the hosts files differ?";
        assert_eq!(shake(("s", who(1)), ("s", who(2)), true)[0], elsewhere);
    }
}

//! A connection to Redis that can be lost and made again.

use std::time::Duration;

use redis::{Client, Cmd, Connection, ConnectionAddr, ErrorKind, FromRedisValue, IntoConnectionInfo, RedisError};
use redis::{Pipeline, RedisResult, ServerErrorKind, Value};

use super::wire::Commands;
use crate::{Error, Result};

const CONNECT_MAX: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(10);

pub(super) struct Link {
    client: Client,
    /// Where it leads, without user and password.
    shown: String,
    /// How it is called in `CLIENT LIST`.
    name: String,
    connection: Option<Connection>,
    known: Peer,
}

/// What is known of the connection and of the server behind it.
#[derive(Clone, Default)]
struct Peer {
    id: Option<String>,
    address: Option<String>,
    /// Another one: the server was started anew, or is another one.
    run: Option<String>,
}

impl Link {
    /// Reads the URL; connects when first used.
    ///
    /// # Errors
    /// `Config`: the URL makes no sense.
    pub fn open(url: &str, job: &str) -> Result<Link> {
        // The URL itself is not shown: it may hold a password.
        let info = url.into_connection_info().map_err(|e| Error::Config(format!("not a Redis URL: {e}")))?;
        let shown = match info.addr() {
            ConnectionAddr::Tcp(host, port) => format!("redis://{host}:{port}/{}", info.redis_settings().db()),
            ConnectionAddr::TcpTls { host, port, .. } => {
                format!("rediss://{host}:{port}/{}", info.redis_settings().db())
            }
            other => format!("redis at {other}"),
        };
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let client = Client::open(info.set_tcp_settings(tcp)).map_err(|e| Error::Config(format!("{shown}: {e}")))?;
        Ok(Link { client, shown, name: format!("headwater-{job}"), connection: None, known: Peer::default() })
    }

    pub fn shown(&self) -> &str {
        &self.shown
    }

    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Drops the connection: whatever is still under way on it is of no interest.
    pub fn drop_connection(&mut self) {
        self.connection = None;
    }

    /// Connects, if it is not. Returns whether the server was started anew since the last connection.
    pub fn connect(&mut self) -> RedisResult<bool> {
        if self.connection.is_some() {
            return Ok(false);
        }
        let mut connection = self.client.get_connection_with_timeout(CONNECT_MAX)?;
        connection.set_read_timeout(Some(ANSWER_MAX))?;
        connection.set_write_timeout(Some(ANSWER_MAX))?;
        let before = self.known.clone();
        self.known = introduce(&mut connection, &self.name)?;
        let anew = before.run.is_some() && before.run != self.known.run;
        // What is left of the last connection must not be carried out after what this one sends.
        if let (false, Some(id), Some(address)) = (anew, before.id, before.address) {
            allowed(
                redis::cmd("CLIENT").arg("KILL").arg("ID").arg(id).arg("ADDR").arg(address).query(&mut connection),
            )?;
        }
        self.connection = Some(connection);
        Ok(anew)
    }

    pub fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        command.query(self.connected()?)
    }

    pub fn pipeline<T: FromRedisValue>(&mut self, pipeline: &Pipeline) -> RedisResult<T> {
        pipeline.query(self.connected()?)
    }

    pub fn send(&mut self, commands: &Commands) -> RedisResult<()> {
        self.connected()?.send_packed_command(commands.bytes())
    }

    /// The answers to `count` commands; the first that is an error, once all are read.
    pub fn receive(&mut self, count: usize) -> RedisResult<Vec<Value>> {
        let connection = self.connected()?;
        let answers = (0..count).map(|_| connection.recv_response()).collect::<RedisResult<Vec<_>>>()?;
        answers.into_iter().map(Value::extract_error).collect()
    }

    fn connected(&mut self) -> RedisResult<&mut Connection> {
        self.connect()?;
        self.connection.as_mut().ok_or_else(|| (ErrorKind::Client, "not connected").into())
    }

    /// The error as a user sees it; a server that refuses the user or the command is the configuration's fault.
    pub fn error(&self, doing: &str, cause: &RedisError) -> Error {
        match cause.kind() {
            ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm) => {
                Error::Config(format!("{doing} {}: {cause}", self.shown))
            }
            _ if cause.code() == Some("NOAUTH") => {
                Error::Config(format!("{doing} {}: it asks for a password, and the URL has none", self.shown))
            }
            _ if is_away(cause) => Error::transient(format!("{doing} {}", self.shown), cause),
            _ => Error::world(format!("{doing} {}", self.shown), cause),
        }
    }
}

/// Whether waiting may help: the server is away, starting, out of memory or not the one that takes writes.
pub(super) fn is_away(cause: &RedisError) -> bool {
    match cause.kind() {
        ErrorKind::Io | ErrorKind::Parse => true,
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly,
        ) => true,
        _ => matches!(cause.code(), Some("OOM" | "MISCONF" | "BUSY" | "NOREPLICAS")),
    }
}

fn introduce(connection: &mut Connection, name: &str) -> RedisResult<Peer> {
    allowed(redis::cmd("CLIENT").arg("SETNAME").arg(name).query(connection))?;
    let client = allowed(redis::cmd("CLIENT").arg("INFO").query(connection))?.unwrap_or_default();
    let server = allowed(redis::cmd("INFO").arg("server").query(connection))?.unwrap_or_default();
    let word = |name: &str| client.split_whitespace().find_map(|w| w.strip_prefix(name)).map(String::from);
    Ok(Peer {
        id: word("id="),
        address: word("addr="),
        run: server.lines().find_map(|line| line.strip_prefix("run_id:")).map(|run| run.trim().into()),
    })
}

/// The answer to a command that a server may refuse or not know, without which all goes on.
fn allowed(answer: RedisResult<Value>) -> RedisResult<Option<String>> {
    match answer {
        Ok(value) => Ok(String::from_redis_value(value).ok()),
        Err(e) if is_away(&e) || e.code() == Some("NOAUTH") => Err(e),
        Err(_) => Ok(None),
    }
}

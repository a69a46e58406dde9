//! Answers of a Redis: what is read of them is rows, marks or an error.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use arrow::datatypes::DataType;
use headwater_clocks::Span;
use headwater_connectors::sink::redis::{RedisLookup, claim, marks};
use headwater_connectors::sink::{GroupShape, Lookup, RowWindows};
use headwater_operators::changes;

use super::Target;

/// What a connection asks first, and what it is told.
const INTRODUCED: &str = "+OK\r\n$20\r\nid=7 addr=127.0.0.1:1\r\n$12\r\nrun_id:0a1b2\r\n";
/// More answer nobody: an answer that has one ask again, as a cursor that does not end, would have it ask for ever.
const CONNECTIONS_MAX: usize = 6;

pub(super) struct Redis;

impl Target for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn samples(&self) -> Vec<Vec<u8>> {
        let answers = [
            // A generation; marks; `_as_of`; the keys of a scan and their hashes.
            ":7\r\n",
            "*2\r\n$16\r\n1767268800000000\r\n$-1\r\n",
            "$16\r\n1767268800000000\r\n",
            "*2\r\n$1\r\n0\r\n*2\r\n$10\r\nfuzz:f:c%3\r\n$9\r\nfuzz:f:c1\r\n*4\r\n$1\r\nn\r\n$1\r\n3\r\n$11\r\n_changed_at\r\n$1\r\n5\r\n*0\r\n",
            "*2\r\n$1\r\n0\r\n*1\r\n$12\r\nfuzz:w:c1:50\r\n*6\r\n$1\r\nn\r\n$1\r\n3\r\n$4\r\n_end\r\n$2\r\n60\r\n$11\r\n_changed_at\r\n$1\r\n5\r\n",
            "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
            "%1\r\n+a\r\n~2\r\n#t\r\n,1.5\r\n",
        ];
        answers.iter().map(|answer| [INTRODUCED, answer].concat().into_bytes()).collect()
    }

    fn words(&self) -> &'static [&'static str] {
        &[
            "\r\n",
            "*2\r\n",
            "*-1\r\n",
            "$-1\r\n",
            "$2147483647\r\n",
            "*2147483647\r\n",
            "*1\r\n*1\r\n*1\r\n",
            ":-9223372036854775808\r\n",
            "_changed_at",
            "-ERR ",
        ]
    }

    fn read(&self, input: &[u8]) {
        let column = |name: &str, data_type| (name.to_owned(), data_type);
        let group = |name: &str, windows: Option<RowWindows>| {
            let columns = [column("n", DataType::Int64), column("x", DataType::Float64)];
            let schema = changes::schema(&[column("card", DataType::Utf8)], windows.is_some(), &columns);
            GroupShape { name: name.into(), keys: 1, windows, schema }
        };
        let groups = [group("f", None), group("w", Some(RowWindows { retain: Span::from_us(1), size: None }))];
        asked(input, |url| drop(claim(url, "fuzz", Some(1))));
        asked(input, |url| drop(marks(url, "fuzz", "f")));
        let lookup = |url: &str| RedisLookup::open(url, "fuzz", &groups).unwrap();
        for group in 0..groups.len() {
            asked(input, |url| drop(lookup(url).as_of(group)));
            asked(input, |url| drop(lookup(url).get(group, "{\"card\":\"c1\"}", None)));
            asked(input, |url| drop(lookup(url).scan(group, &mut |_| Ok(()))));
        }
    }
}

/// Asks a server that answers every connection with the same bytes.
fn asked(answer: &[u8], ask: impl FnOnce(&str)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for connection in listener.incoming().take(CONNECTIONS_MAX) {
                let mut connection = connection.unwrap();
                let mut last = [0];
                // The one that ends this.
                if connection.peek(&mut last).is_ok_and(|read| read == 1 && last == [b'.']) {
                    return;
                }
                answer_with(&mut connection, answer);
            }
        });
        ask(&format!("redis://{address}"));
        // It may have left by itself.
        let _ = TcpStream::connect(address).and_then(|mut end| end.write_all(b"."));
    });
}

fn answer_with(connection: &mut TcpStream, answer: &[u8]) {
    // Whoever has gone wants no answer.
    let _ = connection.write_all(answer);
    let _ = connection.shutdown(Shutdown::Write);
    let _ = connection.set_read_timeout(Some(Duration::from_secs(1)));
    let _ = connection.read_to_end(&mut vec![]);
}

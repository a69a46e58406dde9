//! A schema registry of a test's own, which says what the test has told it, and what it was asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Inner {
    /// By path: a status and a body.
    answers: HashMap<String, (u16, String)>,
    asked: Vec<String>,
    authorization: Option<String>,
}

pub struct Registry {
    pub url: String,
    inner: Arc<Mutex<Inner>>,
}

impl Registry {
    /// One that lets in who says this `Authorization`, or all.
    pub fn start(authorization: Option<&str>) -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inner = Inner { authorization: authorization.map(str::to_owned), ..Inner::default() };
        let inner = Arc::new(Mutex::new(inner));
        let of_thread = inner.clone();
        std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| serve(stream, &of_thread)));
        Registry { url, inner }
    }

    /// A schema, by its id and as the newest of a subject. `kind`: `AVRO`, `PROTOBUF`, `JSON`.
    pub fn register(&self, id: u32, subject: &str, kind: &str, schema: &str) {
        let body = serde_json::json!({ "id": id, "schemaType": kind, "schema": schema }).to_string();
        self.answer(&format!("/schemas/ids/{id}"), 200, &body);
        self.answer(&format!("/subjects/{subject}/versions/latest"), 200, &body);
    }

    pub fn answer(&self, path: &str, status: u16, body: &str) {
        self.inner.lock().unwrap().answers.insert(path.to_owned(), (status, body.to_owned()));
    }

    /// How often it was asked for a path.
    pub fn asked(&self, path: &str) -> usize {
        self.inner.lock().unwrap().asked.iter().filter(|asked| *asked == path).count()
    }
}

fn serve(stream: TcpStream, inner: &Mutex<Inner>) {
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let path = lines.next().and_then(|line| line.split(' ').nth(1).map(str::to_owned)).unwrap_or_default();
    let given = lines.filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("authorization").then(|| value.to_owned())
    });
    let given = given.last();
    let mut inner = inner.lock().unwrap();
    let missing = (404, r#"{"error_code":40403,"message":"Schema not found"}"#.to_owned());
    let (status, body) = match &inner.authorization {
        Some(needed) if given.as_ref() != Some(needed) => (401, String::new()),
        _ => inner.answers.get(&path).cloned().unwrap_or(missing),
    };
    inner.asked.push(path);
    drop(inner);
    let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // Whoever has gone away has no use for it.
    let _ = reader.get_mut().write_all((head + &body).as_bytes());
}

//! A registry for tests: schemas by path, over HTTP, one connection at a time.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Answers by path: a status and a body.
pub(crate) type Answers = Arc<Mutex<HashMap<String, (u16, String)>>>;

pub(crate) struct Stub {
    pub url: String,
    answers: Answers,
    /// Each request's path and its `Authorization`.
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Stub {
    pub fn start() -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (answers, asked) = (Answers::default(), Arc::<Mutex<Vec<(String, String)>>>::default());
        let (of_thread, asked_of_thread) = (answers.clone(), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, &of_thread, &asked_of_thread);
            }
        });
        Stub { url, answers, asked }
    }

    pub fn answer(&self, path: &str, status: u16, body: &str) {
        self.answers.lock().unwrap().insert(path.to_owned(), (status, body.to_owned()));
    }

    /// A schema, as it is told of an id or a version.
    pub fn schema(&self, path: &str, schema: &str) {
        self.answer(path, 200, &serde_json::json!({ "schema": schema }).to_string());
    }

    pub fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, answers: &Answers, asked: &Mutex<Vec<(String, String)>>) {
    let mut reader = BufReader::new(stream);
    let (mut path, mut authorization) = (String::new(), String::new());
    loop {
        let mut line = String::new();
        if reader.by_ref().take(1 << 16).read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim_end();
        if path.is_empty() {
            path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        } else if let Some((_, value)) =
            line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))
        {
            authorization = value.to_owned();
        }
        if line.is_empty() {
            break;
        }
    }
    let missing = (404, r#"{"error_code":40403,"message":"Schema not found"}"#.to_owned());
    let (status, body) = answers.lock().unwrap().get(&path).cloned().unwrap_or(missing);
    asked.lock().unwrap().push((path, authorization));
    let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = reader.get_mut().write_all((head + &body).as_bytes());
}

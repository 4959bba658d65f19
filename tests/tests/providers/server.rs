//! A server that answers by script and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// What it was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    /// In lower case, as they came.
    pub headers: String,
    pub body: Value,
}

/// What it answers.
pub struct Reply {
    pub status: u16,
    /// Each with its line end.
    pub headers: String,
    pub body: Vec<u8>,
    /// Whether the connection stays open afterwards, without another byte.
    pub hangs: bool,
}

pub struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    open: Arc<AtomicUsize>,
}

/// Events of a completion that says these texts and ends.
pub fn completion(texts: &[&str]) -> String {
    let chunk = |delta: Value, reason: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
        format!("data: {}\n\n", json!({"object": "chat.completion.chunk", "choices": [choice]}))
    };
    let mut body: String = texts.iter().map(|text| chunk(json!({"content": text}), Value::Null)).collect();
    body += &chunk(json!({}), json!("stop"));
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}});
    body + &format!("data: {usage}\n\ndata: [DONE]\n\n")
}

impl Reply {
    pub fn stream(body: impl Into<String>) -> Self {
        Self {
            status: 200,
            headers: "content-type: text/event-stream\r\n".into(),
            body: body.into().into_bytes(),
            hangs: false,
        }
    }

    pub fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: "content-type: application/json\r\n".into(),
            body: body.to_string().into_bytes(),
            hangs: false,
        }
    }
}

impl Server {
    pub fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let (asked, open) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::<AtomicUsize>::default());
        let server = Self { port, asked: Arc::clone(&asked), open: Arc::clone(&open) };
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (asked, open, answer) = (Arc::clone(&asked), Arc::clone(&open), Arc::clone(&answer));
                thread::spawn(move || {
                    open.fetch_add(1, Ordering::SeqCst);
                    // A client may go away at any time.
                    let _ = serve(&stream, &asked, &*answer);
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/some/v1", self.port)
    }

    /// All that it was asked.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test panicked").clone()
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

fn serve(stream: &TcpStream, all: &Mutex<Vec<Asked>>, answer: &dyn Fn(&Asked) -> Reply) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut headers, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut line)?;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if header.trim().is_empty() {
            break;
        }
        let header = header.to_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        headers += &header;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let asked = Asked { path, headers, body: serde_json::from_slice(&body).unwrap_or_default() };
    all.lock().expect("no test panicked").push(asked.clone());
    let Reply { status, headers, body, hangs } = answer(&asked);
    let mut writer = stream;
    write!(writer, "HTTP/1.1 {status} x\r\nconnection: close\r\n{headers}\r\n")?;
    writer.write_all(&body)?;
    writer.flush()?;
    if hangs {
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        // Returns when the client has closed.
        let _ = reader.read(&mut [0; 1]);
    }
    Ok(())
}

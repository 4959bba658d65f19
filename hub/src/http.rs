//! As much of HTTP/1.1 as downloads speak.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;

/// Longest line of a request.
const MAX_LINE: u64 = 16 << 10;

/// A request, its body left aside.
#[derive(Debug)]
pub(crate) struct Head {
    pub method: String,
    pub target: String,
    headers: Vec<(String, String)>,
}

impl Head {
    /// The next request; `None` at the end.
    pub fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let Some(first) = line(reader)? else { return Ok(None) };
        let mut words = first.split(' ');
        let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or("/").to_owned());
        let mut headers = Vec::new();
        while let Some(line) = line(reader)?.filter(|line| !line.is_empty()) {
            if let Some((name, value)) = line.split_once(':') {
                headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        Ok(Some(Self { method, target, headers }))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// First and last byte asked for, of a file of so many.
    pub fn range(&self, size: u64) -> Option<(u64, u64)> {
        let (from, to) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        let last = to.parse().unwrap_or(u64::MAX).min(size.saturating_sub(1));
        Some((from.parse().ok()?, last))
    }
}

fn line(reader: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    if io::Read::take(&mut *reader, MAX_LINE).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(line.trim_end().to_owned()))
}

/// Sends the head of an answer.
pub(crate) fn head(stream: &mut TcpStream, status: u16, headers: &[(&str, String)], length: u64) -> io::Result<()> {
    let mut text = format!("HTTP/1.1 {status} {}\r\nContent-Length: {length}\r\n", reason(status));
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        302 => "Found",
        307 => "Temporary Redirect",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Error",
    }
}

//! Answers the requests of one connection.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fault::{Kind, Match, due};
use crate::http::{Head, head};
use crate::repo::{Access, File, Repo};
use crate::{Request, Shared};

/// Bytes that are sent at a time.
const PIECE: usize = 64 << 10;

/// Serves a connection until it ends.
pub(crate) fn serve(stream: TcpStream, shared: &Shared, is_file_host: bool) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut answer = Answer { stream, shared, is_file_host };
    while let Some(request) = Head::read(&mut reader)? {
        if shared.has_ended() {
            return Ok(());
        }
        answer.to(&request)?;
    }
    Ok(())
}

struct Answer<'a> {
    stream: TcpStream,
    shared: &'a Shared,
    is_file_host: bool,
}

impl Answer<'_> {
    fn to(&mut self, request: &Head) -> io::Result<()> {
        let path = request.target.split('?').next().unwrap_or_default().to_owned();
        let parts: Vec<String> = path.split('/').skip(1).map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts[..] {
            _ if self.is_file_host => self.stored(request, &parts),
            ["api", "models", org, name] => self.described(request, &format!("{org}/{name}"), "main", Repo::info),
            ["api", "models", org, name, "revision", revision] => {
                self.described(request, &format!("{org}/{name}"), revision, Repo::info)
            }
            ["api", "models", org, name, "tree", revision] => {
                self.described(request, &format!("{org}/{name}"), revision, Repo::tree)
            }
            [org, name, "resolve", revision, path] => self.resolve(request, &format!("{org}/{name}"), revision, path),
            _ => self.refuse(request, 404, "", "Not Found"),
        }
    }

    fn described(&mut self, request: &Head, id: &str, revision: &str, describe: fn(&Repo) -> Value) -> io::Result<()> {
        if let Some(fault) = self.due(&Match::Info) {
            return self.broken(request, &fault);
        }
        let repo = match self.repo(request, id, revision) {
            Ok(repo) => repo,
            Err(refusal) => return self.refused(request, &refusal),
        };
        let text = describe(&repo).to_string();
        self.note(request, 200);
        let json = [("Content-Type", "application/json".to_owned())];
        head(&mut self.stream, 200, &json, text.len() as u64)?;
        self.stream.write_all(text.as_bytes())
    }

    fn resolve(&mut self, request: &Head, id: &str, revision: &str, path: &str) -> io::Result<()> {
        if let Some(fault) = self.due(&Match::Resolve(path.into())) {
            return self.broken(request, &fault);
        }
        let repo = match self.repo(request, id, revision) {
            Ok(repo) => repo,
            Err(refusal) => return self.refused(request, &refusal),
        };
        if let Access::Gated(token) = &repo.access
            && !has_token(request, token)
        {
            let status = if request.header("authorization").is_some() { 403 } else { 401 };
            let words = format!("Access to model {id} is restricted. You must have access to it and be authenticated.");
            return self.refuse(request, status, "GatedRepo", &words);
        }
        let Some(file) = repo.files.iter().find(|file| file.path == path) else {
            return self.refuse(request, 404, "EntryNotFound", "Entry not found");
        };
        let mut headers = vec![
            ("X-Repo-Commit", repo.commit.clone()),
            ("Accept-Ranges", "bytes".into()),
            ("ETag", format!("\"{}\"", file.hash)),
        ];
        if !file.is_large {
            return self.send(request, file, &headers);
        }
        headers.push(("X-Linked-Size", file.content.size().to_string()));
        headers.push(("X-Linked-Etag", format!("\"{}\"", file.hash)));
        let place = format!("http://{}/{id}/{}/{path}?signature=s", self.shared.files, repo.commit);
        headers.push(("Location", place));
        self.note(request, 302);
        head(&mut self.stream, 302, &headers, 0)
    }

    /// A file on its own host, which must see no token.
    fn stored(&mut self, request: &Head, parts: &[&str]) -> io::Result<()> {
        if request.header("authorization").is_some() {
            return self.refuse(request, 400, "", "Only one auth mechanism allowed");
        }
        let [org, name, commit, path] = parts else { return self.refuse(request, 404, "", "Not Found") };
        let repo = self
            .shared
            .state()
            .repos
            .iter()
            .find(|it| it.id == format!("{org}/{name}") && it.commit == *commit)
            .cloned();
        match repo.as_ref().and_then(|repo| repo.files.iter().find(|file| file.path == *path)) {
            Some(file) => self.send(request, file, &[("ETag", format!("\"{}\"", file.hash))]),
            None => self.refuse(request, 404, "", "Not Found"),
        }
    }

    /// Sends a file or a range of it, as wrong as is due.
    fn send(&mut self, request: &Head, file: &File, headers: &[(&str, String)]) -> io::Result<()> {
        let fault = self.due(&Match::File(file.path.clone()));
        if let Some(fault @ Kind::Status(..)) = &fault {
            return self.broken(request, fault);
        }
        let size = file.content.size();
        let range = request.range(size).filter(|_| !matches!(fault, Some(Kind::IgnoreRanges)));
        if let Some((from, _)) = range.filter(|(from, _)| *from >= size && size > 0) {
            return self.refuse(request, 416, "", &format!("{from} is behind the end"));
        }
        let mut headers = headers.to_vec();
        let (from, to) = range.map_or((0, size), |(from, last)| (from, last + 1));
        if range.is_some() {
            let off = u64::from(matches!(fault, Some(Kind::WrongRange)));
            headers.push(("Content-Range", format!("bytes {}-{}/{size}", from + off, to - 1 + off)));
        }
        let status = if range.is_some() { 206 } else { 200 };
        self.note(request, status);
        head(&mut self.stream, status, &headers, to - from)?;
        if request.method == "HEAD" {
            return Ok(());
        }
        let end = match fault {
            Some(Kind::Drop(after) | Kind::Stall(after)) => to.min(from + after),
            Some(Kind::Short(less)) => to.saturating_sub(less).max(from),
            _ => to,
        };
        let wrong = if let Some(Kind::WrongByte(at)) = fault { Some(at) } else { None };
        self.body(file, from, end, wrong)?;
        if let Some(Kind::Stall(_)) = fault {
            self.stall(&Match::File(file.path.clone()));
        }
        if end < to { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    fn body(&mut self, file: &File, from: u64, to: u64, wrong: Option<u64>) -> io::Result<()> {
        let rate = self.shared.state().rate;
        let begin = Instant::now();
        let mut buffer = vec![0; PIECE];
        let mut at = from;
        while at < to {
            let piece = &mut buffer[..PIECE.min((to - at) as usize)];
            file.content.read(at, piece);
            if let Some(place) = wrong.and_then(|wrong| wrong.checked_sub(at)).filter(|it| (*it as usize) < piece.len())
            {
                piece[place as usize] ^= 1;
            }
            self.stream.write_all(piece)?;
            at += piece.len() as u64;
            self.shared.count(&file.path, piece.len() as u64);
            if let Some(rate) = rate {
                let due = Duration::from_secs_f64((at - from) as f64 / rate as f64);
                thread::sleep(due.saturating_sub(begin.elapsed()));
            }
            if self.shared.has_ended() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
        Ok(())
    }

    fn due(&self, on: &Match) -> Option<Kind> {
        due(&mut self.shared.state().faults, on)
    }

    /// Waits until the hub is healed or ends.
    fn stall(&self, on: &Match) {
        while !self.shared.has_ended() && self.shared.state().faults.iter().any(|fault| fault.on == *on) {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn broken(&mut self, request: &Head, fault: &Kind) -> io::Result<()> {
        let Kind::Status(status, retry_after) = fault else { return Err(io::ErrorKind::ConnectionAborted.into()) };
        self.note(request, *status);
        let headers: Vec<_> = retry_after.iter().map(|value| ("Retry-After", value.clone())).collect();
        head(&mut self.stream, *status, &headers, 0)
    }

    /// The repository at a revision, if it may be seen.
    fn repo(&self, request: &Head, id: &str, revision: &str) -> Result<Repo, Refusal> {
        let state = self.shared.state();
        let found: Vec<&Repo> = state.repos.iter().filter(|repo| repo.id == id).collect();
        let hidden = |repo: &&Repo| matches!(&repo.access, Access::Private(token) if !has_token(request, token));
        let Some(latest) = found.last().filter(|repo| !hidden(repo)) else {
            return Err(Refusal::Status(401, "RepoNotFound", "Repository not found".into()));
        };
        if let Some(renamed) = &latest.renamed_to {
            return Err(Refusal::Moved(request.target.replacen(id, renamed, 1)));
        }
        let at = found.iter().rev().find(|repo| revision == "main" || repo.commit == revision);
        let unknown = || Refusal::Status(404, "RevisionNotFound", format!("Invalid rev id: {revision}"));
        at.map(|repo| (*repo).clone()).ok_or_else(unknown)
    }

    fn refused(&mut self, request: &Head, refusal: &Refusal) -> io::Result<()> {
        match refusal {
            Refusal::Status(status, code, words) => self.refuse(request, *status, code, words),
            Refusal::Moved(target) => {
                self.note(request, 307);
                head(&mut self.stream, 307, &[("Location", target.clone())], 0)
            }
        }
    }

    fn refuse(&mut self, request: &Head, status: u16, code: &str, words: &str) -> io::Result<()> {
        self.note(request, status);
        let text = json!({ "error": words }).to_string();
        let mut headers = vec![("Content-Type", "application/json".to_owned()), ("X-Error-Message", words.to_owned())];
        if !code.is_empty() {
            headers.push(("X-Error-Code", code.to_owned()));
        }
        head(&mut self.stream, status, &headers, text.len() as u64)?;
        if request.method == "HEAD" { Ok(()) } else { self.stream.write_all(text.as_bytes()) }
    }

    fn note(&self, request: &Head, status: u16) {
        self.shared.state().requests.push(Request {
            method: request.method.clone(),
            target: request.target.clone(),
            from: request.range(u64::MAX).map(|(from, _)| from),
            is_file_host: self.is_file_host,
            has_token: request.header("authorization").is_some(),
            status,
        });
    }
}

enum Refusal {
    Status(u16, &'static str, String),
    Moved(String),
}

impl Shared {
    fn count(&self, path: &str, bytes: u64) {
        let sent = &mut self.state().sent;
        match sent.iter_mut().find(|(name, _)| name == path) {
            Some((_, sum)) => *sum += bytes,
            None => sent.push((path.to_owned(), bytes)),
        }
    }
}

fn has_token(request: &Head, token: &str) -> bool {
    request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")) == Some(token)
}

/// A part of a path without `%2F` and its like.
fn decoded(part: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = part.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        let escaped = hex.filter(|_| *first == b'%');
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

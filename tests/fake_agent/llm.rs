//! Asks a server with OpenAI's chat completions, on a thread of its own. Knows HTTP/1.1 as far as
//! one request needs it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

/// An answer takes no longer, and is no larger.
const LIMIT: Duration = Duration::from_secs(300);
const MAX: u64 = 64 << 20;

/// A question that is under way.
#[derive(Debug)]
pub struct Asked {
    answer: Receiver<String>,
    /// Readable once the answer is there.
    done: UnixStream,
}

impl Asked {
    pub fn start(server: &str, prompt: &str) -> io::Result<Self> {
        let (done, other) = UnixStream::pair()?;
        let (send, answer) = channel();
        let (server, prompt) = (server.to_owned(), prompt.to_owned());
        std::thread::Builder::new().spawn(move || {
            let said = ask(&server, &prompt).unwrap_or_else(|e| format!("API Error: {e}"));
            let _ = send.send(said); // nobody listens after an interrupt
            drop(other);
        })?;
        Ok(Asked { answer, done })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.done.as_fd()
    }

    pub fn answer(&self) -> Option<String> {
        self.answer.try_recv().ok()
    }
}

fn ask(server: &str, prompt: &str) -> io::Result<String> {
    let body = json!({
        "model": "fake", "stream": false, "messages": [{"role": "user", "content": prompt}],
    });
    let body = body.to_string();
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    write!(
        stream,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {server}\r\nAuthorization: Bearer dummy\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.take(MAX).read_to_end(&mut answer)?;
    said(&answer).ok_or_else(|| io::Error::other("no answer that can be read"))
}

/// The text in a response, whose body is as long as its length says or lasts to the end.
fn said(response: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(response).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    if !head.lines().next()?.contains(" 200") {
        return Some(format!("API Error: {}", head.lines().next()?));
    }
    let length = head
        .lines()
        .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let body = body.get(..length.unwrap_or(body.len()))?;
    let answer: Value = serde_json::from_str(body).ok()?;
    Some(answer["choices"][0]["message"]["content"].as_str()?.to_owned())
}

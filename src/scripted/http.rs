//! The little HTTP that the scripted model needs: reading requests, writing answers whole or in chunks.
//!
//! It never reads past the request it was asked for.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail};

/// A head longer than this is no request of Codex (it sends about 1 kB).
const LONGEST_HEAD: usize = 64 * 1024;
/// Codex stops at about a million characters of prompt; four bytes each and room for escapes.
const LONGEST_BODY: usize = 64 * 1024 * 1024;

/// A request whose last byte may still lie unread in the socket.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Whether the last byte was only looked at. A socket closed with an unread byte resets the connection, which is
    /// the one way to reset it without unsafe code.
    pending: bool,
}

impl Request {
    /// Takes the last byte, so that the connection can end or go on in the ordinary way.
    pub(super) fn finish(mut self, stream: &TcpStream) -> Result<()> {
        if std::mem::take(&mut self.pending) {
            read_byte(stream)?;
        }
        Ok(())
    }
}

/// Reads one request. `None` when the other side has closed the connection between two requests.
///
/// Returns an error for what is not HTTP/1, or when the connection breaks.
pub(super) fn read(stream: &TcpStream) -> Result<Option<Request>> {
    let mut head = Vec::with_capacity(1024);
    // Byte by byte: whatever follows the head must stay in the socket.
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        let mut reader = stream;
        if reader.read(&mut byte)? == 0 {
            if head.is_empty() {
                return Ok(None);
            }
            bail!("the connection ended within a request's head");
        }
        head.push(byte[0]);
        // Another protocol, TLS above all, would be waited out for ever: it never sends the end of a head.
        if head.len() == 1 && !byte[0].is_ascii_graphic() {
            bail!("this is not HTTP");
        }
        if head.len() > LONGEST_HEAD {
            bail!("a request's head is longer than {LONGEST_HEAD} bytes");
        }
    }
    let (method, target, headers) = parse_head(&head)?;
    let value = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    if value("expect").is_some_and(|expect| expect.eq_ignore_ascii_case("100-continue")) {
        let mut writer = stream;
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let (body, pending) =
        if value("transfer-encoding").is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked")) {
            (read_chunks(stream)?, true)
        } else {
            let length = value("content-length").unwrap_or("0");
            read_length(stream, length.trim().parse().with_context(|| format!("content-length {length:?}"))?)?
        };
    Ok(Some(Request { method, target, headers, body, pending }))
}

type Head = (String, String, Vec<(String, String)>);

fn parse_head(head: &[u8]) -> Result<Head> {
    let mut space = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut space);
    if parsed.parse(head).context("parse a request's head")?.is_partial() {
        bail!("a request's head is not complete");
    }
    let headers = parsed
        .headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned()))
        .collect();
    Ok((parsed.method.unwrap_or_default().to_owned(), parsed.path.unwrap_or_default().to_owned(), headers))
}

/// Reads a body of known length; its last byte is only looked at.
fn read_length(stream: &TcpStream, length: usize) -> Result<(Vec<u8>, bool)> {
    if length > LONGEST_BODY {
        bail!("a body of {length} bytes is longer than {LONGEST_BODY}");
    }
    let mut body = vec![0; length];
    let Some((last, start)) = body.split_last_mut() else { return Ok((body, false)) };
    let mut reader = stream;
    reader.read_exact(start)?;
    *last = peek_byte(stream)?;
    Ok((body, true))
}

/// Reads a chunked body and its trailers; the last byte of all is only looked at.
fn read_chunks(stream: &TcpStream) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    let mut reader = stream;
    loop {
        let line = read_line(stream)?;
        let Ok(httparse::Status::Complete((_, size))) = httparse::parse_chunk_size(&line) else {
            bail!("a chunk has no size");
        };
        if size == 0 {
            break;
        }
        let start = body.len();
        let size = usize::try_from(size).ok().filter(|size| start + size <= LONGEST_BODY);
        let Some(size) = size else { bail!("a chunked body is longer than {LONGEST_BODY} bytes") };
        body.resize(start + size, 0);
        reader.read_exact(&mut body[start..])?;
        read_line(stream)?;
    }
    loop {
        if read_byte(stream)? == b'\r' {
            peek_byte(stream)?;
            return Ok(body);
        }
        read_line(stream)?;
    }
}

/// Reads up to and with the next line feed.
fn read_line(stream: &TcpStream) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(read_byte(stream)?);
        if line.len() > LONGEST_HEAD {
            bail!("a line of a chunked body is longer than {LONGEST_HEAD} bytes");
        }
    }
    Ok(line)
}

fn read_byte(stream: &TcpStream) -> Result<u8> {
    let mut byte = [0];
    let mut reader = stream;
    reader.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn peek_byte(stream: &TcpStream) -> Result<u8> {
    let mut byte = [0];
    if stream.peek(&mut byte)? == 0 {
        bail!("the connection ended within a request's body");
    }
    Ok(byte[0])
}

/// Writes a whole answer.
pub(super) fn write<N: AsRef<str>, V: AsRef<str>>(
    mut stream: &TcpStream,
    status: u16,
    headers: &[(N, V)],
    body: &str,
) -> Result<()> {
    let mut text = format!("HTTP/1.1 {status} {}\r\ncontent-length: {}\r\n", reason(status), body.len());
    for (name, value) in headers {
        let _ = write!(text, "{}: {}\r\n", name.as_ref(), value.as_ref());
    }
    text.push_str("\r\n");
    text.push_str(body);
    stream.write_all(text.as_bytes())?;
    Ok(())
}

/// Begins an answer that is sent in chunks.
pub(super) fn begin_stream(mut stream: &TcpStream) -> Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n",
    )?;
    Ok(())
}

/// Sends one chunk; an empty one ends the answer.
pub(super) fn chunk(mut stream: &TcpStream, text: &str) -> Result<()> {
    stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())?;
    Ok(())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        402 => "Payment Required",
        413 => "Payload Too Large",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

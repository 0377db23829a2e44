//! The little HTTP that the tools need: one request to a loopback address, one answer, closed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

const TIMEOUT: Duration = Duration::from_secs(20);
/// More of an answer is not read.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// A server on this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
}

/// A status and a body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Target {
    /// Reads `http://127.0.0.1:PORT`; requests go to this machine only.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let rest = url
            .strip_prefix("http://")
            .context("the url starts with http://")?;
        let rest = rest.trim_end_matches('/').replace("localhost", "127.0.0.1");
        let address: SocketAddr = rest
            .parse()
            .with_context(|| format!("{url} has no address and port"))?;
        ensure!(address.ip().is_loopback(), "{url} is not on this machine");
        Ok(Target { address })
    }

    /// One request; a body is sent as JSON.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Result<Answer> {
        let mut stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.address
        );
        if !body.is_empty() {
            request += &format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            );
        }
        request += "\r\n";
        request += body;
        stream.write_all(request.as_bytes())?;
        let mut bytes = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes)?;
        parse(&bytes).with_context(|| format!("{method} {path}"))
    }
}

fn parse(bytes: &[u8]) -> Result<Answer> {
    let end = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .context("no end of head")?;
    let head = std::str::from_utf8(&bytes[..end])?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    let is_chunked = head.lines().any(|line| {
        let line = line.to_ascii_lowercase();
        line.starts_with("transfer-encoding:") && line.contains("chunked")
    });
    let body = &bytes[end + 4..];
    let body = if is_chunked {
        unchunk(body).context("chunks")?
    } else {
        body.to_vec()
    };
    Ok(Answer { status, body })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = rest.windows(2).position(|two| two == b"\r\n")?;
        let line = std::str::from_utf8(&rest[..line_end]).ok()?;
        let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        rest = &rest[line_end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &str, expect: &str) {
        let text = match parse(answer.as_bytes()) {
            Ok(answer) => format!(
                "{} {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            ),
            Err(error) => error.to_string(),
        };
        assert_eq!(text, expect);
    }

    #[test]
    fn answers() {
        check("HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n{}", "404 {}");
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
            "200 abcde",
        );
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nabc\r\n",
            "chunks",
        );
        check("nonsense", "no end of head");
    }
}

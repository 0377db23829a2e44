//! The end of the server, whoever dawdles; and other manners of its connections.

use std::io::{BufRead, BufReader, Read, Write};

use crate::process::Process;

#[test]
fn nobody_keeps_the_server_from_stopping() {
    let mut process = Process::start();
    let beginnings = [
        "GET /_matrix/client/versions HTTP/1.1\r\nHo",
        "POST /_matrix/client/v3/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ];
    let streams = beginnings.map(|beginning| {
        let mut stream = process.connect();
        stream.write_all(beginning.as_bytes()).unwrap();
        stream
    });
    // They were accepted before this one.
    process.send("GET", "/health", &[], "");
    process.signal("TERM");
    let status = process.wait();
    drop(streams);
    let log = process.log();
    assert!(status.success(), "{status}: {log}");
    assert!(log.contains("stopped"), "{log}");
    assert!(!log.contains("did not end in time"), "{log}");
}

#[test]
fn without_certificates_a_terminal_that_closes_ends_it_orderly() {
    let mut process = Process::start();
    process.signal("HUP");
    let status = process.wait();
    let log = process.log();
    assert!(status.success(), "{status}: {log}");
    assert!(log.contains("stopped"), "{log}");
}

/// Whatever is done is not answered as if it were not.
#[test]
fn no_coding_is_refused_so_that_the_answer_is() {
    let process = Process::start();
    for codings in [
        "identity;q=0",
        "*;q=0",
        "br, *; q=0.000",
        "identity;q=0, *;q=0",
    ] {
        let headers = [("Accept-Encoding", codings)];
        let answer = process.send("GET", "/_matrix/client/versions", &headers, "");
        assert_eq!(answer.status, 200, "{codings}");
        assert!(answer.json()["versions"].is_array(), "{codings}");
    }
}

/// Who is refused reads it also if they are still sending, and goes on with the same connection.
#[test]
fn a_refusal_reaches_who_is_still_sending() {
    const BYTES: usize = 4 << 20;
    let process = Process::start();
    let mut stream = process.connect();
    let head = format!(
        "POST /_matrix/media/v3/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ended\r\n\
         Content-Length: {BYTES}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&vec![b'x'; BYTES]).unwrap();
    let mut answers = BufReader::new(stream);
    let mut answer = |expected: &str| {
        let (mut line, mut length) = (String::new(), 0);
        answers.read_line(&mut line).unwrap();
        assert!(line.starts_with(expected), "{line}");
        while line.trim_end() != "" {
            line.clear();
            answers.read_line(&mut line).unwrap();
            if let Some(bytes) = line.to_lowercase().strip_prefix("content-length:") {
                length = bytes.trim().parse().unwrap();
            }
        }
        answers.read_exact(&mut vec![0; length]).unwrap();
        let next = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
        answers.get_mut().write_all(next).unwrap();
    };
    answer("HTTP/1.1 401");
    answer("HTTP/1.1 200");
}

#[test]
fn an_empty_registration_token_is_none() {
    let process = Process::start_with("[registration]\nmode = \"token\"\ntoken = \"\"");
    let asked = process.send(
        "GET",
        "/_matrix/client/v1/register/m.login.registration_token/validity?token=",
        &[],
        "",
    );
    assert_eq!(asked.json()["valid"], false, "{asked:?}");
}

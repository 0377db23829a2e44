//! The end of the server, whoever dawdles.

use std::io::Write;

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

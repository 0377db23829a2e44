//! Starts the server on an empty folder, and speaks HTTP with it: one connection a request, as
//! PHP does.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const SERVER_NAME: &str = "moodle.test";

/// A running server; it ends with this value.
pub(crate) struct Process {
    child: Child,
    address: String,
    folder: TempDir,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The status and the error code.
    pub(crate) fn code(&self) -> String {
        let code = self.json()["errcode"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        format!("{} {code}", self.status).trim().to_owned()
    }
}

impl Process {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// Starts with these lines in the configuration beside the necessary ones.
    pub(crate) fn start_with(configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let file = folder.path().join("lyceum.toml");
        let text = format!(
            "server_name = \"{SERVER_NAME}\"\n{configuration}\n\
             [passwords]\nmemory_kib = 8\niterations = 1\n\
             [[listeners]]\nbind = \"{address}\"\n"
        );
        std::fs::write(&file, text).unwrap();
        let mut process = Self {
            child: spawn(folder.path()),
            address: address.to_string(),
            folder,
        };
        process.wait_until_ready();
        process
    }

    /// Kills it and starts it again on the same data.
    pub(crate) fn kill_and_start(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::fs::remove_file(self.folder.path().join("data/control.sock")).unwrap();
        self.child = spawn(self.folder.path());
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        // The commands' socket is the last thing that is opened.
        let socket = self.folder.path().join("data/control.sock");
        for _ in 0..6_000 {
            if UnixStream::connect(&socket).is_ok() {
                return;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "{}", self.log());
            std::thread::park_timeout(Duration::from_millis(5));
        }
        panic!("the server does not answer: {}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).unwrap()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Sends it this signal.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(sent.success(), "{name}: {sent}");
    }

    /// Runs another command of the program on the same data; what it prints.
    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_lyceum"))
            .args(arguments)
            .arg("--config")
            .arg(self.folder.path().join("lyceum.toml"))
            .arg("--data")
            .arg(self.folder.path().join("data"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Makes a user with the password `pass word` and logs in; the access token.
    pub(crate) fn user(&self, name: &str, flags: &[&str]) -> String {
        let mut arguments = vec!["user", "add", name, "--password", "pass word"];
        arguments.extend(flags);
        self.command(&arguments);
        self.log_in(name)
    }

    pub(crate) fn log_in(&self, name: &str) -> String {
        let body =
            format!(r#"{{"type":"m.login.password","user":"{name}","password":"pass word"}}"#);
        let answer = self.send("POST", "/_matrix/client/v3/login", &[], &body);
        let token = answer.json()["access_token"]
            .as_str()
            .map(ToOwned::to_owned);
        token.unwrap_or_else(|| panic!("{name} cannot log in: {answer:?}"))
    }

    /// A request of an ordinary program.
    pub(crate) fn ask(&self, token: &str, method: &str, path: &str, body: &str) -> Answer {
        let authorization = format!("Bearer {token}");
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
            ("User-Agent", "curl/8.5.0"),
        ];
        self.send(method, path, &headers, body)
    }

    /// One request over one connection.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut stream = self.connect();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!(
            "Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let line = head.lines().next().unwrap_or_default();
        let mut parts = line.splitn(3, ' ').skip(1);
        let status = parts.next().and_then(|status| status.parse().ok());
        Answer {
            status: status.unwrap_or_else(|| panic!("no answer: {answer:?}, {}", self.log())),
            reason: parts.next().unwrap_or_default().to_owned(),
            text: if head.to_lowercase().contains("transfer-encoding: chunked") {
                unchunked(text)
            } else {
                text.to_owned()
            },
        }
    }
}

fn spawn(folder: &Path) -> Child {
    let log = std::fs::File::create(folder.join("log")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_lyceum"))
        .args(["serve", "--config"])
        .arg(folder.join("lyceum.toml"))
        .arg("--data")
        .arg(folder.join("data"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn unchunked(text: &str) -> String {
    let (mut rest, mut whole) = (text, String::new());
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap_or(0);
        if length == 0 {
            break;
        }
        whole += &after[..length];
        rest = after[length..].trim_start_matches("\r\n");
    }
    whole
}

/// A path segment as PHP's `urlencode` writes it.
pub(crate) fn php(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            b' ' => "+".to_owned(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its data is thrown away, so nothing needs to be saved.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A change of profile reaches all rooms, also if the server is killed meanwhile.
#[test]
fn a_rename_goes_on_after_a_kill() {
    const ROOMS: usize = 40;
    let mut server = Process::start_with("[rate_limits]\nenabled = false");
    let alice = server.user("alice", &[]);
    let rooms: Vec<String> = (0..ROOMS)
        .map(|_| {
            let made = server.ask(&alice, "POST", "/_matrix/client/v3/createRoom", "{}");
            made.json()["room_id"].as_str().unwrap().to_owned()
        })
        .collect();
    let user_id = php(&format!("@alice:{SERVER_NAME}"));
    let renamed = |server: &Process| {
        let is_renamed = |room: &&String| {
            let path = format!(
                "/_matrix/client/v3/rooms/{}/state/m.room.member/{user_id}",
                php(room)
            );
            server.ask(&alice, "GET", &path, "").json()["displayname"] == "Alice"
        };
        rooms.iter().filter(is_renamed).count()
    };
    let path = format!("/_matrix/client/v3/profile/{user_id}/displayname");
    let body = r#"{"displayname":"Alice"}"#;
    assert_eq!(server.ask(&alice, "PUT", &path, body).status, 200);
    while renamed(&server) == 0 {
        assert!(server.child.try_wait().unwrap().is_none());
    }
    server.kill_and_start();
    for _ in 0..6_000 {
        if renamed(&server) == ROOMS {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("{} of {ROOMS} rooms: {}", renamed(&server), server.log());
}

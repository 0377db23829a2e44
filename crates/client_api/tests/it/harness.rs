//! A server for one test, and clients that talk to it over HTTP.
//!
//! Expected JSON may contain [`ANY`] where any value will do.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use lyceum_edge::App;
use lyceum_media_store::{MediaStore, ThumbnailLimits};
use lyceum_model::Timestamp;
use lyceum_server::{
    Server,
    application_services::ApplicationService,
    clock::Clock,
    config::{Config, RegistrationMode},
};
use lyceum_storage::memory::MemoryStore;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Stands for any value in expected JSON.
pub(crate) const ANY: &str = "<any>";
/// The server name of all tests.
pub(crate) const SERVER: &str = "example.org";
/// The password of all users.
pub(crate) const PASSWORD: &str = "correct horse battery";
/// The time at which every test begins.
const BEGIN_MS: u64 = 1_800_000_000_000;

/// A server that answers on a loopback port until it is dropped.
pub(crate) struct TestServer {
    address: SocketAddr,
    /// The shell behind it.
    pub(crate) server: Arc<Server>,
    /// Its clock, which stands still until it is moved.
    pub(crate) clock: Clock,
    _files: TempDir,
}

impl TestServer {
    /// A server on which anybody may register and nothing is limited.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// The same with a changed configuration.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::with_services(change, Vec::new()).await
    }

    /// The same with application services.
    pub(crate) async fn with_services(
        change: impl FnOnce(&mut Config),
        services: Vec<ApplicationService>,
    ) -> Self {
        let files = TempDir::new().unwrap();
        let mut config = Config {
            server_name: SERVER.try_into().unwrap(),
            data_dir: files.path().to_owned(),
            ..Config::default()
        };
        config.registration.mode = RegistrationMode::Open;
        config.rate_limits.enabled = false;
        // Hashing is not what is tested: the cheapest parameters that argon2 allows.
        config.passwords.memory_kib = 8;
        config.passwords.iterations = 1;
        change(&mut config);
        let clock = Clock::fixed(Timestamp(BEGIN_MS));
        let media = MediaStore::open(&files.path().join("media"), ThumbnailLimits::default());
        let server = Server::start(
            config,
            clock.clone(),
            Arc::new(MemoryStore::new()),
            Arc::new(media.unwrap()),
            services,
        );
        let server = server.await.unwrap();
        let router = lyceum_edge::finish(lyceum_client_api::router(), App::new(server.clone()));
        let router = lyceum_edge::with_cors(router);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let supervisor = server.supervisor.clone();
        server.supervisor.spawn("test listener", async move {
            let serve = axum::serve(listener, router);
            let serve = serve.with_graceful_shutdown(async move { supervisor.stopped().await });
            serve.await.unwrap();
        });
        Self {
            address,
            server,
            clock,
            _files: files,
        }
    }

    /// A client without a token.
    pub(crate) fn anonymous(&self) -> Client {
        Client {
            address: self.address,
            token: None,
            user_id: String::new(),
            device_id: String::new(),
        }
    }

    /// A client with this token.
    pub(crate) fn client(&self, token: &str) -> Client {
        Client {
            token: Some(token.to_owned()),
            ..self.anonymous()
        }
    }

    /// A new user with [`PASSWORD`], logged in.
    pub(crate) async fn user(&self, name: &str) -> Client {
        let body = json!({
            "username": name,
            "password": PASSWORD,
            "auth": { "type": "m.login.dummy" },
        });
        let registered = self.anonymous().post("/v3/register", body).await.ok();
        self.logged_in(&registered)
    }

    /// A user of [`TestServer::user`] with another device.
    pub(crate) async fn log_in(&self, name: &str) -> Client {
        let body = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": name },
            "password": PASSWORD,
        });
        let logged_in = self.anonymous().post("/v3/login", body).await.ok();
        self.logged_in(&logged_in)
    }

    /// The client of an answer to a login or registration.
    pub(crate) fn logged_in(&self, answer: &Value) -> Client {
        Client {
            address: self.address,
            token: Some(answer["access_token"].as_str().unwrap().to_owned()),
            user_id: answer["user_id"].as_str().unwrap().to_owned(),
            device_id: answer["device_id"].as_str().unwrap().to_owned(),
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.server.supervisor.begin_stop();
    }
}

/// Somebody who sends requests.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    /// The access token.
    pub(crate) token: Option<String>,
    /// Who this is.
    pub(crate) user_id: String,
    /// The device.
    pub(crate) device_id: String,
}

impl Client {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, &body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, &body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str, body: Value) -> Answer {
        self.send(Method::DELETE, path, &body.to_string()).await
    }

    /// Begins a request over a connection of its own and sends no body; waits until the server has
    /// said that it reads one.
    pub(crate) async fn begin(&self, method: Method, path: &str, headers: &str) -> TcpStream {
        let token = self.token.as_deref().unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {SERVER}\r\nauthorization: Bearer {token}\r\n\
             expect: 100-continue\r\nconnection: close\r\n{headers}\r\n"
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let expected = b"HTTP/1.1 100 Continue\r\n\r\n";
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(
            String::from_utf8_lossy(&answer),
            String::from_utf8_lossy(expected)
        );
        stream
    }

    /// Sends a request with any text as body. Paths that begin with a version are below
    /// `/_matrix/client`.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &str) -> Answer {
        let body = Bytes::from(body.to_owned());
        self.send_with(method, path, &[], body).await
    }

    /// The same with further headers and any bytes.
    pub(crate) async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Answer {
        let is_short = ["/v3/", "/r0/", "/v1/", "/unstable/"]
            .iter()
            .any(|version| path.starts_with(version));
        let prefix = if is_short { "/_matrix/client" } else { "" };
        let mut request = Request::builder()
            .method(&method)
            .uri(format!("{prefix}{path}"))
            .header(header::HOST, SERVER);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).unwrap();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        let exchange = async {
            let response = sender.send_request(request).await.unwrap();
            let (parts, body) = response.into_parts();
            (parts, body.collect().await.unwrap().to_bytes())
        };
        let (parts, bytes) = tokio::select! {
            answer = exchange => answer,
            // However the connection ends, the exchange says whether there was an answer.
            _ = async { connection.await.ok(); std::future::pending::<()>().await } => {
                unreachable!("this waits for ever")
            }
        };
        Answer {
            what: format!("{method} {path}"),
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            bytes,
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    what: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The body as JSON, if it is that.
    pub(crate) body: Value,
    /// The body.
    pub(crate) bytes: Bytes,
}

impl Answer {
    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}: {}", self.what, self.body);
        self.body
    }

    /// Exactly this status and this body.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "tests read better so")]
    pub(crate) fn expect(self, status: u16, expected: Value) -> Value {
        assert!(
            self.status == status && matches(&expected, &self.body),
            "{}\n  expected {status} {expected}\n       got {} {}",
            self.what,
            self.status,
            self.body,
        );
        self.body
    }

    /// A refusal with this status and error code.
    #[track_caller]
    pub(crate) fn expect_error(self, status: u16, code: &str) -> Value {
        assert!(
            self.status == status && self.body["errcode"] == code,
            "{}\n  expected {status} {code}\n       got {} {}",
            self.what,
            self.status,
            self.body,
        );
        self.body
    }
}

fn matches(expected: &Value, value: &Value) -> bool {
    match (expected, value) {
        (Value::String(any), _) if any == ANY => true,
        (Value::Object(expected), Value::Object(value)) => {
            expected.len() == value.len()
                && expected
                    .iter()
                    .all(|(key, of)| value.get(key).is_some_and(|value| matches(of, value)))
        }
        (Value::Array(expected), Value::Array(value)) => {
            expected.len() == value.len()
                && expected
                    .iter()
                    .zip(value)
                    .all(|(of, value)| matches(of, value))
        }
        _ => expected == value,
    }
}

/// An application service `bridge` with the users `@bridge_…`, whose token is `as-token`.
pub(crate) fn bridge() -> ApplicationService {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("bridge.yaml");
    let registration = json!({
        "id": "bridge",
        "url": null,
        "as_token": "as-token",
        "hs_token": "hs-token",
        "sender_localpart": "bridgebot",
        "rate_limited": false,
        "namespaces": { "users": [{ "exclusive": true, "regex": "@bridge_.*:example\\.org" }] },
    });
    std::fs::write(&file, registration.to_string()).unwrap();
    let server_name = SERVER.try_into().unwrap();
    let owned: ruma_common::OwnedServerName = server_name;
    ApplicationService::read(&[file], &owned).unwrap().remove(0)
}

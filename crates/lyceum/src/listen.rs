//! Sockets: plain and TLS, HTTP/1.1 and HTTP/2, with an orderly end.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use axum::Router;
use http::{HeaderMap, Request, Uri, header::ACCEPT_ENCODING};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use lyceum_edge::{ClientAddress, OverTls};
use lyceum_server::{Server, config::Listener, supervisor::Supervisor};
use rustls::{ServerConfig, server::ResolvesServerCert};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tower_http::compression::{
    CompressionLayer,
    predicate::{NotForContentType, Predicate, SizeAbove},
};
use tower_service::Service;

use crate::{certificate::Certificate, drained::Drained};

/// How many connections a listener has at a time.
const CONNECTIONS_MAX: usize = 20_000;
/// How long a client may take for the head of its first request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How many bytes of a request or an answer a connection holds; also the longest head of a request.
const CONNECTION_BYTES_MAX: usize = 64 * 1024;
/// How long a connection may stay without a request between two of them: longer than proxies keep
/// theirs (nginx: 60 s), which would be told of an error in the middle of a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a client may leave what is written for it unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a client of HTTP/2 is asked whether it is there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the listener pauses when it cannot accept (too many open files, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// That it cannot is told once in so many attempts: a minute.
const ACCEPT_FAILURES_PER_LINE: u32 = 1_200;
/// How long a stopping server waits for requests that have not come and answers that are not read.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// Answers below this size are not compressed.
const COMPRESSED_BYTES_MIN: u64 = 1024;

/// Opens the socket, so that a wrong address is told at once.
pub(crate) async fn bind(listener: &Listener) -> anyhow::Result<TcpListener> {
    TcpListener::bind(&listener.bind)
        .await
        .with_context(|| format!("cannot listen on {}", listener.bind))
}

/// Compresses answers for clients that ask for it.
pub(crate) fn compressed(router: Router) -> Router {
    let worth_it = SizeAbove::new(COMPRESSED_BYTES_MIN)
        .and(NotForContentType::IMAGES)
        .and(NotForContentType::const_new("video/"))
        .and(NotForContentType::const_new("audio/"))
        .and(NotForContentType::const_new("application/octet-stream"));
    router.layer(CompressionLayer::new().compress_when(worth_it))
}

/// Accepts connections until the server stops.
pub(crate) fn serve(
    server: &Server,
    listener: &Listener,
    certificate: Option<&Arc<Certificate>>,
    socket: TcpListener,
    router: Router,
) -> anyhow::Result<()> {
    let tls = certificate.map(acceptor).transpose()?;
    let supervisor = server.supervisor.clone();
    let trust_forwarded_for = listener.trust_forwarded_for;
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accepting = async move {
        let mut failures = 0;
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                () = supervisor.stopped() => return,
                accepted = socket.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if failures % ACCEPT_FAILURES_PER_LINE == 0 {
                        tracing::warn!(%error, "a connection could not be accepted");
                    }
                    failures += 1;
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Small answers must not wait for the acknowledgement of earlier ones.
            let _ = stream.set_nodelay(true);
            let connection = Connection {
                router: router.clone(),
                address,
                trust_forwarded_for,
                is_tls: tls.is_some(),
                supervisor: supervisor.clone(),
            };
            let tls = tls.clone();
            supervisor.spawn("connection", async move {
                connection.run(stream, tls).await;
                drop(slot);
            });
        }
    };
    server.supervisor.spawn("listener", accepting);
    Ok(())
}

struct Connection {
    router: Router,
    address: SocketAddr,
    trust_forwarded_for: bool,
    is_tls: bool,
    supervisor: Supervisor,
}

impl Connection {
    async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let Some(tls) = tls else {
            return self.converse(stream).await;
        };
        let handshake = tokio::select! {
            () = self.supervisor.stopped() => return,
            handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)) => handshake,
        };
        match handshake {
            Ok(Ok(stream)) => self.converse(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn converse(self, stream: impl AsyncRead + AsyncWrite + Send + 'static) {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(WRITE_TIMEOUT));
        let stream = Box::pin(stream);
        let requests = Requests::default();
        let answer = service_fn(|request: Request<Incoming>| {
            let mut router = self.router.clone();
            let request = Drained::of(self.prepared(request), &self.supervisor);
            let running = requests.begin();
            async move {
                let answer = router.call(request).await;
                drop(running);
                answer
            }
        });
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .max_buf_size(CONNECTION_BYTES_MAX)
            .header_read_timeout(IDLE_TIMEOUT);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), answer);
        tokio::pin!(connection);
        let is_over = async {
            tokio::select! {
                () = self.supervisor.stopped() => {}
                () = requests.are_over() => {}
            }
        };
        let has_stopped = async {
            self.supervisor.stopped().await;
            tokio::time::sleep(STOP_TIMEOUT).await;
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = is_over => {
                if requests.begun.load(Ordering::Relaxed) == 0 {
                    return;
                }
                // What is being written is written to its end, if that is soon.
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = has_stopped => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke");
        }
    }

    /// Notes where the request came from, and forgives what would make it fail for nothing: `//` at
    /// the start of the path, which configured addresses with a trailing slash lead to, and a
    /// refusal of all codings.
    fn prepared(&self, mut request: Request<Incoming>) -> Request<Incoming> {
        let address = ClientAddress::of(
            self.address.ip(),
            request.headers(),
            self.trust_forwarded_for,
        );
        request.extensions_mut().insert(address);
        accept_some_coding(request.headers_mut());
        if self.is_tls {
            request.extensions_mut().insert(OverTls);
        }
        let path = request.uri().path();
        if path.starts_with("//") {
            let path = path.trim_start_matches('/');
            let path_and_query = match request.uri().query() {
                Some(query) => format!("/{path}?{query}"),
                None => format!("/{path}"),
            };
            if let Ok(uri) = path_and_query.parse::<Uri>() {
                *request.uri_mut() = uri;
            }
        }
        request
    }
}

/// Who refuses all forms that there are of an answer gets the plain one: the request was carried
/// out, and a 406 would say that it was not.
fn accept_some_coding(headers: &mut HeaderMap) {
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let codings = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let (mut refuses_plain, mut accepts_other) = (false, false);
    for coding in codings {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let is_refused = weight.trim().trim_start_matches("q=").parse() == Ok(0.0);
        match name.trim() {
            "identity" | "*" => refuses_plain |= is_refused,
            "gzip" | "zstd" => accepts_other |= !is_refused,
            _ => {}
        }
    }
    if refuses_plain && !accepts_other {
        headers.remove(ACCEPT_ENCODING);
    }
}

/// The requests of a connection.
#[derive(Default)]
struct Requests {
    begun: AtomicU64,
    /// Each of them holds it until it is answered or given up.
    running: Arc<()>,
}

impl Requests {
    fn begin(&self) -> Arc<()> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.running.clone()
    }

    /// Waits until there is none for long.
    async fn are_over(&self) {
        // The first one comes at once.
        let mut pause = HEADER_TIMEOUT;
        loop {
            let begun = self.begun.load(Ordering::Relaxed);
            tokio::time::sleep(pause).await;
            let is_idle = Arc::strong_count(&self.running) == 1;
            if is_idle && begun == self.begun.load(Ordering::Relaxed) {
                return;
            }
            pause = IDLE_TIMEOUT;
        }
    }
}

fn acceptor(certificate: &Arc<Certificate>) -> anyhow::Result<TlsAcceptor> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(certificate) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

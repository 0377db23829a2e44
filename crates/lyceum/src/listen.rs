//! Sockets: plain and TLS, HTTP/1.1 and HTTP/2, with an orderly end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use axum::Router;
use http::{Request, Uri};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use lyceum_edge::ClientAddress;
use lyceum_server::{Server, config::Listener, supervisor::Supervisor};
use rustls::{ServerConfig, server::ResolvesServerCert};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tower_http::compression::{
    CompressionLayer,
    predicate::{NotForContentType, Predicate, SizeAbove},
};
use tower_service::Service;

use crate::certificate::Certificate;

/// How many connections a listener has at a time.
const CONNECTIONS_MAX: usize = 20_000;
/// How long a client may take for the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How many bytes of a request or an answer a connection holds; also the longest head of a request.
const CONNECTION_BYTES_MAX: usize = 64 * 1024;
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the listener pauses when it cannot accept (too many open files, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
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
                    tracing::warn!(%error, "a connection could not be accepted");
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
    supervisor: Supervisor,
}

impl Connection {
    async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let Some(tls) = tls else {
            return self.converse(stream).await;
        };
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.converse(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn converse(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let answer = service_fn(|request: Request<Incoming>| {
            let mut router = self.router.clone();
            let request = self.prepared(request);
            async move { router.call(request).await }
        });
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .max_buf_size(CONNECTION_BYTES_MAX)
            .header_read_timeout(HEADER_TIMEOUT);
        builder.http2().timer(TokioTimer::new());
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), answer);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.supervisor.stopped() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke");
        }
    }

    /// Notes where the request came from, and forgives `//` at the start of the path, which
    /// configured addresses with a trailing slash lead to.
    fn prepared(&self, mut request: Request<Incoming>) -> Request<Incoming> {
        let address = ClientAddress::of(
            self.address.ip(),
            request.headers(),
            self.trust_forwarded_for,
        );
        request.extensions_mut().insert(address);
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

fn acceptor(certificate: &Arc<Certificate>) -> anyhow::Result<TlsAcceptor> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(certificate) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

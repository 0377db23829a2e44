//! HTTP/1.1 to the measured server: one connection is one slot of load.
//!
//! A connection carries one request at a time, so "ten in flight" is ten connections. It never
//! speaks to anything but a loopback address. A kept connection that the server closed is opened
//! anew once, and only where the request cannot have been processed.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long any one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// What the server answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| {
            format!(
                "status {}: the body is not JSON: {}",
                self.status,
                self.excerpt()
            )
        })
    }

    /// The body as JSON, when the status is one of success.
    pub(crate) fn accepted(&self) -> Result<Value> {
        if !(200..300).contains(&self.status) {
            bail!("status {}: {}", self.status, self.excerpt());
        }
        self.json()
    }

    fn excerpt(&self) -> String {
        String::from_utf8_lossy(&self.body)
            .chars()
            .take(200)
            .collect()
    }
}

/// One kept connection; opened at its first request.
#[derive(Debug)]
pub(crate) struct Connection {
    address: SocketAddr,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Connection {
            address,
            sender: None,
        }
    }

    /// Opens the connection now, so that no measured request pays for it.
    pub(crate) async fn open(&mut self) -> Result<()> {
        if self.sender.as_ref().is_none_or(SendRequest::is_closed) {
            self.sender = Some(connect(self.address).await?);
        }
        Ok(())
    }

    /// `GET` with a token.
    pub(crate) async fn get(&mut self, path: &str, token: &str) -> Result<Answer> {
        self.call(Method::GET, path, Some(token), None).await
    }

    /// `POST` of JSON with a token.
    pub(crate) async fn post(&mut self, path: &str, token: &str, body: &Value) -> Result<Answer> {
        self.call(Method::POST, path, Some(token), Some(body_of(body)))
            .await
    }

    /// `PUT` of JSON with a token.
    pub(crate) async fn put(&mut self, path: &str, token: &str, body: &Value) -> Result<Answer> {
        self.call(Method::PUT, path, Some(token), Some(body_of(body)))
            .await
    }

    /// Any request; the body is JSON where there is one.
    pub(crate) async fn call(
        &mut self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Bytes>,
    ) -> Result<Answer> {
        let content_type = body.as_ref().map(|_| "application/json");
        let body = body.unwrap_or_default();
        self.ask(&Call {
            method,
            path,
            token,
            body,
            content_type,
            is_last: false,
        })
        .await
    }

    /// Sends a request over the kept connection.
    pub(crate) async fn ask(&mut self, call: &Call<'_>) -> Result<Answer> {
        self.open().await?;
        for is_retry in [false, true] {
            let sender = self.sender.as_mut().expect("open() has just set it");
            // `ready` notices a connection that was closed while idle, before anything is written.
            let outcome = match sender.ready().await {
                Ok(()) => {
                    let request = call.request(self.address)?;
                    timeout(ANSWER_TIMEOUT, exchange(sender, request)).await
                }
                Err(error) => Ok(Err(error)),
            };
            match outcome {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) if !is_retry && (error.is_canceled() || error.is_closed()) => {
                    self.sender = None;
                    self.open().await?;
                }
                Ok(Err(error)) => {
                    self.sender = None;
                    return Err(error).with_context(|| call.to_string());
                }
                Err(_) => {
                    self.sender = None;
                    bail!("{call}: no answer in {ANSWER_TIMEOUT:?}")
                }
            }
        }
        bail!("{call}: the server closed the connection twice")
    }
}

/// A request to be sent.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) token: Option<&'a str>,
    pub(crate) body: Bytes,
    pub(crate) content_type: Option<&'a str>,
    /// Whether the connection shall be closed after the answer.
    pub(crate) is_last: bool,
}

impl Call<'_> {
    fn request(&self, address: SocketAddr) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self
            .path
            .parse()
            .with_context(|| format!("path {}", self.path))?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(&address.to_string())?);
        if let Some(token) = self.token {
            headers.insert(
                AUTHORIZATION,
                HeaderValue::from_str(&format!("Bearer {token}"))?,
            );
        }
        if let Some(content_type) = self.content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type)?);
        }
        if self.is_last {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(request)
    }
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.method, self.path)
    }
}

/// One request over a connection of its own, as Moodle sends them.
pub(crate) async fn ask_once(address: SocketAddr, call: &Call<'_>) -> Result<Answer> {
    let (mut sender, connection) = handshake(TokioIo::new(open(address).await?)).await?;
    let request = call.request(address)?;
    // In one task: a hop between the driver's threads would be counted as the server's time.
    let ask = async move { exchange(&mut sender, request).await };
    let both = async { tokio::join!(ask, connection).0 };
    timeout(ANSWER_TIMEOUT, both)
        .await
        .map_err(|_| anyhow!("{call}: no answer in {ANSWER_TIMEOUT:?}"))?
        .with_context(|| call.to_string())
}

fn body_of(body: &Value) -> Bytes {
    Bytes::from(body.to_string())
}

async fn open(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("connect {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = handshake(TokioIo::new(open(address).await?)).await?;
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with its connection, within the driver"
    )]
    tokio::spawn(async move {
        // The error, if any, also reaches the request that waits for the answer.
        let _ = connection.await;
    });
    Ok(sender)
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> hyper::Result<Answer> {
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok(Answer { status, body })
}

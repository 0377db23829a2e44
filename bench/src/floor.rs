//! The floor of the machine: the least that any durable server must do for a message.
//!
//! A bare hyper server whose one writer thread appends all waiting bodies to a file, calls
//! `fdatasync` once and then answers them all; a `GET` waits for the next message and is answered
//! with it. It runs as a process of its own, started by the driver from the driver's own binary,
//! and takes the same requests over the same client.

use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};

/// The subcommand of the driver's binary that serves.
pub(crate) const SERVE_COMMAND: &str = "serve-floor";

/// Bodies that may wait for the writer.
const WAITING_MAX: usize = 4096;

/// A running floor server; it ends with this value.
#[derive(Debug)]
pub(crate) struct Floor {
    pub(crate) address: SocketAddr,
    pub(crate) pid: Option<u32>,
    _child: Child,
}

impl Floor {
    /// Starts the server with its file in the folder.
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(SERVE_COMMAND)
            .arg(folder.join("floor.log"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child
            .stdout
            .take()
            .context("the floor server has no output")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        let address = line.context("the floor server did not start")?.parse()?;
        Ok(Floor {
            address,
            pid: child.id(),
            _child: child,
        })
    }
}

struct Waiting {
    body: Bytes,
    stored: oneshot::Sender<u64>,
}

/// Serves until killed; prints its address first.
pub(crate) async fn serve(file: &Path) -> Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(file)?;
    let (queue, waiting) = mpsc::channel(WAITING_MAX);
    let (tell, told) = watch::channel(Bytes::new());
    std::thread::Builder::new()
        .name("writer".to_owned())
        .spawn(move || write(file, waiting, &tell))?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", listener.local_addr()?)?;
    stdout.flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (queue, told) = (queue.clone(), told.clone());
        #[expect(clippy::disallowed_methods, reason = "it ends with its connection")]
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, queue.clone(), told.clone()));
            // A client that goes away is no concern of the floor.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    queue: mpsc::Sender<Waiting>,
    mut told: watch::Receiver<Bytes>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::default());
    if request.method() == Method::GET {
        told.mark_unchanged();
        // The writer lives as long as the process.
        let _ = told.changed().await;
        *response.body_mut() = Full::new(told.borrow().clone());
        return Ok(response);
    }
    match store(request, &queue).await {
        Some(number) => {
            let body = format!("{{\"event_id\":\"${number}\"}}");
            *response.body_mut() = Full::new(Bytes::from(body));
        }
        None => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    Ok(response)
}

async fn store(request: Request<Incoming>, queue: &mpsc::Sender<Waiting>) -> Option<u64> {
    let body = request.into_body().collect().await.ok()?.to_bytes();
    let (stored, number) = oneshot::channel();
    queue.send(Waiting { body, stored }).await.ok()?;
    number.await.ok()
}

/// One group after another: append all that waits, one fdatasync, tell and answer all.
fn write(mut file: File, mut waiting: mpsc::Receiver<Waiting>, tell: &watch::Sender<Bytes>) {
    let mut number = 0;
    let mut bytes = Vec::new();
    let mut group = Vec::new();
    while let Some(first) = waiting.blocking_recv() {
        bytes.clear();
        group.push(first);
        while let Ok(next) = waiting.try_recv() {
            group.push(next);
        }
        for entry in &group {
            bytes.extend_from_slice(&entry.body);
            bytes.push(b'\n');
        }
        if file
            .write_all(&bytes)
            .and_then(|()| file.sync_data())
            .is_err()
        {
            return;
        }
        for entry in group.drain(..) {
            number += 1;
            tell.send_replace(entry.body);
            // The client may have gone away meanwhile.
            let _ = entry.stored.send(number);
        }
    }
}

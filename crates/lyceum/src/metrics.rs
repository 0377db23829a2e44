//! `/metrics` in Prometheus' text form.

use std::{
    fmt::Write,
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http::header;
use lyceum_edge::App;
use lyceum_server::clock::Stopwatch;

/// Upper bounds of the duration histogram in seconds.
const BUCKETS: [f64; 12] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0,
];

/// What is counted of requests.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    by_status: [AtomicU64; 5],
    durations: [AtomicU64; BUCKETS.len() + 1],
    micros: AtomicU64,
    /// Each request holds it until it is answered or its client goes away.
    in_flight: Arc<()>,
}

impl Metrics {
    /// The endpoint.
    pub(crate) fn routes(self: &Arc<Self>) -> Router<Arc<App>> {
        let metrics = self.clone();
        let text = move |State(app): State<Arc<App>>| async move { metrics.answer(&app) };
        Router::new()
            .route("/metrics", get(text.clone()))
            .route("/_synapse/metrics", get(text))
    }

    /// Counts the requests to a router.
    pub(crate) fn measure(self: &Arc<Self>, router: Router) -> Router {
        let metrics = self.clone();
        router.layer(middleware::from_fn(move |request: Request, next: Next| {
            let metrics = metrics.clone();
            async move {
                let started = Stopwatch::start();
                let in_flight = metrics.in_flight.clone();
                let response = next.run(request).await;
                drop(in_flight);
                metrics.count(response.status().as_u16(), started);
                response
            }
        }))
    }

    fn count(&self, status: u16, started: Stopwatch) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.by_status[class].fetch_add(1, Ordering::Relaxed);
        let elapsed = started.elapsed();
        let bucket = BUCKETS
            .iter()
            .position(|bound| elapsed.as_secs_f64() <= *bound);
        self.durations[bucket.unwrap_or(BUCKETS.len())].fetch_add(1, Ordering::Relaxed);
        self.micros
            .fetch_add(elapsed.as_micros() as u64, Ordering::Relaxed);
    }

    fn answer(&self, app: &App) -> Response {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = self.write(app, &mut text);
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
    }

    fn write(&self, app: &App, out: &mut String) -> std::fmt::Result {
        writeln!(out, "# TYPE lyceum_http_requests_total counter")?;
        for (index, count) in self.by_status.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            writeln!(
                out,
                "lyceum_http_requests_total{{status=\"{}xx\"}} {count}",
                index + 1
            )?;
        }
        writeln!(out, "# TYPE lyceum_http_request_duration_seconds histogram")?;
        let mut sum = 0;
        for (bound, count) in BUCKETS.iter().zip(&self.durations) {
            sum += count.load(Ordering::Relaxed);
            writeln!(
                out,
                "lyceum_http_request_duration_seconds_bucket{{le=\"{bound}\"}} {sum}"
            )?;
        }
        sum += self.durations[BUCKETS.len()].load(Ordering::Relaxed);
        let seconds = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        writeln!(
            out,
            "lyceum_http_request_duration_seconds_bucket{{le=\"+Inf\"}} {sum}"
        )?;
        writeln!(out, "lyceum_http_request_duration_seconds_sum {seconds}")?;
        writeln!(out, "lyceum_http_request_duration_seconds_count {sum}")?;
        let server = &app.server;
        let (rooms, rooms_bytes) = server.rooms.size();
        let gauges = [
            (
                "lyceum_http_requests_in_flight",
                Arc::strong_count(&self.in_flight) as u64 - 1,
            ),
            ("lyceum_position", server.feed.position().0),
            ("lyceum_users_syncing", server.feed.active_users() as u64),
            ("lyceum_rooms_in_memory", rooms as u64),
            ("lyceum_rooms_in_memory_bytes", rooms_bytes as u64),
            ("process_resident_memory_bytes", resident_bytes()),
        ];
        for (name, value) in gauges {
            writeln!(out, "# TYPE {name} gauge\n{name} {value}")?;
        }
        Ok(())
    }
}

/// Resident memory, from `/proc`.
fn resident_bytes() -> u64 {
    const PAGE_BYTES: u64 = 4096;
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * PAGE_BYTES
}

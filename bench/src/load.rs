//! Bounded load: a number of workers repeat one step until a count or a time is reached.
//!
//! Each worker owns its state and does one step at a time, so the number of workers is the number
//! of requests in flight. A failed step ends the measurement: a figure with errors in it means
//! nothing.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;

use crate::clock::now;

/// When a measurement ends, whichever comes first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) time: Duration,
    pub(crate) count_max: u64,
}

/// What was measured.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) count: u64,
    pub(crate) elapsed: Duration,
    latencies_us: Vec<u32>,
}

impl Load {
    /// Steps a second.
    pub(crate) fn rate(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// A quantile of the steps' latency in milliseconds; `quantile` from 0 to 1.
    pub(crate) fn latency_ms(&self, quantile: f64) -> f64 {
        if self.latencies_us.is_empty() {
            return 0.0;
        }
        let last = self.latencies_us.len() - 1;
        let index = (quantile * last as f64).round() as usize;
        f64::from(self.latencies_us[index.min(last)]) / 1000.0
    }
}

/// Runs the step with one worker for each element of `workers`; gives the workers back.
///
/// The step gets the worker and a number that no other step of this load gets.
pub(crate) async fn load<W, S, F>(workers: Vec<W>, bound: Bound, step: S) -> Result<(Load, Vec<W>)>
where
    W: Send + 'static,
    S: Fn(W, u64) -> F + Clone + Send + 'static,
    F: Future<Output = Result<W>> + Send,
{
    let tickets = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    let start = now();
    for mut worker in workers {
        let (tickets, step) = (Arc::clone(&tickets), step.clone());
        tasks.spawn(async move {
            let mut latencies_us = Vec::new();
            while start.elapsed() < bound.time {
                let ticket = tickets.fetch_add(1, Ordering::Relaxed);
                if ticket >= bound.count_max {
                    break;
                }
                let began = now();
                worker = step(worker, ticket).await?;
                latencies_us.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            anyhow::Ok((worker, latencies_us))
        });
    }
    let mut workers = Vec::new();
    let mut latencies_us = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let (worker, latencies) = ended??;
        workers.push(worker);
        latencies_us.extend(latencies);
    }
    let elapsed = start.elapsed();
    latencies_us.sort_unstable();
    Ok((
        Load {
            count: latencies_us.len() as u64,
            elapsed,
            latencies_us,
        },
        workers,
    ))
}

/// The middle of a list of measurements.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_ticket_is_given_once() {
        let bound = Bound {
            time: Duration::from_secs(5),
            count_max: 100,
        };
        let (load, workers) = load(
            vec![Vec::new(); 7],
            bound,
            |mut seen: Vec<u64>, ticket| async move {
                tokio::task::yield_now().await;
                seen.push(ticket);
                Ok(seen)
            },
        )
        .await
        .unwrap();
        let mut seen: Vec<u64> = workers.into_iter().flatten().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        assert_eq!(load.count, 100);
    }

    #[tokio::test]
    async fn a_failed_step_fails_the_load() {
        let bound = Bound {
            time: Duration::from_secs(5),
            count_max: 10,
        };
        let result = load(vec![(); 2], bound, |(), ticket| async move {
            anyhow::ensure!(ticket != 3, "step {ticket}");
            Ok(())
        })
        .await;
        assert_eq!(result.unwrap_err().to_string(), "step 3");
    }

    #[test]
    fn quantiles() {
        let load = Load {
            count: 5,
            elapsed: Duration::from_secs(2),
            latencies_us: vec![1000, 2000, 3000, 4000, 9000],
        };
        assert_eq!(load.latency_ms(0.5), 3.0);
        assert_eq!(load.latency_ms(1.0), 9.0);
        assert_eq!(load.rate(), 2.5);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    }
}

//! What every endpoint can reach.

use std::sync::Arc;

use lyceum_server::Server;

use crate::RateLimiter;

/// The state of all routers.
#[derive(Debug)]
pub struct App {
    /// The shell.
    pub server: Arc<Server>,
    /// How often somebody may ask.
    pub limiter: RateLimiter,
}

impl App {
    /// The state over a server.
    pub fn new(server: Arc<Server>) -> Arc<Self> {
        let limiter = RateLimiter::new(server.config.rate_limits.clone());
        Arc::new(Self { server, limiter })
    }
}

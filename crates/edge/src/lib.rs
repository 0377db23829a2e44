//! What all edges share: who is asking, how often, in which words a request is refused, and how
//! a body is read. It knows no endpoint.

mod address;
mod app;
mod body;
mod cors;
mod json_limits;
mod provisioning;
mod query;
mod rate_limit;
mod refusal;
mod requester;
mod routes;

pub use address::{ClientAddress, OverTls};
pub use app::App;
pub use body::{BriefBody, BriefBytes, EMPTY_BODY, JsonBody, RawBody};
pub use cors::with_cors;
pub use provisioning::{Provisioning, is_moodle};
pub use query::{Query, empty_as_none};
pub use rate_limit::{Limit, RateLimiter};
pub use refusal::{Answer, Refusal, json, json_bytes, passed_over};
pub use requester::{
    AdminRequester, OptionalRequester, ProvisioningRequester, Requester, ShownToken,
};
pub use routes::{Segments, client, client_v1, finish, unstable};

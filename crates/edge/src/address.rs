//! From where a request came.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr},
};

use axum::extract::FromRequestParts;
use http::request::Parts;

/// The client's address. The listener puts it into the request, taken from the connection, or
/// from `X-Forwarded-For` where the configuration trusts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

/// Put into the requests that came over TLS.
#[derive(Debug, Clone, Copy)]
pub struct OverTls;

impl ClientAddress {
    /// The address, given that of the connection and whether a proxy of our own is before us.
    pub fn of(connection: IpAddr, headers: &http::HeaderMap, trust_forwarded_for: bool) -> Self {
        let forwarded = || {
            // Of several lines, too, the last one is the proxy's.
            let mut lines = headers.get_all("x-forwarded-for").iter();
            let value = lines.next_back()?.to_str().ok()?;
            value.split(',').next_back()?.trim().parse().ok()
        };
        Self(
            trust_forwarded_for
                .then(forwarded)
                .flatten()
                .unwrap_or(connection),
        )
    }
}

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let address = parts.extensions.get::<Self>().copied();
        Ok(address.unwrap_or(Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED))))
    }
}

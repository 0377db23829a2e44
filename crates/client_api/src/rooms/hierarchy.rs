//! `GET /v1/rooms/{roomId}/hierarchy`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{
    Answer, App, Limit, Query, Requester, Segments, client_v1, empty_as_none, json, unstable,
};
use lyceum_model::MatrixError;
use lyceum_server::rooms::{DEPTH_MAX, HierarchyQuery};
use ruma_common::OwnedRoomId;
use serde::Deserialize;
use serde_json::json;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = client_v1(router, "/rooms/{room_id}/hierarchy", get(hierarchy));
    unstable(
        router,
        "/org.matrix.msc2946/rooms/{room_id}/hierarchy",
        get(hierarchy),
    )
}

/// How many rooms an answer has at most, and if the client does not say.
const LIMIT_MAX: usize = 50;

#[derive(Deserialize)]
struct Parameters {
    suggested_only: Option<bool>,
    limit: Option<usize>,
    max_depth: Option<u64>,
    #[serde(default, deserialize_with = "empty_as_none")]
    from: Option<String>,
}

async fn hierarchy(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let limit = parameters.limit.unwrap_or(LIMIT_MAX).min(LIMIT_MAX);
    if limit == 0 {
        return Err(MatrixError::invalid_param("limit is greater than 0").into());
    }
    let asked = Place {
        max_depth: parameters.max_depth.unwrap_or(DEPTH_MAX).min(DEPTH_MAX),
        suggested_only: parameters.suggested_only.unwrap_or(false),
        offset: 0,
    };
    let place = match &parameters.from {
        None => asked,
        Some(from) => {
            Place::parse(from).ok_or_else(|| MatrixError::invalid_param("from is not a token"))?
        }
    };
    if (Place { offset: 0, ..place }) != asked {
        let why = "suggested_only and max_depth cannot change on paginated requests";
        return Err(MatrixError::invalid_param(why).into());
    }
    let Place {
        max_depth,
        suggested_only,
        offset,
    } = place;
    let query = HierarchyQuery {
        max_depth,
        suggested_only,
        offset,
        limit,
    };
    let page = app
        .server
        .hierarchy(&requester.user_id, &room_id, query)
        .await;
    let page = page.map_err(MatrixError::from)?;
    let mut body = json!({ "rooms": page.rooms });
    if page.has_more {
        let next = Place {
            offset: offset.saturating_add(page.rooms.len()),
            ..place
        };
        body["next_batch"] = next.to_token().into();
    }
    Ok(json(&body))
}

/// Where a page begins, and what was asked for on the pages before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    max_depth: u64,
    suggested_only: bool,
    offset: usize,
}

impl Place {
    fn to_token(self) -> String {
        let suggested = u8::from(self.suggested_only);
        format!("h{}_{}_{suggested}", self.offset, self.max_depth)
    }

    fn parse(token: &str) -> Option<Self> {
        let mut parts = token.strip_prefix('h')?.split('_');
        let place = Self {
            offset: parts.next()?.parse().ok()?,
            max_depth: parts.next()?.parse().ok()?,
            suggested_only: match parts.next()? {
                "0" => false,
                "1" => true,
                _ => return None,
            },
        };
        parts.next().is_none().then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn tokens_come_back() {
        let place = Place {
            max_depth: 3,
            suggested_only: true,
            offset: 50,
        };
        assert_eq!(Place::parse(&place.to_token()), Some(place));
        for damaged in [
            "", "h", "h1", "h1_2", "h1_2_3", "h1_2_1_4", "h-1_2_1", "s1_2_1",
        ] {
            assert_eq!(Place::parse(damaged), None, "{damaged}");
        }
    }
}

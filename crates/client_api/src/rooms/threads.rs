//! `GET /v1/rooms/{roomId}/threads`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use http::StatusCode;
use lyceum_edge::{
    Answer, App, Limit, Query, Requester, Segments, client_v1, empty_as_none, json_bytes, unstable,
};
use lyceum_model::{MatrixError, Seq};
use lyceum_server::rooms::{ThreadsIncluded, ThreadsQuery};
use lyceum_sync::{
    client_event::EventForm,
    history::{Relations, relations as relations_json},
    token::TimelineToken,
};
use ruma_common::OwnedRoomId;
use serde::Deserialize;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = client_v1(router, "/rooms/{room_id}/threads", get(threads));
    unstable(
        router,
        "/org.matrix.msc3856/rooms/{room_id}/threads",
        get(threads),
    )
}

/// How many threads an answer has if the client does not say.
const LIMIT_DEFAULT: usize = 20;
/// How many threads an answer has at most.
const LIMIT_MAX: usize = 100;

#[derive(Deserialize)]
struct Parameters {
    include: Option<String>,
    limit: Option<usize>,
    #[serde(default, deserialize_with = "empty_as_none")]
    from: Option<String>,
}

async fn threads(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let server = &app.server;
    let included = match parameters.include.as_deref() {
        None | Some("all") => ThreadsIncluded::All,
        Some("participated") => ThreadsIncluded::Participated,
        Some(_) => {
            let why = "include is \"all\" or \"participated\"";
            return Err(MatrixError::invalid_param(why).into());
        }
    };
    let limit = parameters.limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX);
    if limit == 0 {
        return Err(MatrixError::invalid_param("limit is greater than 0").into());
    }
    let from = match &parameters.from {
        Some(from) => from
            .parse()
            .map_err(|_| MatrixError::invalid_param("from is not a token"))?,
        None => TimelineToken {
            position: server.feed.position(),
            seq: Seq(i64::MAX),
        },
    };
    let reader = server
        .reader(&requester.user_id, &room_id)
        .await
        .map_err(MatrixError::from)?;
    let query = ThreadsQuery {
        from: from.seq,
        up_to: from.position,
        included,
        limit,
    };
    let list = server
        .threads(&reader, requester.device_id.as_deref(), query)
        .await?;
    let next = list.next.map(|seq| TimelineToken {
        position: from.position,
        seq,
    });
    let body = relations_json(&Relations {
        form: EventForm::new(server.clock.now()),
        chunk: list.roots,
        next_batch: next.map(|token| token.to_string()),
        prev_batch: None,
        recursion_depth: None,
    });
    Ok(json_bytes(StatusCode::OK, body))
}

//! `GET` and `POST /publicRooms`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{
    Answer, App, JsonBody, OptionalRequester, Query, Refusal, Requester, client, json,
};
use lyceum_model::MatrixError;
use lyceum_server::rooms::DirectoryQuery;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::object::ObjectOf;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client(router, "/publicRooms", get(all).post(search))
}

/// How many rooms a page has at most, and if the client does not say.
const LIMIT_MAX: usize = 500;

#[derive(Deserialize)]
struct Parameters {
    limit: Option<usize>,
    since: Option<String>,
    server: Option<String>,
}

async fn all(
    State(app): State<Arc<App>>,
    OptionalRequester(requester): OptionalRequester,
    Query(parameters): Query<Parameters>,
) -> Answer {
    if requester.is_none() && !app.server.config.rooms.public_directory_without_login {
        return Err(MatrixError::missing_token("Missing access token").into());
    }
    refuse_other_servers(&app, parameters.server.as_deref())?;
    page(
        &app,
        parameters.limit,
        parameters.since.as_deref(),
        DirectoryQuery::default(),
    )
    .await
}

#[derive(Deserialize)]
struct Body {
    limit: Option<usize>,
    since: Option<String>,
    #[serde(default)]
    filter: ObjectOf<Filter>,
    /// There are no networks but this one.
    #[serde(default, rename = "include_all_networks")]
    _include_all_networks: Option<bool>,
    third_party_instance_id: Option<String>,
}

#[derive(Deserialize, Default)]
struct Filter {
    generic_search_term: Option<String>,
    room_types: Option<Vec<Option<String>>>,
}

#[derive(Deserialize)]
struct SearchParameters {
    server: Option<String>,
}

async fn search(
    State(app): State<Arc<App>>,
    _: Requester,
    Query(parameters): Query<SearchParameters>,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    refuse_other_servers(&app, parameters.server.as_deref())?;
    if body
        .third_party_instance_id
        .is_some_and(|network| !network.is_empty())
    {
        return Err(MatrixError::invalid_param("There is no such third-party network").into());
    }
    let ObjectOf(filter) = body.filter;
    let query = DirectoryQuery {
        term: filter.generic_search_term.filter(|term| !term.is_empty()),
        room_types: filter.room_types,
        ..DirectoryQuery::default()
    };
    page(&app, body.limit, body.since.as_deref(), query).await
}

fn refuse_other_servers(app: &App, server: Option<&str>) -> Result<(), Refusal> {
    match server {
        Some(server) if server != app.server.config.server_name.as_str() => {
            let why = format!("The directory of {server} cannot be reached from here");
            Err(MatrixError::not_found(why).into())
        }
        _ => Ok(()),
    }
}

async fn page(
    app: &App,
    limit: Option<usize>,
    since: Option<&str>,
    query: DirectoryQuery,
) -> Answer {
    let offset = match since {
        None | Some("") => 0,
        Some(since) => since
            .strip_prefix('p')
            .and_then(|offset| offset.parse().ok())
            .ok_or_else(|| MatrixError::invalid_param("since is not a token"))?,
    };
    let limit = limit
        .filter(|limit| *limit > 0)
        .unwrap_or(LIMIT_MAX)
        .min(LIMIT_MAX);
    let query = DirectoryQuery {
        offset,
        limit,
        ..query
    };
    let page = app
        .server
        .public_rooms(query)
        .await
        .map_err(MatrixError::from)?;
    let mut body = Map::new();
    if offset + page.rooms.len() < page.total {
        body.insert(
            "next_batch".to_owned(),
            Value::from(format!("p{}", offset + limit)),
        );
    }
    if offset > 0 {
        let before = offset.saturating_sub(limit);
        body.insert("prev_batch".to_owned(), Value::from(format!("p{before}")));
    }
    body.insert(
        "total_room_count_estimate".to_owned(),
        Value::from(page.total),
    );
    let rooms: Vec<_> = page
        .rooms
        .iter()
        .filter_map(|room| serde_json::to_value(room).ok())
        .collect();
    body.insert("chunk".to_owned(), Value::from(rooms));
    Ok(json(&body))
}

//! Registering, logging in and making rooms. The first two cost what the server's password hash
//! costs, which each has as it comes.

use std::sync::Arc;

use anyhow::Result;
use serde_json::json;

use crate::load::{Bound, load};
use crate::sheet::{Better, Sheet};
use crate::world::{self, World};

const IN_FLIGHT: usize = 4;
const ACCOUNTS_MAX: u64 = 500;
const LOGINS_MAX: u64 = 500;
const ROOMS_MAX: u64 = 2_000;
/// Steps with one in flight, whose time is the latency alone.
const ALONE_MAX: u64 = 50;

/// Registrations by the shared-secret endpoint: asking for the nonce is part of them.
pub(super) async fn register(world: &mut World, sheet: &mut Sheet) -> Result<()> {
    let secret = world.server.shared_secret.clone();
    for (in_flight, count_max) in [(1, ALONE_MAX), (IN_FLIGHT, ACCOUNTS_MAX)] {
        let name = format!("new-{}-{in_flight}", world.tag);
        let secret = secret.clone();
        let workers = world.server.connections(in_flight).await?;
        let (load, _) = load(
            workers,
            half(world.bound(count_max)),
            move |mut connection, ticket| {
                let (secret, name) = (secret.clone(), name.clone());
                async move {
                    world::register(&mut connection, &secret, &format!("{name}-{ticket}"), false)
                        .await?;
                    Ok(connection)
                }
            },
        )
        .await?;
        put(world, sheet, "register", "register", in_flight, &load);
    }
    Ok(())
}

/// Logins by password, each on a new device, spread over some accounts.
pub(super) async fn login(world: &mut World, sheet: &mut Sheet) -> Result<()> {
    let accounts = world.accounts(10).await?;
    for (in_flight, count_max) in [(1, ALONE_MAX), (IN_FLIGHT, LOGINS_MAX)] {
        let accounts = accounts.clone();
        let workers = world.server.connections(in_flight).await?;
        let (load, _) = load(
            workers,
            half(world.bound(count_max)),
            move |mut connection, ticket| {
                let account = Arc::clone(&accounts[ticket as usize % accounts.len()]);
                async move {
                    world::log_in(&mut connection, &account).await?;
                    Ok(connection)
                }
            },
        )
        .await?;
        put(world, sheet, "login", "log in", in_flight, &load);
    }
    Ok(())
}

/// Private rooms as clients make them: name, topic, encryption off.
pub(super) async fn create(world: &mut World, sheet: &mut Sheet) -> Result<()> {
    let accounts = world.accounts(10).await?;
    for (in_flight, count_max) in [(1, ALONE_MAX), (IN_FLIGHT, ROOMS_MAX)] {
        let accounts = accounts.clone();
        let workers = world.server.connections(in_flight).await?;
        let (load, _) = load(workers, half(world.bound(count_max)), move |mut connection, ticket| {
            let owner = Arc::clone(&accounts[ticket as usize % accounts.len()]);
            async move {
                let body = json!({
                    "preset": "private_chat", "name": format!("Room {ticket}"), "topic": "A topic",
                });
                world::create_room(&mut connection, &owner, &body).await?;
                Ok(connection)
            }
        })
        .await?;
        put(world, sheet, "create", "create a room", in_flight, &load);
    }
    Ok(())
}

fn half(bound: Bound) -> Bound {
    Bound {
        time: bound.time / 2,
        ..bound
    }
}

fn put(
    world: &World,
    sheet: &mut Sheet,
    id: &str,
    label: &str,
    in_flight: usize,
    load: &crate::load::Load,
) {
    let server = &world.server.name;
    if in_flight == 1 {
        let id = (format!("{id}.ms"), format!("{label}, alone"));
        sheet.put(server, id, ("ms", Better::Lower), load.latency_ms(0.5));
    } else {
        let id = (
            format!("{id}.rate"),
            format!("{label}, {in_flight} in flight"),
        );
        sheet.put(server, id, ("/s", Better::Higher), load.rate());
    }
}

//! Joins into a room that grows large, and what the large room costs afterwards.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};

use super::send::{Plan, put_figures, verify};
use crate::clock::now;
use crate::load::{Bound, load, median};
use crate::sheet::{Better, Sheet};
use crate::world::{World, join, segment};

const IN_FLIGHT: usize = 4;
/// The last joins, measured by themselves: into a room that is large already.
const LAST: usize = 100;
const READS: usize = 20;
const MESSAGES_MAX: u64 = 5_000;

pub(super) async fn run(world: &mut World, members: usize, sheet: &mut Sheet) -> Result<()> {
    let people = world.accounts(1).await?;
    let crowd = world.crowd(members.saturating_sub(1)).await?;
    let server = world.server.name.clone();
    if crowd.len() + 1 < members {
        sheet.note(
            &server,
            format!(
                "time allowed for {} accounts to join, not {members}",
                crowd.len()
            ),
        );
    }
    let room = world.public_room(&people[0], &[]).await?;
    let last = LAST.min(crowd.len());
    let mut joined = 0;
    for (id, label, part) in [
        (
            "join.rate",
            "join a growing room, 4 in flight",
            &crowd[..crowd.len() - last],
        ),
        (
            "join.last.rate",
            "join it when large (last 100), 4 in flight",
            &crowd[crowd.len() - last..],
        ),
    ] {
        let (part, room_id) = (part.to_vec(), room.id.clone());
        let bound = world.long_bound(part.len() as u64);
        let workers = world.server.connections(IN_FLIGHT).await?;
        let (load, _) = load(workers, bound, move |mut connection, ticket| {
            let (account, room_id) = (Arc::clone(&part[ticket as usize]), room_id.clone());
            async move {
                join(&mut connection, &account, &room_id).await?;
                Ok(connection)
            }
        })
        .await?;
        joined += load.count;
        if load.count > 0 {
            sheet.put(&server, (id, label), ("/s", Better::Higher), load.rate());
        }
    }
    let size = joined as usize + 1;
    sheet.put(
        &server,
        ("join.members", "members of it then"),
        ("", Better::Neither),
        size as f64,
    );

    let mut connection = world.server.connection();
    let path = format!(
        "/_matrix/client/v3/rooms/{}/joined_members",
        segment(&room.id)
    );
    let mut times_ms = Vec::new();
    let start = now();
    while times_ms.len() < READS && start.elapsed() < world.budget {
        let began = now();
        let answer = connection.get(&path, &room.owner.token).await?;
        times_ms.push(began.elapsed().as_secs_f64() * 1000.0);
        let answer = answer.accepted()?;
        let present = answer["joined"].as_object().context("no joined members")?;
        let present: BTreeSet<&str> = present.keys().map(String::as_str).collect();
        ensure!(
            present.len() == size,
            "{} members instead of {size}",
            present.len()
        );
        let known = crowd
            .iter()
            .filter(|account| present.contains(account.user_id.as_str()))
            .count();
        ensure!(known + 1 == size, "members that never joined");
    }
    let id = ("join.members.ms", "joined_members of it");
    sheet.put(&server, id, ("ms", Better::Lower), median(&times_ms));

    let rooms = vec![room];
    let plan = Plan {
        label: "large".to_owned(),
        rooms: rooms.clone().into(),
        people: people.into(),
    };
    let before = world.server.usage();
    let bound = Bound {
        time: world.budget / 2,
        count_max: MESSAGES_MAX,
    };
    let (load, sent) = plan.send(world, 10, bound).await?;
    let used = world.server.usage().since(before);
    put_figures(sheet, &server, ("large", "the large room"), 10, &load, used);
    verify(world, &rooms, &sent).await
}

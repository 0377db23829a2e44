//! Moodle among people who come and go by themselves.

use lyceum_room::Target;
use ruma_common::user_id;

use crate::test_world::{World, session};

/// The check who is there and the kick are two steps; in between people leave.
#[tokio::test]
async fn who_leaves_before_the_kick_is_gone_all_the_same() {
    let world = World::new().await;
    let bob = session(user_id!("@bob:example.org"));
    let target = || Target {
        user_id: bob.user_id.clone(),
        reason: None,
    };
    let kick = |by| world.server.kick_if_there(by, &world.room_id, target());
    world.join(&bob).await;
    // Who may not kick still hears of it.
    let carol = session(user_id!("@carol:example.org"));
    world.join(&carol).await;
    assert!(kick(&carol.user_id).await.is_err());
    world.leave(&bob).await;
    assert!(kick(&world.alice.user_id).await.is_ok());
}

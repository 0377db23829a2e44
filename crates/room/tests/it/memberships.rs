//! Every change of membership by everybody who might try it.

use std::sync::Arc;

use lyceum_model::Event;
use lyceum_room::{CreateRoom, Denied, Join, Preset};
use lyceum_testkit::{Scene, alice, bob, carol, dave, user};
use ruma_common::{RoomVersionId, UserId, owned_room_id};
use serde_json::json;

/// The ways in which a user may stand to the room when the act comes.
const STANDINGS: [&str; 6] = ["none", "invite", "join", "leave", "ban", "knock"];

#[test]
fn acts_on_oneself_before_knocking_was_known() {
    check_own_acts(
        "6",
        "
join rule        act    none   invite join   leave  ban    knock
public           join   yes    yes    same   yes    no     -
public           leave  no     yes    yes    same   no     -
public           knock  no     no     no     no     no     -
invite           join   no     yes    same   no     no     -
invite           leave  no     yes    yes    same   no     -
invite           knock  no     no     no     no     no     -
knock            join   no     no     same   no     no     -
knock            leave  no     yes    yes    same   no     -
knock            knock  no     no     no     no     no     -
restricted       join   no     no     same   no     no     -
restricted       leave  no     yes    yes    same   no     -
restricted       knock  no     no     no     no     no     -
knock_restricted join   no     no     same   no     no     -
knock_restricted leave  no     yes    yes    same   no     -
knock_restricted knock  no     no     no     no     no     -
",
    );
}

#[test]
fn acts_on_oneself_since_knocking() {
    check_own_acts(
        "7",
        "
join rule        act    none   invite join   leave  ban    knock
public           join   yes    yes    same   yes    no     yes
public           leave  no     yes    yes    same   no     yes
public           knock  no     no     no     no     no     same
invite           join   no     yes    same   no     no     no
invite           leave  no     yes    yes    same   no     yes
invite           knock  no     no     no     no     no     same
knock            join   no     yes    same   no     no     no
knock            leave  no     yes    yes    same   no     yes
knock            knock  yes    no     no     yes    no     same
restricted       join   no     no     same   no     no     no
restricted       leave  no     yes    yes    same   no     yes
restricted       knock  no     no     no     no     no     same
knock_restricted join   no     no     same   no     no     no
knock_restricted leave  no     yes    yes    same   no     yes
knock_restricted knock  no     no     no     no     no     same
",
    );
}

#[test]
fn acts_on_oneself_since_restricted_rooms() {
    check_own_acts(
        "9",
        "
join rule        act    none   invite join   leave  ban    knock
public           join   yes    yes    same   yes    no     yes
public           leave  no     yes    yes    same   no     yes
public           knock  no     no     no     no     no     same
invite           join   no     yes    same   no     no     no
invite           leave  no     yes    yes    same   no     yes
invite           knock  no     no     no     no     no     same
knock            join   no     yes    same   no     no     no
knock            leave  no     yes    yes    same   no     yes
knock            knock  yes    no     no     yes    no     same
restricted       join   yes    yes    same   yes    no     yes
restricted       leave  no     yes    yes    same   no     yes
restricted       knock  no     no     no     no     no     same
knock_restricted join   no     no     same   no     no     no
knock_restricted leave  no     yes    yes    same   no     yes
knock_restricted knock  no     no     no     no     no     same
",
    );
}

#[test]
fn acts_on_oneself_today() {
    for version in ["10", "11", "12"] {
        check_own_acts(
            version,
            "
join rule        act    none   invite join   leave  ban    knock
public           join   yes    yes    same   yes    no     yes
public           leave  no     yes    yes    same   no     yes
public           knock  no     no     no     no     no     same
invite           join   no     yes    same   no     no     no
invite           leave  no     yes    yes    same   no     yes
invite           knock  no     no     no     no     no     same
knock            join   no     yes    same   no     no     no
knock            leave  no     yes    yes    same   no     yes
knock            knock  yes    no     no     yes    no     same
restricted       join   yes    yes    same   yes    no     yes
restricted       leave  no     yes    yes    same   no     yes
restricted       knock  no     no     no     no     no     same
knock_restricted join   yes    yes    same   yes    no     yes
knock_restricted leave  no     yes    yes    same   no     yes
knock_restricted knock  yes    no     no     yes    no     same
",
        );
    }
}

#[test]
fn acts_on_others() {
    for version in ["1", "3", "6", "9"] {
        check_acts_on_others(
            version,
            "
actor      act    none   invite join   leave  ban    mod
creator    invite yes    same   no     yes    no     no
creator    kick   no     yes    yes    no     no     yes
creator    ban    yes    yes    yes    yes    same   yes
creator    unban  no     no     no     no     yes    no
moderator  invite yes    yes    no     yes    no     no
moderator  kick   no     yes    yes    no     no     no
moderator  ban    yes    yes    yes    yes    yes    no
moderator  unban  no     no     no     no     yes    no
member     invite no     no     no     no     no     no
member     kick   no     no     no     no     no     no
member     ban    no     no     no     no     no     no
member     unban  no     no     no     no     no     no
outsider   invite no     no     no     no     no     no
outsider   kick   no     no     no     no     no     no
outsider   ban    no     no     no     no     no     no
outsider   unban  no     no     no     no     no     no
",
        );
    }
}

#[test]
fn acts_on_others_today() {
    for version in ["10", "12"] {
        check_acts_on_others(
            version,
            "
actor      act    none   invite join   leave  ban    mod
creator    invite yes    same   no     yes    no     no
creator    kick   no     yes    yes    no     no     yes
creator    ban    yes    yes    yes    yes    same   yes
creator    unban  no     no     no     no     yes    no
moderator  invite yes    yes    no     yes    no     no
moderator  kick   no     yes    yes    no     no     no
moderator  ban    yes    yes    yes    yes    yes    no
moderator  unban  no     no     no     no     yes    no
member     invite no     no     no     no     no     no
member     kick   no     no     no     no     no     no
member     ban    no     no     no     no     no     no
member     unban  no     no     no     no     no     no
outsider   invite no     no     no     no     no     no
outsider   kick   no     no     no     no     no     no
outsider   ban    no     no     no     no     no     no
outsider   unban  no     no     no     no     no     no
",
        );
    }
}

#[test]
fn nobody_moves_the_creator() {
    for version in ["11", "12"] {
        let mut scene = with_moderator(version);
        assert!(scene.try_kick(&dave(), &alice()).is_err(), "{version}");
        assert!(scene.try_ban(&dave(), &alice()).is_err(), "{version}");
        scene.leave(&alice());
        let may_ban = scene.try_ban(&dave(), &alice()).is_ok();
        assert!(!may_ban, "{version}: the creator's power stays");
    }
}

#[test]
fn a_knock_is_accepted_by_an_invite() {
    let mut scene = Scene::private();
    scene.set(
        &alice(),
        "m.room.join_rules",
        "",
        json!({ "join_rule": "knock" }),
    );
    scene.try_knock(&bob()).expect("may knock");
    scene.invite(&alice(), &bob());
    scene.join(&bob());
    assert!(scene.room.is_joined(&bob()));
}

#[test]
fn a_restricted_join_needs_one_of_the_rooms_and_somebody_to_vouch() {
    let mut scene = restricted("12");
    let other = owned_room_id!("!other:example.org");
    let join = |member_of| Join {
        member_of,
        ..Join::default()
    };
    assert!(matches!(
        scene.try_join(&bob(), join(Vec::new())),
        Err(Denied::Forbidden(_))
    ));
    assert!(matches!(
        scene.try_join(&bob(), join(vec![other])),
        Err(Denied::Forbidden(_))
    ));
    let event = scene
        .try_join(&bob(), join(vec![space()]))
        .expect("may join");
    let expected =
        r#"{"join_authorised_via_users_server":"@alice:example.org","membership":"join"}"#;
    assert_eq!(event.content.get(), expected);

    scene.leave(&alice());
    let carol_joins = scene.try_join(&carol(), join(vec![space()]));
    assert_eq!(
        carol_joins.map(|_| ()),
        Err(Denied::UnableToGrantJoin),
        "bob may not invite"
    );
}

#[test]
fn clients_cannot_vouch_for_a_join() {
    let mut scene = restricted("12");
    let content = json!({
        "membership": "join",
        "join_authorised_via_users_server": "@alice:example.org",
    });
    let set = scene.try_set(&bob(), "m.room.member", bob().as_str(), content);
    assert!(matches!(set, Err(Denied::Forbidden(_))), "{set:?}");
}

#[test]
fn users_of_other_servers_stay_out_of_unfederated_rooms() {
    let request = CreateRoom {
        creation_content: Some(lyceum_testkit::raw(&json!({ "m.federate": false }))),
        ..CreateRoom::new(alice(), RoomVersionId::V12)
    };
    let mut scene = Scene::with(request);
    assert!(scene.try_invite(&alice(), &user("eve:other.org")).is_err());
    assert!(scene.try_invite(&alice(), &bob()).is_ok());
}

#[test]
fn a_new_profile_is_a_new_event_once() {
    let mut scene = Scene::public();
    scene.join(&bob());
    let profile = lyceum_testkit::named("Robert");
    let update = |scene: &Scene| {
        lyceum_room::update_profile(
            &scene.room,
            &bob(),
            profile.clone(),
            &scene.signer,
            scene.now,
        )
    };
    let decision = update(&scene).expect("may be called otherwise");
    let event = scene.commit(decision);
    assert_eq!(
        event.content.get(),
        r#"{"displayname":"Robert","membership":"join"}"#
    );
    assert!(update(&scene).expect("may repeat it").is_unchanged());
}

// ── the tables ──

fn check_own_acts(version: &str, expect: &str) {
    let mut table =
        String::from("\njoin rule        act    none   invite join   leave  ban    knock\n");
    for rule in [
        "public",
        "invite",
        "knock",
        "restricted",
        "knock_restricted",
    ] {
        for act in ["join", "leave", "knock"] {
            table += &format!("{rule:16} {act:6}");
            for standing in STANDINGS {
                let cell = match standing_room(version, standing) {
                    None => "-",
                    Some(mut scene) => {
                        set_join_rule(&mut scene, rule);
                        own_act(&mut scene, act)
                    }
                };
                table += &format!(" {cell:6}");
            }
            table = table.trim_end().to_owned() + "\n";
        }
    }
    assert_eq!(table, expect, "room version {version}");
}

fn own_act(scene: &mut Scene, act: &str) -> &'static str {
    let before = scene.events.len();
    let outcome = match act {
        "join" => {
            let join = Join {
                member_of: vec![space()],
                ..Join::default()
            };
            scene.try_join(&bob(), join)
        }
        "leave" => scene.try_leave(&bob()),
        _ => scene.try_knock(&bob()),
    };
    tell(scene, before, &outcome)
}

fn check_acts_on_others(version: &str, expect: &str) {
    let mut table = String::from("\nactor      act    none   invite join   leave  ban    mod\n");
    for (name, actor) in [
        ("creator", alice()),
        ("moderator", dave()),
        ("member", carol()),
        ("outsider", user("eve")),
    ] {
        for act in ["invite", "kick", "ban", "unban"] {
            table += &format!("{name:10} {act:6}");
            for standing in ["none", "invite", "join", "leave", "ban", "mod"] {
                let mut scene = with_moderator(version);
                stand(&mut scene, standing);
                let before = scene.events.len();
                let outcome = match act {
                    "invite" => scene.try_invite(&actor, &bob()),
                    "kick" => scene.try_kick(&actor, &bob()),
                    "ban" => scene.try_ban(&actor, &bob()),
                    _ => scene.try_unban(&actor, &bob()),
                };
                table += &format!(" {:6}", tell(&scene, before, &outcome));
            }
            table = table.trim_end().to_owned() + "\n";
        }
    }
    assert_eq!(table, expect, "room version {version}");
}

fn tell(scene: &Scene, before: usize, outcome: &Result<Arc<Event>, Denied>) -> &'static str {
    match outcome {
        Ok(_) if scene.events.len() == before => "same",
        Ok(_) => "yes",
        Err(Denied::Forbidden(_) | Denied::NotThere | Denied::BadState(_)) => "no",
        Err(_) => "error",
    }
}

/// A public room in which bob stands like this; `None` if the version does not know that.
fn standing_room(version: &str, standing: &str) -> Option<Scene> {
    let mut scene = Scene::public_in(version);
    if standing == "knock" {
        if !scene.room.rules.ruma.authorization.knocking {
            return None;
        }
        set_join_rule(&mut scene, "knock");
    }
    stand(&mut scene, standing);
    Some(scene)
}

fn stand(scene: &mut Scene, standing: &str) {
    let bob: &UserId = &bob();
    match standing {
        "none" => {}
        "invite" => {
            scene.invite(&alice(), bob);
        }
        "join" => {
            scene.join(bob);
        }
        "leave" => {
            scene.join(bob);
            scene.leave(bob);
        }
        "ban" => {
            scene.try_ban(&alice(), bob).expect("may ban");
        }
        "knock" => {
            scene.try_knock(bob).expect("may knock");
        }
        _ => {
            scene.join(bob);
            promote(scene, &[bob.as_str(), dave().as_str()]);
        }
    }
}

fn set_join_rule(scene: &mut Scene, rule: &str) {
    let allow = json!([{ "type": "m.room_membership", "room_id": space() }]);
    let content = json!({ "join_rule": rule, "allow": allow });
    scene.set(&alice(), "m.room.join_rules", "", content);
}

/// Alice made the room, dave moderates it, carol is a member.
fn with_moderator(version: &str) -> Scene {
    let version = RoomVersionId::try_from(version).expect("a version");
    let mut scene = Scene::with(CreateRoom {
        preset: Some(Preset::PublicChat),
        ..CreateRoom::new(alice(), version)
    });
    scene.join(&carol());
    scene.join(&dave());
    promote(&mut scene, &[dave().as_str()]);
    scene
}

fn promote(scene: &mut Scene, users: &[&str]) {
    let event = scene
        .room
        .state
        .get("m.room.power_levels", "")
        .expect("has power levels");
    let mut content: serde_json::Value =
        serde_json::from_str(event.content.get()).expect("is JSON");
    for user_id in users {
        content["users"][*user_id] = json!(50);
    }
    scene.set(&alice(), "m.room.power_levels", "", content);
}

fn restricted(version: &str) -> Scene {
    let mut scene = Scene::public_in(version);
    set_join_rule(&mut scene, "restricted");
    scene
}

fn space() -> ruma_common::OwnedRoomId {
    owned_room_id!("!space:example.org")
}

//! Who sees which events.

use lyceum_model::Membership;
use lyceum_room::{HistoryVisibility, Viewpoint, visible_to};
use lyceum_testkit::{Scene, alice, bob};
use serde_json::json;

const VISIBILITIES: [HistoryVisibility; 4] = [
    HistoryVisibility::WorldReadable,
    HistoryVisibility::Shared,
    HistoryVisibility::Invited,
    HistoryVisibility::Joined,
];
const MEMBERSHIPS: [Option<Membership>; 6] = [
    None,
    Some(Membership::Invite),
    Some(Membership::Join),
    Some(Membership::Knock),
    Some(Membership::Leave),
    Some(Membership::Ban),
];

#[test]
fn ordinary_events() {
    let mut scene = Scene::public();
    let event = scene.say(&alice(), "hi");
    let mut table = String::from("\nvisibility      later none  inv   join  knock leave ban\n");
    for visibility in VISIBILITIES {
        for joined_later in [false, true] {
            table += &format!("{:15} {:5}", visibility.as_str(), tell(joined_later));
            for membership in MEMBERSHIPS {
                let viewpoint = Viewpoint {
                    visibility,
                    membership,
                    joined_later,
                };
                table += &format!(" {:5}", tell(visible_to(&event, &bob(), viewpoint)));
            }
            table = table.trim_end().to_owned() + "\n";
        }
    }
    let expect = "
visibility      later none  inv   join  knock leave ban
world_readable  no    yes   yes   yes   yes   yes   yes
world_readable  yes   yes   yes   yes   yes   yes   yes
shared          no    no    no    yes   no    no    no
shared          yes   yes   yes   yes   yes   yes   yes
invited         no    no    yes   yes   no    no    no
invited         yes   no    yes   yes   no    no    no
joined          no    no    no    yes   no    no    no
joined          yes   no    no    yes   no    no    no
";
    assert_eq!(table, expect);
}

#[test]
fn a_change_of_visibility_is_seen_from_both_sides() {
    let mut scene = Scene::public();
    let content = json!({ "history_visibility": "world_readable" });
    let opens = scene.set(&alice(), "m.room.history_visibility", "", content);
    let closes = scene.set(
        &alice(),
        "m.room.history_visibility",
        "",
        json!({ "history_visibility": "joined" }),
    );
    let from = |visibility| Viewpoint {
        visibility,
        membership: None,
        joined_later: false,
    };
    assert!(visible_to(&opens, &bob(), from(HistoryVisibility::Joined)));
    assert!(visible_to(
        &closes,
        &bob(),
        from(HistoryVisibility::WorldReadable)
    ));
    assert!(!visible_to(
        &closes,
        &bob(),
        from(HistoryVisibility::Joined)
    ));
}

#[test]
fn ones_own_coming_and_going_is_seen() {
    let mut scene = Scene::public();
    let joins = scene.join(&bob());
    let leaves = scene.leave(&bob());
    let from = |membership| Viewpoint {
        visibility: HistoryVisibility::Joined,
        membership,
        joined_later: false,
    };
    assert!(visible_to(&joins, &bob(), from(None)));
    assert!(visible_to(&leaves, &bob(), from(Some(Membership::Join))));
    assert!(!visible_to(&leaves, &bob(), from(Some(Membership::Leave))));
    assert!(!visible_to(&joins, &lyceum_testkit::carol(), from(None)));
}

fn tell(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

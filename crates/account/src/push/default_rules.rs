//! The rules that everybody has ("Predefined Rules").

use ruma_common::UserId;
use serde_json::{Value, json};

use super::rule_set::{PushRule, RuleKind};

/// The default rules of a kind, in order.
pub(super) fn default_rules(kind: RuleKind, user_id: &UserId) -> Vec<PushRule> {
    match kind {
        RuleKind::Override => override_rules(user_id),
        RuleKind::Content | RuleKind::Room | RuleKind::Sender => Vec::new(),
        RuleKind::Underride => underride_rules(),
    }
}

fn rule(rule_id: &str, conditions: Value, actions: Value) -> PushRule {
    let list = |value| match value {
        Value::Array(list) => list,
        other => vec![other],
    };
    PushRule {
        rule_id: rule_id.to_owned(),
        is_default: true,
        is_enabled: true,
        actions: list(actions),
        conditions: Some(list(conditions)),
        pattern: None,
    }
}

fn is(key: &str, pattern: &str) -> Value {
    json!({ "kind": "event_match", "key": key, "pattern": pattern })
}

fn sound(sound: &str) -> Value {
    json!({ "set_tweak": "sound", "value": sound })
}

fn highlight() -> Value {
    json!({ "set_tweak": "highlight" })
}

fn override_rules(user_id: &UserId) -> Vec<PushRule> {
    let mut master = rule(".m.rule.master", json!([]), json!([]));
    master.is_enabled = false;
    vec![
        master,
        rule(
            ".m.rule.suppress_notices",
            json!([is("content.msgtype", "m.notice")]),
            json!([]),
        ),
        rule(
            ".m.rule.invite_for_me",
            json!([
                is("type", "m.room.member"),
                is("content.membership", "invite"),
                is("state_key", user_id.as_str()),
            ]),
            json!(["notify", sound("default")]),
        ),
        rule(
            ".m.rule.member_event",
            json!([is("type", "m.room.member")]),
            json!([]),
        ),
        rule(
            ".m.rule.is_user_mention",
            json!([{
                "kind": "event_property_contains",
                "key": "content.m\\.mentions.user_ids",
                "value": user_id,
            }]),
            json!(["notify", sound("default"), highlight()]),
        ),
        rule(
            ".m.rule.is_room_mention",
            json!([
                { "kind": "event_property_is", "key": "content.m\\.mentions.room", "value": true },
                { "kind": "sender_notification_permission", "key": "room" },
            ]),
            json!(["notify", highlight()]),
        ),
        rule(
            ".m.rule.tombstone",
            json!([is("type", "m.room.tombstone"), is("state_key", "")]),
            json!(["notify", highlight()]),
        ),
        rule(
            ".m.rule.reaction",
            json!([is("type", "m.reaction")]),
            json!([]),
        ),
        rule(
            ".m.rule.room.server_acl",
            json!([is("type", "m.room.server_acl"), is("state_key", "")]),
            json!([]),
        ),
        rule(
            ".m.rule.suppress_edits",
            json!([{
                "kind": "event_property_is",
                "key": "content.m\\.relates_to.rel_type",
                "value": "m.replace",
            }]),
            json!([]),
        ),
    ]
}

fn underride_rules() -> Vec<PushRule> {
    let two_members = json!({ "kind": "room_member_count", "is": "2" });
    vec![
        rule(
            ".m.rule.call",
            json!([is("type", "m.call.invite")]),
            json!(["notify", sound("ring")]),
        ),
        rule(
            ".m.rule.encrypted_room_one_to_one",
            json!([two_members, is("type", "m.room.encrypted")]),
            json!(["notify", sound("default")]),
        ),
        rule(
            ".m.rule.room_one_to_one",
            json!([two_members, is("type", "m.room.message")]),
            json!(["notify", sound("default")]),
        ),
        rule(
            ".m.rule.message",
            json!([is("type", "m.room.message")]),
            json!(["notify"]),
        ),
        rule(
            ".m.rule.encrypted",
            json!([is("type", "m.room.encrypted")]),
            json!(["notify"]),
        ),
    ]
}

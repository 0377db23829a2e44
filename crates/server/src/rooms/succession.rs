//! What users set for a room holds for the room that replaces it, too (Client-Server API, "Room
//! Upgrades": "personalized settings such as notifications, tags").

use lyceum_account::push::{PushRule, PushRuleError, PushRules, RuleKind};
use lyceum_model::MatrixError;
use lyceum_storage::CommitError;
use ruma_common::{RoomId, UserId};
use serde_json::{Value, json};

use crate::{
    Server,
    accounts::{account_data, tags},
    decide::decide,
    push_rules,
};

/// The account data that says which rooms are direct chats, and with whom.
const DIRECT: &str = "m.direct";

/// Rules of these kinds can be about one room.
const KINDS: [RuleKind; 2] = [RuleKind::Override, RuleKind::Room];

impl Server {
    /// A user has come into a room: if it replaces another one, what they set for that one is
    /// copied, unless they have set it here already. They are in the room whether or not this
    /// comes to an end.
    pub(super) async fn take_settings_over(&self, user_id: &UserId, room_id: &RoomId) {
        if let Err(error) = self.try_take_settings_over(user_id, room_id).await {
            tracing::debug!(%error, %room_id, "settings stay with the room that was replaced");
        }
    }

    async fn try_take_settings_over(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<(), MatrixError> {
        let room = self.rooms.room(room_id).await?;
        let Some(old) = room.and_then(|room| room.predecessor()) else {
            return Ok(());
        };
        let tagged = tags::tags(self, user_id, room_id).await?;
        for (tag, content) in tags::tags(self, user_id, &old).await? {
            if let (false, Value::Object(content)) = (tagged.contains_key(&tag), content) {
                tags::put(self, user_id, room_id, &tag, content).await?;
            }
        }
        self.take_direct_over(user_id, &old, room_id).await?;
        let rules = push_rules::load(self, user_id).await?;
        if KINDS
            .iter()
            .any(|kind| rules.get(*kind, old.as_str()).is_ok())
        {
            push_rules::change(self, user_id, |rules| copy_rules(rules, &old, room_id)).await?;
        }
        Ok(())
    }

    /// A direct chat stays one (Client-Server API, "Direct Messaging").
    async fn take_direct_over(
        &self,
        user_id: &UserId,
        old: &RoomId,
        new: &RoomId,
    ) -> Result<(), CommitError> {
        let _turn = self.accounts.turn(user_id).await;
        decide(|| self.try_take_direct_over(user_id, old, new)).await
    }

    async fn try_take_direct_over(
        &self,
        user_id: &UserId,
        old: &RoomId,
        new: &RoomId,
    ) -> Result<(), CommitError> {
        let entry = self.store.account_data_entry(user_id, None, DIRECT).await?;
        let Some(entry) = entry else { return Ok(()) };
        let Some(content) = entry
            .content
            .and_then(|content| with_successor(&content, old, new))
        else {
            return Ok(());
        };
        let read_at = Some(entry.position);
        account_data::replace(self, user_id, None, DIRECT, read_at, content).await
    }
}

/// The content of `m.direct` in which `new` stands beside `old`; `None`: there is nothing to change.
fn with_successor(content: &str, old: &RoomId, new: &RoomId) -> Option<String> {
    let mut content: Value = serde_json::from_str(content).ok()?;
    let mut is_changed = false;
    let lists = content.as_object_mut()?.values_mut();
    for rooms in lists.filter_map(Value::as_array_mut) {
        let has = |rooms: &[Value], id: &RoomId| rooms.iter().any(|room| *room == id.as_str());
        if has(rooms, old) && !has(rooms, new) {
            rooms.push(json!(new));
            is_changed = true;
        }
    }
    is_changed.then(|| content.to_string())
}

/// Copies the rules that are called like the old room, as clients call those about one room.
fn copy_rules(rules: &mut PushRules, old: &RoomId, new: &RoomId) -> Result<(), PushRuleError> {
    for kind in KINDS {
        let Ok(rule) = rules.get(kind, old.as_str()).cloned() else {
            continue;
        };
        if rules.get(kind, new.as_str()).is_ok() {
            continue;
        }
        rules.put(kind, new.as_str(), &about(&rule, old, new), None, None)?;
        rules.set_enabled(kind, new.as_str(), rule.is_enabled)?;
    }
    Ok(())
}

/// The body of a rule, with conditions on the old room turned into those on the new one.
fn about(rule: &PushRule, old: &RoomId, new: &RoomId) -> Value {
    let mut body = json!({ "actions": rule.actions });
    if let Some(conditions) = &rule.conditions {
        let mut conditions = conditions.clone();
        let fields = conditions.iter_mut().filter_map(Value::as_object_mut);
        for value in fields.flat_map(|condition| condition.values_mut()) {
            if *value == old.as_str() {
                *value = json!(new);
            }
        }
        body["conditions"] = Value::Array(conditions);
    }
    body
}

//! Who comes and goes: each change of membership with the content that the specification gives it.

use lyceum_model::{Membership, Timestamp};
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedRoomId, OwnedUserId, ServerName, UserId,
};
use serde_json::value::RawValue;

use crate::{
    check,
    decision::{Composer, Decision, Piece, object, text},
    denied::Denied,
    room::Room,
    signer::Signer,
};

/// How a user shows in the room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// The name.
    pub displayname: Option<String>,
    /// The picture, an `mxc:` address.
    pub avatar_url: Option<String>,
}

/// An invitation.
#[derive(Debug, Clone)]
pub struct Invite {
    /// Whom.
    pub user_id: OwnedUserId,
    /// How the invited user shows.
    pub profile: Profile,
    /// Why.
    pub reason: Option<String>,
    /// Whether to a direct chat.
    pub is_direct: bool,
}

/// What belongs to a join.
#[derive(Debug, Clone, Default)]
pub struct Join {
    /// How the user shows.
    pub profile: Profile,
    /// Why.
    pub reason: Option<String>,
    /// Those of [`Room::allowed_rooms`] in which the user is a member.
    pub member_of: Vec<OwnedRoomId>,
    /// Further fields of the content, as the client gave them.
    pub extra: Option<Box<RawValue>>,
}

/// What belongs to a knock.
#[derive(Debug, Clone, Default)]
pub struct Knock {
    /// How the user shows.
    pub profile: Profile,
    /// Why.
    pub reason: Option<String>,
}

/// Whom a kick, a ban or its end concerns.
#[derive(Debug, Clone)]
pub struct Target {
    /// Whom.
    pub user_id: OwnedUserId,
    /// Why.
    pub reason: Option<String>,
}

/// Invites a user.
pub fn invite(
    room: &Room,
    sender: &UserId,
    invite: Invite,
    signer: &Signer,
    now: Timestamp,
) -> Result<Decision, Denied> {
    let mut composer = Composer::new(room, signer, now);
    composer.invite(sender, invite)?;
    Ok(composer.finish())
}

impl Composer<'_> {
    pub(crate) fn invite(&mut self, sender: &UserId, invite: Invite) -> Result<(), Denied> {
        let room = &self.room;
        if !room.is_federated()
            && room
                .creators()
                .first()
                .is_some_and(|creator| creator.server_name() != invite.user_id.server_name())
        {
            return Err(Denied::forbidden("this room is closed to other servers"));
        }
        let mut content = content_of(Membership::Invite, invite.profile, invite.reason);
        if invite.is_direct {
            content.insert("is_direct".to_owned(), CanonicalJsonValue::Bool(true));
        }
        self.set(
            sender,
            Piece::state("m.room.member", invite.user_id.as_str(), content),
        )
    }
}

/// Brings a user of this server in on behalf of a member who may invite: an invite, where the
/// user needs one, and the join, as one decision. Nothing changes for whoever is a member.
pub fn bring_in(
    room: &Room,
    sender: &UserId,
    user_id: &UserId,
    profile: Profile,
    signer: &Signer,
    now: Timestamp,
) -> Result<Decision, Denied> {
    let membership = room.state.membership(user_id);
    let is_open = room.join_rule() == crate::content::JoinRule::Public;
    let needs_invite =
        !is_open && !matches!(membership, Some(Membership::Join | Membership::Invite));
    if !needs_invite {
        let join = Join {
            profile,
            ..Join::default()
        };
        return self::join(room, user_id, join, signer, now);
    }
    let mut composer = Composer::new(room, signer, now);
    composer.invite(
        sender,
        Invite {
            user_id: user_id.to_owned(),
            profile: profile.clone(),
            reason: None,
            is_direct: false,
        },
    )?;
    let content = content_of(Membership::Join, profile, None);
    composer.set(
        user_id,
        Piece::state("m.room.member", user_id.as_str(), content),
    )?;
    Ok(composer.finish())
}

/// Lets a user of this server in. Nothing changes for whoever is a member.
pub fn join(
    room: &Room,
    user_id: &UserId,
    join: Join,
    signer: &Signer,
    now: Timestamp,
) -> Result<Decision, Denied> {
    let member = room.state.member(user_id);
    let membership = member.map(|member| member.membership);
    if let Some(member) = member
        && membership == Some(Membership::Join)
    {
        return Ok(Decision::unchanged(room, &member.event));
    }
    if membership == Some(Membership::Ban) {
        return Err(Denied::forbidden("you are banned from this room"));
    }
    let mut content = match &join.extra {
        Some(extra) => check::object(extra)?,
        None => CanonicalJsonObject::new(),
    };
    content.remove("join_authorised_via_users_server");
    content.remove("third_party_invite");
    content.extend(content_of(Membership::Join, join.profile, join.reason));
    if membership != Some(Membership::Invite) && is_restricted(room) {
        let allowed_rooms = room.allowed_rooms();
        if !join
            .member_of
            .iter()
            .any(|room_id| allowed_rooms.contains(room_id))
        {
            return Err(Denied::forbidden(
                "only members of certain other rooms, or invited users, may join this room",
            ));
        }
        let host =
            authorising_member(room, signer.server_name()).ok_or(Denied::UnableToGrantJoin)?;
        content.insert(
            "join_authorised_via_users_server".to_owned(),
            text(host.as_str()),
        );
    }
    let mut composer = Composer::new(room, signer, now);
    composer.set(
        user_id,
        Piece::state("m.room.member", user_id.as_str(), content),
    )?;
    Ok(composer.finish())
}

fn is_restricted(room: &Room) -> bool {
    use crate::content::JoinRule;
    let rules = &room.rules.ruma.authorization;
    match room.join_rule() {
        JoinRule::Restricted => rules.restricted_join_rule,
        JoinRule::KnockRestricted => rules.knock_restricted_join_rule,
        JoinRule::Public | JoinRule::Invite | JoinRule::Knock | JoinRule::Private => false,
    }
}

/// A member of this server who may invite, and so may vouch for a restricted join: the most
/// powerful one, by user id among equals.
pub fn authorising_member(room: &Room, server_name: &ServerName) -> Option<OwnedUserId> {
    let power_levels = room.power_levels();
    let is_able = |user_id: &&OwnedUserId| {
        user_id.server_name() == server_name
            && room.is_joined(user_id)
            && power_levels.may_invite(user_id)
    };
    if let Some(creator) = power_levels.privileged().iter().find(is_able) {
        return Some(creator.clone());
    }
    let mut named: Vec<&OwnedUserId> = power_levels.users.keys().filter(is_able).collect();
    named.sort_by_key(|user_id| std::cmp::Reverse(power_levels.user(user_id)));
    if let Some(user_id) = named.first() {
        return Some((*user_id).clone());
    }
    if power_levels.users_default < power_levels.invite {
        return None;
    }
    room.state
        .joined_members()
        .map(|(user_id, _)| user_id)
        .find(|user_id| user_id.server_name() == server_name && power_levels.may_invite(user_id))
        .map(ToOwned::to_owned)
}

/// Shows a member under another name or picture.
pub fn update_profile(
    room: &Room,
    user_id: &UserId,
    profile: Profile,
    signer: &Signer,
    now: Timestamp,
) -> Result<Decision, Denied> {
    let Some(member) = room
        .state
        .member(user_id)
        .filter(|_| room.is_joined(user_id))
    else {
        return Err(Denied::forbidden("you are not a member of this room"));
    };
    let mut content: CanonicalJsonObject =
        serde_json::from_str(member.event.content.get()).unwrap_or_default();
    for key in [
        "displayname",
        "avatar_url",
        "reason",
        "join_authorised_via_users_server",
    ] {
        content.remove(key);
    }
    content.extend(content_of(Membership::Join, profile, None));
    let mut composer = Composer::new(room, signer, now);
    composer.set(
        user_id,
        Piece::state("m.room.member", user_id.as_str(), content),
    )?;
    Ok(composer.finish())
}

/// Leaves a room, declines an invite, or takes a knock back. Nothing changes for whoever is gone.
pub fn leave(
    room: &Room,
    user_id: &UserId,
    reason: Option<String>,
    signer: &Signer,
    now: Timestamp,
) -> Result<Decision, Denied> {
    match room.state.member(user_id) {
        Some(member) if member.membership == Membership::Leave => {
            return Ok(Decision::unchanged(room, &member.event));
        }
        Some(member) if member.membership == Membership::Ban => {
            return Err(Denied::forbidden("you are banned from this room"));
        }
        Some(_) => {}
        None => return Err(Denied::forbidden("you are not in this room")),
    }
    let target = Target {
        user_id: user_id.to_owned(),
        reason,
    };
    remove(room, user_id, target, signer, now)
}

/// Asks to be let in.
pub fn knock(
    room: &Room,
    user_id: &UserId,
    knock: Knock,
    signer: &Signer,
    now: Timestamp,
) -> Result<Decision, Denied> {
    if !room.rules.ruma.authorization.knocking {
        return Err(Denied::forbidden(
            "this room's version does not know knocking",
        ));
    }
    let content = content_of(Membership::Knock, knock.profile, knock.reason);
    let mut composer = Composer::new(room, signer, now);
    composer.set(
        user_id,
        Piece::state("m.room.member", user_id.as_str(), content),
    )?;
    Ok(composer.finish())
}

/// Puts a member out, or takes back an invite or a knock.
pub fn kick(
    room: &Room,
    sender: &UserId,
    target: Target,
    signer: &Signer,
    now: Timestamp,
) -> Result<Decision, Denied> {
    match room.state.membership(&target.user_id) {
        Some(Membership::Join | Membership::Invite | Membership::Knock) => {
            remove(room, sender, target, signer, now)
        }
        Some(Membership::Leave | Membership::Ban) | None => Err(Denied::NotThere),
    }
}

/// Keeps a user out.
pub fn ban(
    room: &Room,
    sender: &UserId,
    target: Target,
    signer: &Signer,
    now: Timestamp,
) -> Result<Decision, Denied> {
    let content = content_of(Membership::Ban, Profile::default(), target.reason);
    let mut composer = Composer::new(room, signer, now);
    composer.set(
        sender,
        Piece::state("m.room.member", target.user_id.as_str(), content),
    )?;
    Ok(composer.finish())
}

/// Ends a ban.
pub fn unban(
    room: &Room,
    sender: &UserId,
    target: Target,
    signer: &Signer,
    now: Timestamp,
) -> Result<Decision, Denied> {
    if room.state.membership(&target.user_id) != Some(Membership::Ban) {
        let why = "the user is not banned from this room";
        return Err(Denied::BadState(why.to_owned()));
    }
    remove(room, sender, target, signer, now)
}

fn remove(
    room: &Room,
    sender: &UserId,
    target: Target,
    signer: &Signer,
    now: Timestamp,
) -> Result<Decision, Denied> {
    let content = content_of(Membership::Leave, Profile::default(), target.reason);
    let mut composer = Composer::new(room, signer, now);
    composer.set(
        sender,
        Piece::state("m.room.member", target.user_id.as_str(), content),
    )?;
    Ok(composer.finish())
}

pub(crate) fn content_of(
    membership: Membership,
    profile: Profile,
    reason: Option<String>,
) -> CanonicalJsonObject {
    object([
        ("membership", Some(text(membership.as_str()))),
        ("displayname", profile.displayname.map(text)),
        ("avatar_url", profile.avatar_url.map(text)),
        ("reason", reason.map(text)),
    ])
}

//! The numbers of events: room and place in one integer, so that a room's timeline lies together
//! and in order.
//!
//! `room << 36 | place`. Places from 2^34 on are the timeline, shifted by 2^35; those below are
//! for events outside of it, in the order of their arrival. A number never changes: an event that
//! enters the timeline later keeps its number and gets a stub at its place.

use lyceum_model::Seq;

const PLACE_BITS: u32 = 36;
const PLACE_MASK: i64 = (1 << PLACE_BITS) - 1;
const TIMELINE_START: i64 = 1 << 34;
const SEQ_ZERO: i64 = 1 << 35;
/// No timeline is longer than this, in either direction.
const SEQ_LIMIT: i64 = (1 << 34) - 1;

/// The number of the timeline event at `seq`; places beyond the limits are brought to them.
pub(crate) fn in_timeline(room: i64, seq: Seq) -> i64 {
    (room << PLACE_BITS) | (seq.0.clamp(-SEQ_LIMIT, SEQ_LIMIT) + SEQ_ZERO)
}

/// The number of the `count`th event of a room outside the timeline.
pub(crate) fn aside(room: i64, count: i64) -> i64 {
    (room << PLACE_BITS) | count
}

/// The room's number.
pub(crate) fn room_of(number: i64) -> i64 {
    number >> PLACE_BITS
}

/// The place in the timeline, if it has one.
pub(crate) fn seq_of(number: i64) -> Option<Seq> {
    let place = number & PLACE_MASK;
    (place >= TIMELINE_START).then(|| Seq(place - SEQ_ZERO))
}

/// The smallest and the greatest number that an event of the room can have.
pub(crate) fn bounds(room: i64) -> (i64, i64) {
    (room << PLACE_BITS, (room << PLACE_BITS) | PLACE_MASK)
}

/// The number as it stands in the room's states: short, and without the room.
pub(crate) fn to_local(number: i64) -> u64 {
    let place = number & PLACE_MASK;
    let (value, region) = match seq_of(number) {
        Some(Seq(seq)) if seq > 0 => (seq, 0),
        Some(Seq(seq)) => (-seq, 1),
        None => (place, 2),
    };
    value.cast_unsigned() << 2 | region
}

/// The number that [`to_local`] made short; `None` if it is damaged.
pub(crate) fn from_local(room: i64, local: u64) -> Option<i64> {
    let value = i64::try_from(local >> 2)
        .ok()
        .filter(|value| *value <= SEQ_LIMIT)?;
    match local & 3 {
        0 => Some(in_timeline(room, Seq(value))),
        1 => Some(in_timeline(room, Seq(-value))),
        2 => Some(aside(room, value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_numbers_lead_back() {
        for room in [1, 77, (1 << 27) - 1] {
            for seq in [1, 2, 900_000_000, 0, -1, -5000] {
                let number = in_timeline(room, Seq(seq));
                assert_eq!(seq_of(number), Some(Seq(seq)));
                assert_eq!(room_of(number), room);
                assert_eq!(from_local(room, to_local(number)), Some(number));
            }
            for count in [0, 1, 100_000] {
                let number = aside(room, count);
                assert_eq!(seq_of(number), None);
                assert_eq!(room_of(number), room);
                assert_eq!(from_local(room, to_local(number)), Some(number));
            }
            let (least, greatest) = bounds(room);
            assert!(least <= aside(room, 0) && in_timeline(room, Seq(i64::MAX)) <= greatest);
        }
    }

    #[test]
    fn timelines_are_in_order() {
        assert!(in_timeline(1, Seq(-1)) < in_timeline(1, Seq(0)));
        assert!(in_timeline(1, Seq(0)) < in_timeline(1, Seq(1)));
        assert!(aside(1, SEQ_LIMIT) < in_timeline(1, Seq(i64::MIN + 1)));
        assert!(in_timeline(1, Seq(i64::MAX)) < aside(2, 0));
    }
}

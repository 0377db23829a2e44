//! Trains the dictionary for event bodies from made-up but plausible events.
//!
//! `cargo run --release -p lyceum_storage_sql --example train_dictionary -- FILE`. The result is
//! committed; a new one needs a new form of bodies, since stored events need the old one for ever.

use lyceum_storage_sql::dictionary_sample;
use ruma_common::RoomId;

const DICTIONARY_BYTES: usize = 24 << 10;
const EVENTS: usize = 40_000;

fn main() {
    let path = std::env::args().nth(1).expect("the file to write");
    let mut chance = Chance(7);
    let samples: Vec<Vec<u8>> = (0..EVENTS).map(|_| sample(&mut chance)).collect();
    let dictionary = zstd::dict::from_samples(&samples, DICTIONARY_BYTES).expect("enough samples");
    std::fs::write(&path, &dictionary).expect("a writable file");
    let text: usize = samples.iter().map(Vec::len).sum();
    let mut compressor = zstd::bulk::Compressor::with_dictionary(3, &dictionary).expect("a level");
    let mut compressed = 0;
    for _ in 0..2000 {
        compressed += compressor
            .compress(&sample(&mut chance))
            .expect("memory")
            .len();
    }
    println!(
        "{} bytes of dictionary; an event's text of {} bytes becomes {}",
        dictionary.len(),
        text / EVENTS,
        compressed / 2000
    );
}

/// A small generator; good enough for samples.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len() as u64) as usize]
    }

    fn text(&mut self, length: usize, letters: &[u8]) -> String {
        (0..length)
            .map(|_| char::from(letters[self.below(letters.len() as u64) as usize]))
            .collect()
    }
}

const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const LOWER: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const TLDS: &[&str] = &[
    "org", "com", "de", "net", "fr", "eu", "edu", "io", "uk", "at", "ch",
];
const WORDS: &[&str] = &[
    "the", "and", "you", "that", "is", "it", "for", "not", "with", "this", "have", "are", "we",
    "can", "but", "was", "think", "there", "what", "if", "about", "just", "will", "would", "like",
    "one", "how", "yes", "no", "ok", "thanks", "please", "tomorrow", "meeting", "hello", "good",
    "morning", "work", "time", "see", "know", "ich", "das", "ist", "nicht", "und", "die", "der",
    "ein", "auch", "wir", "mit", "morgen", "danke", "noch", "haben", "für", "schon", "https://",
    "le", "la", "les", "est", "pas", "que", "message", "server", "room", "test", "matrix",
];

fn sentence(chance: &mut Chance) -> String {
    let words = 1 + chance.below(14);
    let words: Vec<&str> = (0..words).map(|_| chance.pick(WORDS)).collect();
    words.join(" ")
}

fn server(chance: &mut Chance) -> String {
    match chance.below(6) {
        0 => "matrix.org".to_owned(),
        1 => format!("localhost:{}", 8000 + chance.below(999)),
        2 => {
            let length = 4 + chance.below(8) as usize;
            format!(
                "matrix.{}.{}",
                chance.text(length, LOWER),
                chance.pick(TLDS)
            )
        }
        _ => {
            let length = 4 + chance.below(10) as usize;
            format!("{}.{}", chance.text(length, LOWER), chance.pick(TLDS))
        }
    }
}

fn event_id(chance: &mut Chance) -> String {
    // The last letter carries four bits only.
    let last = BASE64[(chance.below(16) * 4) as usize];
    let id: String = chance.text(42, BASE64).replace('+', "-").replace('/', "_");
    format!("${id}{}", char::from(last))
}

fn base64(chance: &mut Chance, letters: usize, last_step: u64) -> String {
    let last = BASE64[(chance.below(64 / last_step) * last_step) as usize];
    format!("{}{}", chance.text(letters - 1, BASE64), char::from(last))
}

fn list(chance: &mut Chance, most: u64) -> String {
    let ids: Vec<String> = (0..=chance.below(most))
        .map(|_| format!("\"{}\"", event_id(chance)))
        .collect();
    format!("[{}]", ids.join(","))
}

fn sample(chance: &mut Chance) -> Vec<u8> {
    let home = server(chance);
    let name_length = 3 + chance.below(9) as usize;
    let user = format!("@{}:{home}", chance.text(name_length, LOWER));
    let room_id = if chance.below(2) == 0 {
        event_id(chance).replace('$', "!")
    } else {
        format!("!{}:{home}", chance.text(18, LETTERS))
    };
    let (kind, content, state_key) = content(chance, &home, &user);
    let state_key = state_key.map_or_else(String::new, |key| format!(",\"state_key\":\"{key}\""));
    let unsigned = match chance.below(8) {
        0 => format!(",\"unsigned\":{{\"age\":{}}}", chance.below(900)),
        1 if !state_key.is_empty() => format!(
            ",\"unsigned\":{{\"prev_content\":{content},\"prev_sender\":\"{user}\",\
             \"replaces_state\":\"{}\"}}",
            event_id(chance)
        ),
        _ => String::new(),
    };
    let key_length = 4 + chance.below(4) as usize;
    let key = match chance.below(3) {
        0 => "1".to_owned(),
        _ => format!("a_{}", chance.text(key_length, LETTERS)),
    };
    let json = format!(
        "{{\"auth_events\":{},\"content\":{content},\"depth\":{},\"hashes\":{{\"sha256\":\"{}\"}},\
         \"origin_server_ts\":{},\"prev_events\":{},\"room_id\":\"{room_id}\",\"sender\":\"{user}\",\
         \"signatures\":{{\"{home}\":{{\"ed25519:{key}\":\"{}\"}}}}{state_key},\"type\":\"{kind}\"{unsigned}}}",
        list(chance, 4),
        1 + chance.below(20_000),
        base64(chance, 43, 4),
        1_700_000_000_000 + chance.below(400_000_000_000),
        list(chance, 2),
        base64(chance, 86, 16),
    );
    let room_id = <&RoomId>::try_from(&*room_id).expect("a room id");
    dictionary_sample(room_id, &json)
}

fn mxc(chance: &mut Chance, home: &str) -> String {
    format!("mxc://{home}/{}", chance.text(24, LETTERS))
}

/// Type, content, and state key of an event.
fn content(chance: &mut Chance, home: &str, user: &str) -> (String, String, Option<String>) {
    let message = |content: String| ("m.room.message".to_owned(), content, None);
    let state = |kind: &str, content: String| (kind.to_owned(), content, Some(String::new()));
    match chance.below(40) {
        0..10 => message(format!(
            "{{\"body\":\"{}\",\"msgtype\":\"m.text\"}}",
            sentence(chance)
        )),
        10 | 11 => message(format!(
            "{{\"body\":\"{}\",\"m.mentions\":{{}},\"msgtype\":\"m.text\"}}",
            sentence(chance)
        )),
        12 => message(format!(
            "{{\"body\":\"> <{user}> {}\\n\\n{}\",\"format\":\"org.matrix.custom.html\",\
             \"formatted_body\":\"<p>{}</p>\",\"m.mentions\":{{\"user_ids\":[\"{user}\"]}},\
             \"m.relates_to\":{{\"m.in_reply_to\":{{\"event_id\":\"{}\"}}}},\"msgtype\":\"m.text\"}}",
            sentence(chance),
            sentence(chance),
            sentence(chance),
            event_id(chance)
        )),
        13 => message(format!(
            "{{\"body\":\"* {0}\",\"m.mentions\":{{}},\"m.new_content\":{{\"body\":\"{0}\",\
             \"m.mentions\":{{}},\"msgtype\":\"m.text\"}},\"m.relates_to\":{{\"event_id\":\"{1}\",\
             \"rel_type\":\"m.replace\"}},\"msgtype\":\"m.text\"}}",
            sentence(chance),
            event_id(chance)
        )),
        14 => message(format!(
            "{{\"body\":\"{}\",\"m.mentions\":{{}},\"m.relates_to\":{{\"event_id\":\"{1}\",\
             \"is_falling_back\":true,\"m.in_reply_to\":{{\"event_id\":\"{1}\"}},\
             \"rel_type\":\"m.thread\"}},\"msgtype\":\"m.text\"}}",
            sentence(chance),
            event_id(chance)
        )),
        15 | 16 => message(format!(
            "{{\"body\":\"IMG_{}.jpg\",\"filename\":\"IMG_{}.jpg\",\"info\":{{\"h\":{},\
             \"mimetype\":\"image/jpeg\",\"size\":{},\"thumbnail_info\":{{\"h\":600,\
             \"mimetype\":\"image/png\",\"size\":{},\"w\":800}},\"thumbnail_url\":\"{}\",\
             \"w\":{},\"xyz.amorgan.blurhash\":\"L\"}},\"msgtype\":\"m.image\",\"url\":\"{}\"}}",
            chance.below(9999),
            chance.below(9999),
            chance.below(4000),
            chance.below(9_000_000),
            chance.below(90_000),
            mxc(chance, home),
            chance.below(4000),
            mxc(chance, home)
        )),
        17 => message(format!(
            "{{\"body\":\"{}.pdf\",\"filename\":\"{0}.pdf\",\"info\":{{\
             \"mimetype\":\"application/pdf\",\"size\":{}}},\"msgtype\":\"m.file\",\"url\":\"{}\"}}",
            sentence(chance),
            chance.below(9_000_000),
            mxc(chance, home)
        )),
        18 => message(format!(
            "{{\"body\":\"{}\",\"msgtype\":\"{}\"}}",
            sentence(chance),
            chance.pick(&["m.notice", "m.emote"])
        )),
        19..27 => {
            let length = 120 + 4 * chance.below(60) as usize;
            let relation = match chance.below(4) {
                0 => format!(
                    ",\"m.relates_to\":{{\"event_id\":\"{}\",\"rel_type\":\"m.thread\"}}",
                    event_id(chance)
                ),
                _ => String::new(),
            };
            let content = format!(
                "{{\"algorithm\":\"m.megolm.v1.aes-sha2\",\"ciphertext\":\"AwgAEn{}\",\
                 \"device_id\":\"{}\"{relation},\"sender_key\":\"{}\",\"session_id\":\"{}\"}}",
                chance.text(length, BASE64),
                chance.text(10, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
                base64(chance, 43, 4),
                base64(chance, 43, 4)
            );
            ("m.room.encrypted".to_owned(), content, None)
        }
        27 | 28 => {
            let content = format!(
                "{{\"m.relates_to\":{{\"event_id\":\"{}\",\"key\":\"{}\",\
                 \"rel_type\":\"m.annotation\"}}}}",
                event_id(chance),
                chance.pick(&["👍", "❤️", "😂", "🎉", "👀", "✅"])
            );
            ("m.reaction".to_owned(), content, None)
        }
        29 => {
            let content = format!("{{\"redacts\":\"{}\"}}", event_id(chance));
            ("m.room.redaction".to_owned(), content, None)
        }
        30..35 => {
            let name = chance.text(8, LETTERS);
            let avatar = match chance.below(2) {
                0 => format!("\"avatar_url\":\"{}\",", mxc(chance, home)),
                _ => String::new(),
            };
            let membership = chance.pick(&["join", "join", "join", "invite", "leave", "ban"]);
            let content =
                format!("{{{avatar}\"displayname\":\"{name}\",\"membership\":\"{membership}\"}}");
            ("m.room.member".to_owned(), content, Some(user.to_owned()))
        }
        35 => state(
            "m.room.power_levels",
            format!(
                "{{\"ban\":50,\"events\":{{\"m.room.avatar\":50,\"m.room.canonical_alias\":50,\
                 \"m.room.encryption\":100,\"m.room.history_visibility\":100,\"m.room.name\":50,\
                 \"m.room.power_levels\":100,\"m.room.server_acl\":100,\"m.room.tombstone\":100}},\
                 \"events_default\":0,\"historical\":100,\"invite\":0,\"kick\":50,\
                 \"notifications\":{{\"room\":50}},\"redact\":50,\"state_default\":50,\
                 \"users\":{{\"{user}\":100}},\"users_default\":0}}"
            ),
        ),
        36 => match chance.below(3) {
            0 => state(
                "m.room.create",
                format!(
                    "{{\"creator\":\"{user}\",\"room_version\":\"{}\"}}",
                    6 + chance.below(6)
                ),
            ),
            1 => state("m.room.create", "{\"room_version\":\"12\"}".to_owned()),
            _ => state(
                "m.room.encryption",
                "{\"algorithm\":\"m.megolm.v1.aes-sha2\",\"rotation_period_ms\":604800000,\
                 \"rotation_period_msgs\":100}"
                    .to_owned(),
            ),
        },
        37 => match chance.below(4) {
            0 => state(
                "m.room.join_rules",
                format!(
                    "{{\"join_rule\":\"{}\"}}",
                    chance.pick(&["public", "invite", "knock", "restricted"])
                ),
            ),
            1 => state(
                "m.room.history_visibility",
                format!(
                    "{{\"history_visibility\":\"{}\"}}",
                    chance.pick(&["shared", "invited", "joined", "world_readable"])
                ),
            ),
            2 => state(
                "m.room.guest_access",
                format!(
                    "{{\"guest_access\":\"{}\"}}",
                    chance.pick(&["can_join", "forbidden"])
                ),
            ),
            _ => {
                let alias = chance.text(8, LOWER);
                state(
                    "m.room.canonical_alias",
                    format!("{{\"alias\":\"#{alias}:{home}\",\"alt_aliases\":[]}}"),
                )
            }
        },
        38 => match chance.below(3) {
            0 => state(
                "m.room.name",
                format!("{{\"name\":\"{}\"}}", sentence(chance)),
            ),
            1 => state(
                "m.room.topic",
                format!(
                    "{{\"m.topic\":{{\"m.text\":[{{\"body\":\"{0}\"}}]}},\"topic\":\"{0}\"}}",
                    sentence(chance)
                ),
            ),
            _ => state(
                "m.room.avatar",
                format!("{{\"url\":\"{}\"}}", mxc(chance, home)),
            ),
        },
        _ => match chance.below(3) {
            0 => state(
                "m.room.pinned_events",
                format!("{{\"pinned\":{}}}", list(chance, 5)),
            ),
            1 => (
                "m.space.child".to_owned(),
                format!("{{\"suggested\":false,\"via\":[\"{home}\"]}}"),
                Some(event_id(chance).replace('$', "!")),
            ),
            _ => (
                "m.call.member".to_owned(),
                format!(
                    "{{\"application\":\"m.call\",\"call_id\":\"\",\"device_id\":\"{}\",\
                     \"expires\":14400000,\"foci_preferred\":[],\"focus_active\":{{\
                     \"focus_selection\":\"oldest_membership\",\"type\":\"livekit\"}},\
                     \"scope\":\"m.room\"}}",
                    chance.text(10, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
                ),
                Some(format!("_{user}_m.call")),
            ),
        },
    }
}

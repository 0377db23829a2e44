use lyceum_model::{Position, Seq};
use lyceum_sync::token::{PageToken, SyncToken, TimelineToken};

#[test]
fn tokens_are_read_as_they_are_written() {
    for position in [0, 1, 12, u64::MAX] {
        let token = SyncToken(Position(position));
        assert_eq!(token.to_string().parse(), Ok(token));
        assert_eq!(token.to_string().parse(), Ok(PageToken::Sync(token)));
        for seq in [0, 1, -1, 34, i64::MAX, -i64::MAX] {
            let token = TimelineToken {
                position: Position(position),
                seq: Seq(seq),
            };
            assert_eq!(token.to_string().parse(), Ok(token));
            assert_eq!(token.to_string().parse(), Ok(PageToken::Timeline(token)));
        }
    }
    assert_eq!(SyncToken(Position(12)).to_string(), "s12");
    let token = TimelineToken {
        position: Position(12),
        seq: Seq(-3),
    };
    assert_eq!(token.to_string(), "t12_-3");
    assert_eq!(PageToken::Timeline(token).to_string(), "t12_-3");
    assert_eq!(PageToken::Timeline(token).position(), Position(12));
}

#[test]
fn other_texts_are_no_tokens() {
    for text in [
        "",
        "s",
        "t",
        "12",
        "s-1",
        "s+1",
        "s 1",
        "s1 ",
        "s1_2",
        "t1",
        "t_",
        "t1_",
        "t_1",
        "t1_2_3",
        "t1_--2",
        "t1_+2",
        "t1_-",
        "t-1_2",
        "x1",
        "s18446744073709551616",
        "t1_9223372036854775808",
        "s١",
        "s72594_4483_1934",
    ] {
        assert!(text.parse::<PageToken>().is_err(), "{text:?}");
        assert!(text.parse::<SyncToken>().is_err(), "{text:?}");
        assert!(text.parse::<TimelineToken>().is_err(), "{text:?}");
    }
}

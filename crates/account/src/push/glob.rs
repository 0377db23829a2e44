//! Glob-style patterns (Appendices, "Glob-style matching"), without regard to case.
//!
//! A pattern is cut at its `*` into pieces. Taking each piece where it first fits is always
//! right, so matching never goes back: its time is at most the length of the text times the
//! length of the pattern.

/// How much of a text patterns are held against, in characters: each costs time for each of them.
const TEXT_CHARACTERS_MAX: usize = 4_096;

/// A pattern, in small letters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Glob {
    /// What stands between the stars; one piece: there is no star. `None`: any character.
    pieces: Box<[Box<[Option<char>]>]>,
}

impl Glob {
    pub(super) fn new(pattern: &str) -> Self {
        let mut pieces = vec![Vec::new()];
        for character in folded(pattern) {
            match character {
                '*' => pieces.push(Vec::new()),
                '?' => last(&mut pieces).push(None),
                other => last(&mut pieces).push(Some(other)),
            }
        }
        Self {
            pieces: pieces.into_iter().map(Into::into).collect(),
        }
    }

    /// A text that stands for itself only.
    pub(super) fn literal(text: &str) -> Self {
        Self {
            pieces: [folded(text).map(Some).collect()].into(),
        }
    }

    /// Whether it contains `*` or `?`.
    pub(super) fn has_wildcards(pattern: &str) -> bool {
        pattern.contains(['*', '?'])
    }

    /// Whether it fits the whole text.
    pub(super) fn matches(&self, text: &str) -> bool {
        if let [only] = &*self.pieces {
            let mut text = folded(text);
            return only.iter().all(|wanted| fits_one(*wanted, text.next()))
                && text.next().is_none();
        }
        let text = searched(text);
        self.matches_from(&text, 0, |end| end == text.len())
    }

    /// Whether it fits a part of `text` (which [`searched`] gave) that begins and ends at a word
    /// boundary.
    pub(super) fn matches_words(&self, text: &[char]) -> bool {
        let begins_word = |at: usize| at == 0 || !is_word(text[at - 1]);
        let ends_word = |at: usize| at == text.len() || !is_word(text[at]);
        let first = &self.pieces[0];
        let Some(last_start) = text.len().checked_sub(first.len()) else {
            return false;
        };
        let starts = (0..=last_start).filter(|at| begins_word(*at) && fits(first, &text[*at..]));
        if self.pieces.len() == 1 {
            return starts
                .into_iter()
                .any(|start| ends_word(start + first.len()));
        }
        // With a star after it, the first place where the first piece fits is as good as any.
        starts
            .into_iter()
            .next()
            .is_some_and(|start| self.matches_from(text, start, ends_word))
    }

    /// Whether it fits from `start`, where the end may be wherever `may_end` says.
    fn matches_from(&self, text: &[char], start: usize, may_end: impl Fn(usize) -> bool) -> bool {
        let Some((first, rest)) = self.pieces.split_first() else {
            return false;
        };
        if !fits(first, &text[start..]) {
            return false;
        }
        let mut at = start + first.len();
        let Some((last, middle)) = rest.split_last() else {
            return may_end(at);
        };
        for piece in middle {
            let Some(found) = find(piece, &text[at..]) else {
                return false;
            };
            at += found + piece.len();
        }
        let Some(last_start) = text.len().checked_sub(last.len()) else {
            return false;
        };
        (at..=last_start)
            .rev()
            .any(|at| may_end(at + last.len()) && fits(last, &text[at..]))
    }
}

/// The part of a text that patterns are held against, in small letters.
pub(super) fn searched(text: &str) -> Box<[char]> {
    folded(text).take(TEXT_CHARACTERS_MAX).collect()
}

/// Small letters.
pub(super) fn folded(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().flat_map(char::to_lowercase)
}

fn last(pieces: &mut [Vec<Option<char>>]) -> &mut Vec<Option<char>> {
    pieces.last_mut().expect("there is always a first piece")
}

fn find(piece: &[Option<char>], text: &[char]) -> Option<usize> {
    (0..=text.len().checked_sub(piece.len())?).find(|at| fits(piece, &text[*at..]))
}

fn fits(piece: &[Option<char>], text: &[char]) -> bool {
    text.len() >= piece.len()
        && piece
            .iter()
            .zip(text)
            .all(|(wanted, character)| fits_one(*wanted, Some(*character)))
}

fn fits_one(wanted: Option<char>, character: Option<char>) -> bool {
    match (wanted, character) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(wanted), Some(character)) => wanted == character,
    }
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::{Glob, folded};
    use proptest::prelude::{prop_assert_eq, proptest};

    fn check(pattern: &str, text: &str, expect: bool) {
        assert_eq!(
            Glob::new(pattern).matches(text),
            expect,
            "{pattern:?} on {text:?}"
        );
    }

    fn check_words(pattern: &str, text: &str, expect: bool) {
        let folded: Vec<char> = folded(text).collect();
        assert_eq!(
            Glob::new(pattern).matches_words(&folded),
            expect,
            "{pattern:?} in {text:?}"
        );
    }

    #[test]
    fn whole_texts() {
        check("lunc?*", "Lunch plans", true);
        check("lunc?*", "LUNCH", true);
        check("lunc?*", " lunch", false);
        check("lunc?*", "lunc", false);
        check("", "", true);
        check("", "a", false);
        check("*", "", true);
        check("*", "anything", true);
        check("?", "", false);
        check("?", "ü", true);
        check("m.room.message", "m.room.message", true);
        check("m.room.message", "mxroomxmessage", false);
        check("a*b*c", "aXbXbc", true);
        check("a*b*c", "aXbXbd", false);
        check("a*a", "a", false);
        check("**a**", "xax", true);
        check("ÄRGER*", "ärger!", true);
        check("[a]", "[A]", true);
        check("[a]", "a", false);
    }

    #[test]
    fn words() {
        check_words("ex*ple", "An example event.", true);
        check_words("ex*ple", "exple", true);
        check_words("ex*ple", "An exciting triple-whammy", true);
        check_words("ex*ple", "An exciting triples-whammy", false);
        check_words("cake", "I like cake!", true);
        check_words("cake", "pancake", false);
        check_words("cake", "pancake cake", true);
        check_words("cake", "cakes", false);
        check_words("cake*lie", "the cake is a lie", true);
        check_words("cake*lie", "cake_lies", false);
        check_words("cake", "ücake", true);
        check_words("@room", "hey @room: look", true);
        check_words("@room", "hey@room", false);
        check_words("foo bar", "xfoo bar foo bar", true);
        check_words("a?c", "abc", true);
        check_words("a?c", "a c", true);
        check_words("*", "abc", true);
        check_words("cake", "", false);
    }

    /// Whether `pattern` fits `text`, by trying everything.
    fn slow(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => {
                slow(rest, text) || (!text.is_empty() && slow(pattern, &text[1..]))
            }
            (['?', rest @ ..], [_, text @ ..]) => slow(rest, text),
            ([wanted, rest @ ..], [found, text @ ..]) => wanted == found && slow(rest, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn as_trying_everything(pattern in "[ab*?]{0,6}", text in "[ab]{0,9}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(Glob::new(&pattern).matches(&text), slow(&p, &t));
        }

        #[test]
        fn words_as_trying_everything(pattern in "[ab ?*]{0,5}", text in "[ab ]{0,9}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            let expect = (0..=t.len()).any(|start| (start..=t.len()).any(|end| {
                (start == 0 || t[start - 1] == ' ')
                    && (end == t.len() || t[end] == ' ')
                    && slow(&p, &t[start..end])
            }));
            prop_assert_eq!(Glob::new(&pattern).matches_words(&t), expect);
        }
    }
}

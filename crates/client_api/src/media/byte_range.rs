//! The header `Range` (RFC 9110, section 14), as far as it is served: one range of bytes.

/// What a request wants of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it; also where the header is damaged or wants several ranges.
    Whole,
    /// From here (inclusive) to there (exclusive); never empty.
    Range(u64, u64),
    /// Something that is not in it.
    Unsatisfiable,
}

/// What the header wants of a file with so many bytes.
pub(super) fn part(header: &str, size: u64) -> Part {
    wanted(header, size).unwrap_or(Part::Whole)
}

fn wanted(header: &str, size: u64) -> Option<Part> {
    let (unit, range) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    if first.is_empty() {
        let suffix = number(last)?.min(size);
        return Some(if suffix == 0 {
            Part::Unsatisfiable
        } else {
            Part::Range(size - suffix, size)
        });
    }
    let first = number(first)?;
    let end = match last {
        "" => size,
        last => {
            let last = number(last)?;
            if last < first {
                return None;
            }
            last.saturating_add(1).min(size)
        }
    };
    Some(if first >= size {
        Part::Unsatisfiable
    } else {
        Part::Range(first, end)
    })
}

fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{Part, part};

    #[test]
    fn ranges() {
        let check = |header, expect| assert_eq!(part(header, 10), expect, "{header}");
        check("bytes=0-0", Part::Range(0, 1));
        check("bytes=2-5", Part::Range(2, 6));
        check("Bytes=2-", Part::Range(2, 10));
        check("bytes=2-99999999999999999999999", Part::Range(2, 10));
        check("bytes=-3", Part::Range(7, 10));
        check("bytes=-30", Part::Range(0, 10));
        check("bytes=10-", Part::Unsatisfiable);
        check("bytes=-0", Part::Unsatisfiable);
        check("bytes=5-4", Part::Whole);
        check("bytes=0-1,3-4", Part::Whole);
        check("bytes=", Part::Whole);
        check("bytes=a-b", Part::Whole);
        check("bytes=+1-2", Part::Whole);
        check("lines=1-2", Part::Whole);
        assert_eq!(part("bytes=0-", 0), Part::Unsatisfiable);
        assert_eq!(part("bytes=-5", 0), Part::Unsatisfiable);
    }
}

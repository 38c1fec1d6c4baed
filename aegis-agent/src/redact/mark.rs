//! What stands in the place of a secret.
//!
//! Nothing that is made from the secret: a hash of a short one can be guessed.

use std::ops::Range;

use super::scan::Span;

const BEGIN: &[u8] = b"[redacted:";
/// Longest name of a rule.
pub(super) const NAME_LONGEST: usize = 40;

/// Whether a text is a mark and nothing else.
pub(super) fn is_mark(text: &[u8]) -> bool {
    let name = text.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(b"]"));
    name.is_some_and(is_name)
}

/// Bytes of a mark at the beginning of a text.
pub(super) fn leading_mark(text: &[u8]) -> usize {
    let end = text.iter().take(BEGIN.len() + NAME_LONGEST + 1).position(|b| *b == b']');
    end.filter(|end| is_mark(&text[..=*end])).map_or(0, |end| end + 1)
}

/// Whether a place is inside a mark.
pub(super) fn in_mark(text: &[u8], at: usize) -> bool {
    let from = at.saturating_sub(BEGIN.len() + NAME_LONGEST);
    let begin = text[from..at].windows(BEGIN.len()).rposition(|w| w == BEGIN);
    begin.is_some_and(|begin| leading_mark(&text[from + begin..]) > 0)
}

/// Whether a text may be the name of a rule.
pub(super) fn is_name(text: &[u8]) -> bool {
    (1..=NAME_LONGEST).contains(&text.len()) && text.iter().all(|b| name_byte(*b))
}

const fn name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

/// How often each rule found something.
pub(super) type Tally<'r> = Vec<(&'r str, u32)>;

/// The text with marks in the places of secrets. Spans that overlap become one.
pub(super) fn put<'r>(text: &[u8], mut spans: Vec<Span<'r>>, tally: &mut Tally<'r>) -> Vec<u8> {
    spans.sort_by_key(|span| (span.range.start, span.range.end));
    let mut merged: Vec<Span<'r>> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.range.start < last.range.end => {
                last.range.end = last.range.end.max(span.range.end);
                if span.rank < last.rank {
                    (last.rule, last.rank) = (span.rule, span.rank);
                }
            }
            _ => merged.push(span),
        }
    }
    let mut out = Vec::with_capacity(text.len());
    let mut done = 0;
    for Span { range: Range { start, end }, rule, .. } in merged {
        out.extend_from_slice(&text[done..start]);
        out.extend_from_slice(BEGIN);
        out.extend_from_slice(rule.as_bytes());
        out.push(b']');
        done = end;
        count(tally, rule, 1);
    }
    out.extend_from_slice(&text[done..]);
    out
}

/// Adds to a rule's count.
pub(super) fn count<'r>(tally: &mut Tally<'r>, rule: &'r str, more: u32) {
    match tally.iter_mut().find(|(name, _)| *name == rule) {
        Some((_, count)) => *count = count.saturating_add(more),
        None => tally.push((rule, more)),
    }
}

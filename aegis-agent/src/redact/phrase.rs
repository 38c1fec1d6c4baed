//! Secrets that a phrase announces: a private key's first line, an authorization scheme, SQL.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

use super::{
    Place,
    mark::is_mark,
    name,
    scan::{Span, rank},
};

/// Fewest characters that are taken for a token behind `Bearer`.
const BEARER: usize = 20;
/// Longest first line of a PEM block.
const PEM_LINE: usize = 80;

fn span(start: usize, end: usize, rule: &'static str) -> Option<Span<'static>> {
    (start < end).then_some(Span { range: start..end, rule, rank: rank::PHRASE })
}

fn find(text: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    text.get(from..)?.windows(what.len()).position(|w| w == what).map(|at| from + at)
}

/// Where the line that begins at `start` ends, when it is a private key's.
fn private(text: &[u8], start: usize) -> Option<usize> {
    let line = &text[start..text.len().min(start + PEM_LINE)];
    let label = find(line, 0, b"PRIVATE KEY")?;
    let end = find(line, label, b"-----").map_or(start + label + b"PRIVATE KEY".len(), |at| start + at + 5);
    Some(end)
}

/// A private key from its first line on, to its last or to where the text was cut.
pub(super) fn begin(text: &[u8], start: usize) -> Option<Span<'static>> {
    let head = private(text, start)?;
    let mut last = find(text, head, b"-----END ");
    while let Some(at) = last {
        if let Some(end) = private(text, at) {
            return span(start, end, "private-key");
        }
        last = find(text, at + 1, b"-----END ");
    }
    span(start, text.len(), "private-key")
}

/// The end of a private key whose beginning stands in a part before this one.
pub(super) fn end(text: &[u8], start: usize) -> Option<Span<'static>> {
    let end = private(text, start)?;
    // Where a block begins before it, that is what ends here.
    let begun = text[..start].windows(11).any(|w| w == b"-----BEGIN ");
    if begun { None } else { span(0, end, "private-key") }
}

/// The token behind `Bearer`.
pub(super) fn bearer(text: &[u8], start: usize, end: usize, place: Place) -> Option<Span<'static>> {
    let stop = word_end(text, end);
    let value = &text[end..stop];
    let random = value.len() >= 4 && value.iter().any(u8::is_ascii_digit) || value.len() >= BEARER;
    let open = place.cut && stop == text.len();
    let apart = start == 0 || !text[start - 1].is_ascii_alphanumeric();
    if apart && (random || open) && !is_mark(value) { span(end, stop, "authorization") } else { None }
}

/// `user:password` in base64 behind `Basic`.
pub(super) fn basic(text: &[u8], start: usize, end: usize) -> Option<Span<'static>> {
    let stop = word_end(text, end);
    let value = text[end..stop].trim_ascii_end();
    let digits = value.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')).count();
    // A text that was cut off ends anywhere.
    let decoded = STANDARD_NO_PAD.decode(&value[..digits - digits % 4]).ok()?;
    let apart = start == 0 || !text[start - 1].is_ascii_alphanumeric();
    let pair = digits >= 8 && decoded.contains(&b':') && !decoded.iter().any(u8::is_ascii_control);
    if apart && pair { span(end, stop, "authorization") } else { None }
}

/// `IDENTIFIED BY 'password'`.
pub(super) fn identified(text: &[u8], end: usize) -> Option<Span<'static>> {
    // `IDENTIFIED BY PASSWORD '…'`, `IDENTIFIED BY VALUES '…'`.
    let from = end + text[end..].iter().take_while(|b| b.is_ascii_alphabetic() || **b == b' ').count();
    let from = if matches!(text.get(from), Some(b'\'' | b'"' | b'\\')) { from } else { end };
    let value = name::value(text, from);
    if is_mark(&text[value.clone()]) { None } else { span(value.start, value.end, "named-value") }
}

fn word_end(text: &[u8], from: usize) -> usize {
    from + text[from..].iter().take_while(|b| !b.is_ascii_whitespace() && !matches!(b, b'"' | b'\'' | b'\\')).count()
}

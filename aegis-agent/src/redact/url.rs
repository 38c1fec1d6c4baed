//! Passwords in URLs and in what databases take for one.

use super::{
    Place,
    mark::{is_mark, leading_mark},
    scan::{Span, rank},
};

const RULE: &str = "url-password";
/// A user's name at least this long, with no password behind it, is a token.
const LONG_USER: usize = 16;
/// How far the other end of what holds a password is looked for.
const FAR: usize = 512;

/// The part of a URL behind `://`, which begins at `from`.
pub(super) fn authority(text: &[u8], from: usize, place: Place, found: &mut Vec<Span<'_>>) {
    let rest = &text[from..];
    let stop = rest.iter().position(|b| ends_word(*b) || matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    if let Some(at) = rest[..stop].iter().rposition(|b| *b == b'@') {
        return user_info(text, from, from + at, found);
    }
    let Some(colon) = rest[..stop].iter().position(|b| *b == b':').filter(|_| !rest.starts_with(b"[")) else { return };
    let port = &rest[colon + 1..stop];
    if from + stop == text.len() {
        // Host and port, or user and half a password: where the text was cut off nobody knows.
        if place.cut && !port.is_empty() {
            add(text, from + colon + 1, text.len(), found);
        }
        return;
    }
    let template = matches!(port.first(), None | Some(b'$' | b'{' | b'<'));
    if template || port.iter().all(u8::is_ascii_digit) {
        return;
    }
    // `https://user:pa/ss@host`: not escaped as it should be.
    let far = &rest[..rest.len().min(FAR)];
    let far = &far[..far.iter().position(|b| ends_word(*b)).unwrap_or(far.len())];
    if let Some(at) = far.iter().rposition(|b| *b == b'@') {
        add(text, from + colon + 1, from + at, found);
    }
}

fn user_info(text: &[u8], from: usize, at: usize, found: &mut Vec<Span<'_>>) {
    let marked = from + leading_mark(&text[from..at]);
    let Some(colon) = text[marked..at].iter().position(|b| *b == b':').map(|c| marked + c) else {
        // Elsewhere a lone user is a name: `ssh://git@host`.
        let scheme = &text[from.saturating_sub(8)..from - 3];
        let web = [&b"http"[..], b"https"].iter().any(|s| scheme.len() >= s.len() && scheme[scheme.len() - s.len()..].eq_ignore_ascii_case(s));
        if web && at - from >= LONG_USER {
            add(text, from, at, found);
        }
        return;
    };
    let password = &text[colon + 1..at];
    add(text, colon + 1, at, found);
    if matches!(password, b"" | b"x-oauth-basic") || colon - from >= LONG_USER + 4 {
        add(text, from, colon, found);
    }
}

/// `user:password@tcp(host)`, as Go's drivers take it; `at` is that of the `@`.
pub(super) fn database(text: &[u8], at: usize) -> Option<Span<'static>> {
    let far = at.saturating_sub(FAR);
    let from = text[far..at].iter().rposition(|b| ends_word(*b) || *b == b'=').map_or(far, |begin| far + begin + 1);
    let colon = from + text[from..at].iter().position(|b| *b == b':')?;
    (colon + 1 < at && !is_mark(&text[colon + 1..at])).then_some(Span { range: colon + 1..at, rule: RULE, rank: rank::PHRASE })
}

fn add(text: &[u8], start: usize, end: usize, found: &mut Vec<Span<'_>>) {
    if start < end && !is_mark(&text[start..end]) {
        found.push(Span { range: start..end, rule: RULE, rank: rank::PHRASE });
    }
}

const fn ends_word(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'`')
}

//! Secrets that are known by the name before them: `NAME=value`, `"name": "value"`, `?name=value`, `Name: value`.

use std::ops::Range;

use super::{
    Place,
    mark::{in_mark, is_mark},
    scan::{Span, rank},
};

/// Words by which a name may say that it is that of a secret: the automaton finds them, [`class`] judges the name.
pub(super) const KEYWORDS: &[&str] = &[
    "pass", "pwd", "secret", "token", "key", "cred", "auth", "bearer", "jwt", "sig", "cookie", "psk", "otp", "hmac",
];

/// What a name says of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// It is a secret.
    Secret,
    /// It is a secret, or the path of a file with one.
    Place,
    /// It is a secret as a parameter of a URL or form.
    Parameter,
    /// It is a secret as the rest of a header's line.
    Header,
}

/// How many times its length the values of a text are looked at: those of names in values, again and again.
const WALK: usize = 16;
/// Longest name; what is longer is none.
const LONGEST: usize = 128;

/// Words that are secrets wherever they stand in a name.
const SECRET: &[&str] = &["password", "passwd", "passphrase", "passcode", "passwort", "secret", "secrets", "token", "bearer", "jwt"];
/// Ends of words that are written without a border between them.
const ENDS: &[&str] = &[
    "password", "passwd", "passphrase", "passcode", "secret", "token", "apikey", "secretkey", "accesskey", "privatekey", "authkey",
    "masterkey", "encryptionkey", "sshpass", "dbpass", "userpass", "ftppass", "smtppass", "storepass", "keypass", "mypass",
];
/// Last words of names whose value only tells of a secret.
const ABOUT: &[&str] = &[
    "file", "files", "path", "dir", "directory", "folder", "url", "uri", "endpoint", "host", "server", "port", "name", "names", "type", "kind", "length",
    "len", "size", "count", "limit", "limits", "max", "min", "ttl", "expiry", "expires", "expiration", "age", "policy", "prompt", "timeout", "provider",
    "helper", "manager", "agent", "sock", "socket", "algorithm", "alg", "format", "version", "enabled", "disabled", "required", "stdin", "fd",
    "env", "store", "backend", "mode", "method", "scheme", "class", "index", "prefix", "suffix", "header", "field", "column", "encoding", "ref", "audience",
    "hash", "parallelism", "usage", "budget", "rs", "py", "go", "js", "ts", "c", "h", "md", "txt", "json", "yaml", "yml", "toml", "pem", "pub", "crt",
    "gpg", "asc", "service", "scope", "scopes", "issuer", "lifetime", "interval", "rotation",
];
/// First words of names that ask something about a secret, or are those of another kind of token.
const ASKS: &[&str] = &[
    "no", "without", "skip", "ask", "prompt", "show", "hide", "reset", "change", "forgot", "require", "requires", "disable", "enable", "allow", "use",
    "is", "has", "max", "min", "num", "n", "per", "eos", "bos", "pad", "unk", "mask", "sep", "cls", "special", "stop", "next", "page",
    "continue", "continuation", "public", "pub",
];
/// Words before `key` that make it one of another kind.
const OTHER_KEYS: &[&str] = &[
    "public", "pub", "primary", "foreign", "sort", "partition", "cache", "row", "index", "group", "lookup", "hot", "shift", "ctrl", "any", "dict",
    "map", "object", "s3", "join", "natural", "composite", "unique", "range", "hash", "config", "registry", "up", "down", "arrow", "home", "end", "delete",
    "enter", "esc", "escape", "tab", "meta", "this", "the", "of", "by", "with", "merge", "sorting", "default", "press", "no", "is", "has", "apt", "dns",
    "ssh", "strict", "add", "recv", "import", "list", "export", "host", "known", "trusted", "turn",
];
/// Values that are no secrets.
const WORDS: &[&str] = &[
    "true", "false", "yes", "no", "on", "off", "none", "null", "nil", "undefined", "default", "optional", "required", "auto", "disabled", "enabled", "string",
    "str", "prompt", "ask", "basic", "bearer", "token", "oauth", "always", "never",
];
/// Schemes of authorization: they stay.
const SCHEMES: &[&str] = &["basic", "bearer", "token", "digest", "negotiate", "ntlm", "apikey", "aws4-hmac-sha256", "dpop", "signature", "key"];

/// The words of a name, in lower case: apart by `_`, `-`, `.` and where a capital follows a small letter.
fn words(name: &[u8]) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut small = false;
    for byte in name {
        let border = matches!(byte, b'_' | b'-' | b'.');
        let full = words.last().is_some_and(|word| !word.is_empty());
        if full && (border || (small && byte.is_ascii_uppercase())) {
            words.push(String::new());
        }
        if let Some(last) = words.last_mut().filter(|_| !border) {
            last.push(char::from(byte.to_ascii_lowercase()));
        }
        small = byte.is_ascii_lowercase() || byte.is_ascii_digit();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// What a name says of its value.
pub(super) fn class(name: &[u8]) -> Option<Class> {
    let words = words(name);
    let last = words.last()?.trim_end_matches(|c: char| c.is_ascii_digit());
    let many = words.len() > 1;
    let capitals = !name.iter().any(u8::is_ascii_lowercase);
    let is_secret = |word: &String| {
        let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
        SECRET.contains(&word) || ENDS.iter().any(|end| word.ends_with(end))
    };
    if ABOUT.contains(&last) || many && ASKS.contains(&words[0].as_str()) {
        return None;
    }
    if last == "id" {
        // An AppRole's; ids of keys and tokens are none.
        return name.eq_ignore_ascii_case(b"secret_id").then_some(Class::Secret);
    }
    if matches!(last, "authorization" | "cookie") {
        return Some(Class::Header);
    }
    if words.iter().any(is_secret) {
        return Some(Class::Secret);
    }
    match last {
        "pass" | "psk" => Some(Class::Secret),
        "pwd" if many => Some(Class::Secret),
        "pwd" if !capitals => Some(Class::Parameter),
        "auth" if many || capitals => Some(Class::Secret),
        "key" if many && !OTHER_KEYS.contains(&words[words.len() - 2].as_str()) => Some(Class::Place),
        "key" if !many && capitals && name.len() == 3 => Some(Class::Place),
        "key" if !many => Some(Class::Parameter),
        "credential" | "credentials" | "creds" => Some(Class::Place),
        "sig" | "signature" | "otp" | "hmac" | "auth" => Some(Class::Parameter),
        _ => None,
    }
}

/// How a value is told apart from its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Equals,
    Colon,
}

/// The names of one text.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Up to here names were looked at.
    seen: usize,
    /// Bytes of values looked at.
    walked: usize,
}

impl Names {
    /// The value of the name in which a keyword stands.
    pub(super) fn at(&mut self, text: &[u8], keyword: Range<usize>, place: Place) -> Option<Span<'static>> {
        if keyword.start < self.seen {
            return None;
        }
        let name = around(text, &keyword);
        self.seen = name.end;
        let (sign, from, closed) = sign(text, name.end)?;
        if name.len() > LONGEST || in_mark(text, name.start) {
            return None;
        }
        let class = class(&text[name.clone()])?;
        let dashes = text[..name.start].iter().rev().take_while(|b| **b == b'-').count();
        let before = name.start - dashes;
        let quote = before.checked_sub(1).map(|at| text[at]).filter(|b| !closed && matches!(b, b'"' | b'\''));
        let alone = before == 0 && (place.argument && dashes > 0 || place.assignment && assigns(&text[name.clone()]));
        let parameter = before > 0 && matches!(text[before - 1], b'?' | b'&' | b';');
        let whole = before == 0 && place.assignment;
        if class == Class::Parameter && (sign == Sign::Colon || !(parameter || whole)) {
            return None;
        }
        let value = match class {
            Class::Header => header(text, from, quote, before == 0 && place.argument),
            _ if alone => from..text.len(),
            _ if quote.is_some() => from..to_quote(text, from, quote),
            _ => value(text, from),
        };
        let shown = &text[value.clone()];
        self.walked += shown.len();
        if self.walked > WALK * (text.len() + 1024) {
            // Made to take long, and no ordinary text: nothing behind here is kept.
            self.seen = text.len();
            return Some(Span { range: name.start..text.len(), rule: "named-value", rank: rank::NAME });
        }
        let counts = match (class, sign) {
            (Class::Secret | Class::Header, Sign::Equals) => true,
            (Class::Secret, Sign::Colon) => from > name.end + 1 + usize::from(closed) || !is_path(shown),
            (Class::Header, Sign::Colon) => true,
            (Class::Place, _) => !is_path(shown),
            (Class::Parameter, _) => parameter || shown.len() > 15,
        };
        if !counts || is_no_secret(shown) {
            return None;
        }
        self.seen = value.end;
        let rule = if class == Class::Header { "authorization" } else { "named-value" };
        Some(Span { range: value, rule, rank: rank::NAME })
    }
}

/// Whether a name at the beginning of an argument is that of a variable.
fn assigns(name: &[u8]) -> bool {
    name.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_')
}

/// The whole name around a keyword.
fn around(text: &[u8], keyword: &Range<usize>) -> Range<usize> {
    let holds = |b: &&u8| b.is_ascii_alphanumeric() || matches!(**b, b'_' | b'-' | b'.');
    let start = keyword.start - text[..keyword.start].iter().rev().take(LONGEST).take_while(holds).count();
    let start = start + text[start..keyword.start].iter().take_while(|b| matches!(b, b'-' | b'.')).count();
    start..keyword.end + text[keyword.end..].iter().take(LONGEST).take_while(holds).count()
}

/// What stands between a name and its value, where the value begins, and whether a quote closed the name.
fn sign(text: &[u8], end: usize) -> Option<(Sign, usize, bool)> {
    let skip = |at: usize, what: fn(&u8) -> bool| at + text[at..].iter().take(8).take_while(|b| what(b)).count();
    let blank: fn(&u8) -> bool = |b| matches!(b, b' ' | b'\t');
    let after = skip(end, |b| matches!(b, b'"' | b'\'' | b'\\' | b']'));
    let at = skip(after, blank);
    let byte = |at: usize| text.get(at).copied().unwrap_or(0);
    let closed = after > end;
    match (byte(at), byte(at + 1)) {
        (b'=', b'=' | b'~') => None,
        (b'=', b'>') | (b':', b'=') => Some((Sign::Equals, skip(at + 2, blank), closed)),
        (b'=', _) if at > after => Some((Sign::Equals, skip(at + 1, blank), closed)),
        (b'=', _) => Some((Sign::Equals, at + 1, closed)),
        (b':', b':') => None,
        (b':', b'/') if byte(at + 2) == b'/' => None,
        (b':', _) => Some((Sign::Colon, skip(at + 1, blank), closed)),
        _ => None,
    }
}

/// The value that begins at `from`: in quotes what is in them, else up to what ends a word in a shell or a URL.
pub(super) fn value(text: &[u8], from: usize) -> Range<usize> {
    let byte = |at: usize| text.get(at).copied();
    if let (Some(b'\\'), Some(quote @ (b'"' | b'\''))) = (byte(from), byte(from + 1)) {
        // In a text that is itself in quotes: `{\"password\":\"…\"}`.
        let inner = from + 2;
        let end = text[inner..].iter().position(|b| *b == quote).map_or(text.len(), |at| inner + at);
        return inner..if end > inner && end < text.len() && text[end - 1] == b'\\' { end - 1 } else { end };
    }
    let quoted = matches!(byte(from), Some(b'"' | b'\''));
    let mut at = from;
    while let Some(b) = byte(at) {
        match b {
            b'"' | b'\'' => match close(text, at + 1, b) {
                Some(end) => at = end + 1,
                None if at == from => return at + 1..text.len(),
                None => break,
            },
            b'\\' => at += 2,
            b'&' | b';' | b'|' | b'<' | b'>' | b'`' => break,
            b',' | b'}' | b']' | b')' | b':' if quoted => break,
            b if b.is_ascii_whitespace() => break,
            _ => at += 1,
        }
    }
    let end = at.min(text.len());
    // One pair of quotes stays.
    if quoted && close(text, from + 1, text[from]) == Some(end - 1) { from + 1..end - 1 } else { from..end }
}

/// The quote that closes what begins at `from`.
pub(super) fn close(text: &[u8], from: usize, quote: u8) -> Option<usize> {
    let mut at = from;
    while let Some(b) = text.get(at) {
        match *b {
            b'\\' if quote == b'"' => at += 2,
            b if b == quote => return Some(at),
            _ => at += 1,
        }
    }
    None
}

fn to_quote(text: &[u8], from: usize, quote: Option<u8>) -> usize {
    quote.and_then(|quote| close(text, from, quote)).unwrap_or(text.len())
}

/// What stands behind a header's colon and the scheme, to the end of the argument, the quotes or the line.
fn header(text: &[u8], from: usize, quote: Option<u8>, argument: bool) -> Range<usize> {
    let end = match quote {
        _ if argument => text.len(),
        Some(_) => to_quote(text, from, quote),
        None => text[from..].iter().position(|b| matches!(b, b'\n' | b'\r' | b'"' | b'\'')).map_or(text.len(), |at| from + at),
    };
    let word = text[from..end].iter().take_while(|b| !b.is_ascii_whitespace()).count();
    let scheme = SCHEMES.iter().any(|scheme| text[from..from + word].eq_ignore_ascii_case(scheme.as_bytes()));
    let after = from + word + text[from + word..end].iter().take_while(|b| b.is_ascii_whitespace()).count();
    // A quote that opens the value stays.
    let open = usize::from(word > 0 && matches!(text[from], b'"' | b'\'') && quote.is_none());
    if scheme { after..end } else { (from + open).min(end)..end }
}

/// Whether a value is a place where a secret lies, and not one.
pub(super) fn is_path(value: &[u8]) -> bool {
    [&b"/"[..], b"./", b"../", b"~"].iter().any(|begin| value.starts_with(begin))
}

/// Whether a value says nothing, or stands for a secret already.
pub(super) fn is_no_secret(value: &[u8]) -> bool {
    let bare = value.trim_ascii();
    let is_word = || WORDS.iter().any(|word| bare.eq_ignore_ascii_case(word.as_bytes()));
    bare.len() < 2 || is_mark(bare) || is_word() || bare.iter().all(|b| *b == b'*')
}

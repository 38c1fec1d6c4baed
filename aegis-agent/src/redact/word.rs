//! Secrets that are known by the argument before them, or by the program that takes them: `--password X`, `mysql -pX`,
//! `curl -u user:X`. The same in the text of a shell command.

use std::ops::Range;

use super::{
    mark::is_mark,
    name::{self, Class},
    scan::{Span, rank},
};

/// How an option takes a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// In the next word.
    Next,
    /// Right behind the option.
    Behind,
    /// Either.
    Either,
    /// Either, and of it what follows this byte.
    After(u8),
    /// In the next word, behind `pass:`.
    Openssl,
    /// In the next word, which holds `=`, or is a file without secrets.
    Cookie,
    /// In the next word, for this one among the words before.
    For(&'static str),
}

type Takes = &'static [(&'static str, How)];

/// Programs by their names, and their options.
const PROGRAMS: &[(&[&str], Takes)] = &[
    (
        &["mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlshow", "mysqlcheck", "mysqlslap", "mariadb", "mariadb-dump", "mariadb-admin"],
        &[("-p", How::Behind)],
    ),
    (&["sshpass"], &[("-p", How::Either)]),
    (
        &["curl"],
        &[
            ("-u", How::After(b':')),
            ("--user", How::After(b':')),
            ("-U", How::After(b':')),
            ("--proxy-user", How::After(b':')),
            ("-E", How::After(b':')),
            ("--cert", How::After(b':')),
            ("-b", How::Cookie),
            ("--cookie", How::Cookie),
        ],
    ),
    (&["http", "https", "xh"], &[("-a", How::After(b':')), ("--auth", How::After(b':'))]),
    (&["redis-cli"], &[("-a", How::Next)]),
    (&["docker", "podman", "nerdctl", "buildah", "helm", "oras", "crane"], &[("-p", How::For("login"))]),
    (&["az", "oc", "cf"], &[("-p", How::For("login"))]),
    (
        &["ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldapwhoami", "ldappasswd", "ldapcompare"],
        &[("-w", How::Either), ("-s", How::For("ldappasswd"))],
    ),
    (
        &["openssl"],
        &[
            ("-passin", How::Openssl),
            ("-passout", How::Openssl),
            ("-pass", How::Openssl),
            ("-password", How::Openssl),
            ("-k", How::Next),
            ("-K", How::Next),
        ],
    ),
    (&["7z", "7za", "7zr", "7zz"], &[("-p", How::Behind)]),
    (&["rar", "unrar"], &[("-p", How::Behind), ("-hp", How::Behind)]),
    (&["zip", "unzip"], &[("-P", How::Either)]),
    (&["mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport"], &[("-p", How::Either)]),
    (&["sqlcmd", "bcp"], &[("-P", How::Either)]),
    (&["smbclient", "rpcclient", "smbget"], &[("-U", How::After(b'%')), ("--user", How::After(b'%'))]),
    (&["cqlsh"], &[("-p", How::Next)]),
    (&["mosquitto_pub", "mosquitto_sub"], &[("-P", How::Next)]),
    (&["lftp"], &[("-u", How::After(b','))]),
    (&["ipmitool"], &[("-P", How::Next)]),
    (&["snmpget", "snmpwalk", "snmpset"], &[("-A", How::Next), ("-X", How::Next), ("-c", How::Next)]),
    (&["xfreerdp"], &[("/p:", How::Behind)]),
    (&["ssh-keygen"], &[("-N", How::Next), ("-P", How::Next)]),
    (&["nmcli"], &[("password", How::Next)]),
    (&["useradd", "usermod"], &[("-p", How::Next)]),
];

/// Words behind which a name and its value stand apart: `npm config set NAME VALUE`.
const SETS: &[&[u8]] = &[b"set", b"config", b"--add", b"setx", b"--replace-all", b"--set"];

/// The names of all programs.
pub(super) fn programs() -> impl Iterator<Item = &'static str> {
    PROGRAMS.iter().flat_map(|(names, _)| names.iter().copied())
}

/// What is known on the way through words.
#[derive(Default)]
struct State<'a> {
    takes: Takes,
    program: &'a [u8],
    login: bool,
    before: &'a [u8],
    expects: Option<(How, bool)>,
}

/// Secrets in arguments, with the number of the argument. The text of a shell command in one argument is looked at too.
pub(super) fn arguments(argv: &[Vec<u8>], found: &mut Vec<(usize, Span<'_>)>) {
    let mut state = State::default();
    for (index, argument) in argv.iter().enumerate() {
        let whole = state.word(argument, 0);
        let inside = argument.iter().any(u8::is_ascii_whitespace) && whole.is_none();
        found.extend(whole.map(|span| (index, span)));
        if inside {
            let mut spans = Vec::new();
            text(argument, &mut spans);
            found.extend(spans.into_iter().map(|span| (index, span)));
        }
    }
}

/// Secrets among the words of a text.
pub(super) fn text(text: &[u8], found: &mut Vec<Span<'_>>) {
    let mut state = State::default();
    let mut words = Words { text, at: 0, outer: None };
    while let Some((word, ends)) = words.next(state.expects.is_some()) {
        found.extend(state.word(&text[word.clone()], word.start));
        if ends {
            state = State::default();
        }
    }
}

/// The words of a command's text. What stands in quotes is words too (`sh -c "…"`), but for a value that is waited for.
struct Words<'a> {
    text: &'a [u8],
    at: usize,
    /// The quote in which the words stand.
    outer: Option<u8>,
}

impl Words<'_> {
    /// The next word, and whether the command ends with it.
    fn next(&mut self, value: bool) -> Option<(Range<usize>, bool)> {
        let mut quoted = None;
        while let Some(byte) = self.byte(self.at) {
            if matches!(byte, b'"' | b'\'') {
                quoted = name::close(self.text, self.at + 1, byte).filter(|_| value && self.outer != Some(byte));
                if quoted.is_some() {
                    break;
                }
                self.outer = if self.outer == Some(byte) { None } else { Some(byte) };
            } else if !separates(byte) {
                break;
            }
            self.at += 1;
        }
        if self.at >= self.text.len() {
            return None;
        }
        let word = match quoted {
            Some(end) => self.at + 1..end,
            None => self.at..self.end(value),
        };
        self.at = word.end + usize::from(quoted.is_some());
        let rest = &self.text[self.at..];
        let ends = rest.trim_ascii_start().first().is_some_and(|b| matches!(b, b';' | b'|' | b'&')) || rest.first() == Some(&b'\n');
        Some((word, ends))
    }

    fn end(&self, value: bool) -> usize {
        let mut at = self.at;
        // `-p'two words'`; elsewhere a quote may be there by chance, and words behind it are looked at.
        let jumps = value || self.byte(at) == Some(b'-');
        while let Some(byte) = self.byte(at) {
            match byte {
                b'"' | b'\'' => match name::close(self.text, at + 1, byte).filter(|_| jumps && self.outer != Some(byte)) {
                    Some(end) => at = end + 1,
                    None => break,
                },
                b'\\' if value => at += 2,
                _ if separates(byte) => break,
                _ => at += 1,
            }
        }
        at.min(self.text.len())
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }
}

const fn separates(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b';' | b'|' | b'&' | b'(' | b')' | b'`')
}

impl<'a> State<'a> {
    /// The secret in a word that begins at `offset` of its text.
    fn word(&mut self, word: &'a [u8], offset: usize) -> Option<Span<'static>> {
        let before = std::mem::replace(&mut self.before, word);
        if let Some((how, place)) = self.expects.take()
            && !is_option(word)
        {
            return taken(how, word, 0, place).and_then(|range| secret(word, range, offset));
        }
        self.login |= word == b"login";
        if let Some((flag, how)) = self.takes.iter().find(|(flag, how)| matches(*how, flag.as_bytes(), word)) {
            if word.len() == flag.len() {
                self.expects = self.asked(*how).then_some((*how, false));
                return None;
            }
            return taken(*how, word, flag.len(), false).and_then(|range| secret(word, range, offset));
        }
        if let Some(place) = named(before, word) {
            self.expects = Some((How::Next, place));
        } else if !word.starts_with(b"-") {
            let name = word.rsplit(|b| *b == b'/').next().unwrap_or(word);
            if let Some((_, takes)) = PROGRAMS.iter().find(|(names, _)| names.iter().any(|n| n.as_bytes() == name)) {
                (self.takes, self.program, self.login) = (takes, name, false);
            }
        }
        None
    }

    fn asked(&self, how: How) -> bool {
        match how {
            How::For("login") => self.login,
            How::For(program) => self.program == program.as_bytes(),
            How::Behind => false,
            _ => true,
        }
    }
}

/// Whether an option of a program begins a word.
fn matches(how: How, flag: &[u8], word: &[u8]) -> bool {
    let behind = match how {
        How::Behind | How::Either => true,
        // `-uname:secret`, `--user=name:secret`.
        How::After(_) => !flag.starts_with(b"--") || word.get(flag.len()) == Some(&b'='),
        _ => false,
    };
    word == flag || (behind && word.starts_with(flag))
}

/// The part of a word that an option takes, from a place in it on.
fn taken(how: How, word: &[u8], from: usize, place: bool) -> Option<Range<usize>> {
    let value = &word[from..];
    match how {
        How::After(byte) => value.iter().position(|b| *b == byte).map(|at| from + at + 1..word.len()),
        How::Openssl => value.starts_with(b"pass:").then(|| from + 5..word.len()),
        How::Cookie => value.contains(&b'=').then_some(from..word.len()),
        _ if place && name::is_path(value) => None,
        // `docker build --secret id=…,src=…`.
        _ if value.starts_with(b"id=") => None,
        _ => Some(from..word.len()),
    }
}

fn secret(word: &[u8], range: Range<usize>, offset: usize) -> Option<Span<'static>> {
    let value = &word[range.clone()];
    let range = range.start + offset..range.end + offset;
    (!value.is_empty() && !is_mark(value) && !name::is_no_secret(value)).then_some(Span { range, rule: "argument", rank: rank::NAME })
}

/// Whether a word can only be the next option.
fn is_option(word: &[u8]) -> bool {
    word.len() > 2 && word.starts_with(b"--") || word == b"--"
}

/// Whether a word says that the next one is a secret, and whether that may be a path.
fn named(before: &[u8], word: &[u8]) -> Option<bool> {
    let bare = word.trim_ascii();
    let name = match bare {
        [b'-', b'-', name @ ..] => name,
        [b'-', name @ ..] if name.len() > 2 => name,
        _ if bare.ends_with(b":_authToken") || bare.ends_with(b":_password") || bare.ends_with(b":_auth") => return Some(false),
        _ if SETS.contains(&before) => bare,
        _ => return None,
    };
    let plain = !name.is_empty() && name.len() <= 64 && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    match name::class(name).filter(|_| plain)? {
        Class::Secret => Some(false),
        Class::Place => Some(true),
        Class::Parameter | Class::Header => None,
    }
}

//! One pass over a text: where something begins that may be a secret, and what decides about it.
//!
//! All beginnings are found by one automaton, so that a text in which none occurs costs a look at each byte.

use std::ops::Range;

use aho_corasick::{
    Anchored, MatchKind, StartKind,
    automaton::{Automaton as _, StateID},
    dfa::DFA,
};

use super::{
    Place, RedactError,
    name::{self, Names},
    phrase,
    token::{TOKENS, Token},
    url, word,
};

/// A part of a text that is a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span<'r> {
    /// Where.
    pub range: Range<usize>,
    /// The rule that found it.
    pub rule: &'r str,
    /// How much the rule knows about it: of two at one place, the smaller names it.
    pub rank: u8,
}

/// Ranks, from the rule that knows what it has found to the one that goes by what stands beside it.
pub(super) mod rank {
    pub const OWN: u8 = 0;
    pub const TOKEN: u8 = 1;
    pub const LIKELY: u8 = 2;
    pub const PHRASE: u8 = 3;
    pub const NAME: u8 = 4;
}

/// What an anchor in a text may be the beginning of.
#[derive(Clone, Copy, Debug)]
enum Anchor {
    Token(&'static Token),
    Name,
    Authority,
    Database,
    Begin,
    End,
    Bearer,
    Basic,
    Identified,
    Program,
}

/// The automaton.
#[derive(Debug)]
pub(super) struct Anchors {
    automaton: DFA,
    start: StateID,
    meaning: Vec<Anchor>,
}

/// The end of the letters, digits, `_` and `-` around a place. Kept from one look to the next: a text made of
/// nothing but prefixes is walked once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run {
    begin: usize,
    end: usize,
}

impl Run {
    pub(super) fn end(&mut self, text: &[u8], from: usize) -> usize {
        if from < self.begin || from >= self.end {
            let end = from + text[from..].iter().take_while(|b| Self::holds(**b)).count();
            *self = Self { begin: from, end };
        }
        self.end
    }

    pub(super) const fn holds(byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
    }
}

impl Anchors {
    pub(super) fn new() -> Result<Self, RedactError> {
        let fixed = [
            ("://", Anchor::Authority),
            ("@tcp(", Anchor::Database),
            ("@unix(", Anchor::Database),
            ("-----BEGIN ", Anchor::Begin),
            ("-----END ", Anchor::End),
            ("bearer ", Anchor::Bearer),
            ("basic ", Anchor::Basic),
            ("identified by ", Anchor::Identified),
        ];
        let tokens = TOKENS.iter().map(|token| (token.prefix, Anchor::Token(token)));
        let names = name::KEYWORDS.iter().map(|word| (*word, Anchor::Name));
        let programs = word::programs().map(|name| (name, Anchor::Program));
        let all: Vec<_> = fixed.into_iter().chain(tokens).chain(names).chain(programs).collect();
        let automaton = DFA::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .start_kind(StartKind::Unanchored)
            .build(all.iter().map(|(text, _)| text))?;
        let start = automaton.start_state(Anchored::No)?;
        Ok(Self { automaton, start, meaning: all.into_iter().map(|(_, meaning)| meaning).collect() })
    }

    /// Adds what is a secret in `text` to `found`. Answers whether words of it may say that others are.
    pub(super) fn scan<'r>(&'r self, text: &[u8], place: Place, found: &mut Vec<Span<'r>>) -> bool {
        let mut looks = Looks { text, place, found, words: false, names: Names::default(), run: Run::default() };
        let mut state = self.start;
        for (at, byte) in text.iter().enumerate() {
            state = self.automaton.next_state(Anchored::No, state, *byte);
            // Special are the states in which something ends, and one that this automaton never gets to.
            if self.automaton.is_special(state) && self.automaton.is_match(state) {
                for index in 0..self.automaton.match_len(state) {
                    let pattern = self.automaton.match_pattern(state, index);
                    let start = at + 1 - self.automaton.pattern_len(pattern);
                    looks.at(self.meaning[pattern.as_usize()], start, at + 1);
                }
            }
        }
        looks.words
    }
}

/// What was found so far in a text.
struct Looks<'t, 'f, 'r> {
    text: &'t [u8],
    place: Place,
    found: &'f mut Vec<Span<'r>>,
    words: bool,
    names: Names,
    run: Run,
}

impl Looks<'_, '_, '_> {
    /// An anchor stands here: is there a secret?
    fn at(&mut self, anchor: Anchor, start: usize, end: usize) {
        let Self { text, place, found, words, names, run } = self;
        let place = *place;
        match anchor {
            Anchor::Token(token) => {
                if let Some(end) = token.end(text, start, place, run) {
                    found.push(Span { range: start..end, rule: token.rule, rank: token.rank() });
                }
            }
            Anchor::Name => {
                *words = true;
                found.extend(names.at(text, start..end, place));
            }
            Anchor::Program => *words = true,
            Anchor::Authority => url::authority(text, end, place, found),
            Anchor::Database => found.extend(url::database(text, start)),
            Anchor::Begin => found.extend(phrase::begin(text, start)),
            Anchor::End => found.extend(phrase::end(text, start)),
            Anchor::Bearer => found.extend(phrase::bearer(text, start, end, place)),
            Anchor::Basic => found.extend(phrase::basic(text, start, end)),
            Anchor::Identified => found.extend(phrase::identified(text, end)),
        }
    }
}

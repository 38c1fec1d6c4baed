//! Secrets are taken out of an event before anything of it is written.
//!
//! Pure: knows texts and events, does no I/O. Decides about evidence alone: what is enforced was decided before, in the
//! kernel. What is no secret stays byte for byte; what is one is replaced by a mark that names the rule, and the event
//! says how often each rule found something.
//!
//! Four ways to know a secret, in files of their own: by how it begins (`token`), by a phrase that announces it (`phrase`,
//! `url`), by the name before it (`name`), by the program or option that takes it (`word`). And the operator's rules (`own`).

mod field;
mod mark;
mod name;
pub mod own;
mod phrase;
mod scan;
mod token;
mod url;
mod word;

use self::{
    mark::Tally,
    own::Own,
    scan::{Anchors, Span},
};
use crate::proto::event::{Event, Redaction};

/// Why there is no redactor.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// The built-in rules do not become an automaton.
    #[error("the built-in redaction rules cannot be used: {0}")]
    BuiltIn(#[from] aho_corasick::BuildError),
    /// The automaton has no beginning.
    #[error("the built-in redaction rules cannot be used: {0}")]
    NoStart(#[from] aho_corasick::MatchError),
    /// The operator's rules do not become one together.
    #[error("the redaction rules are too large together ({0}); make them fewer or simpler")]
    Own(#[from] regex::Error),
}

/// What is known of a text beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// It may have been cut off at its end.
    cut: bool,
    /// Letter case says nothing: a host name.
    fold: bool,
    /// It is one argument of a command.
    argument: bool,
    /// It may be an assignment as a whole: an argument, and not the text of a script.
    assignment: bool,
}

/// Takes secrets out. Made once; used by one thread or several.
#[derive(Debug)]
pub struct Redactor {
    anchors: Anchors,
    own: Own,
}

impl Redactor {
    /// The built-in rules and the operator's.
    ///
    /// # Errors
    /// The rules are too large together.
    pub fn new(rules: Vec<own::Rule>) -> Result<Self, RedactError> {
        Ok(Self { anchors: Anchors::new()?, own: Own::new(rules)? })
    }

    /// Takes secrets out of every field, and notes in the event which rules found how many. Done twice it is as done once.
    pub fn event(&self, event: &mut Event) {
        let mut tally: Tally<'_> = Vec::new();
        field::Fields { redactor: self, tally: &mut tally }.event(event);
        if tally.is_empty() {
            return;
        }
        let before = std::mem::take(&mut event.redacted);
        for Redaction { rule, count } in &before {
            mark::count(&mut tally, rule, *count);
        }
        event.redacted = told(tally);
    }

    /// A text as it would be kept, with the rules that found something and how often; `None` when it stays as it is.
    #[must_use]
    pub fn text(&self, text: &[u8]) -> Option<(Vec<u8>, Vec<Redaction>)> {
        let mut tally: Tally<'_> = Vec::new();
        let kept = self.replaced(text, Place::default(), &mut tally)?;
        Some((kept, told(tally)))
    }

    /// Arguments of one command as they would be kept, with the rules that found something and how often.
    #[must_use]
    pub fn arguments(&self, argv: &[Vec<u8>]) -> (Vec<Vec<u8>>, Vec<Redaction>) {
        let mut tally: Tally<'_> = Vec::new();
        let mut kept = argv.to_vec();
        self.list(&mut kept, false, &mut tally);
        (kept, told(tally))
    }

    /// Only the built-in rules.
    #[cfg(test)]
    pub(crate) fn built_in() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self::new(Vec::new()).expect("the built-in rules"))
    }

    fn replaced<'r>(&'r self, text: &[u8], place: Place, tally: &mut Tally<'r>) -> Option<Vec<u8>> {
        let mut spans: Vec<Span<'r>> = Vec::new();
        if self.scan(text, place, &mut spans) {
            word::text(text, &mut spans);
        }
        (!spans.is_empty()).then(|| mark::put(text, spans, tally))
    }

    /// Arguments of one command: what one says may make the next a secret.
    fn list<'r>(&'r self, argv: &mut [Vec<u8>], cut: bool, tally: &mut Tally<'r>) {
        let mut found: Vec<(usize, Span<'r>)> = Vec::new();
        let mut spans = Vec::new();
        let mut words = false;
        for (index, argument) in argv.iter().enumerate() {
            let script = index.checked_sub(1).is_some_and(|before| takes_script(&argv[before]));
            let place = Place { cut: cut && index + 1 == argv.len(), fold: false, argument: true, assignment: !script };
            words |= self.scan(argument, place, &mut spans);
            found.extend(spans.drain(..).map(|span| (index, span)));
        }
        if words {
            word::arguments(argv, &mut found);
        }
        for (index, argument) in argv.iter_mut().enumerate() {
            let spans: Vec<_> = found.iter().filter(|(at, _)| *at == index).map(|(_, span)| span.clone()).collect();
            if !spans.is_empty() {
                *argument = mark::put(argument, spans, tally);
            }
        }
    }

    fn scan<'r>(&'r self, text: &[u8], place: Place, spans: &mut Vec<Span<'r>>) -> bool {
        self.own.scan(text, spans);
        self.anchors.scan(text, place, spans)
    }
}

fn told(mut tally: Tally<'_>) -> Vec<Redaction> {
    tally.sort_unstable();
    tally.into_iter().map(|(rule, count)| Redaction { rule: rule.to_owned(), count }).collect()
}

/// `sh -c`, `bash -lc`, `perl -e`: the next argument is a program's text.
fn takes_script(argument: &[u8]) -> bool {
    argument.len() <= 5 && argument.starts_with(b"-") && !argument.starts_with(b"--") && argument.ends_with(b"c") || argument == b"-e"
}

#[cfg(test)]
mod tests;

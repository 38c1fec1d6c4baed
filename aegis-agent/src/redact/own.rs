//! Rules that the operator adds: names and regular expressions, from YAML.
//!
//! Knows the text of a file of rules; others read it. Every error has file, line and what to write instead.

use std::{collections::BTreeSet, ops::Range};

use aegis_policy::{
    Diagnostic,
    diagnostic::Diagnostics,
    parse::{self, Node, Value},
};
use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use crate::config::yaml::{check_version, fields, text};
use super::{
    mark::{NAME_LONGEST, is_mark, is_name},
    scan::{Span, rank},
    token::TOKENS,
};

/// Most rules of one host.
pub const MOST_RULES: usize = 256;
/// Longest pattern, in bytes.
const PATTERN_LONGEST: usize = 2048;
/// Most memory that one compiled pattern takes, in bytes.
const PATTERN_SIZE: usize = 1 << 20;
/// The group of a pattern that alone is replaced.
const GROUP: &str = "secret";
/// Names of built-in rules that no token has.
const BUILT_IN: &[&str] = &["private-key", "authorization", "url-password", "named-value", "argument"];

/// A rule of the operator.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What the mark says.
    pub name: String,
    pattern: Regex,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Own {
    rules: Vec<Rule>,
    /// Which patterns match at all: `None` without rules.
    any: Option<RegexSet>,
}

impl Own {
    pub(super) fn new(rules: Vec<Rule>) -> Result<Self, regex::Error> {
        if rules.is_empty() {
            return Ok(Self { rules, any: None });
        }
        let mut set = RegexSetBuilder::new(rules.iter().map(|rule| rule.pattern.as_str()));
        let any = set.unicode(false).size_limit(PATTERN_SIZE * 8).build()?;
        Ok(Self { rules, any: Some(any) })
    }

    pub(super) fn scan<'r>(&'r self, text: &[u8], found: &mut Vec<Span<'r>>) {
        let Some(any) = &self.any else { return };
        for index in any.matches(text) {
            let rule = &self.rules[index];
            found.extend(rule.secrets(text).map(|range| Span { range, rule: &rule.name, rank: rank::OWN }));
        }
    }
}

impl Rule {
    fn secrets<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
        let all = self.pattern.captures_iter(text);
        let secret = all.filter_map(|groups| groups.name(GROUP).or_else(|| groups.get(0)).map(|m| m.range()));
        secret.filter(|range| !range.is_empty() && !is_mark(&text[range.clone()]))
    }
}

/// Reads the rules of a file. `taken` are names of rules read before; those of this file are added.
///
/// # Errors
/// All errors of the file, in its order.
pub fn read(source: &[u8], file: &str, taken: &mut BTreeSet<String>) -> Result<Vec<Rule>, Vec<Diagnostic>> {
    let mut errors = Diagnostics::new(file);
    let rules = parse::parse(source, &mut errors).map(|root| file_of(&root, taken, &mut errors)).unwrap_or_default();
    if errors.is_empty() { Ok(rules) } else { Err(errors.into_sorted()) }
}

fn file_of(root: &Node, taken: &mut BTreeSet<String>, errors: &mut Diagnostics) -> Vec<Rule> {
    let Some([version, rules]) = fields(root, ["version", "rules"], errors) else { return Vec::new() };
    check_version(version, root, errors);
    let Some(Node { value: Value::List(list), .. }) = rules else {
        errors.error(rules.map_or(root.at, |node| node.at), "`rules` is missing or no list", "write `rules:` and below it `- name: …` with `pattern: '…'`");
        return Vec::new();
    };
    let mut read = Vec::new();
    for node in list {
        read.extend(rule(node, taken, errors));
        if taken.len() > MOST_RULES {
            errors.error(node.at, format!("more than {MOST_RULES} rules"), "one pattern can hold several with `|`");
            break;
        }
    }
    read
}

fn rule(node: &Node, taken: &mut BTreeSet<String>, errors: &mut Diagnostics) -> Option<Rule> {
    let [name, pattern] = fields(node, ["name", "pattern"], errors)?;
    let (Some((name_at, name)), Some((at, pattern))) = (text(name), text(pattern)) else {
        errors.error(node.at, "a rule needs `name` and `pattern`, both texts", "write `- name: acme-token` and below it `pattern: 'acme_[0-9a-f]{32}'`");
        return None;
    };
    let built_in = BUILT_IN.contains(&name) || TOKENS.iter().any(|token| token.rule == name);
    if !is_name(name.as_bytes()) {
        errors.error(name_at, "this is no name of a rule", format!("use small letters, digits and `-`, at most {NAME_LONGEST}"));
        return None;
    }
    if built_in || !taken.insert(name.to_owned()) {
        errors.error(name_at, format!("there is a rule `{name}` already"), "entries tell rules apart by their names: choose another");
        return None;
    }
    match compile(pattern) {
        Ok(pattern) => Some(Rule { name: name.to_owned(), pattern }),
        Err((what, advice)) => {
            errors.error(at, what, advice);
            None
        }
    }
}

type Wrong = (String, &'static str);

fn compile(pattern: &str) -> Result<Regex, Wrong> {
    if pattern.len() > PATTERN_LONGEST {
        return Err((format!("a pattern of {} bytes", pattern.len()), "at most 2048; make several rules of it"));
    }
    // Bytes, not characters: names and arguments need not be UTF-8.
    let regex = RegexBuilder::new(pattern).unicode(false).size_limit(PATTERN_SIZE).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => ("the pattern takes too much memory".to_owned(), "use smaller counts in `{…}`"),
        other => (format!("not a regular expression: {}", last_line(&other.to_string())), "the syntax is that of the Rust crate regex: no look-around, no back references"),
    })?;
    if regex.is_match(b"") {
        return Err(("the pattern matches nothing at all, so that it would match everywhere".to_owned(), "let it need at least one character"));
    }
    Ok(regex)
}

/// The parser draws the pattern over several lines; what is wrong stands in the last.
fn last_line(error: &str) -> &str {
    error.lines().last().map_or(error, |line| line.trim_start_matches("error: "))
}

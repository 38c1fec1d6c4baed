//! From bytes to a tree of nodes with positions.
//!
//! Knows: YAML, and what of it a manifest may use. Must not know: any key of the language.
//!
//! Of YAML this takes scalars, lists and mappings with text keys. What makes a file mean something
//! else than it seems to is refused: anchors and aliases (and with them the billion laughs), tags,
//! duplicate keys, several documents, invisible characters. Bytes are an allegation until
//! [`text`] has looked at them; size, depth and the number of nodes are bounded.

mod text;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use crate::diagnostic::{Diagnostics, Position, quote};

pub use text::MAX_BYTES;

/// Deepest nesting of lists and mappings; the language needs seven.
const MAX_NESTING: usize = 16;
/// Most keys of one mapping; the language needs fourteen, labels may be more.
const MAX_KEYS: usize = 256;
/// Most nodes of one file.
const MAX_NODES: usize = 1 << 20;

/// A value with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it begins.
    pub at: Position,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A single value.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A mapping; keys are unique.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Where it begins.
    pub at: Position,
    /// The key.
    pub text: String,
}

/// A single value as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// Its text, quotes and escapes undone.
    pub text: String,
    /// Written without quotes, so that it may be a number, a truth value or nothing.
    pub plain: bool,
}

/// What a scalar is by YAML 1.2's core schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: empty, `~`, `null`.
    Null,
    /// `true`, `false`.
    Bool,
    /// An integer, decimal.
    Integer,
    /// Another number: a fraction, hexadecimal, octal, infinity.
    Number,
    /// `yes`, `no`, `on`, `off`: text here, but a truth value to YAML 1.1.
    OldBool,
    /// Text.
    Text,
}

impl Scalar {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if !self.plain {
            return Kind::Text;
        }
        let text = self.text.as_str();
        match text.to_ascii_lowercase().as_str() {
            "" | "~" | "null" => return Kind::Null,
            "true" | "false" => return Kind::Bool,
            "yes" | "no" | "on" | "off" | "y" | "n" => return Kind::OldBool,
            ".inf" | "-.inf" | "+.inf" | ".nan" => return Kind::Number,
            _ => {}
        }
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            return Kind::Integer;
        }
        let radix = |p: &str, r: u32| {
            digits
                .strip_prefix(p)
                .is_some_and(|d| !d.is_empty() && d.chars().all(|c| c.is_digit(r)))
        };
        let starts_like_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        if radix("0x", 16) || radix("0o", 8) || starts_like_number && digits.parse::<f64>().is_ok()
        {
            return Kind::Number;
        }
        Kind::Text
    }
}

/// Reads a file into its one document's root. Errors go to `errors`; `None` when there is no tree
/// to go on with.
pub fn parse(source: &[u8], errors: &mut Diagnostics) -> Option<Node> {
    let text = text::check(source, errors)?;
    let mut builder = Builder {
        errors,
        stack: Vec::new(),
        root: None,
        nodes: 0,
        documents: 0,
    };
    let mut parser = Parser::new_from_str(text);
    let mut sound = true;
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => {
                if !builder.event(event, span) {
                    sound = false;
                    break;
                }
            }
            Err(error) => {
                let open = builder.stack.last().map(Open::at);
                syntax_error(text, &error, open, builder.errors);
                sound = false;
                break;
            }
        }
    }
    let (root, empty) = (builder.root.take(), builder.documents == 0);
    match root {
        Some(root) if sound => Some(root),
        _ => {
            if sound && (empty || errors.is_empty()) {
                errors.error(
                    Position::START,
                    "the file holds no manifest",
                    "begin with `version: \"1.0\"`",
                );
            }
            None
        }
    }
}

fn position(mark: saphyr_parser::Marker) -> Position {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position {
        line: number(mark.line()).max(1),
        column: number(mark.col()).saturating_add(1),
    }
}

/// Turns the parser's words into ours, with advice for the mistakes that people make.
///
/// `open` is where the list or mapping began in which the parser gave up: a bracket that is not
/// closed shows only where the next key does not fit, so that its own place is told too.
fn syntax_error(text: &str, error: &ScanError, open: Option<Position>, errors: &mut Diagnostics) {
    let at = position(*error.marker());
    let written = line_of(text, at);
    let bracket = open.filter(|open| open.line != at.line).and_then(|open| {
        let column = usize::try_from(open.column).ok()?;
        let c = line_of(text, open).chars().nth(column.checked_sub(1)?)?;
        "[{".contains(c).then_some((open, c))
    });
    if let Some((open, c)) = bracket {
        errors.error(
            open,
            format!("the `{c}` that opens here is not closed where it should be"),
            "close it, or look for a missing comma behind it",
        );
    }
    let value = written.trim_start_matches(|c: char| c.is_whitespace() || c == '-' || c == '[');
    let advice = if value.contains('*') && error.info().contains("anchor") {
        "text that begins with `*` needs quotes: \"*.example.com\""
    } else if written.contains('\t') {
        "YAML wants spaces, not tabs"
    } else if written.contains('"') || written.contains('\'') {
        "look for a quote that is not closed, here or above"
    } else {
        "look for a missing `:`, bracket, quote or indent, here or in the line above"
    };
    errors.error(
        at,
        format!(
            "this is not YAML: {}",
            crate::diagnostic::escape(error.info())
        ),
        advice,
    );
}

/// The line of a position.
fn line_of(text: &str, at: Position) -> &str {
    let line = usize::try_from(at.line).unwrap_or(usize::MAX);
    text.lines().nth(line.saturating_sub(1)).unwrap_or_default()
}

/// A list or mapping that is being read.
enum Open {
    List(Position, Vec<Node>),
    /// The pending key is set while its value is read. A key that is no text, or a second time the
    /// same, was reported; its value is read and dropped.
    Map(Position, Vec<(Key, Node)>, Pending),
}

impl Open {
    fn at(&self) -> Position {
        match self {
            Self::List(at, _) | Self::Map(at, ..) => *at,
        }
    }
}

enum Pending {
    Nothing,
    Key(Key),
    Dropped,
}

struct Builder<'a> {
    errors: &'a mut Diagnostics,
    stack: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
    documents: usize,
}

impl Builder<'_> {
    /// Takes an event. False: give up, what follows could only mislead.
    fn event(&mut self, event: Event<'_>, span: Span) -> bool {
        let at = position(span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => true,
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.errors.error(
                        at,
                        "a second document begins here",
                        "one file holds one manifest: give the other a file of its own",
                    );
                }
                self.documents == 1
            }
            Event::Alias(_) => {
                self.errors.error(
                    at,
                    "aliases (`*name`) are not part of the language",
                    "write the value out; text that begins with `*` needs quotes",
                );
                self.add(Node {
                    at,
                    value: Value::Scalar(Scalar {
                        text: String::new(),
                        plain: true,
                    }),
                })
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.extras(at, anchor, tag.is_some());
                let plain = style == ScalarStyle::Plain;
                self.add(Node {
                    at,
                    value: Value::Scalar(Scalar {
                        text: text.into_owned(),
                        plain,
                    }),
                })
            }
            Event::SequenceStart(anchor, tag) => {
                self.extras(at, anchor, tag.is_some());
                self.open(at, Open::List(at, Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.extras(at, anchor, tag.is_some());
                self.open(at, Open::Map(at, Vec::new(), Pending::Nothing))
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(Open::List(at, list)) => self.add(Node {
                    at,
                    value: Value::List(list),
                }),
                Some(Open::Map(at, map, _)) => self.add(Node {
                    at,
                    value: Value::Map(map),
                }),
                None => false,
            },
        }
    }

    fn extras(&mut self, at: Position, anchor: usize, tag: bool) {
        if anchor != 0 {
            self.errors.error(
                at,
                "anchors (`&name`) are not part of the language",
                "write the value out where it is needed",
            );
        }
        if tag {
            self.errors.error(
                at,
                "tags (`!name`) are not part of the language",
                "leave the tag out; quotes make a value text",
            );
        }
    }

    fn open(&mut self, at: Position, open: Open) -> bool {
        if self.stack.len() >= MAX_NESTING {
            self.errors.error(
                at,
                format!("lists and mappings are nested deeper than {MAX_NESTING}"),
                "no part of a manifest is that deep: look for a bracket that is not closed",
            );
            return false;
        }
        self.stack.push(open);
        true
    }

    /// Puts a finished node where it belongs.
    fn add(&mut self, node: Node) -> bool {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            self.errors.error(
                node.at,
                format!("more than {MAX_NODES} values"),
                "name directories instead of single files",
            );
            return false;
        }
        if matches!(self.stack.last(), Some(Open::Map(_, map, _)) if map.len() >= MAX_KEYS) {
            self.errors.error(
                node.at,
                format!("more than {MAX_KEYS} keys in one mapping"),
                "no part of a manifest has so many: look for lines that should begin with `- `",
            );
            return false;
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, list)) => list.push(node),
            Some(Open::Map(_, map, pending)) => {
                match std::mem::replace(pending, Pending::Nothing) {
                    Pending::Nothing => *pending = key(node, map, self.errors),
                    Pending::Key(key) => map.push((key, node)),
                    Pending::Dropped => {}
                }
            }
        }
        true
    }
}

/// A node in the place of a key.
fn key(node: Node, map: &[(Key, Node)], errors: &mut Diagnostics) -> Pending {
    let at = node.at;
    let Value::Scalar(Scalar { text, .. }) = node.value else {
        errors.error(
            at,
            "a list or mapping stands where a key is expected",
            "a key is a word, followed by `:`",
        );
        return Pending::Dropped;
    };
    if text == "<<" {
        errors.error(
            at,
            "merge keys (`<<`) are not part of the language",
            "write the keys out",
        );
        return Pending::Dropped;
    }
    if let Some((first, _)) = map.iter().find(|(k, _)| k.text == text) {
        errors.error(
            at,
            format!(
                "{} is written twice, first in line {}",
                quote(&text),
                first.at.line
            ),
            "keep one of them: join the two lists, or delete the value that does not hold",
        );
        return Pending::Dropped;
    }
    Pending::Key(Key { at, text })
}

//! Policies of C2SP tlog-policy: whose logs count, whose cosignatures, and how many.
//!
//! Knows the text and what it demands of a checkpoint, not where checkpoints or witnesses are.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::key::{CosignerKey, VerifierKey};

/// A policy.
#[derive(Debug, Clone)]
pub struct Policy {
    logs: Vec<VerifierKey>,
    witnesses: Vec<PolicyWitness>,
    quorum: Rule,
    /// The name of the quorum, for messages.
    quorum_name: String,
}

/// A witness in a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyWitness {
    /// What the policy calls it.
    pub name: String,
    /// What its cosignatures are checked with.
    pub key: CosignerKey,
    /// Where it takes checkpoints: its submission prefix.
    pub url: Option<String>,
}

#[derive(Debug, Clone)]
enum Rule {
    Nothing,
    /// The witness with this index.
    Witness(usize),
    /// So many of these.
    Group(usize, Vec<Rule>),
}

/// What is wrong with the text of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct PolicyError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// How a checkpoint does not meet a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// It is of no log of the policy, or not signed by it.
    #[error("the policy's log has not signed it: {0}")]
    Log(CheckpointError),
    /// The policy does not know its origin.
    #[error("the policy names no log {0:?}")]
    UnknownLog(String),
    /// Signatures in witnesses' names do not hold.
    #[error("the cosignature in the name of {0:?} does not hold: it was altered or forged")]
    Forged(String),
    /// Too few witnesses cosigned it.
    #[error("the quorum {quorum:?} is not reached: {}", cosigners(by))]
    Quorum {
        /// What the policy calls it.
        quorum: String,
        /// Who did cosign.
        by: Vec<String>,
    },
}

fn cosigners(by: &[String]) -> String {
    match by {
        [] => "no witness of the policy cosigned".to_owned(),
        by => format!("cosigned by {} alone", by.join(", ")),
    }
}

/// Who cosigned a checkpoint that meets a policy: name in the policy, time in seconds since the Unix epoch.
pub type Cosigners = Vec<(String, u64)>;

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        let mut reading = Reading::default();
        let mut last = 0;
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            last = index + 1;
            reading
                .line(line)
                .map_err(|what| PolicyError { line: last, what })?;
        }
        let missing = || PolicyError {
            line: last,
            what: "the policy has no quorum line; `quorum none` asks for no witness".to_owned(),
        };
        let (quorum_name, quorum) = reading.quorum.ok_or_else(missing)?;
        Ok(Self {
            logs: reading.logs,
            witnesses: reading.witnesses,
            quorum,
            quorum_name,
        })
    }

    /// Its logs.
    #[must_use]
    pub fn logs(&self) -> &[VerifierKey] {
        &self.logs
    }

    /// The key of its log with this origin; without an origin, the key of its only log.
    #[must_use]
    pub fn log_key(&self, origin: Option<&str>) -> Option<&VerifierKey> {
        match (origin, self.logs.as_slice()) {
            (Some(origin), logs) => logs.iter().find(|log| log.name() == origin),
            (None, [log]) => Some(log),
            (None, _) => None,
        }
    }

    /// Its witnesses.
    #[must_use]
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// Whether a checkpoint is one that the policy takes, and who cosigned it.
    ///
    /// # Errors
    /// [`Unmet`] says what is missing.
    pub fn check(&self, checkpoint: &SignedCheckpoint) -> Result<Cosigners, Unmet> {
        let mut of_origin = self
            .logs
            .iter()
            .filter(|log| log.name() == checkpoint.origin())
            .map(|log| checkpoint.verify(log))
            .peekable();
        if of_origin.peek().is_none() {
            return Err(Unmet::UnknownLog(checkpoint.origin().to_owned()));
        }
        // Any one of several keys for an origin will do.
        of_origin
            .reduce(Result::or)
            .unwrap_or(Ok(()))
            .map_err(Unmet::Log)?;
        self.quorum(checkpoint)
    }

    /// Whether enough witnesses cosigned a checkpoint, whoever's log it is of.
    ///
    /// # Errors
    /// [`Unmet`] says what is missing.
    pub fn quorum(&self, checkpoint: &SignedCheckpoint) -> Result<Cosigners, Unmet> {
        let mut times = Vec::new();
        for witness in &self.witnesses {
            let time = witness.key.cosigned(checkpoint);
            times.push(time.map_err(|_| Unmet::Forged(witness.name.clone()))?);
        }
        let names = self.witnesses.iter().map(|witness| witness.name.clone());
        let by = names
            .zip(&times)
            .filter_map(|(name, time)| Some((name, (*time)?)))
            .collect::<Cosigners>();
        if self.quorum.holds(&times) {
            Ok(by)
        } else {
            Err(Unmet::Quorum {
                quorum: self.quorum_name.clone(),
                by: by.into_iter().map(|(name, _)| name).collect(),
            })
        }
    }
}

impl Rule {
    fn holds(&self, times: &[Option<u64>]) -> bool {
        match self {
            Self::Nothing => true,
            Self::Witness(index) => times.get(*index).is_some_and(Option::is_some),
            Self::Group(least, members) => {
                members.iter().filter(|rule| rule.holds(times)).count() >= *least
            }
        }
    }
}

/// A policy, being read.
#[derive(Default)]
struct Reading {
    logs: Vec<VerifierKey>,
    witnesses: Vec<PolicyWitness>,
    /// Witnesses and groups share their names, which are bytes without meaning.
    names: BTreeMap<Vec<u8>, Rule>,
    /// Names that are members of a group already.
    members: BTreeSet<Vec<u8>>,
    quorum: Option<(String, Rule)>,
}

const NONE: &[u8] = b"none";

fn text(word: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(word).map_err(|_| "a key or URL is not UTF-8".to_owned())
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

impl Reading {
    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        let mut words = line
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .filter(|word| !word.is_empty());
        if line
            .iter()
            .any(|byte| *byte == 0x7f || *byte < b' ' && *byte != b'\t')
        {
            return Err("it holds control characters".to_owned());
        }
        let Some(first) = words.next().filter(|word| word[0] != b'#') else {
            return Ok(());
        };
        let words: Vec<&[u8]> = words.collect();
        match (first, words.as_slice()) {
            (b"log", [key]) | (b"log", [key, _]) => self.log(text(key)?),
            (b"witness", [name, key]) => self.witness(name, text(key)?, None),
            (b"witness", [name, key, url]) => self.witness(name, text(key)?, Some(text(url)?)),
            (b"group", [name, least, members @ ..]) => self.group(name, text(least)?, members),
            (b"quorum", [name]) => self.quorum(name),
            (b"log" | b"witness" | b"group" | b"quorum", _) => {
                Err(format!("`{}` has too few or too many words", shown(first)))
            }
            _ => Err(format!(
                "{:?} is not log, witness, group or quorum",
                shown(first)
            )),
        }
    }

    fn log(&mut self, key: &str) -> Result<(), String> {
        let key = VerifierKey::parse(key).map_err(|error| error.to_string())?;
        if self.logs.iter().any(|log| log.public() == key.public()) {
            return Err("the log's key stands in another line too".to_owned());
        }
        self.logs.push(key);
        Ok(())
    }

    fn witness(&mut self, name: &[u8], key: &str, url: Option<&str>) -> Result<(), String> {
        let key = CosignerKey::parse(key).map_err(|error| error.to_string())?;
        if self
            .witnesses
            .iter()
            .any(|known| known.key.public() == key.public())
        {
            return Err("the witness's key stands in another line too".to_owned());
        }
        self.define(name, Rule::Witness(self.witnesses.len()))?;
        self.witnesses.push(PolicyWitness {
            name: shown(name),
            key,
            url: url.map(str::to_owned),
        });
        Ok(())
    }

    fn group(&mut self, name: &[u8], least: &str, members: &[&[u8]]) -> Result<(), String> {
        let least = match least {
            "all" => members.len(),
            "any" => 1,
            number => crate::checkpoint::decimal(number)
                .and_then(|number| usize::try_from(number).ok())
                .ok_or_else(|| format!("{number:?} is not all, any or a number"))?,
        };
        if !(1..=members.len()).contains(&least) {
            let all = members.len();
            return Err(format!("{least} of {all} members cannot be"));
        }
        let mut rules = Vec::new();
        for member in members {
            let rule = self.names.get(*member);
            let unknown = || format!("{:?} is not defined above", shown(member));
            rules.push(rule.cloned().ok_or_else(unknown)?);
            if !self.members.insert(member.to_vec()) {
                return Err(format!("{:?} is a member already", shown(member)));
            }
        }
        self.define(name, Rule::Group(least, rules))
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), String> {
        if self.quorum.is_some() {
            return Err("there is more than one quorum line".to_owned());
        }
        let rule = match name {
            NONE => Some(Rule::Nothing),
            name => self.names.get(name).cloned(),
        };
        let unknown = || format!("{:?} is not defined above", shown(name));
        self.quorum = Some((shown(name), rule.ok_or_else(unknown)?));
        Ok(())
    }

    fn define(&mut self, name: &[u8], rule: Rule) -> Result<(), String> {
        if name == NONE || self.names.insert(name.to_vec(), rule).is_some() {
            return Err(format!("the name {:?} is taken", shown(name)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

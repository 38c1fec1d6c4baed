//! A filter as a question to SQLite. What it leaves open (the path) is asked of each row.

use rusqlite::types::Value;

use crate::{proto::event::Verdict, query::Filter};

/// The question for the index: `seq, path` of entries before `below`.
pub(super) fn question(filter: &Filter, below: u64) -> (String, Vec<Value>) {
    let (conditions, values) = conditions(filter, below);
    let order = if filter.reverse { " ORDER BY seq DESC" } else { " ORDER BY seq" };
    let select = format!("SELECT seq, path FROM entries WHERE {conditions}");
    if filter.agent.is_empty() {
        return (select + order, values);
    }
    // Each half comes in order from an index of its own, and the two are merged as far as is asked. With OR, SQLite first
    // sorts all rows of the agent.
    let named = [values, vec![Value::Text(filter.agent.clone())]].concat();
    (format!("{select} AND agent = {ID} UNION {select} AND session = {ID}{order}"), [&named[..], &named[..]].concat())
}

/// The number of a name.
const ID: &str = "(SELECT id FROM names WHERE name = ?)";

/// All that is asked but whose entries.
fn conditions(filter: &Filter, below: u64) -> (String, Vec<Value>) {
    let mut sql = String::from("seq >= ? AND seq < ?");
    let mut values = vec![integer(filter.from_seq), integer(below)];
    if filter.since > 0 {
        sql.push_str(" AND time >= ?");
        values.push(integer(filter.since));
    }
    if filter.until > 0 {
        sql.push_str(" AND time <= ?");
        values.push(integer(filter.until));
    }
    one_of(&mut sql, &mut values, "kind", filter.kinds.iter().map(|k| i64::from(*k)));
    if !filter.verdicts.is_empty() && filter.verdicts.iter().all(|v| *v >= Verdict::Deny as i32) {
        // The words of the partial index.
        sql.push_str(" AND verdict >= 3");
    }
    one_of(&mut sql, &mut values, "verdict", filter.verdicts.iter().map(|v| i64::from(*v)));
    one_of(&mut sql, &mut values, "pid", filter.pids.iter().map(|p| i64::from(*p)));
    if !filter.rule.is_empty() {
        sql.push_str(&format!(" AND rule = {ID}"));
        values.push(Value::Text(filter.rule.clone()));
    }
    (sql, values)
}

fn one_of(sql: &mut String, values: &mut Vec<Value>, column: &str, wanted: impl Iterator<Item = i64>) {
    let before = values.len();
    values.extend(wanted.map(Value::Integer));
    let count = values.len() - before;
    if count > 0 {
        sql.push_str(&format!(" AND {column} IN ({})", vec!["?"; count].join(",")));
    }
}

fn integer(value: u64) -> Value {
    Value::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

//! A filter as a question to SQLite. What it leaves open (the path) is asked of each row.

use rusqlite::types::Value;

use crate::{proto::event::Verdict, query::Filter};

/// The question for the index: `seq, path` of entries before `below`.
pub(super) fn question(filter: &Filter, below: u64) -> (String, Vec<Value>) {
    let mut sql = String::from("SELECT seq, path FROM entries WHERE seq >= ? AND seq < ?");
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
    let id = "(SELECT id FROM names WHERE name = ?)";
    if !filter.agent.is_empty() {
        sql.push_str(&format!(" AND (agent = {id} OR session = {id})"));
        values.extend([Value::Text(filter.agent.clone()), Value::Text(filter.agent.clone())]);
    }
    if !filter.rule.is_empty() {
        sql.push_str(&format!(" AND rule = {id}"));
        values.push(Value::Text(filter.rule.clone()));
    }
    sql.push_str(if filter.reverse { " ORDER BY seq DESC" } else { " ORDER BY seq" });
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

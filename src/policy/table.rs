//! A table of scenarios in, a line of JSON out for each: the text side of `policy decide`.

use std::collections::BTreeSet;
use std::io::{BufRead, Read, Write};
use std::sync::Arc;

use serde_json::json;

use super::compiled::compile;
use super::mechanism::moment;
use super::scenario::{Answer, Expected, Scenario, Table};
use super::{PackSource, PolicyError};

/// The longest line that is read, in bytes.
const LONGEST_LINE: u64 = 1 << 20;

/// Why a table cannot be decided at all.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("--as-of `{0}` is not an RFC 3339 date")]
    AsOf(String),
    #[error("the table cannot be read: {0}")]
    Read(std::io::Error),
    #[error("the answers cannot be written: {0}")]
    Write(std::io::Error),
}

/// Answers every line. A line that is wrong gets an answer that says so, and the others are answered all the same.
/// Returns whether every line could be decided and is as it expects; differences are told on `remarks`.
pub fn decide(
    source: &PackSource,
    as_of: Option<&str>,
    mut input: impl BufRead,
    output: &mut impl Write,
    remarks: &mut impl Write,
) -> Result<bool, TableError> {
    let compiled = Arc::new(compile(&source.read()?).map_err(PolicyError::Invalid)?);
    let as_of = match as_of {
        None => None,
        Some(text) => Some(moment(text).ok_or_else(|| TableError::AsOf(text.to_owned()))?),
    };
    let table = Table::new(compiled, as_of)?;
    let (mut number, mut decided, mut expected, mut wrong) = (0_usize, 0_usize, 0_usize, 0_usize);
    loop {
        let mut line = Vec::new();
        let read =
            (&mut input).take(LONGEST_LINE + 1).read_until(b'\n', &mut line).map_err(TableError::Read)?;
        if read == 0 {
            break;
        }
        number += 1;
        if line.trim_ascii().is_empty() || line.trim_ascii_start().starts_with(b"//") {
            continue;
        }
        let answered = if read as u64 > LONGEST_LINE {
            skip_line(&mut input, &line).map_err(TableError::Read)?;
            Err((None, format!("the line is longer than {LONGEST_LINE} bytes")))
        } else {
            answer(&table, &line)
        };
        let text = match answered {
            Ok((answer, expect)) => {
                decided += 1;
                if let Some(expect) = expect {
                    expected += 1;
                    for difference in differences(&answer, &expect) {
                        wrong += 1;
                        writeln!(remarks, "line {number}, {}: {difference}", answer.id)
                            .map_err(TableError::Write)?;
                    }
                }
                serde_json::to_string(&answer)
            }
            Err((id, problem)) => {
                wrong += 1;
                writeln!(remarks, "line {number}: {problem}").map_err(TableError::Write)?;
                serde_json::to_string(&json!({ "id": id, "line": number, "error": problem }))
            }
        };
        let text = text.map_err(|error| TableError::Write(error.into()))?;
        writeln!(output, "{text}").map_err(TableError::Write)?;
    }
    output.flush().map_err(TableError::Write)?;
    writeln!(remarks, "{decided} decided, {expected} with an expectation, {wrong} wrong")
        .map_err(TableError::Write)?;
    Ok(wrong == 0)
}

/// Whether a line holds a scenario: it is neither empty nor a remark.
pub fn is_scenario(line: &str) -> bool {
    !line.trim().is_empty() && !line.trim_start().starts_with("//")
}

/// The id of a line that could not be decided, if that much can be read, and what is wrong with it.
pub(super) type Wrong = (Option<String>, String);

pub(super) fn answer(table: &Table, line: &[u8]) -> Result<(Answer, Option<Expected>), Wrong> {
    let scenario: Scenario = serde_json::from_slice(line).map_err(|error| {
        // The id helps to find the line, if that much can be read.
        let id = serde_json::from_slice::<serde_json::Value>(line).ok();
        let id = id.and_then(|value| value.get("id")?.as_str().map(str::to_owned));
        (id, error.to_string())
    })?;
    let answer = table.decide(&scenario).map_err(|error| (Some(scenario.id.clone()), error.to_string()))?;
    Ok((answer, scenario.expect))
}

/// What is not as expected.
pub(super) fn differences(answer: &Answer, expect: &Expected) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(word) = expect.decision.filter(|word| *word != answer.decision) {
        found.push(format!("expected {word}, got {} ({})", answer.decision, answer.rules.join(", ")));
    }
    let missing: Vec<_> = expect.rules.iter().filter(|rule| !answer.rules.contains(rule)).cloned().collect();
    if !missing.is_empty() {
        found.push(format!("{} did not decide, but {}", missing.join(", "), answer.rules.join(", ")));
    }
    let due: BTreeSet<String> = answer.obligations.iter().cloned().collect();
    if let Some(obligations) = expect.obligations.as_ref().filter(|expected| **expected != due) {
        found.push(format!("expected the obligations {obligations:?}, got {due:?}"));
    }
    found
}

/// Reads on to the end of a line that began with `start`.
fn skip_line(input: &mut impl BufRead, start: &[u8]) -> std::io::Result<()> {
    if start.ends_with(b"\n") {
        return Ok(());
    }
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        match buffer.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                input.consume(end + 1);
                return Ok(());
            }
            None => {
                let length = buffer.len();
                input.consume(length);
            }
        }
    }
}

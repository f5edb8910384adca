//! `policy fmt`: rules laid out in one way, by Cedar's own formatter.
//!
//! The formatter proves that it changed no policy and no annotation. Comments are no part of that proof, so it is
//! checked here that each is still there; and the blank line after a comment that stands by itself, which the
//! formatter takes away, is put back.

use std::path::{Path, PathBuf};

use cedar_policy::PolicySet;
use cedar_policy_formatter::{Config, policies_str_to_pretty};
use serde::Serialize;

use super::PolicyError;
use super::check::{Problem, Problems};
use super::compiled::line_and_column;

/// As wide as the code of this project.
const LINE_WIDTH: usize = 110;
const INDENT_WIDTH: isize = 2;

/// How often a text may change until it must have settled.
const MOST_PASSES: usize = 4;

/// Whether files are changed, or only compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Write,
    Check,
}

/// What became of the files.
#[derive(Debug, Serialize)]
pub struct FormatReport {
    pub mode: Mode,
    /// How many files were looked at.
    pub files: usize,
    /// Those that were changed, or would be.
    pub changed: Vec<String>,
    /// Files that no formatter can read.
    pub problems: Problems,
}

/// Formats `.cedar` files, and those in folders and in the folders of packs below them.
pub fn format_files(paths: &[PathBuf], mode: Mode) -> Result<FormatReport, PolicyError> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            collect(path, &mut files)?;
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    files.dedup();
    let mut report =
        FormatReport { mode, files: files.len(), changed: Vec::new(), problems: Problems::default() };
    for path in &files {
        let name = path.display().to_string();
        let failed = |source| PolicyError::Read { path: name.clone(), source };
        let text = std::fs::read_to_string(path).map_err(failed)?;
        match format_text(&text) {
            Ok(formatted) if formatted == text => {}
            Ok(formatted) => {
                if mode == Mode::Write {
                    std::fs::write(path, formatted)
                        .map_err(|source| PolicyError::Write { path: name.clone(), source })?;
                }
                report.changed.push(name);
            }
            Err(problem) => report.problems.0.push(Problem { file: name, ..*problem }),
        }
    }
    Ok(report)
}

/// The same policies in the one layout. The problem names no file.
pub fn format_text(text: &str) -> Result<String, Box<Problem>> {
    let config = Config { line_width: LINE_WIDTH, indent_width: INDENT_WIDTH };
    let mut current = text.to_owned();
    for _ in 0..MOST_PASSES {
        let plain = policies_str_to_pretty(&current, &config).map_err(|error| problem(&current, &error))?;
        let next = keep_paragraphs(&current, plain);
        if comments(&next) != comments(text) {
            return Err(unplaced("the formatter would lose a comment; nothing was changed"));
        }
        if next == current {
            return Ok(next);
        }
        current = next;
    }
    Err(unplaced("the formatter does not come to an end; nothing was changed"))
}

/// The `.cedar` files of a folder and of the folders in it. Hidden ones are left alone.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), PolicyError> {
    let failed = |source| PolicyError::Read { path: folder.display().to_string(), source };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        // A link to a folder could lead in circles.
        if hidden || (path.is_dir() && path.is_symlink()) {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "cedar") {
            files.push(path);
        }
    }
    Ok(())
}

/// What the parser says, with the place.
fn problem(text: &str, error: &impl std::fmt::Display) -> Box<Problem> {
    let Err(errors) = text.parse::<PolicySet>() else { return unplaced(&error.to_string()) };
    let detail = cedar_policy::ffi::DetailedError::from(&errors);
    let start = detail.source_locations.first().map(|label| label.loc.start);
    Box::new(Problem {
        file: String::new(),
        place: start.map(|offset| line_and_column(text, offset)),
        rule: None,
        message: detail.message,
        help: detail.help,
    })
}

fn unplaced(message: &str) -> Box<Problem> {
    let message = message.to_owned();
    Box::new(Problem { file: String::new(), place: None, rule: None, message, help: None })
}

/// Puts a blank line after each comment that had one in `before`.
fn keep_paragraphs(before: &str, after: String) -> String {
    let is_comment = |line: &str| line.trim_start().starts_with("//");
    let lines: Vec<&str> = before.lines().collect();
    let stood = lines.iter().enumerate().filter(|(_, line)| is_comment(line)).map(|(n, line)| {
        let next = lines.get(n + 1);
        (line.trim(), next.is_some_and(|next| next.trim().is_empty()))
    });
    let stood: Vec<(&str, bool)> = stood.collect();
    let stands: Vec<&str> = after.lines().filter(|line| is_comment(line)).map(str::trim).collect();
    if !stood.iter().map(|(line, _)| *line).eq(stands.iter().copied()) {
        return after;
    }
    let mut kept = String::with_capacity(after.len() + 16);
    let mut flags = stood.iter().map(|(_, blank)| *blank);
    let mut lines = after.lines().peekable();
    while let Some(line) = lines.next() {
        kept.push_str(line);
        kept.push('\n');
        let blank = is_comment(line) && flags.next().unwrap_or_default();
        if blank && line.starts_with("//") && lines.peek().is_some_and(|next| !next.trim().is_empty()) {
            kept.push('\n');
        }
    }
    kept
}

/// All comments of a text, in no order of their own.
fn comments(text: &str) -> Vec<&str> {
    let mut found: Vec<&str> = text.lines().filter_map(comment_of).collect();
    found.sort_unstable();
    found
}

/// The comment at the end of a line: what follows `//` outside of a string.
fn comment_of(line: &str) -> Option<&str> {
    let (mut inside, mut escaped, mut slash) = (false, false, false);
    for (offset, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            b'/' if !inside && slash => return line.get(offset - 1..).map(str::trim),
            _ => {}
        }
        slash = byte == b'/' && !inside;
    }
    None
}

impl FormatReport {
    /// Whether every file is as it should be now.
    pub fn is_good(&self) -> bool {
        self.problems.0.is_empty() && (self.mode == Mode::Write || self.changed.is_empty())
    }
}

impl std::fmt::Display for FormatReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (done, count) = match self.mode {
            Mode::Write => ("formatted", "changed"),
            Mode::Check => ("would change", "would change"),
        };
        for file in &self.changed {
            writeln!(f, "{done} {file}")?;
        }
        if !self.problems.0.is_empty() {
            writeln!(f, "{}", self.problems)?;
        }
        write!(f, "{} files, {} {count}", self.files, self.changed.len())?;
        match self.problems.0.len() {
            0 => Ok(()),
            bad => write!(f, ", {bad} that cannot be read as policies"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PackSource;

    const UNTIDY: &str = "// About the file.\n\n// About the rule.\n@id(\"A\") // why A\n@law(\"see https://example.org/\\\"x\\\"\")\n\
        permit(principal,action==Action::\"Read\",resource) when{\n// inside\ncontext.labelled&&true};\n";

    #[test]
    fn a_rule_is_laid_out_and_keeps_its_comments_and_its_words() {
        let tidy = format_text(UNTIDY).unwrap();
        assert!(
            tidy.starts_with("// About the file.\n\n// About the rule.\n@id(\"A\") // why A\n"),
            "{tidy}"
        );
        assert!(tidy.contains("@law(\"see https://example.org/\\\"x\\\"\")"), "{tidy}");
        assert!(tidy.contains("// inside"), "{tidy}");
        assert!(tidy.contains("context.labelled && true"), "{tidy}");
        assert_eq!(format_text(&tidy).unwrap(), tidy);
    }

    #[test]
    fn the_shipped_packs_are_formatted() {
        let untidy: Vec<String> = PackSource::embedded()
            .read()
            .unwrap()
            .packs
            .into_iter()
            .flat_map(|pack| pack.policies)
            .filter(|file| format_text(&file.text).unwrap() != file.text)
            .map(|file| file.path)
            .collect();
        assert_eq!(untidy, Vec::<String>::new(), "run `domicile policy fmt policies`");
    }

    #[test]
    fn what_is_no_policy_is_told_with_its_place_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("10.cedar");
        std::fs::write(&path, "permit (principal, action, resource);\nforbit (principal, action, resource);")
            .unwrap();
        let report = format_files(&[folder.path().to_owned()], Mode::Write).unwrap();
        assert!(!report.is_good());
        assert!(report.to_string().contains("10.cedar:2:1:"), "{report}");
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("forbit (principal, action, resource);"));
    }

    #[test]
    fn a_check_changes_nothing_and_a_second_run_finds_nothing_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("10.cedar");
        std::fs::write(&path, UNTIDY).unwrap();
        let run = |mode| format_files(&[folder.path().to_owned()], mode).unwrap();
        let checked = run(Mode::Check);
        assert!(!checked.is_good() && checked.changed.len() == 1, "{checked}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), UNTIDY);
        assert!(run(Mode::Write).is_good());
        let again = run(Mode::Check);
        assert!(again.is_good() && again.files == 1, "{again}");
    }

    #[test]
    fn slashes_inside_of_strings_are_no_comments() {
        assert_eq!(comment_of(r#"@law("https://example.org") // yes"#), Some("// yes"));
        assert_eq!(comment_of(r#"@law("a \" // b")"#), None);
        assert_eq!(comment_of("a / b"), None);
    }
}

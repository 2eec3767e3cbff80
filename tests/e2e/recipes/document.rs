//! The pages with the commands, and their code blocks.

use larder_tests::{Run, Sandbox};

pub(crate) const README: &str = include_str!("../../../README.md");

/// Returns the code blocks of a language in the section with this heading.
#[track_caller]
pub(crate) fn blocks<'a>(document: &'a str, heading: &str, language: &str) -> Vec<&'a str> {
    let (_, section) = document.split_once(&format!("\n{heading}\n")).expect("the heading exists");
    let section = section.split("\n## ").next().unwrap();
    let fence = format!("```{language}\n");
    let blocks: Vec<&str> =
        section.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!blocks.is_empty(), "no block of {language} below {heading}");
    blocks
}

/// Returns the lines below the first line that contains `key`, without their indentation.
#[track_caller]
pub(crate) fn below(yaml: &str, key: &str) -> Vec<String> {
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let mut lines = yaml.lines().skip_while(|line| line.trim() != key);
    let depth = indentation(lines.next().expect("the key is in the block"));
    lines.take_while(|line| indentation(line) > depth).map(|line| line.trim().to_owned()).collect()
}

/// Runs the commands of a console block. The texts in quotes in its comments must be in their output.
pub(crate) fn console(sandbox: &Sandbox, block: &str) -> Vec<Run> {
    let lines = block.lines().map(|line| line.strip_prefix("$ ").expect("each line is a command"));
    let mut runs = Vec::new();
    for line in lines {
        let (command, comment) = line.split_once("  #").unwrap_or((line, ""));
        let run = sandbox.program("sh", ["-c", command]).run().ok();
        let quoted: Vec<&str> = comment.split('"').skip(1).step_by(2).collect();
        runs.push(run.says(&quoted));
    }
    runs
}

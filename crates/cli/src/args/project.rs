//! The arguments of `larder project`.
#![expect(
    clippy::doc_markdown,
    reason = "the comments are help texts, where a name is written as it is typed"
)]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use larder_project::ExchangeOptions;

/// Uploads and restores the outputs of a weasel or spaCy project.
///
/// The project is PROJECT_DIR, else the nearest directory with a project.yml. Its commands say which files they make, and
/// from what; keys, archives and project.lock are those of weasel, whatever larder.toml says.
#[derive(Debug, Subcommand)]
#[command(arg_required_else_help = true)]
pub(crate) enum ProjectSubcommand {
    /// Uploads the outputs of the project's commands, as `weasel push` does.
    ///
    /// It refuses outputs that project.lock says were made from another script or other dependencies. It skips commands with
    /// a missing dependency, and outputs without any file.
    Push(ProjectPush),
    /// Restores outputs from the remote, as `weasel pull` does.
    ///
    /// It keeps existing outputs, and compares them with the remote's. If all outputs of a command equal the remote's, it
    /// records the command in project.lock, so that `weasel run` has nothing to do.
    Pull(ProjectPull),
    /// Compares each output with the remote, without transferring it.
    Status(ProjectStatus),
    /// Reads the whole remote, and reports damaged and doubtful objects.
    ///
    /// It reports objects that are truncated, damaged or do not have their hash, stray files, several contents under one
    /// command hash, and several names of one path. It reads each object to its end and unpacks it below .larder.
    Audit(ProjectAudit),
}

impl ProjectSubcommand {
    /// The name in machine-readable output.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Push(_) => "project push",
            Self::Pull(_) => "project pull",
            Self::Status(_) => "project status",
            Self::Audit(_) => "project audit",
        }
    }
}

/// The project, the remote and the commands.
#[derive(Args, Debug)]
pub(crate) struct ProjectTarget {
    /// A remote of project.yml or larder.toml, a path (with a `/`) or a URL [default: -r, LARDER_REMOTE, `default`]
    #[arg(value_name = "REMOTE", id = "project_remote", index = 1)]
    pub(crate) remote: Option<String>,

    /// The directory of the project [default: the nearest with a project.yml]
    #[arg(value_name = "PROJECT_DIR", value_hint = ValueHint::DirPath, index = 2)]
    pub(crate) dir: Option<PathBuf>,

    /// Only this command, or the commands of this workflow; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,

    /// Read and write the keys of this spaCy, from 3.0 to 3.6
    #[arg(long, value_name = "VERSION", value_parser = ExchangeOptions::parse_spacy_version)]
    pub(crate) spacy_version: Option<String>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Arguments such as `--vars.seed 3` or `--vars.seed=3` override the project's variables, and so does
$WEASEL_CONFIG_OVERRIDES, as for `weasel run`: the key then names the script that ran.

Examples:
  larder project push
  larder project push team --only train
  larder project push --vars.seed=3
  larder project push --force              repair the remote, and push outputs made from other inputs")]
pub(crate) struct ProjectPush {
    #[command(flatten)]
    pub(crate) target: ProjectTarget,

    /// Also push outputs that were made from other inputs, and replace objects in the remote
    #[arg(long)]
    pub(crate) force: bool,

    /// Exit with 3 if something was skipped
    #[arg(long)]
    pub(crate) strict: bool,

    /// Show what would be uploaded, without uploading
    ///
    /// Makes every check that needs no write, as `larder push --dry-run` does.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Arguments such as `--vars.seed 3` or `--vars.seed=3` override the project's variables, and so does
$WEASEL_CONFIG_OVERRIDES, as for `weasel run`.

Examples:
  larder project pull
  larder project pull team path/to/project
  larder project pull --strict             fail if an output is missing
  larder project pull --force              replace outputs that differ from the remote's")]
pub(crate) struct ProjectPull {
    #[command(flatten)]
    pub(crate) target: ProjectTarget,

    /// Replace outputs that differ from the remote's
    #[arg(long)]
    pub(crate) force: bool,

    /// Exit with 3 if an output is not on the remote, or a stale one was kept
    #[arg(long)]
    pub(crate) strict: bool,

    /// Show what would be restored, without restoring
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder project status
  larder project status --json | jq -r '.results[] | select(.state == \"stale\") | .path'")]
pub(crate) struct ProjectStatus {
    #[command(flatten)]
    pub(crate) target: ProjectTarget,

    /// Exit with 3 if an output is not up to date
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder project audit
  larder project audit team --delete        remove damaged objects, after asking
  larder project push --force               upload them again")]
pub(crate) struct ProjectAudit {
    /// A remote of project.yml or larder.toml, a path (with a `/`) or a URL [default: -r, LARDER_REMOTE, `default`]
    #[arg(value_name = "REMOTE", id = "project_remote", index = 1)]
    pub(crate) remote: Option<String>,

    /// The directory of the project [default: the nearest with a project.yml]
    #[arg(value_name = "PROJECT_DIR", value_hint = ValueHint::DirPath, index = 2)]
    pub(crate) dir: Option<PathBuf>,

    /// Remove damaged objects, after asking
    #[arg(long)]
    pub(crate) delete: bool,

    /// Do not ask
    #[arg(long, requires = "delete")]
    pub(crate) yes: bool,
}

/// Removes the overrides of variables (`--vars.seed 3`, `--vars.seed=3`) from the arguments of `larder
/// project`, and returns both. They are recognized by the dot in the name, which no option of larder has.
pub(crate) fn take_overrides(arguments: Vec<OsString>) -> (Vec<OsString>, Vec<String>) {
    let mut rest = Vec::new();
    let mut overrides = Vec::new();
    let mut is_of_project = false;
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.next() {
        let is_override = |text: &str| {
            let name = text.strip_prefix("--").and_then(|text| text.split('=').next());
            name.is_some_and(|name| name.contains('.') && !name.starts_with('.'))
        };
        match argument.to_str() {
            Some("--") => {
                rest.push(argument);
                rest.extend(arguments);
                break;
            }
            Some(text) if is_of_project && is_override(text) => {
                overrides.push(text.to_owned());
                if !text.contains('=') {
                    let is_value =
                        |next: &OsString| next.to_str().is_some_and(|next| !next.starts_with("--"));
                    overrides.extend(arguments.next_if(is_value).and_then(|value| value.into_string().ok()));
                }
            }
            _ => {
                is_of_project |= argument == "project";
                rest.push(argument);
            }
        }
    }
    (rest, overrides)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(line: &str) -> (String, String) {
        let (rest, overrides) = take_overrides(line.split(' ').map(OsString::from).collect());
        let rest: Vec<_> = rest.iter().map(|argument| argument.to_str().unwrap()).collect();
        (rest.join(" "), overrides.join(" "))
    }

    #[test]
    fn overrides_stand_anywhere_behind_project() {
        let rows = [
            (
                "larder project push --vars.a 1 team --vars.b=2 -q",
                "larder project push team -q",
                "--vars.a 1 --vars.b=2",
            ),
            ("larder project push --vars.a --json", "larder project push --json", "--vars.a"),
            ("larder project push --only a.b -- --vars.a", "larder project push --only a.b -- --vars.a", ""),
            ("larder push --vars.a 1", "larder push --vars.a 1", ""),
        ];
        for (line, rest, overrides) in rows {
            assert_eq!(take(line), (rest.to_owned(), overrides.to_owned()));
        }
    }
}

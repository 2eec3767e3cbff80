//! `larder project audit`

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use larder_project::{Audit, ExchangeOptions, Finding, Project, ProjectExchange};
use larder_storage::RemoteStorage;

use super::open::{Opened, open_for};
use crate::args::{Cli, ProjectAudit};
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;
use crate::output::document::AuditFinding;
use crate::output::text::printable;

pub(super) fn run(args: &ProjectAudit, cli: &Cli, output: &mut CommandOutput) -> Result<()> {
    if args.delete && !args.yes && !io::stdin().is_terminal() {
        let problem =
            "--delete asks before it removes objects, and standard input is not a terminal: add --yes";
        return Err(Failure::Usage(problem.to_owned()));
    }
    let Opened { project, session } =
        open_for(args.dir.as_deref(), args.remote.as_deref(), &[], cli, output)?;
    session.run_saying(output, async |output| audit(&project, &session.storage, args, output).await)?
}

fn count_of(count: usize, name: &str) -> String {
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

async fn audit(
    project: &Project,
    storage: &RemoteStorage,
    args: &ProjectAudit,
    output: &mut CommandOutput,
) -> Result<()> {
    let audit = Audit::of(storage).await?;
    for finding in &audit.findings {
        for line in lines(finding) {
            output.line(&line);
        }
    }
    let damage: Vec<&Finding> = audit.damage().collect();
    let is_agreed = args.delete && !damage.is_empty() && (args.yes || ask(&damage, output).await);
    let mut left: Vec<&str> = Vec::new();
    let (mut removed, mut replaced) = (0, 0);
    for finding in &audit.findings {
        let is_damage = finding.kind.is_damage();
        let deletion =
            if is_damage && is_agreed { delete(storage, finding, output).await } else { Deletion::Not };
        let is_deleted = deletion == Deletion::Done;
        removed += usize::from(is_deleted);
        if deletion == Deletion::Replaced {
            replaced += finding.urls.len();
        } else if is_damage && !is_deleted {
            left.extend(finding.urls.iter().map(String::as_str));
        }
        output.entry(AuditFinding {
            kind: finding.kind.name(),
            path: finding.path.clone(),
            urls: finding.urls.clone(),
            reason: finding.reason.clone(),
            deleted: is_damage.then_some(is_deleted),
        });
    }
    let Audit { objects, verified, findings, .. } = &audit;
    let of_removed = if removed > 0 { format!(", {removed} removed") } else { String::new() };
    output.summary(&format!(
        "{}, {verified} verified; {}{of_removed}",
        count_of(*objects, "object"),
        count_of(findings.len(), "finding")
    ));
    if !left.is_empty() {
        let urls = ProjectExchange::new(project, storage, ExchangeOptions::default())?.urls_of_push().await;
        let repairable = left.iter().filter(|url| urls.contains(**url)).count();
        output.fail(Failure::DamagedObjects { count: left.len(), repairable });
    }
    if replaced > 0 {
        output.fail(Failure::ReplacedObjects { count: replaced });
    }
    Ok(())
}

/// The outcome of a deletion.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deletion {
    Done,
    /// Another object has replaced it.
    Replaced,
    Not,
}

/// Removes a damaged object, and prints the outcome.
async fn delete(storage: &RemoteStorage, finding: &Finding, output: &mut CommandOutput) -> Deletion {
    let urls = finding.urls.join(", ");
    match Audit::delete(storage, finding).await {
        Ok(true) => {
            output.line(&printable(&format!("removed {urls}")));
            Deletion::Done
        }
        Ok(false) => {
            output.console().warn(&format_args!("kept {urls}: it was replaced meanwhile"));
            Deletion::Replaced
        }
        Err(error) => {
            output.fail(error);
            Deletion::Not
        }
    }
}

/// Asks whether to remove all these objects. A separate thread waits for the answer, so that signals are
/// still handled.
async fn ask(damage: &[&Finding], output: &CommandOutput) -> bool {
    let mut repeated = Vec::new();
    if !output.is_read() {
        repeated.extend(damage.iter().flat_map(|finding| lines(finding)));
    }
    let question = format!("remove {}? [y/N] ", count_of(damage.len(), "damaged object"));
    let console = output.console().clone();
    let answer = tokio::task::spawn_blocking(move || {
        console.suspend(|| {
            let mut stderr = io::stderr().lock();
            let mut answer = String::new();
            let asked = repeated
                .iter()
                .try_for_each(|line| writeln!(stderr, "{line}"))
                .and_then(|()| write!(stderr, "{question}"))
                .and_then(|()| stderr.flush())
                .and_then(|()| io::stdin().lock().read_line(&mut answer));
            asked.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
        })
    });
    answer.await.unwrap_or(false)
}

/// Describes a finding, for people.
fn lines(finding: &Finding) -> Vec<String> {
    let words = finding.kind.name().replace('_', " ");
    let lines = match finding.urls.as_slice() {
        [url] => vec![format!("{words}: {url}: {}", finding.reason)],
        urls => {
            let first = format!("{words}: {}", finding.reason);
            [first].into_iter().chain(urls.iter().map(|url| format!("  {url}"))).collect()
        }
    };
    lines.iter().map(|line| printable(line)).collect()
}

//! `larder project audit`

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use larder_project::{Audit, Finding};
use larder_storage::RemoteStorage;

use super::open_for;
use crate::args::{Cli, ProjectAudit};
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::output::console::Console;
use crate::output::document::AuditFinding;
use crate::output::text::printable;

/// What an audit found, and of each finding whether its object is gone since.
struct Audited {
    audit: Audit,
    deleted: Vec<larder_project::Result<bool>>,
}

pub(super) fn run(args: &ProjectAudit, cli: &Cli, output: &mut Output) -> Result<()> {
    if args.delete && !args.yes && !io::stdin().is_terminal() {
        let problem = "--delete asks before it removes anything, and there is nobody to ask: add --yes";
        return Err(Failure::Usage(problem.to_owned()));
    }
    let opened = open_for(args.dir.as_deref(), args.remote.as_deref(), &[], cli, output)?;
    let session = opened.session;
    let console = output.console().clone();
    let work = audit(&session.storage, args, &console);
    let Audited { audit, deleted } = session.run(output, work)??;
    let mut damaged = 0;
    for (finding, deleted) in audit.findings.iter().zip(deleted) {
        let is_deleted = match deleted {
            Ok(deleted) => deleted,
            Err(error) => {
                output.fail(error);
                false
            }
        };
        damaged += usize::from(finding.kind.is_damage() && !is_deleted);
        say(finding, is_deleted, output);
    }
    let Audit { objects, verified, findings, .. } = &audit;
    output.summary(&format!(
        "{}, {verified} verified; {}",
        count_of(*objects, "object"),
        count_of(findings.len(), "finding")
    ));
    if damaged > 0 {
        output.fail(Failure::DamagedObjects { count: damaged });
    }
    Ok(())
}

fn count_of(count: usize, name: &str) -> String {
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

async fn audit(
    storage: &RemoteStorage,
    args: &ProjectAudit,
    console: &Console,
) -> larder_project::Result<Audited> {
    let audit = Audit::of(storage).await?;
    let damage: Vec<String> = audit.damage().flat_map(|finding| finding.urls.clone()).collect();
    let is_agreed = args.delete && !damage.is_empty() && (args.yes || ask(damage, console.clone()).await);
    let mut deleted = Vec::new();
    for finding in &audit.findings {
        let is_wanted = is_agreed && finding.kind.is_damage();
        deleted.push(if is_wanted { Audit::delete(storage, finding).await } else { Ok(false) });
    }
    Ok(Audited { audit, deleted })
}

/// Asks whether all of these are to be removed. On a thread of its own: a signal must be heard meanwhile.
async fn ask(urls: Vec<String>, console: Console) -> bool {
    let answer = tokio::task::spawn_blocking(move || {
        console.suspend(|| {
            let mut stderr = io::stderr().lock();
            let mut answer = String::new();
            let asked = urls
                .iter()
                .try_for_each(|url| writeln!(stderr, "damaged: {}", printable(url)))
                .and_then(|()| write!(stderr, "remove {}? [y/N] ", count_of(urls.len(), "object")))
                .and_then(|()| stderr.flush())
                .and_then(|()| io::stdin().lock().read_line(&mut answer));
            asked.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
        })
    });
    answer.await.unwrap_or(false)
}

fn say(finding: &Finding, is_deleted: bool, output: &mut Output) {
    let kind = finding.kind.name();
    output.entry(AuditFinding {
        kind,
        path: finding.path.clone(),
        urls: finding.urls.clone(),
        reason: finding.reason.clone(),
        deleted: finding.kind.is_damage().then_some(is_deleted),
    });
    let words = kind.replace('_', " ");
    let done = if is_deleted { ", removed" } else { "" };
    match finding.urls.as_slice() {
        [url] => output.line(&printable(&format!("{words}: {url}: {}{done}", finding.reason))),
        urls => {
            output.line(&printable(&format!("{words}: {}", finding.reason)));
            for url in urls {
                output.line(&printable(&format!("  {url}")));
            }
        }
    }
}

//! The state of a project's outputs, here and in a remote.

use std::collections::HashMap;

use larder_storage::{CommandHash, ContentHash, ErrorKind, OutputPath};

use crate::error::{Error, Result};
use crate::exchange::{Keyed, ProjectExchange};
use crate::files::{Known, holds_a_file};
use crate::lock::{LockEntry, LockFile};
use crate::project::ProjectCommand;
use crate::pull::ContentMatch;

/// The reason for outputs that were not looked up after a failure of the remote.
const NOT_ASKED: &str = "the remote could not be asked";

/// The state of one output of one command.
#[derive(Debug)]
#[non_exhaustive]
pub struct OutputStatus {
    /// The name of the command.
    pub command: String,
    /// The output, as the project spells it.
    pub path: String,
    /// The state.
    pub state: OutputState,
    /// The hash of the command as it is now, if its dependencies exist.
    pub command_hash: Option<CommandHash>,
    /// The content hash of the output here.
    pub content_hash: Option<ContentHash>,
    /// The object with this content, or else the newest object of this command.
    pub url: Option<String>,
    /// Whether `project.lock` records that the command, as it is now, made this content.
    pub recorded: Option<bool>,
}

/// The state of an output.
#[derive(Debug)]
#[non_exhaustive]
pub enum OutputState {
    /// It exists, and the lock and the remote have its content.
    UpToDate,
    /// It exists, and the lock has its content. The remote does not: a push would upload it.
    NotPushed,
    /// It exists, and the lock does not record that this command made it.
    NotRecorded,
    /// It exists, and was made from another script or other dependencies.
    Changed {
        /// The difference.
        reason: String,
    },
    /// It exists, and the remote has different content for this command.
    Stale,
    /// It exists, and another command made it.
    MadeBy {
        /// The other command.
        command: String,
    },
    /// It is missing, and the remote has it: a pull would restore it.
    Available,
    /// It is missing here and in the remote.
    Missing,
    /// Its key is unknown, because a dependency is missing.
    Waiting {
        /// The dependency.
        reason: String,
    },
    /// It cannot be an output.
    Refused {
        /// The reason.
        reason: String,
    },
    /// The state could not be determined.
    Failed(Error),
}

impl OutputState {
    /// Returns the name in machine-readable output. A failure has none.
    pub const fn name(&self) -> Option<&'static str> {
        Some(match self {
            Self::UpToDate => "up_to_date",
            Self::NotPushed => "not_pushed",
            Self::NotRecorded => "not_recorded",
            Self::Changed { .. } => "changed",
            Self::Stale => "stale",
            Self::MadeBy { .. } => "made_by_other",
            Self::Available => "available",
            Self::Missing => "missing",
            Self::Waiting { .. } => "waiting",
            Self::Refused { .. } => "refused",
            Self::Failed(_) => return None,
        })
    }

    /// Returns whether nothing needs to be done.
    pub const fn is_up_to_date(&self) -> bool {
        matches!(self, Self::UpToDate | Self::MadeBy { .. })
    }
}

impl<'a> ProjectExchange<'a> {
    /// Returns the state of each output of the commands, in the order of the file. It transfers no content.
    /// If only the remote has an output, this also looks up the commands that depend on it.
    ///
    /// # Errors
    ///
    /// The lock cannot be read. A failure of one output is in its state.
    pub async fn status(&self) -> Result<Vec<OutputStatus>> {
        let lock = LockFile::read(&self.project.root)?;
        let mut by_command: HashMap<&str, Vec<OutputStatus>> = HashMap::new();
        let mut makers: HashMap<String, String> = HashMap::new();
        let mut pending = self.commands.clone();
        while let Some(command) = self.next_command(&mut pending) {
            let entry = lock.entry(&command.name);
            let states = match self.key(command).await {
                Ok(Some(key)) => {
                    let states = self.command_status(command, &key, entry, &makers).await;
                    for status in &states {
                        let is_made = match status.state {
                            OutputState::UpToDate | OutputState::NotPushed | OutputState::Available => true,
                            // The remote has it under this key, so a pull would record it.
                            OutputState::NotRecorded => status.url.is_some(),
                            _ => false,
                        };
                        if let (true, Ok(output)) = (is_made, OutputPath::new(&status.path)) {
                            makers.entry(output.as_str().to_owned()).or_insert_with(|| command.name.clone());
                        }
                    }
                    states
                }
                Ok(None) => {
                    let reason = "what its dependencies are is known when they have been restored".to_owned();
                    self.all(command, |_| OutputState::Waiting { reason: reason.clone() })
                }
                Err(error) => {
                    let mut error = Some(error);
                    self.all(command, |_| match error.take() {
                        Some(error) => OutputState::Failed(error),
                        None => OutputState::Waiting { reason: "its command could not be hashed".to_owned() },
                    })
                }
            };
            let is_over = states.iter().any(OutputStatus::ends_everything);
            by_command.insert(&command.name, states);
            if is_over {
                break;
            }
        }
        let mut states = Vec::new();
        for command in &self.commands {
            states.extend(by_command.remove(command.name.as_str()).unwrap_or_else(|| {
                let reason = match self.missing_dependency(command) {
                    Some(dep) => format!("its dependency `{dep}` is missing"),
                    None => NOT_ASKED.to_owned(),
                };
                self.all(command, |_| OutputState::Waiting { reason: reason.clone() })
            }));
        }
        Ok(states)
    }

    fn all(
        &self,
        command: &'a ProjectCommand,
        mut state: impl FnMut(&str) -> OutputState,
    ) -> Vec<OutputStatus> {
        let outputs = self.outputs(command).into_iter();
        outputs.map(|(text, _)| OutputStatus::new(command, text, state(text))).collect()
    }

    async fn command_status(
        &self,
        command: &'a ProjectCommand,
        key: &Keyed,
        entry: Option<LockEntry<'_>>,
        makers: &HashMap<String, String>,
    ) -> Vec<OutputStatus> {
        let difference = entry.and_then(|entry| entry.difference(command, &key.deps));
        let mut found = Vec::new();
        for (text, output) in self.outputs(command) {
            let mut status = OutputStatus::new(command, text, OutputState::Missing);
            if found.iter().any(OutputStatus::ends_everything) {
                let state = OutputState::Waiting { reason: NOT_ASKED.to_owned() };
                found.push(OutputStatus { state, ..status });
                continue;
            }
            status.command_hash = Some(key.hash.clone());
            let state = match output {
                Ok(output) => {
                    let maker = makers.get(output.as_str());
                    let is_recorded = |hash: &ContentHash| {
                        difference.is_none() && entry.is_some_and(|entry| entry.has_output(text, hash))
                    };
                    match self.look(&output, key, maker, is_recorded, &mut status).await {
                        Ok(OutputState::NotPushed | OutputState::Stale) if difference.is_some() => {
                            OutputState::Changed { reason: difference.clone().unwrap_or_default() }
                        }
                        Ok(OutputState::NotRecorded) if difference.is_some() && status.url.is_none() => {
                            OutputState::Changed { reason: difference.clone().unwrap_or_default() }
                        }
                        Ok(state) => state,
                        Err(error) => OutputState::Failed(error),
                    }
                }
                Err(error) => OutputState::Refused { reason: error.to_string() },
            };
            found.push(OutputStatus { state, ..status });
        }
        found
    }

    /// Determines the state of one output.
    async fn look(
        &self,
        output: &OutputPath,
        key: &Keyed,
        maker: Option<&String>,
        is_recorded: impl Fn(&ContentHash) -> bool,
        status: &mut OutputStatus,
    ) -> Result<OutputState> {
        let newest = async || match self.find_newest(output, key).await {
            Ok(object) => Ok(Some(object)),
            Err(Error::Storage(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let is_here = holds_a_file(&output.below(&self.project.root));
        if !is_here && maker.is_none() {
            let Some(object) = newest().await? else { return Ok(OutputState::Missing) };
            status.url = Some(object.url);
            self.files.assume(output, object.content_hash);
            return Ok(OutputState::Available);
        }
        let found = self.find_same(output, key).await?;
        if let (true, Known::Hash(hash)) = (is_here, self.files.known(output.as_str()).await?) {
            status.recorded = Some(is_recorded(&hash));
            status.content_hash = Some(hash);
        }
        if let ContentMatch::Same(object) = found {
            status.url = Some(object.url);
            return Ok(match status.recorded {
                Some(true) => OutputState::UpToDate,
                Some(false) => OutputState::NotRecorded,
                None => OutputState::Available,
            });
        }
        if let (Some(maker), false) = (maker, status.recorded == Some(true)) {
            return Ok(OutputState::MadeBy { command: maker.clone() });
        }
        if let Some(object) = newest().await? {
            status.url = Some(object.url);
            return Ok(OutputState::Stale);
        }
        Ok(if status.recorded == Some(true) { OutputState::NotPushed } else { OutputState::NotRecorded })
    }
}

impl OutputStatus {
    fn ends_everything(&self) -> bool {
        matches!(&self.state, OutputState::Failed(error) if error.ends_everything())
    }

    fn new(command: &ProjectCommand, path: &str, state: OutputState) -> Self {
        Self {
            command: command.name.clone(),
            path: path.to_owned(),
            state,
            command_hash: None,
            content_hash: None,
            url: None,
            recorded: None,
        }
    }
}

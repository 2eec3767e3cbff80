//! The context of a command: the project, its configuration and its remote.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use etcetera::base_strategy::{BaseStrategy as _, Xdg};
use larder_config::{
    Config, ConfiguredRemote, FileKind, FilePlace, Layer, Location, OptionValue, Origin, ProjectRoot,
    RemoteDefinition, RootMarker, Setting,
};
use larder_hashing::HashOptions;
use larder_project::{OVERRIDES_VARIABLE, Overrides, Project};
use larder_storage::{
    CancellationToken, Compression, InvalidRemote, OptionScalar, RemoteStorage, RemoteUrl, Scheme, StatCache,
    StorageOptions, UserEnvironment, Workers,
};

use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::output::console::Console;
use crate::output::text::printable;
use crate::reporter::ConsoleReporter;
use crate::session::RemoteSession;

/// The remote of a weasel project if none is chosen.
const DEFAULT_REMOTE: &str = "default";

/// How long a run waits for an answer if the configuration does not say it.
const RUN_LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// The project of a command, and its settings.
#[derive(Clone, Debug)]
pub(crate) struct CommandContext {
    pub(crate) working_dir: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) scheme: Scheme,
    /// The configured compression, if any.
    pub(crate) compression: Option<Compression>,
    pub(crate) workers: Workers,
    pub(crate) python: Option<PathBuf>,
    stat_cache: Option<StatCache>,
    config: Config,
    /// The layers of the configuration, the strongest first.
    layers: Vec<Layer>,
}

impl CommandContext {
    /// Finds the project, and reads the configuration.
    ///
    /// A user's file that cannot be read is an error only if the command needs it.
    pub(crate) fn new(global: &Global, needs_remote: bool, console: &Console) -> Result<Self> {
        let working_dir = env::current_dir().map_err(Failure::WorkingDirectory)?;
        let root = ProjectRoot::discover(&working_dir);
        Self::in_root(global, working_dir, &root, needs_remote, console)
    }

    /// Reads the configuration of the weasel project in `dir`, else in the nearest parent directory with a
    /// project.
    pub(crate) fn of_weasel(global: &Global, dir: Option<&Path>, console: &Console) -> Result<Self> {
        let working_dir = env::current_dir().map_err(Failure::WorkingDirectory)?;
        let path = if let Some(dir) = dir {
            let path = working_dir.join(dir);
            path.canonicalize().map_err(|source| Failure::ProjectDirectory { path, source })?
        } else {
            let has_project = |dir: &&Path| dir.join(Project::FILE).is_file();
            working_dir.ancestors().find(has_project).unwrap_or(&working_dir).to_owned()
        };
        let marker = RootMarker::ProjectYml;
        Self::in_root(global, working_dir, &ProjectRoot { path, marker }, true, console)
    }

    fn in_root(
        global: &Global,
        working_dir: PathBuf,
        root: &ProjectRoot,
        needs_remote: bool,
        console: &Console,
    ) -> Result<Self> {
        console.verbose(&format_args!("project root: {} ({})", root.path.display(), root.marker));

        // A weasel project may have a larder.toml beside its own file.
        let config_file = match root.marker {
            RootMarker::ProjectYml => Some(root.path.join(ProjectRoot::CONFIG_FILE)),
            _ => root.config_file(),
        };
        let project = read_layer(config_file, FileKind::Project)?;
        let mut layers: Vec<Layer> =
            [Some(flags(global)), Some(environment()?), project].into_iter().flatten().collect();
        let mut config = config_of(layers.clone());
        match read_layer(user_config(), FileKind::User) {
            Ok(user) => {
                layers.extend(user);
                config = config_of(layers.clone());
            }
            // A command without a remote needs only the scheme. If it is already set, the user's file is not
            // needed.
            Err(Failure::Config(error)) if !needs_remote && config.hash().is_some() && is_denied(&error) => {
                console.verbose(&format_args!("{error}: ignored, because the command does not need it"));
            }
            Err(failure) => return Err(failure),
        }
        for file in config.files() {
            console.verbose(&format_args!("configuration: {}", file.display()));
        }

        let scheme = config.hash().map(Setting::parse).transpose()?.unwrap_or_default();
        let compression = config.compression().map(Setting::parse).transpose()?;
        let workers = config.jobs().map_or_else(Workers::default, |jobs| Workers::new(jobs.value));
        let is_marked = matches!(root.marker, RootMarker::LarderToml | RootMarker::ProjectYml);
        let stat_cache = config.stat_cache().then(|| StatCache::new(&root.path).with_creates(is_marked));
        Ok(Self {
            working_dir,
            stat_cache,
            root: root.path.clone(),
            scheme,
            compression,
            workers,
            python: global.python.clone(),
            config,
            layers,
        })
    }

    /// Returns whether run records name the user and the machine.
    pub(crate) fn records_identity(&self) -> bool {
        self.config.record_identity()
    }

    /// How long a run waits for an answer when it looks for its outputs in the remote.
    pub(crate) fn run_lookup_timeout(&self) -> Duration {
        self.config.run_lookup_timeout().unwrap_or(RUN_LOOKUP_TIMEOUT)
    }

    /// Returns the options for computing hashes.
    pub(crate) fn hash_options(&self) -> HashOptions {
        let mut options = HashOptions::new(self.scheme);
        options.tree.workers = self.workers.clone();
        options.tree.stat_cache.clone_from(&self.stat_cache);
        options
    }

    /// Opens the chosen remote. Makes no request yet.
    pub(crate) fn open(&self, console: &Console) -> Result<RemoteSession> {
        self.open_under(self.scheme, &self.config_with_weasel(console)?, console)
    }

    /// Returns this context with a remote that the command line chooses, if it chooses one.
    pub(crate) fn with_chosen(mut self, remote: Option<&str>) -> Self {
        if let Some(remote) = remote {
            let remote = Some(Setting::flag("REMOTE", remote.to_owned()));
            self.layers.insert(0, Layer { remote, ..Layer::default() });
            self.config = config_of(self.layers.clone());
        }
        self
    }

    /// Returns the text that chooses the remote on the command line or in the environment.
    pub(crate) fn chosen_text(&self) -> Option<&str> {
        self.layers.iter().find_map(|layer| layer.remote.as_ref()).map(|setting| setting.value.as_str())
    }

    /// Returns the remote that the configuration chooses.
    pub(crate) fn configured_remote(&self) -> Result<ConfiguredRemote> {
        Ok(self.config.remote(&self.root, &self.working_dir)?)
    }

    /// Returns the context of a project at `root` whose `larder.toml` has this text. Only the file chooses its remote.
    pub(crate) fn in_new_project(mut self, root: &Path, text: &str) -> Result<Self> {
        let file = root.join(ProjectRoot::CONFIG_FILE);
        let project = Layer::from_toml(text, &file, FileKind::Project)?;
        for layer in &mut self.layers {
            layer.remote = None;
        }
        let files = self.layers.iter().position(|layer| layer.file.is_some()).unwrap_or(self.layers.len());
        self.layers.insert(files, project);
        self.config = config_of(self.layers.clone());
        root.clone_into(&mut self.root);
        Ok(self)
    }

    /// Opens the remote of pinned outputs: the one that the user chose with `-r`, else the one that the pins name, else the
    /// default one. Makes no request yet.
    pub(crate) fn open_pinned(&self, named: Option<&str>, console: &Console) -> Result<RemoteSession> {
        let Some(named) = named.filter(|_| !self.is_remote_given()) else { return self.open(console) };
        let known = self.config.remote_names();
        if !known.iter().any(|name| name == named) {
            return Err(Failure::PinnedRemote { name: named.to_owned(), known });
        }
        self.open_under(self.scheme, &self.choosing(named), console)
    }

    /// Returns whether the user chose a remote with `-r`.
    pub(crate) fn is_remote_given(&self) -> bool {
        let is_flag =
            |layer: &Layer| matches!(&layer.remote, Some(remote) if matches!(remote.origin, Origin::Flag(_)));
        self.layers.iter().any(is_flag)
    }

    /// Returns the configuration with another choice of the remote.
    fn choosing(&self, name: &str) -> Config {
        let remote = Some(Setting { value: name.to_owned(), origin: Origin::Default });
        let choice = Layer { remote, ..Layer::default() };
        config_of([choice].into_iter().chain(self.layers.iter().cloned()))
    }

    /// Returns how a pin names the chosen remote: not at all if it is the project's default one.
    ///
    /// # Errors
    ///
    /// Others cannot pull from this remote: it is in the project, or only this user's configuration knows it.
    pub(crate) fn remote_of_pins(&self) -> Result<Option<String>> {
        let chosen = self.config.remote(&self.root, &self.working_dir)?;
        if chosen.is_embedded() {
            return Err(Failure::Usage(
                "a pin needs a remote that others can reach, and this project has none: `larder init REMOTE` adds one".to_owned(),
            ));
        }
        let name = chosen.name.filter(|_| chosen.origin.is_project_file()).ok_or_else(|| {
            Failure::Usage(format!(
                "the remote {} is not in larder.toml, so others cannot pull from it: add it below `[remotes]` there",
                chosen.location
            ))
        })?;
        // What this user chose is not the default of others.
        let of_project = self
            .layers
            .iter()
            .filter(|layer| layer.file.as_ref().is_some_and(|file| file.starts_with(&self.root)));
        let default = config_of(of_project.cloned()).remote(&self.root, &self.working_dir);
        let is_default = default.is_ok_and(|default| default.name.as_ref() == Some(&name));
        Ok((!is_default).then_some(name))
    }

    /// Returns the names of the remotes that can be chosen.
    pub(crate) fn remote_names(&self, console: &Console) -> Vec<String> {
        self.config_with_weasel(console).map(|config| config.remote_names()).unwrap_or_default()
    }

    /// Returns the configuration, including the remotes of a weasel project in the same directory.
    fn config_with_weasel(&self, console: &Console) -> Result<Config> {
        if !self.root.join(Project::FILE).is_file() {
            return Ok(self.config.clone());
        }
        let read = |overrides| Project::read(&self.root, &overrides, &process_variable);
        let project = match Overrides::parse([], process_variable(OVERRIDES_VARIABLE).as_deref())
            .and_then(read)
        {
            Ok(project) => project,
            // The file may not belong to a weasel project, and the command may not need it.
            Err(error) => {
                return match self.config.remote(&self.root, &self.working_dir) {
                    Err(larder_config::Error::UnknownRemote { .. }) => Err(error.into()),
                    Ok(remote) if remote.is_embedded() => {
                        console.warn(&format_args!("the remotes of a weasel project are not known: {error}"));
                        Ok(self.config.clone())
                    }
                    _ => Ok(self.config.clone()),
                };
            }
        };
        let own_file = Some(self.root.join(ProjectRoot::CONFIG_FILE));
        let is_stronger = |layer: &&Layer| layer.file.is_none() || layer.file == own_file;
        let stronger = self.layers.iter().take_while(is_stronger).count();
        let mut layers = self.layers.clone();
        layers.insert(stronger, self.weasel_layer(&project));
        Ok(config_of(layers))
    }

    /// Returns a layer with the remotes of a weasel project.
    fn weasel_layer(&self, project: &Project) -> Layer {
        let definition = |remote: &larder_project::ProjectRemote| {
            let place = FilePlace { path: remote.place.path.clone(), line: remote.place.line };
            let target = Setting { value: remote.location.clone().ok()?, origin: Origin::ProjectFile(place) };
            Some((remote.name.clone(), RemoteDefinition { target, options: Vec::new() }))
        };
        Layer {
            file: Some(self.root.join(Project::FILE)),
            remotes: project.remotes.iter().filter_map(definition).collect(),
            ..Layer::default()
        }
    }

    /// Opens a remote for a weasel project. It is the chosen remote, else the remote `default` of project.yml
    /// or larder.toml. Hashes and archives are always weasel's.
    pub(crate) fn open_weasel(
        &self,
        project: &Project,
        chosen: Option<&str>,
        console: &Console,
    ) -> Result<RemoteSession> {
        let mut layers = self.layers.clone();
        let files = layers.iter().position(|layer| layer.file.is_some()).unwrap_or(layers.len());
        layers.insert(files, self.weasel_layer(project));
        if let Some(chosen) = chosen {
            let remote = Some(Setting::flag("REMOTE", chosen.to_owned()));
            layers.insert(0, Layer { remote, ..Layer::default() });
        }
        let name = layers.iter().find_map(|layer| layer.remote.as_ref()).map(|setting| setting.value.clone());
        let name = name.as_deref().unwrap_or(DEFAULT_REMOTE);
        if let Some(larder_project::ProjectRemote { location: Err(json), place, .. }) =
            project.remotes.iter().find(|remote| remote.name == name)
        {
            return Err(Failure::Usage(format!(
                "{place}: the remote `{name}` must be a URL or a path, and is {json}"
            )));
        }
        let config = config_of(layers.clone());
        if name == DEFAULT_REMOTE && !config.remote_names().iter().any(|known| known == name) {
            return Err(Failure::NoDefaultRemote { known: config.remote_names() });
        }
        let remote = Some(Setting { value: name.to_owned(), origin: Origin::Default });
        // This is the weakest layer, so a chosen remote overrides it.
        let config = config_of(layers.into_iter().chain([Layer { remote, ..Layer::default() }]));
        self.open_under(Scheme::Weasel, &config, console)
    }

    fn open_under(&self, scheme: Scheme, config: &Config, console: &Console) -> Result<RemoteSession> {
        let remote = config.remote(&self.root, &self.working_dir)?;
        let url = self.url(&remote)?;
        let name = remote.name.as_ref().map_or_else(String::new, |name| format!("{name}, "));
        console.verbose(&format_args!("remote: {url} ({name}from {})", remote.origin));

        let cancel = CancellationToken::new();
        let mut options = StorageOptions::default();
        options.scheme = scheme;
        options.workers = self.workers.clone();
        options.stat_cache.clone_from(&self.stat_cache);
        options.stall_timeout = self.config.stall_timeout().map(|setting| setting.value);
        options.reporter = Arc::new(ConsoleReporter::new(console.clone()));
        options.cancel = cancel.clone();
        options.environment = user_environment(console);
        let is_local = url.local_path().is_some();
        let storage = RemoteStorage::open(&self.root, &url, options).map_err(|error| match error {
            larder_storage::Error::Remote(error) => unusable(&remote, error),
            error => error.into(),
        })?;
        let name = remote.name.as_deref().filter(|name| *name != DEFAULT_REMOTE);
        let label = name.map_or_else(|| storage.remote(), str::to_owned);
        Ok(RemoteSession { storage, label, is_embedded: remote.is_embedded(), is_local, cancel })
    }

    /// Returns the URL of a remote.
    pub(crate) fn url(&self, remote: &ConfiguredRemote) -> Result<RemoteUrl> {
        if remote.is_embedded() {
            return Ok(RemoteUrl::embedded(&self.root));
        }
        let text = match &remote.location {
            Location::Url(url) => url,
            Location::Path(path) => path
                .to_str()
                .ok_or_else(|| Failure::Usage(format!("the remote {} is not valid UTF-8", path.display())))?,
        };
        let url = RemoteUrl::parse(text, &self.working_dir).map_err(|error| unusable(remote, error))?;
        let options = remote.options.iter().map(|option| (option.name.clone(), scalar(&option.value)));
        let mut origins = remote.options.iter().map(|option| &option.origin).chain([&remote.origin]);
        let is_of_project = origins.any(Origin::is_project_file);
        Ok(url.with_options(options.collect()).of_project(is_of_project))
    }
}

/// Returns a failure that names where the remote is defined, unless it was given on the command line.
fn unusable(remote: &ConfiguredRemote, error: InvalidRemote) -> Failure {
    // The error already names the wrong environment variable, and the files are correct.
    if error.is_of_environment() {
        return Failure::GivenRemote(error);
    }
    let of_option = error.option().and_then(|name| remote.options.iter().find(|known| known.name == name));
    match of_option.map_or(&remote.origin, |option| &option.origin) {
        Origin::Flag(_) | Origin::Default => Failure::GivenRemote(error),
        origin => Failure::Remote { origin: origin.clone(), error },
    }
}

fn config_of(layers: impl IntoIterator<Item = Layer>) -> Config {
    Config::new(layers).with_home(etcetera::home_dir().ok())
}

fn flags(global: &Global) -> Layer {
    Layer {
        hash: global.hash.clone().map(|hash| Setting::flag("--hash", hash)),
        jobs: global.jobs.map(|jobs| Setting::flag("--jobs", jobs)),
        stall_timeout: global.stall_timeout.map(|timeout| Setting::flag("--stall-timeout", timeout)),
        stat_cache: global.no_stat_cache.then(|| Setting::flag("--no-stat-cache", false)),
        remote: global.remote.clone().map(|remote| Setting::flag("--remote", remote)),
        ..Layer::default()
    }
}

fn environment() -> Result<Layer> {
    let setting = |name| Ok::<_, Failure>(variable(name)?.map(|value| Setting::environment(name, value)));
    Ok(Layer { hash: setting("LARDER_HASH")?, remote: setting("LARDER_REMOTE")?, ..Layer::default() })
}

/// Reads a variable of larder. An empty variable counts as unset.
fn variable(name: &str) -> Result<Option<String>> {
    let text = env::var_os(name).map(OsString::into_string).transpose();
    let text = text.map_err(|_| Failure::Usage(format!("{name} is not valid UTF-8")))?;
    Ok(text.filter(|text| !text.is_empty()))
}

/// Returns an environment variable as a weasel project sees it.
pub(crate) fn process_variable(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Converts an option for the storage.
fn scalar(value: &OptionValue) -> OptionScalar {
    match value {
        OptionValue::Text(text) => OptionScalar::Text(text.clone()),
        OptionValue::Bool(value) => OptionScalar::Boolean(*value),
        OptionValue::Integer(value) => OptionScalar::Integer(*value),
        OptionValue::Float(value) => OptionScalar::Float(*value),
    }
}

/// Returns what remotes may use from this process and its user.
fn user_environment(console: &Console) -> UserEnvironment {
    let user = ["LOGNAME", "USER"].into_iter().find_map(|name| env::var(name).ok());
    let user = user.filter(|name| !name.is_empty());
    let console = console.clone();
    UserEnvironment::default()
        .with_home(etcetera::home_dir().ok())
        .with_user(user)
        .with_variables(|name| env::var_os(name))
        .with_secrets(move |secret| {
            // Without a terminal, nobody can answer.
            if !io::stdin().is_terminal() {
                return None;
            }
            console.suspend(|| {
                let secret = printable(secret);
                rpassword::prompt_password(format!("{secret}: ")).ok().filter(|secret| !secret.is_empty())
            })
        })
}

fn user_config() -> Option<PathBuf> {
    // Without a home directory, there is no user configuration.
    Some(Xdg::new().ok()?.config_dir().join("larder/config.toml"))
}

fn is_denied(error: &larder_config::Error) -> bool {
    matches!(error, larder_config::Error::Read { .. })
}

fn read_layer(path: Option<PathBuf>, kind: FileKind) -> Result<Option<Layer>> {
    Ok(path.map(|path| Layer::read(&path, kind)).transpose()?.flatten())
}

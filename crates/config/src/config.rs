//! The combined sources of settings.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::layer::Layer;
use crate::origin::Origin;
use crate::remote::{ConfiguredRemote, Location, RemoteDefinition, RemoteOption, RemoteText};
use crate::setting::Setting;

/// The remote that is used if none is chosen.
const DEFAULT_REMOTE: &str = "default";

/// The settings of a command, in layers. The first layer that has a setting decides it.
#[derive(Clone, Debug, Default)]
pub struct Config {
    layers: Vec<Layer>,
    home: Option<PathBuf>,
}

impl Config {
    /// Stacks the layers, the strongest first: flags, environment, the project's file, the user's file.
    pub fn new(layers: impl IntoIterator<Item = Layer>) -> Self {
        Self { layers: layers.into_iter().collect(), home: None }
    }

    /// Sets the home directory, which `~/` at the beginning of a remote's path stands for.
    #[must_use]
    pub fn with_home(mut self, home: Option<PathBuf>) -> Self {
        self.home = home;
        self
    }

    /// The hash scheme, as text: see [`Setting::parse`].
    pub fn hash(&self) -> Option<&Setting<String>> {
        self.first(|layer| layer.hash.as_ref())
    }

    /// The compression of pushed archives, as text.
    pub fn compression(&self) -> Option<&Setting<String>> {
        self.first(|layer| layer.compression.as_ref())
    }

    /// The number of threads of the process.
    pub fn jobs(&self) -> Option<&Setting<NonZeroUsize>> {
        self.first(|layer| layer.jobs.as_ref())
    }

    /// How long a remote may make no progress before larder gives up on it.
    pub fn stall_timeout(&self) -> Option<&Setting<Duration>> {
        self.first(|layer| layer.stall_timeout.as_ref())
    }

    /// How long a run waits for an answer when it looks for its outputs in the remote.
    pub fn run_lookup_timeout(&self) -> Option<Duration> {
        self.first(|layer| layer.run_lookup_timeout.as_ref()).map(|setting| setting.value)
    }

    /// Returns whether run records name the user and the machine.
    pub fn record_identity(&self) -> bool {
        self.first(|layer| layer.record_identity.as_ref()).is_some_and(|setting| setting.value)
    }

    /// Returns whether digests of files are remembered. They are by default.
    pub fn stat_cache(&self) -> bool {
        self.first(|layer| layer.stat_cache.as_ref()).is_none_or(|setting| setting.value)
    }

    /// The files that were read, the strongest first.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.layers.iter().filter_map(|layer| layer.file.as_deref())
    }

    /// The names of the configured remotes, sorted.
    pub fn remote_names(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.layers.iter().flat_map(|layer| layer.remotes.keys()).collect();
        names.into_iter().cloned().collect()
    }

    /// Finds the remote to use. It is the chosen remote, else the remote `default`, else the only configured
    /// one. If no remote is configured, it is the store in the project at `root`.
    ///
    /// Text with a scheme is a URL. Other text with a `/` or `\` is a path. A bare word is the name of a
    /// configured remote. A chosen path is relative to `working_dir`. A path in a file is relative to the
    /// file.
    ///
    /// # Errors
    ///
    /// The name is not configured, or there are several remotes to choose from.
    pub fn remote(&self, root: &Path, working_dir: &Path) -> Result<ConfiguredRemote> {
        if let Some(chosen) = self.first(|layer| layer.remote.as_ref()) {
            return match self.text(chosen, working_dir) {
                RemoteText::At(location) => Ok(ConfiguredRemote {
                    name: None,
                    location,
                    options: Vec::new(),
                    origin: chosen.origin.clone(),
                }),
                RemoteText::Named(name) => self.named(&name, &chosen.origin),
            };
        }
        let mut known = self.remote_names();
        if known.iter().any(|name| name == DEFAULT_REMOTE) {
            return self.named(DEFAULT_REMOTE, &Origin::Default);
        }
        match (known.pop(), known.is_empty()) {
            (Some(only), true) => self.named(&only, &Origin::Default),
            (Some(last), false) => {
                known.push(last);
                Err(Error::SeveralRemotes { known })
            }
            (None, _) => Ok(ConfiguredRemote {
                name: None,
                location: Location::Path(root.join(ConfiguredRemote::EMBEDDED)),
                options: Vec::new(),
                origin: Origin::Default,
            }),
        }
    }

    /// Resolves a name to a location. A remote may be an alias of another remote. The options of both apply.
    /// If both set the same option, the alias wins.
    fn named(&self, name: &str, asked_by: &Origin) -> Result<ConfiguredRemote> {
        let mut current = name.to_owned();
        let mut asked_by = asked_by.clone();
        let mut options: Vec<RemoteOption> = Vec::new();
        let mut seen = BTreeSet::new();
        loop {
            let Some((definition, file)) = self.definition(&current) else {
                // It looks like a URL or an address. The storage reports what is wrong with it.
                if current.contains(':') {
                    return Ok(ConfiguredRemote {
                        name: None,
                        location: Location::Url(current),
                        options,
                        origin: asked_by,
                    });
                }
                return Err(Error::UnknownRemote {
                    name: current,
                    known: self.remote_names(),
                    origin: asked_by,
                });
            };
            if !seen.insert(current.clone()) {
                return Err(Error::Circular { name: current, origin: asked_by });
            }
            for option in &definition.options {
                if !options.iter().any(|stronger| stronger.name == option.name) {
                    options.push(option.clone());
                }
            }
            let base = file.and_then(Path::parent).unwrap_or(Path::new(""));
            asked_by = definition.target.origin.clone();
            match self.text(&definition.target, base) {
                RemoteText::At(location) => {
                    return Ok(ConfiguredRemote {
                        name: Some(name.to_owned()),
                        location,
                        options,
                        origin: asked_by,
                    });
                }
                RemoteText::Named(other) => current = other,
            }
        }
    }

    fn definition(&self, name: &str) -> Option<(&RemoteDefinition, Option<&Path>)> {
        self.layers.iter().find_map(|layer| Some((layer.remotes.get(name)?, layer.file.as_deref())))
    }

    fn text(&self, setting: &Setting<String>, base: &Path) -> RemoteText {
        RemoteText::new(&setting.value, base, self.home.as_deref())
    }

    fn first<'a, T>(&'a self, pick: impl Fn(&'a Layer) -> Option<&'a T>) -> Option<&'a T> {
        self.layers.iter().find_map(pick)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::FileKind;
    use crate::remote::OptionValue;

    const ROOT: &str = "/home/ann/project";
    const WORKING_DIR: &str = "/home/ann/project/src";

    fn project(text: &str) -> Layer {
        Layer::from_toml(text, Path::new("/home/ann/project/larder.toml"), FileKind::Project).unwrap()
    }

    fn user(text: &str) -> Layer {
        Layer::from_toml(text, Path::new("/home/ann/.config/larder/config.toml"), FileKind::User).unwrap()
    }

    fn chosen(text: &str) -> Layer {
        Layer { remote: Some(Setting::flag("--remote", text.to_owned())), ..Layer::default() }
    }

    fn remote(layers: impl IntoIterator<Item = Layer>) -> Result<ConfiguredRemote> {
        Config::new(layers).remote(Path::new(ROOT), Path::new(WORKING_DIR))
    }

    fn location(layers: impl IntoIterator<Item = Layer>) -> String {
        remote(layers).unwrap().location.to_string()
    }

    #[test]
    fn the_stronger_source_decides_each_value_by_itself() {
        let flags = Layer { hash: Some(Setting::flag("--hash", "weasel".into())), ..Layer::default() };
        let environment =
            Layer { hash: Some(Setting::environment("LARDER_HASH", "sha256".into())), ..Layer::default() };
        let config = Config::new([
            flags,
            environment.clone(),
            project("hash = 'blake3'\njobs = 2"),
            user("jobs = 8\ncompression = 'xz'"),
        ]);
        assert_eq!(config.hash().unwrap().origin, Origin::Flag("--hash"));
        assert_eq!(config.jobs().unwrap().value.get(), 2);
        assert!(config.jobs().unwrap().origin.is_project_file());
        assert!(!config.compression().unwrap().origin.is_project_file());
        assert!(config.stall_timeout().is_none());
        let config = Config::new([environment, project("hash = 'blake3'")]);
        assert_eq!(config.hash().unwrap().value, "sha256");
    }

    #[test]
    fn a_setting_that_means_nothing_names_its_place() {
        let error = project("\ncompression = 'many'").compression.unwrap().parse::<u32>().unwrap_err();
        assert_eq!(error.to_string(), "/home/ann/project/larder.toml:2: invalid digit found in string");
    }

    #[test]
    fn without_any_remote_it_is_the_store_in_the_project() {
        let remote = remote([project("jobs = 1")]).unwrap();
        assert!(remote.is_embedded());
        assert_eq!(remote.location, Location::Path("/home/ann/project/.larder/store".into()));
    }

    #[test]
    fn the_default_else_the_only_one_else_an_error_that_lists_them() {
        assert_eq!(location([project("[remotes]\na = '/a'\ndefault = '/d'")]), "/d");
        assert_eq!(location([project("[remotes]\na = '/a'")]), "/a");
        assert_eq!(location([project(""), user("[remotes]\nb = '/b'")]), "/b");
        let error = remote([project("[remotes]\nb = '/b'"), user("[remotes]\na = '/a'")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "several remotes are configured, and none is called `default`: choose one of `a`, `b` with `-r`"
        );
        assert!(!remote([project("[remotes]\na = '/a'")]).unwrap().is_embedded());
    }

    #[test]
    fn paths_are_relative_to_who_names_them() {
        assert_eq!(location([chosen("../x")]), "/home/ann/project/src/../x");
        assert_eq!(location([project("[remotes]\na = 'x/y'")]), "/home/ann/project/x/y");
        assert_eq!(location([user("[remotes]\na = './x'")]), "/home/ann/.config/larder/x");
    }

    #[test]
    fn a_bare_word_is_a_name_and_never_a_directory() {
        let layers = [chosen("team"), project("[remotes]\nteam = 's3://b/p'\nother = '/o'")];
        let found = remote(layers).unwrap();
        assert_eq!((found.name.as_deref(), found.location), (Some("team"), Location::Url("s3://b/p".into())));
        let error = |text| remote([chosen("taem"), project(text)]).unwrap_err().to_string();
        assert_eq!(
            error("[remotes]\nteam = '/t'\nother = '/o'"),
            "there is no remote named `taem`: there are `other`, `team`; for a directory write `./taem`"
        );
        assert_eq!(
            error(""),
            "there is no remote named `taem`: none is configured; for a directory write `./taem`"
        );
        let error = remote([project("\n[remotes]\ndefault = 'taem'")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/home/ann/project/larder.toml:3: there is no remote named `taem`: the only one is `default`; for a \
             directory write `./taem`"
        );
    }

    #[test]
    fn text_that_looks_like_an_address_is_left_to_the_storage() {
        for text in ["s3:/bucket", "s3:bucket", "me@host:/x"] {
            assert_eq!(location([chosen(text)]), text);
        }
        assert_eq!(
            location([chosen("a:b"), project("[remotes]\n'a:b' = '/a'")]),
            "/a",
            "unless it is a name"
        );
    }

    #[test]
    fn a_tilde_is_the_home_directory_wherever_it_stands() {
        for layer in [chosen("~/x"), project("[remotes]\na = '~/x'")] {
            let config = Config::new([layer]).with_home(Some("/home/ann".into()));
            let remote = config.remote(Path::new(ROOT), Path::new(WORKING_DIR)).unwrap();
            assert_eq!(remote.location.to_string(), "/home/ann/x");
        }
    }

    #[test]
    fn a_remote_may_be_another_name_for_one() {
        let text = "[remotes.default]\nurl = 'team'\nregion = 'eu'\n[remotes.team]\nurl = 's3://b'\nregion = 'us'\nx = 1";
        let found = remote([project(text)]).unwrap();
        assert_eq!(found.location, Location::Url("s3://b".into()));
        assert_eq!(found.name.as_deref(), Some("default"));
        let values: Vec<_> = found.options.into_iter().map(|option| option.value).collect();
        assert_eq!(values, [OptionValue::Text("eu".into()), OptionValue::Integer(1)]);
        let error = remote([project("[remotes]\na = 'b'\nb = 'a'\ndefault = 'a'")]).unwrap_err();
        assert!(matches!(error, Error::Circular { .. }), "{error}");
    }

    #[test]
    fn the_definition_of_the_stronger_file_hides_the_other_whole() {
        let found = remote([
            project("[remotes]\nteam = '/project'"),
            user("[remotes.team]\nurl = 's3://mine'\nendpoint = 'http://localhost'"),
        ])
        .unwrap();
        assert_eq!(found.location.to_string(), "/project");
        assert!(found.options.is_empty());
        assert!(found.origin.is_project_file());
    }
}

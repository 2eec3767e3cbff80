//! The `larder.toml` of a new project.

use std::path::Path;

use larder_config::{ConfiguredRemote, Location, OptionValue};
use toml_writer::{ToTomlValue as _, TomlStringBuilder};

use crate::context::CommandContext;
use crate::failure::{Failure, Result};

/// The option of a remote that names something on this machine, which others do not have.
const OWN_OPTION: &str = "profile";

/// A project that does not exist yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ProposedProject {
    /// The text of its `larder.toml`.
    pub(super) config_file: String,
    /// Its remote, if it has one.
    pub(super) remote: Option<String>,
    /// The option of the chosen remote that is left out.
    pub(super) dropped: Option<&'static str>,
}

impl ProposedProject {
    /// Proposes a project at `root`, below the remote that the context chooses.
    pub(super) fn new(root: &Path, context: &CommandContext) -> Result<Self> {
        let name = root.file_name().and_then(|name| name.to_str());
        let remote = context.configured_remote()?;
        if remote.is_embedded() {
            return Ok(Self::without_remote(name));
        }
        // This refuses a text that is not a remote.
        context.url(&remote)?;
        let typed = context.chosen_text();
        let text = match &remote.location {
            Location::Url(url) => url,
            // It is relative to the working directory, where the file will be.
            Location::Path(_) if remote.name.is_none() && typed.is_some() => typed.unwrap_or_default(),
            Location::Path(path) => path
                .to_str()
                .ok_or_else(|| Failure::Usage(format!("the remote {} is not valid UTF-8", path.display())))?,
        };
        Ok(Self::with_remote(&below(text, name, matches!(remote.location, Location::Url(_))), &remote))
    }

    fn without_remote(name: Option<&str>) -> Self {
        let name = segment(name.unwrap_or_default(), true).unwrap_or_else(|| "project".to_owned());
        let config_file = format!(
            "# `larder config` documents every key.\n\n# Without a remote, outputs are kept on this machine only, in .larder/store.\n# [remotes]\n# default = \"s3://bucket/{name}\"\n"
        );
        Self { config_file, remote: None, dropped: None }
    }

    fn with_remote(url: &str, remote: &ConfiguredRemote) -> Self {
        let (own, options): (Vec<_>, Vec<_>) =
            remote.options.iter().partition(|option| option.name == OWN_OPTION);
        let mut text = String::from("# `larder config` documents every key.\n\n");
        if options.is_empty() {
            text.extend(["[remotes]\ndefault = ", &quoted(url), "\n"]);
        } else {
            text.extend(["[remotes.default]\nurl = ", &quoted(url), "\n"]);
            for option in options {
                let value = match &option.value {
                    OptionValue::Text(value) => quoted(value),
                    value => value.to_string(),
                };
                text.extend([&option.name, " = ", &value, "\n"]);
            }
        }
        let dropped = (!own.is_empty()).then_some(OWN_OPTION);
        Self { config_file: text, remote: Some(url.to_owned()), dropped }
    }
}

/// Appends the name of the project to a remote, unless the remote ends with it.
fn below(remote: &str, name: Option<&str>, is_url: bool) -> String {
    let Some(name) = name.and_then(|name| segment(name, is_url)) else { return remote.to_owned() };
    let (path, query) = match remote.find('?').filter(|_| is_url) {
        Some(at) => remote.split_at(at),
        None => (remote, ""),
    };
    let path = path.trim_end_matches('/');
    if path.rsplit('/').next() == Some(&*name) {
        return format!("{path}{query}");
    }
    format!("{path}/{name}{query}")
}

/// Returns the name as a segment of a path or URL. In a URL, some characters have a meaning.
fn segment(name: &str, is_url: bool) -> Option<String> {
    if !is_url {
        return (!name.is_empty()).then(|| name.to_owned());
    }
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let words: Vec<&str> =
        name.split(|character| !is_plain(character)).filter(|word| !word.is_empty()).collect();
    (!words.is_empty()).then(|| words.join("-"))
}

fn quoted(text: &str) -> String {
    TomlStringBuilder::new(text).as_basic().to_toml_value()
}

#[cfg(test)]
mod tests {
    use larder_config::{FileKind, Layer};

    use super::*;

    #[test]
    fn the_name_of_the_project_is_appended_once() {
        for (remote, name, is_url, expected) in [
            ("s3://bucket", "p", true, "s3://bucket/p"),
            ("s3://bucket/a/", "p", true, "s3://bucket/a/p"),
            ("s3://bucket/p", "p", true, "s3://bucket/p"),
            ("s3://bucket/a?region=eu", "p", true, "s3://bucket/a/p?region=eu"),
            ("gs://b/a", "My project (2)", true, "gs://b/a/My-project-2"),
            ("ssh://host/~/", "\u{e4}", true, "ssh://host/~/"),
            ("../shared", "My \u{e4}?", false, "../shared/My \u{e4}?"),
            ("/mnt/a?b", "p", false, "/mnt/a?b/p"),
        ] {
            assert_eq!(below(remote, Some(name), is_url), expected);
        }
        assert_eq!(below("s3://b", None, true), "s3://b");
    }

    #[test]
    fn the_file_is_valid() {
        let parse = |text: &str| Layer::from_toml(text, "larder.toml".as_ref(), FileKind::Project).unwrap();
        for name in [None, Some("p"), Some("a\"b")] {
            let proposed = ProposedProject::without_remote(name);
            assert!(parse(&proposed.config_file).remotes.is_empty());
            let uncommented = proposed.config_file.replace("# [", "[").replace("# default", "default");
            assert!(parse(&uncommented).remotes.contains_key("default"), "{uncommented}");
        }
        let user =
            "[remotes.team]\nurl = 's3://b'\nregion = 'e\"u'\nprofile = 'ann'\nforce_path_style = true\n";
        let user = Layer::from_toml(user, "config.toml".as_ref(), FileKind::User).unwrap();
        let chosen = larder_config::Config::new([user]).remote("/p".as_ref(), "/p".as_ref()).unwrap();
        let proposed = ProposedProject::with_remote("s3://b/\"p", &chosen);
        let layer = parse(&proposed.config_file);
        let written = &layer.remotes["default"];
        assert_eq!(written.target.value, "s3://b/\"p");
        let options: Vec<_> =
            written.options.iter().map(|option| (option.name.as_str(), option.value.clone())).collect();
        assert_eq!(
            options,
            [("region", OptionValue::Text("e\"u".to_owned())), ("force_path_style", OptionValue::Bool(true))]
        );
        assert_eq!(proposed.dropped, Some("profile"));
    }
}

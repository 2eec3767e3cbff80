//! The user's configuration of OpenSSH for one host.

use std::collections::HashSet;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use larder_backend::ErrorKind;
use ssh2_config::{HostParams, ParseRule, SshConfig as Parser};

use crate::config::{SshConfig, is_safe_host, is_safe_user};
use crate::error::Trouble;
use crate::proxy::Proxy;
use crate::small_file;

/// The settings with which a host is reached.
#[derive(Clone, Debug)]
pub(crate) struct HostSettings {
    pub(crate) host: String,
    /// The name that the user gave. The configuration of OpenSSH may know the host by this name only.
    pub(crate) alias: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    /// The name of the host in the files of known hosts.
    pub(crate) key_name: String,
    pub(crate) known_hosts: Vec<PathBuf>,
    pub(crate) global_known_hosts: Vec<PathBuf>,
    pub(crate) accept_new: bool,
    pub(crate) agent: Option<PathBuf>,
    pub(crate) identities: Vec<PathBuf>,
    pub(crate) identities_only: bool,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) alive_interval: Option<Duration>,
    pub(crate) proxy: Option<Proxy>,
}

impl HostSettings {
    /// Reads the configuration files.
    pub(crate) fn resolve(config: &SshConfig) -> Result<Self, Trouble> {
        let refuse = |what: &str| Err(Trouble::new(ErrorKind::InvalidInput).with_hint(what));
        if !is_safe_host(&config.host) {
            return refuse("the host has characters that no host's name has");
        }
        let found = read(config)?;
        let host = match &found.host_name {
            Some(name) => name.replace("%h", &config.host).replace("%%", "%"),
            None => config.host.clone(),
        };
        if !is_safe_host(&host) {
            return refuse("HostName in the configuration of SSH has characters that no host's name has");
        }
        let named = config.user.clone().or(found.user.clone()).or(config.local_user.clone());
        let user = named.map_or_else(user_of_process, Ok)?;
        if !is_safe_user(&user) {
            return refuse("say whom to log in as, with a usual name: ssh://user@host/path");
        }
        let port = config.port.or(found.port).unwrap_or(22);
        let tokens = Tokens { config, host: &host, port, user: &user };
        let text = |field: &str| texts(&found, field).first().cloned();
        let yes = |field: &str| {
            text(field).is_some_and(|value| matches!(value.to_lowercase().as_str(), "yes" | "true"))
        };
        let files = |field: &str, otherwise: &[PathBuf]| match texts(&found, field) {
            files if files.is_empty() => otherwise.to_vec(),
            files => files.iter().filter(|file| *file != "none").map(|file| tokens.path(file)).collect(),
        };
        // With `no`, OpenSSH only warns of a changed key. Here a changed key is always an error.
        let accept_new = text("stricthostkeychecking").is_some_and(|value| {
            matches!(value.to_lowercase().as_str(), "accept-new" | "no" | "off" | "false")
        });
        let agent = match text("identityagent").as_deref() {
            None | Some("SSH_AUTH_SOCK") => config.agent.clone(),
            Some("none") => None,
            Some(path) => Some(tokens.path(path)),
        };
        let identities = match &found.identity_file {
            Some(files) => files
                .iter()
                .filter_map(|file| file.to_str())
                .filter(|file| *file != "none")
                .map(|file| tokens.path(file))
                .collect(),
            None => config.identities.clone(),
        };
        let command = texts(&found, "proxycommand").join(" ");
        let proxy = match &found.proxy_jump {
            Some(jumps) if jumps.iter().all(|jump| jump != "none") => {
                Some(Proxy::jump(jumps, &host, port, config)?)
            }
            _ if command.is_empty() || command == "none" => None,
            _ => Some(Proxy::Command(tokens.expand(&command))),
        };
        Ok(Self {
            alias: config.host.clone(),
            port,
            known_hosts: files("userknownhostsfile", &config.known_hosts),
            global_known_hosts: files("globalknownhostsfile", &config.global_known_hosts),
            accept_new,
            agent,
            identities,
            identities_only: yes("identitiesonly"),
            connect_timeout: found.connect_timeout.filter(|limit| !limit.is_zero()),
            alive_interval: found.server_alive_interval.filter(|interval| !interval.is_zero()),
            proxy,
            key_name: text("hostkeyalias").unwrap_or_else(|| host.clone()),
            host,
            user,
        })
    }
}

/// Asks the system for the name of the user who runs this process, as OpenSSH does.
fn user_of_process() -> Result<String, Trouble> {
    let uid = nix::unistd::getuid();
    let missing = || {
        Trouble::new(ErrorKind::InvalidInput).with_hint(format!(
            "the system has no name for the user {uid}: say whom to log in as: ssh://user@host/path"
        ))
    };
    match nix::unistd::User::from_uid(uid) {
        Ok(Some(user)) => Ok(user.name),
        Ok(None) => Err(missing()),
        Err(error) => Err(missing().with_source(std::io::Error::from(error))),
    }
}

/// The values of a field that the parser does not interpret.
fn texts(found: &HostParams, field: &str) -> Vec<String> {
    let same = |name: &str| name.eq_ignore_ascii_case(field);
    let unsupported = found.unsupported_fields.iter().find(|(name, _)| same(name));
    let values = unsupported.or_else(|| found.ignored_fields.iter().find(|(name, _)| same(name)));
    values.map(|(_, values)| values.clone()).unwrap_or_default()
}

/// Reads all files. The first value of an option counts.
fn read(config: &SshConfig) -> Result<HostParams, Trouble> {
    let mut found: Option<HostParams> = None;
    for file in &config.config_files {
        let text = match small_file::read_text(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(file, error)),
        };
        check_included(&text, config.home.as_deref(), &mut HashSet::new())?;
        let mut parser = Parser::default();
        if let Some(home) = &config.home {
            parser = parser.home_dir(home);
        }
        let rules = ParseRule::ALLOW_UNKNOWN_FIELDS | ParseRule::ALLOW_UNSUPPORTED_FIELDS;
        let parsed = parser
            .parse(&mut BufReader::new(without_matches(&text).as_bytes()), rules)
            .map_err(|error| unreadable(file, error))?;
        // Included files of the machine use `Match` for options that do not matter here. Those of the user could use it for
        // any option.
        let is_users = config.home.as_ref().is_some_and(|home| file.starts_with(home));
        let has_match = |host: &ssh2_config::Host| {
            host.params.ignored_fields.keys().any(|name| name.eq_ignore_ascii_case("match"))
        };
        if is_users && parsed.get_hosts().iter().any(has_match) {
            return Err(Trouble::new(ErrorKind::InvalidInput).with_hint(
                "`Match` in a file that the configuration of SSH includes is not read: use `Host` there",
            ));
        }
        let params = parsed.query(&config.host);
        match &mut found {
            Some(found) => found.overwrite_if_none(&params),
            None => found = Some(params),
        }
    }
    Ok(found.unwrap_or_else(|| HostParams::new(&ssh2_config::DefaultAlgorithms::empty())))
}

/// Checks the files that a configuration includes. The parser itself would wait for a FIFO, and read a device without an end.
fn check_included(text: &str, home: Option<&Path>, seen: &mut HashSet<PathBuf>) -> Result<(), Trouble> {
    for line in text.lines() {
        let Some((keyword, patterns)) = line.trim().split_once([' ', '\t', '=']) else { continue };
        if !keyword.eq_ignore_ascii_case("include") {
            continue;
        }
        for pattern in patterns.split_whitespace().map(|pattern| pattern.trim_matches(['"', '='])) {
            let pattern = match (pattern.strip_prefix("~/"), home) {
                (Some(rest), Some(home)) => below(home, rest),
                (None, Some(home)) if !pattern.starts_with(['/', '~']) => below(&home.join(".ssh"), pattern),
                _ => pattern.to_owned(),
            };
            // The parser reports bad patterns and missing files.
            for file in glob::glob(&pattern).into_iter().flatten().flatten() {
                if seen.insert(file.clone()) {
                    let text = small_file::read_text(&file).map_err(|error| unreadable(&file, error))?;
                    check_included(&text, home, seen)?;
                }
            }
        }
    }
    Ok(())
}

/// A pattern below a directory, whose own name is literal.
fn below(directory: &Path, pattern: &str) -> String {
    format!("{}/{pattern}", glob::Pattern::escape(&directory.display().to_string()))
}

fn unreadable(file: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Trouble {
    Trouble::new(ErrorKind::InvalidInput)
        .with_hint(format!("the configuration of SSH in {} cannot be read", file.display()))
        .with_source(error)
}

/// Replaces `Match` blocks, which the parser would add to the block before. Those that only ask for the name of the host become
/// `Host` blocks, and others are left out.
fn without_matches(text: &str) -> String {
    let mut lines = Vec::new();
    let mut is_left_out = false;
    for line in text.lines() {
        let trimmed = line.trim_start();
        let keyword = trimmed.split([' ', '\t', '=']).next().unwrap_or_default();
        if keyword.eq_ignore_ascii_case("host") {
            is_left_out = false;
        } else if keyword.eq_ignore_ascii_case("match") {
            let rest: Vec<&str> =
                trimmed[keyword.len()..].split_whitespace().filter(|word| *word != "=").collect();
            let host = match rest[..] {
                [all] if all.eq_ignore_ascii_case("all") => Some("*".to_owned()),
                [what, hosts]
                    if what.eq_ignore_ascii_case("host") || what.eq_ignore_ascii_case("originalhost") =>
                {
                    Some(hosts.replace(',', " "))
                }
                _ => None,
            };
            is_left_out = host.is_none();
            if let Some(host) = host {
                lines.push(format!("Host {host}"));
                continue;
            }
        }
        if !is_left_out {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n")
}

/// The values of the `%` tokens in the configuration.
struct Tokens<'a> {
    config: &'a SshConfig,
    host: &'a str,
    port: u16,
    user: &'a str,
}

impl Tokens<'_> {
    fn expand(&self, text: &str) -> String {
        let mut expanded = String::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                expanded.push(c);
                continue;
            }
            match rest.next() {
                Some('h') => expanded.push_str(self.host),
                Some('n') => expanded.push_str(&self.config.host),
                Some('p') => expanded.push_str(&self.port.to_string()),
                Some('r') => expanded.push_str(self.user),
                Some('u') => match &self.config.local_user {
                    Some(user) => expanded.push_str(user),
                    None => expanded.push_str(&user_of_process().unwrap_or_default()),
                },
                Some('d') => expanded.push_str(&self.home()),
                Some('%') | None => expanded.push('%'),
                Some(other) => expanded.extend(['%', other]),
            }
        }
        expanded
    }

    fn home(&self) -> String {
        self.config.home.as_deref().unwrap_or(Path::new("~")).display().to_string()
    }

    fn path(&self, text: &str) -> PathBuf {
        let text = self.expand(text.trim_matches('"'));
        match (text.strip_prefix("~/"), &self.config.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::RemotePath;

    fn settings(text: &str, host: &str) -> Result<HostSettings, Trouble> {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".ssh")).unwrap();
        fs::write(home.path().join(".ssh/config"), text).unwrap();
        fs::write(home.path().join(".ssh/included"), "Host inc\n  User included\n").unwrap();
        let mut config =
            SshConfig::new(host, RemotePath::Absolute("/x".into())).with_openssh_defaults(home.path());
        config.config_files.truncate(1);
        HostSettings::resolve(&config.with_local_user(Some("local".into())))
    }

    #[test]
    fn the_first_value_counts_and_tokens_are_filled_in() {
        let text = "
            Host box
              HostName %h.example.org
              User alice
              Port 2200
              IdentityFile ~/.ssh/%r-%h
              IdentityFile \"/keys/two words\"
              IdentitiesOnly yes
              UserKnownHostsFile ~/.ssh/a /etc/b
              StrictHostKeyChecking accept-new
              ConnectTimeout 7
              ServerAliveInterval 30
              ProxyCommand nc -x \"a b\" %h %p
            Host *
              User bob
              Port 1";
        let settings = settings(text, "box").unwrap();
        assert_eq!(
            (settings.host.as_str(), settings.port, settings.user.as_str()),
            ("box.example.org", 2200, "alice")
        );
        assert!(settings.identities[0].ends_with(".ssh/alice-box.example.org"), "{settings:?}");
        assert_eq!(settings.identities[1], Path::new("/keys/two words"));
        assert!(settings.identities_only && settings.accept_new);
        assert_eq!(settings.known_hosts.len(), 2);
        assert_eq!(settings.known_hosts[1], Path::new("/etc/b"));
        assert_eq!(settings.connect_timeout, Some(Duration::from_secs(7)));
        assert_eq!(settings.alive_interval, Some(Duration::from_secs(30)));
        assert!(
            matches!(&settings.proxy, Some(Proxy::Command(command)) if command == "nc -x \"a b\" box.example.org 2200"),
            "{:?}",
            settings.proxy
        );
    }

    #[test]
    fn without_a_word_about_the_host_the_defaults_hold() {
        let settings = settings("Host other\n  User x\n", "box").unwrap();
        assert_eq!((settings.host.as_str(), settings.port, settings.user.as_str()), ("box", 22, "local"));
        assert!(!settings.accept_new && !settings.identities_only && settings.proxy.is_none());
        assert_eq!(settings.identities.len(), 3);
    }

    #[test]
    fn a_match_does_not_leak_into_the_block_before() {
        let text = "Host box\n User alice\nMatch exec \"true\"\n StrictHostKeyChecking no\nMatch host inc\n Port 5\nHost *\n Port 9";
        let box_ = settings(text, "box").unwrap();
        assert!(!box_.accept_new);
        assert_eq!(box_.port, 9);
        assert_eq!(settings(text, "inc").unwrap().port, 5);
    }

    #[test]
    fn included_files_count() {
        assert_eq!(settings("Include included\n", "inc").unwrap().user, "included");
    }

    #[test]
    fn what_is_unsafe_is_refused() {
        assert!(settings("", "-oProxyCommand=x").is_err());
        assert!(settings("Host box\n HostName a;b\n", "box").is_err());
        assert!(settings("Host box\n User $(x)\n", "box").is_err());
    }
}

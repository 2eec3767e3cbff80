//! The URLs of remotes. Nothing outside this module takes one apart.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// Options of a remote, from the keys of a `[remotes.name]` table: their texts by name. Which ones a backend knows is
/// checked when the remote is opened.
pub type RemoteOptions = BTreeMap<String, String>;

/// Where a remote is, as a URL or a path says it.
///
/// `Display` shows the remote as it stands in front of keys, without secrets: refused ones cannot be shown by
/// accident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteUrl {
    pub(crate) place: Place,
    /// The options in the query of the URL.
    query: RemoteOptions,
    /// The options of the configuration.
    options: RemoteOptions,
    /// A file of the project says where it is, or one of its options: not all that it says is followed.
    is_of_project: bool,
}

/// The kinds of places, one a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A directory, absolute. The embedded default remote is created with all its parents; of any other remote at
    /// most the last component.
    Directory { path: PathBuf, embedded: bool },
    /// What is below a prefix in a bucket of S3. The prefix is literal, without `/` at its ends; it may be empty.
    S3 { bucket: String, prefix: String },
    /// The same in a bucket of Google Cloud Storage.
    Gcs { bucket: String, prefix: String },
    /// A directory on a machine that one logs in to.
    Ssh { user: Option<String>, host: String, port: Option<u16>, path: SshPath },
}

/// A directory on another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SshPath {
    /// From the root of its file system; begins with `/`.
    Absolute(String),
    /// From the home directory there; may be empty.
    Home(String),
}

/// What is written as `%XX` in the path of an `ssh://` URL.
const IN_PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'`');
/// What is written so in the name of a user.
const IN_USER: &AsciiSet = &IN_PATH.add(b'/').add(b':').add(b'@').add(b'[').add(b']');

/// The remote cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRemote {
    /// The URL's scheme is none of larder's.
    #[error(
        "unknown remote scheme `{scheme}://` in `{url}`: known are {known}; a path is written as ./{scheme} or /{scheme}"
    )]
    UnknownScheme {
        /// The URL.
        url: String,
        /// Its scheme.
        scheme: String,
        /// The schemes that larder knows.
        known: &'static str,
    },
    /// The scheme is known, and this build cannot use it.
    #[error(
        "this build of larder has no backend for `{scheme}://` remotes: its crate has a feature for each"
    )]
    NoBackend {
        /// The scheme.
        scheme: String,
    },
    /// The URL holds a password. It is not repeated here.
    #[error("a remote URL must not hold a password: it would end up in logs and in larder.toml")]
    Secret,
    /// The URL breaks a rule of its scheme.
    #[error("`{url}` is not a usable remote: {reason}")]
    Malformed {
        /// The URL.
        url: String,
        /// The rule.
        reason: &'static str,
    },
    /// The backend does not know the option.
    #[error("the remote {remote} has no option `{option}`: {known}")]
    UnknownOption {
        /// The remote.
        remote: String,
        /// The option.
        option: String,
        /// What the backend knows.
        known: &'static str,
    },
    /// The option does not take the value, which is not repeated here.
    #[error("the option `{option}` of the remote {remote} takes {takes}")]
    OptionValue {
        /// The remote.
        remote: String,
        /// The option.
        option: String,
        /// What it takes.
        takes: &'static str,
    },
    /// A variable of the environment names an emulator, and leads to no server.
    #[error("{0}")]
    Emulator(String),
    /// The option stands in the URL and in the configuration.
    #[error("the option `{option}` of the remote {remote} is in its URL and beside it: keep one of them")]
    OptionTwice {
        /// The remote.
        remote: String,
        /// The option.
        option: String,
    },
}

/// All schemes of the contract, for messages.
const KNOWN_SCHEMES: &str = "file, s3, gs, gcs, ssh, sftp, scp";

impl RemoteUrl {
    /// Reads a URL or a path. A relative path is taken from `base`, which must be absolute: the directory of the file
    /// that names the remote, or the working directory.
    ///
    /// # Errors
    ///
    /// The scheme is unknown or has no backend in this build, or the URL breaks one of its rules.
    pub fn parse(text: &str, base: &Path) -> Result<Self, InvalidRemote> {
        let malformed = |reason| {
            // Somebody may have put a secret among the options.
            let url = match text.split_once('?') {
                Some((place, _)) if text.contains("://") => format!("{place}?…"),
                _ => text.to_owned(),
            };
            InvalidRemote::Malformed { url, reason }
        };
        if text.is_empty() {
            return Err(malformed("it is empty"));
        }
        if text.chars().any(char::is_control) {
            return Err(malformed("it has control characters"));
        }
        let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
            return Ok(Self::directory(&base.join(text), false));
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if let Some((user, _)) = authority.rsplit_once('@')
            && user.contains(':')
        {
            return Err(InvalidRemote::Secret);
        }
        // Secret keys of AWS may have slashes: what stands behind the colon is no port then.
        if let Some((_, port)) = authority.split_once(':')
            && rest.contains('@')
            && !port.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Err(InvalidRemote::Secret);
        }
        match scheme.to_ascii_lowercase().as_str() {
            "file" => {
                if !matches!(authority, "" | "localhost") {
                    return Err(malformed("a file URL names no host: write file:///path"));
                }
                let path = &rest[authority.len()..];
                if path.is_empty() {
                    return Err(malformed("it names no path"));
                }
                if path.contains(['?', '#']) {
                    return Err(malformed("`?` and `#` in a file URL's path are written %3F and %23"));
                }
                let path =
                    percent_decode_str(path).decode_utf8().map_err(|_| malformed("its path is not UTF-8"))?;
                if path.contains('\0') {
                    return Err(malformed("its path has a NUL"));
                }
                Ok(Self::directory(Path::new(&*path), false))
            }
            scheme @ ("s3" | "gs" | "gcs" | "ssh" | "sftp" | "scp") => {
                let (rest, query) = match rest.split_once('?') {
                    Some((rest, query)) => (rest, query_options(query).map_err(malformed)?),
                    None => (rest, RemoteOptions::new()),
                };
                let in_bucket = || bucket_and_prefix(rest).map_err(malformed);
                let place = match scheme {
                    "s3" => in_bucket().map(|(bucket, prefix)| Place::S3 { bucket, prefix })?,
                    "gs" | "gcs" => in_bucket().map(|(bucket, prefix)| Place::Gcs { bucket, prefix })?,
                    _ => ssh_place(rest).map_err(malformed)?,
                };
                Ok(Self { query, ..Self::at(place) })
            }
            scheme => Err(InvalidRemote::UnknownScheme {
                url: text.to_owned(),
                scheme: scheme.to_owned(),
                known: KNOWN_SCHEMES,
            }),
        }
    }

    /// The remote inside the project, which is used where none is configured: it exists on this machine only.
    pub fn embedded(project_root: &Path) -> Self {
        Self::directory(&project_root.join(".larder/store"), true)
    }

    /// Whether this is the remote inside the project.
    pub fn is_embedded(&self) -> bool {
        matches!(self.place, Place::Directory { embedded: true, .. })
    }

    /// Adds the options of a configured remote.
    #[must_use]
    pub fn with_options(mut self, options: RemoteOptions) -> Self {
        self.options = options;
        self
    }

    /// Says that a file of the project, and not the user, decided where it is, or one of its options. Whoever opens a
    /// clone has not read what is in it: credentials do not go to a host that only such a file names.
    #[must_use]
    pub fn of_project(mut self, is_of_project: bool) -> Self {
        self.is_of_project = is_of_project;
        self
    }

    /// Whether a file of the project decided that.
    pub fn is_of_project(&self) -> bool {
        self.is_of_project
    }

    /// The directory of a remote that is one.
    pub fn local_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Directory { path, .. } => Some(path),
            Place::S3 { .. } | Place::Gcs { .. } | Place::Ssh { .. } => None,
        }
    }

    /// All options, of the URL and of the configuration.
    pub(crate) fn options(&self) -> Result<impl Iterator<Item = (&str, &str)>, InvalidRemote> {
        if let Some(option) = self.query.keys().find(|name| self.options.contains_key(*name)) {
            return Err(InvalidRemote::OptionTwice { remote: self.to_string(), option: option.clone() });
        }
        Ok(self.query.iter().chain(&self.options).map(|(name, value)| (name.as_str(), value.as_str())))
    }

    pub(crate) fn unknown_option(&self, option: &str, known: &'static str) -> InvalidRemote {
        InvalidRemote::UnknownOption { remote: self.to_string(), option: option.to_owned(), known }
    }

    fn directory(path: &Path, embedded: bool) -> Self {
        Self::at(Place::Directory { path: without_dots(path), embedded })
    }

    fn at(place: Place) -> Self {
        Self { place, query: RemoteOptions::new(), options: RemoteOptions::new(), is_of_project: false }
    }
}

/// Removes `.` and `..` from a path that leads where it led before. The file system decides: `..` leads away from the
/// target of a symlink, so it stays behind one, and behind a name that does not exist.
fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if clean.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) => {
                // `/..` is `/`. The last component is `..` where an earlier one stayed.
                if clean.file_name().is_some() || clean.parent().is_none() {
                    clean.pop();
                } else {
                    clean.push(component);
                }
            }
            other => clean.push(other),
        }
    }
    clean
}

/// Takes `bucket/prefix` apart. The prefix is literal text; empty, `.` and `..` segments of it are resolved.
fn bucket_and_prefix(rest: &str) -> Result<(String, String), &'static str> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err("it names no bucket");
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if bucket.starts_with('-') || !bucket.bytes().all(is_name) {
        return Err("its bucket cannot be the name of one: that has letters, digits, `.`, `-` and `_`");
    }
    let mut segments = Vec::new();
    for segment in prefix.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop().ok_or("its prefix leaves the bucket")?;
            }
            segment => segments.push(segment),
        }
    }
    Ok((bucket.to_owned(), segments.join("/")))
}

/// Takes `[user@]host[:port]/path` apart. The path is percent-decoded; `/~/` at its beginning is the home directory.
fn ssh_place(rest: &str) -> Result<Place, &'static str> {
    let decode = |text: &str, reason| {
        let text = percent_decode_str(text).decode_utf8().map_err(|_| reason)?.into_owned();
        if text.chars().any(char::is_control) { Err("it has control characters") } else { Ok(text) }
    };
    let (authority, path) =
        rest.split_once('/').ok_or("it names no directory: write ssh://host/path or ssh://host/~/path")?;
    if path.contains('#') {
        return Err("`#` in its path is written %23");
    }
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(decode(user, "its user is not UTF-8")?), host),
        None => (None, authority),
    };
    // In brackets there is an address of IPv6, which has colons of its own.
    let (host, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or("its port stands behind a colon")?)),
        None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
    };
    let port = match port.filter(|port| !port.is_empty()) {
        Some(port) => Some(
            port.parse().ok().filter(|port| *port > 0).ok_or("its port is not a number from 1 to 65535")?,
        ),
        None => None,
    };
    let is_in_host = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if host.is_empty() || host.starts_with('-') || !host.chars().all(is_in_host) {
        return Err("its host cannot be the name of one");
    }
    let is_in_user = |c: char| !c.is_whitespace() && !"'`\"$;&<>|(){}:".contains(c);
    if let Some(user) = &user
        && (user.is_empty() || user.starts_with('-') || user.ends_with('\\') || !user.chars().all(is_in_user))
    {
        return Err("its user cannot be the name of one");
    }
    let path = decode(path, "its path is not UTF-8")?;
    let path = match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            SshPath::Home(rest.trim_matches('/').to_owned())
        }
        Some(_) => return Err("of home directories only one's own can be named: /~/path"),
        None => SshPath::Absolute(format!("/{}", path.trim_matches('/'))),
    };
    Ok(Place::Ssh { user, host: host.to_owned(), port, path })
}

/// Reads `name=value&name=value`.
fn query_options(query: &str) -> Result<RemoteOptions, &'static str> {
    let mut options = RemoteOptions::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or("its options are written ?name=value&name=value")?;
        let value = percent_decode_str(value).decode_utf8().map_err(|_| "an option of it is not UTF-8")?;
        if value.chars().any(char::is_control) {
            return Err("an option of it has control characters");
        }
        if options.insert(name.to_owned(), value.into_owned()).is_some() {
            return Err("an option of it is given twice");
        }
    }
    Ok(options)
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Directory { path, .. } => path.display().fmt(f),
            Place::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Place::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Place::Gcs { bucket, prefix } if prefix.is_empty() => write!(f, "gs://{bucket}"),
            Place::Gcs { bucket, prefix } => write!(f, "gs://{bucket}/{prefix}"),
            Place::Ssh { user, host, port, path } => {
                f.write_str("ssh://")?;
                if let Some(user) = user {
                    write!(f, "{}@", utf8_percent_encode(user, IN_USER))?;
                }
                if host.contains(':') { write!(f, "[{host}]") } else { f.write_str(host) }?;
                if let Some(port) = port {
                    write!(f, ":{port}")?;
                }
                match path {
                    SshPath::Absolute(path) => {
                        write!(f, "{}", utf8_percent_encode(path.trim_end_matches('/'), IN_PATH))
                    }
                    SshPath::Home(path) if path.is_empty() => f.write_str("/~"),
                    SshPath::Home(path) => write!(f, "/~/{}", utf8_percent_encode(path, IN_PATH)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, InvalidRemote> {
        RemoteUrl::parse(text, Path::new("/base/dir")).map(|url| url.to_string())
    }

    #[test]
    fn paths_and_file_urls_are_directories() {
        for (text, path) in [
            ("/mnt/store", "/mnt/store"),
            ("./store", "/base/dir/store"),
            ("a/b/", "/base/dir/a/b"),
            ("../x/./y", "/base/dir/../x/y"),
            ("/../mnt/./store", "/mnt/store"),
            ("file:///mnt/my%20store", "/mnt/my store"),
            ("file://localhost/mnt/100%25", "/mnt/100%"),
            ("FILE:///mnt", "/mnt"),
            ("a:b/c", "/base/dir/a:b/c"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(path), "{text}");
        }
    }

    #[test]
    fn a_path_with_dots_leads_where_the_file_system_goes() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("versions/2")).unwrap();
        std::os::unix::fs::symlink("versions/2", base.join("current")).unwrap();
        let path = |text: &str| RemoteUrl::parse(text, &base).unwrap().local_path().unwrap().to_owned();
        for (text, shown) in [
            ("versions/2/../../store", "store"),
            ("versions/./2/", "versions/2"),
            ("current/../shared", "current/../shared"),
            ("current/../../store", "current/../../store"),
            ("missing/../store", "missing/../store"),
        ] {
            assert_eq!(path(text), base.join(shown), "{text}");
        }
        std::fs::create_dir(base.join("versions/shared")).unwrap();
        let shared = path("current/../shared").canonicalize().unwrap();
        assert_eq!(shared, base.join("versions/shared"));
    }

    #[test]
    fn a_literal_percent_in_a_path_stays() {
        assert_eq!(parse("/mnt/my%20store").unwrap(), "/mnt/my%20store");
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for text in ["", "file://", "file://host/x", "file:///a?b", "file:///%ff", "file:///a%00b", "/a\nb"] {
            assert!(
                matches!(parse(text), Err(InvalidRemote::Malformed { .. })),
                "{text:?}: {:?}",
                parse(text)
            );
        }
        assert!(matches!(parse("http://x/y"), Err(InvalidRemote::UnknownScheme { .. })));
        for text in ["gs://bucket/a/b%2F", "gcs://bucket//a/./c/../b%2F/"] {
            assert_eq!(parse(text).unwrap(), "gs://bucket/a/b%2F");
        }
    }

    #[test]
    fn the_prefix_of_a_bucket_is_literal() {
        for (text, shown) in [
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("S3://bucket/a%20b/c+d", "s3://bucket/a%20b/c+d"),
            ("s3://bucket//a/./b/../c/", "s3://bucket/a/c"),
            ("s3://bucket/a b#c@d:e?region=eu-west-1", "s3://bucket/a b#c@d:e"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(shown), "{text}");
        }
        for text in ["s3://", "s3:///x", "s3://-b/x", "s3://b c/x", "s3://me@bucket/x", "s3://bucket/../x"] {
            assert!(matches!(parse(text), Err(InvalidRemote::Malformed { .. })), "{text}: {:?}", parse(text));
        }
    }

    #[test]
    fn options_stand_in_the_url_or_beside_it() {
        let url = |text: &str| RemoteUrl::parse(text, Path::new("/base"));
        let endpoint = url("s3://b/p?endpoint=http://127.0.0.1:9000&sse_kms_key_id=a%26b").unwrap();
        let options = endpoint.clone().with_options([("region".to_owned(), "x".to_owned())].into());
        let all: Vec<_> = options.options().unwrap().collect();
        assert_eq!(all, [("endpoint", "http://127.0.0.1:9000"), ("sse_kms_key_id", "a&b"), ("region", "x")]);
        let twice = endpoint.with_options([("endpoint".to_owned(), "x".to_owned())].into());
        assert!(matches!(twice.options().err(), Some(InvalidRemote::OptionTwice { .. })));
        for text in ["s3://b?x", "s3://b?a=1&a=2", "s3://b?a=%00", "s3://b?a=%ff"] {
            assert!(matches!(url(text), Err(InvalidRemote::Malformed { .. })), "{text}");
        }
    }

    #[test]
    fn ssh_urls_name_a_host_and_a_directory() {
        for (text, shown) in [
            ("ssh://host/srv/store", "ssh://host/srv/store"),
            ("sftp://me@host:2222/srv/store/", "ssh://me@host:2222/srv/store"),
            ("scp://host/~/my%20store", "ssh://host/~/my%20store"),
            ("SSH://host/100%25/a+b", "ssh://host/100%25/a+b"),
            ("ssh://host/~", "ssh://host/~"),
            ("ssh://[fe80::1]:22/x", "ssh://[fe80::1]:22/x"),
            ("ssh://me%40example.org@host/x", "ssh://me%40example.org@host/x"),
            ("ssh://host:/x", "ssh://host/x"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(shown), "{text}");
            assert_eq!(parse(shown).as_deref(), Ok(shown), "what is shown can be read");
        }
        for text in [
            "ssh://host",
            "ssh:///x",
            "ssh://-oProxyCommand=x/y",
            "ssh://-l@host/x",
            "ssh://a;b/x",
            "ssh://$(x)@host/x",
            "ssh://host:0/x",
            "ssh://host:x/x",
            "ssh://host/~other/x",
            "ssh://host/a%00b",
            "ssh://host/%ff",
            "ssh://host/a#b",
        ] {
            assert!(matches!(parse(text), Err(InvalidRemote::Malformed { .. })), "{text}: {:?}", parse(text));
        }
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        let error = parse("s3://user:hunter2@bucket/x").unwrap_err();
        assert_eq!(error, InvalidRemote::Secret);
        assert!(!error.to_string().contains("hunter2"));
        assert_eq!(parse("ssh://me:pa@ss@host/x"), Err(InvalidRemote::Secret));
    }
}

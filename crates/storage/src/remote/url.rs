//! The URLs of remotes. No code outside this folder takes one apart.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use larder_backend::Backend;

use crate::remote::environment::UserEnvironment;
use crate::remote::error::{InvalidRemote, OpenError};
use crate::remote::local::LocalDirectory;
use crate::remote::location::{OpenRequest, RemoteKind, RemoteLocation};
use crate::remote::options::{GivenOptions, QueryOptions, RemoteOptions, read_query};
use crate::remote::{gcs, local, s3, ssh};

/// All kinds of remotes: one for each backend.
const KINDS: [RemoteKind; 4] = [local::KIND, s3::KIND, gcs::KIND, ssh::KIND];

/// The location of a remote, from a URL or a path.
///
/// `Display` shows the text in front of keys, without options and secrets.
#[derive(Clone, Debug)]
pub struct RemoteUrl {
    location: Arc<dyn RemoteLocation>,
    query: QueryOptions,
    configured: RemoteOptions,
    is_embedded: bool,
    is_of_project: bool,
}

impl RemoteUrl {
    /// Reads a URL or a path. A relative path is taken from `base`, which must be absolute: the directory of the file
    /// that names the remote, or the working directory. `..` in a path leads where the file system says.
    ///
    /// # Errors
    ///
    /// The scheme is unknown, or the URL breaks one of its rules.
    pub fn parse(text: &str, base: &Path) -> Result<Self, InvalidRemote> {
        let malformed = |reason: &str| {
            // An option may hold a secret.
            let url = match text.split_once('?') {
                Some((location, _)) if text.contains("://") => format!("{location}?…"),
                _ => text.to_owned(),
            };
            InvalidRemote::Malformed { url, reason: reason.to_owned() }
        };
        if text.is_empty() {
            return Err(malformed("it is empty"));
        }
        if text.chars().any(char::is_control) {
            return Err(malformed("it has control characters"));
        }
        let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
            return match lookalike(text)? {
                Some(reason) => Err(malformed(&reason)),
                None => Ok(Self::at(Arc::new(LocalDirectory::new(&base.join(text))))),
            };
        };
        refuse_secrets(rest)?;
        let scheme = scheme.to_ascii_lowercase();
        let Some(kind) = KINDS.iter().find(|kind| kind.schemes.contains(&scheme.as_str())) else {
            if matches!(scheme.as_str(), "http" | "https") {
                let server = rest.split(['/', '?', '#']).next().unwrap_or_default();
                return Err(malformed(&format!(
                    "for S3-compatible storage write s3://BUCKET/PREFIX with the option endpoint = \"{scheme}://{server}\""
                )));
            }
            let known: Vec<&str> = KINDS.iter().flat_map(|kind| kind.schemes).copied().collect();
            return Err(InvalidRemote::UnknownScheme {
                url: text.to_owned(),
                scheme,
                known: known.join(", "),
            });
        };
        let (rest, query) = match rest.split_once('?').filter(|_| kind.has_query) {
            Some((rest, query)) => (rest, read_query(query).map_err(malformed)?),
            None => (rest, QueryOptions::new()),
        };
        Ok(Self { query, ..Self::at((kind.read)(rest).map_err(malformed)?) })
    }

    /// Returns the remote inside the project, which is used if none is configured. It exists only on this machine.
    pub fn embedded(project_root: &Path) -> Self {
        let directory = LocalDirectory::with_parents(project_root.join(".larder/store"));
        Self { is_embedded: true, ..Self::at(Arc::new(directory)) }
    }

    /// Whether this is the remote inside the project.
    pub fn is_embedded(&self) -> bool {
        self.is_embedded
    }

    /// Adds the options of a configured remote.
    #[must_use]
    pub fn with_options(mut self, options: RemoteOptions) -> Self {
        self.configured = options;
        self
    }

    /// Marks the remote as determined by a file of the project: its location, or one of its options. The user may not have
    /// read the files of a clone, so credentials are not sent to a host that only such a file names.
    #[must_use]
    pub fn of_project(mut self, is_of_project: bool) -> Self {
        self.is_of_project = is_of_project;
        self
    }

    /// Whether a file of the project determined the location of the remote, or one of its options.
    pub fn is_of_project(&self) -> bool {
        self.is_of_project
    }

    /// The directory on this machine, if the remote is one.
    pub fn local_path(&self) -> Option<&Path> {
        self.location.local_path()
    }

    /// Opens the remote. Makes no request and creates nothing.
    pub(crate) fn open(
        &self,
        environment: &UserEnvironment,
        stall_timeout: Option<Duration>,
    ) -> Result<Arc<dyn Backend>, OpenError> {
        let options = GivenOptions::new(self.to_string(), &self.query, &self.configured)?;
        let is_of_project = self.is_of_project;
        self.location.open(&OpenRequest { options, is_of_project, stall_timeout, environment })
    }

    fn at(location: Arc<dyn RemoteLocation>) -> Self {
        let (query, configured) = (QueryOptions::new(), RemoteOptions::new());
        Self { location, query, configured, is_embedded: false, is_of_project: false }
    }
}

/// Refuses text that looks like a URL or another tool's address, and suggests what to write instead. Only text with `./` or
/// `/` at its beginning may have a `:` before its first `/`.
fn lookalike(text: &str) -> Result<Option<String>, InvalidRemote> {
    // An IPv6 address has colons of its own.
    let start = text.find(']').filter(|end| !text[..*end].contains('/')).unwrap_or(0);
    let Some((host, path)) =
        text[start..].split_once(':').map(|(_, path)| (&text[..text.len() - path.len() - 1], path))
    else {
        return Ok(None);
    };
    if host.contains(['/', '\\']) {
        return Ok(None);
    }
    // A password may have slashes, so any part of the text may contain a part of it.
    if path.contains('@') {
        return Err(InvalidRemote::Secret);
    }
    if KINDS.iter().any(|kind| kind.schemes.contains(&host.to_ascii_lowercase().as_str())) {
        if host.eq_ignore_ascii_case("file") {
            let path = if path.starts_with('/') { format!("file://{path}") } else { format!("./{path}") };
            return Ok(Some(format!("for a directory write {path}")));
        }
        let rest = path.trim_start_matches('/');
        return Ok(Some(format!("a URL has `//` behind its scheme: write {host}://{rest}")));
    }
    if host.len() == 1 && path.starts_with('\\') {
        return Ok(Some("larder does not support drive letters, as it does not run on Windows".to_owned()));
    }
    let path = match path {
        absolute if absolute.starts_with('/') => absolute.to_owned(),
        home if home.starts_with('~') => format!("/{home}"),
        below_home => format!("/~/{below_home}"),
    };
    Ok(Some(format!("for a directory over SSH write ssh://{host}{path}, for one on this machine ./{text}")))
}

/// Refuses a password in front of the host. Secret keys of AWS may have slashes: text behind the colon that is not a
/// number is no port then.
fn refuse_secrets(rest: &str) -> Result<(), InvalidRemote> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    let port = authority.split_once(':').map_or("", |(_, port)| port);
    let hides_secret = rest.contains('@') && !port.bytes().all(|byte| byte.is_ascii_digit());
    if user.contains(':') || hides_secret { Err(InvalidRemote::Secret) } else { Ok(()) }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.location.fmt(f)
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
            ("./a:b/c", "/base/dir/a:b/c"),
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
    fn invalid_values_are_refused() {
        for text in ["", "file://", "file://host/x", "file:///a?b", "file:///%ff", "file:///a%00b", "/a\nb"] {
            assert!(
                matches!(parse(text), Err(InvalidRemote::Malformed { .. })),
                "{text:?}: {:?}",
                parse(text)
            );
        }
        assert!(matches!(parse("ftp://x/y"), Err(InvalidRemote::UnknownScheme { .. })));
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
    fn options_in_the_url_are_checked() {
        for text in ["s3://b?x", "s3://b?a=1&a=2", "s3://b?a=%00", "s3://b?a=%ff"] {
            assert!(matches!(parse(text), Err(InvalidRemote::Malformed { .. })), "{text}");
        }
    }

    #[test]
    fn addresses_of_other_tools_are_refused_with_what_to_write() {
        for (text, hint) in [
            ("me@host:store/", "ssh://me@host/~/store/"),
            ("me@host:/srv/store", "ssh://me@host/srv/store"),
            ("host:~/store", "ssh://host/~/store"),
            ("host:store", "./host:store"),
            ("[fe80::1]:/srv", "ssh://[fe80::1]/srv"),
            ("s3:/bucket/p", "s3://bucket/p"),
            ("s3:bucket", "s3://bucket"),
            ("file:/mnt", "file:///mnt"),
            ("file:rel", "write ./rel"),
            ("C:\\store", "does not support drive letters"),
            ("https://minio.example:9000/bucket", "endpoint = \"https://minio.example:9000\""),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(hint), "{message}");
        }
        for text in
            ["me:hunter2@host:/x", "s3:/me:hunter2@bucket", "https:/me:hunter2@host", "key:hun/ter2@bucket"]
        {
            assert_eq!(parse(text).unwrap_err(), InvalidRemote::Secret, "{text}");
        }
        for path in ["./host:path", "/a:b", "a/b:c", "../a:b"] {
            parse(path).unwrap();
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

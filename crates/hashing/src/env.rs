//! Hashes of environment variables.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use crate::digest::Scheme;
use crate::error::HashError;
use crate::hash_text::EnvHash;
use crate::manifest::encoded;
use crate::weasel;

/// Hashes the names and values of variables that a command depends on.
///
/// A value that is as a whole `$NAME` or `${NAME}` stands for that variable of the process. `lookup` returns its value, as
/// `std::env::var_os` does. Every other value is literal. Each value is hashed by itself, and never shown.
///
/// ```
/// use std::collections::BTreeMap;
/// use larder_hashing::{Scheme, env_hash};
///
/// let set = |name: &str| (name == "SEED").then(|| "1".into());
/// let literal = BTreeMap::from([("SEED".to_owned(), "1".to_owned())]);
/// let reference = BTreeMap::from([("SEED".to_owned(), "$SEED".to_owned())]);
/// assert_eq!(env_hash(&literal, set, Scheme::Blake3), env_hash(&reference, set, Scheme::Blake3));
/// ```
pub fn env_hash(
    variables: &BTreeMap<String, String>,
    lookup: impl Fn(&str) -> Option<OsString>,
    scheme: Scheme,
) -> EnvHash {
    EnvHash::plain(scheme, &scheme.digest(text(variables, lookup, scheme).as_bytes()))
}

/// Hashes variables like [`env_hash`], and writes the manifest to `manifest`. The manifest has the digests of the values, not
/// the values. [`Scheme::Weasel`] has no manifest, because it would show the values.
///
/// # Errors
///
/// [`HashError::Manifest`]: the manifest could not be written.
pub fn env_manifest(
    variables: &BTreeMap<String, String>,
    lookup: impl Fn(&str) -> Option<OsString>,
    scheme: Scheme,
    manifest: &mut dyn Write,
) -> Result<EnvHash, HashError> {
    let text = text(variables, lookup, scheme);
    if scheme != Scheme::Weasel {
        manifest.write_all(text.as_bytes()).map_err(HashError::Manifest)?;
    }
    Ok(EnvHash::plain(scheme, &scheme.digest(text.as_bytes())))
}

/// Returns the text that is hashed.
fn text(
    variables: &BTreeMap<String, String>,
    lookup: impl Fn(&str) -> Option<OsString>,
    scheme: Scheme,
) -> String {
    if scheme == Scheme::Weasel {
        return weasel_text(variables, lookup);
    }
    let mut text = "larder-env 1\n".to_owned();
    for (name, value) in variables {
        let value = match referenced(value) {
            Some(name) => lookup(name),
            None => Some(OsString::from(value)),
        };
        let name = encoded(name.as_bytes());
        // Writing to a string does not fail.
        let _ = match value {
            Some(value) => writeln!(text, "{name} {}", scheme.digest(value.as_bytes())),
            None => writeln!(text, "{name} -"),
        };
    }
    text
}

/// Returns the variable that a value refers to, if the whole value is a reference.
fn referenced(value: &str) -> Option<&str> {
    let name = value.strip_prefix('$')?;
    let name = name.strip_prefix('{').map_or(Some(name), |rest| rest.strip_suffix('}'))?;
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_name = name.bytes().all(word) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    is_name.then_some(name)
}

fn weasel_text(variables: &BTreeMap<String, String>, lookup: impl Fn(&str) -> Option<OsString>) -> String {
    let mut json = "{".to_owned();
    for (index, (name, value)) in variables.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        weasel::push_json_text(&mut json, OsStr::new(name).as_bytes());
        json.push(':');
        // Everything behind the `$` is the name. So `${X}` and `$X/y` are never set.
        let value = match value.strip_prefix('$') {
            Some("") => OsString::new(),
            Some(name) => lookup(name).unwrap_or_default(),
            None => OsString::from(value),
        };
        weasel::push_json_text(&mut json, value.as_bytes());
    }
    json.push('}');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_value_is_a_reference() {
        assert_eq!(referenced("$SEED"), Some("SEED"));
        assert_eq!(referenced("${_S1}"), Some("_S1"));
        for literal in ["", "$", "${}", "$1", "${X", "$X}", "$X/y", "x$X", "$$X", "${X}y", "$X Y", "$Ä"] {
            assert_eq!(referenced(literal), None, "{literal}");
        }
    }

    #[test]
    fn a_value_that_is_not_utf8_is_hashed_by_its_bytes() {
        let variables = BTreeMap::from([("A".to_owned(), "$A".to_owned())]);
        let lookup = |_: &str| Some(OsStr::from_bytes(b"\xff").to_owned());
        let mut manifest = Vec::new();
        env_manifest(&variables, lookup, Scheme::Sha256, &mut manifest).unwrap();
        let line = format!("A {}\n", Scheme::Sha256.digest(b"\xff"));
        assert!(String::from_utf8(manifest).unwrap().ends_with(&line));
        assert_eq!(weasel_text(&variables, lookup), r#"{"A":"\udcff"}"#);
    }
}

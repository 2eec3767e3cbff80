//! Options that several kinds of remotes have.

use http::Uri;
use serde::de::{Deserialize as _, Deserializer, Error as _};

/// A description of an endpoint, for messages.
pub const ENDPOINT: &str =
    "a URL of a server, such as https://storage.example:9000, without user and password";

/// A text that is not the URL of a server. `Display` describes an endpoint, and does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{ENDPOINT}")]
pub struct InvalidEndpoint;

/// An option that does not fit the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidOption {
    /// The name of the option.
    pub option: &'static str,
    /// The end of a sentence that begins with the option and says what is wrong.
    pub problem: &'static str,
}

/// Reads the URL of a server, without a `/` at its end. A URL with a password is refused, because messages show URLs.
///
/// # Errors
///
/// The text does not begin with `http://` or `https://`, or has more than a host, a port and a path.
pub fn endpoint(value: &str) -> Result<String, InvalidEndpoint> {
    let is_endpoint = |url: Uri| {
        let Some(server) = url.authority() else { return false };
        // Other code compares schemes in lower case.
        let has_scheme = value.starts_with("http://") || value.starts_with("https://");
        let is_host = server.as_str() == server.host() || server.port_u16().is_some();
        has_scheme && is_host && !server.host().is_empty() && !server.as_str().contains('@')
    };
    if value.contains(['?', '#']) || !value.parse().is_ok_and(is_endpoint) {
        return Err(InvalidEndpoint);
    }
    Ok(value.trim_end_matches('/').to_owned())
}

/// Deserializes the URL of a server: for `#[serde(deserialize_with = "…")]`.
///
/// # Errors
///
/// The value is not a text, or not such a URL. The error's text says which values the option takes.
pub fn deserialize_endpoint<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    endpoint(&String::deserialize(value)?).map(Some).map_err(D::Error::custom)
}

/// Deserializes a text that is not empty: for `#[serde(deserialize_with = "…")]`.
///
/// # Errors
///
/// The value is not a text, or is empty. The error's text says which values the option takes.
pub fn deserialize_text<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    match String::deserialize(value)? {
        text if text.is_empty() => Err(D::Error::custom("a text that is not empty")),
        text => Ok(Some(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_server() {
        for (value, url) in [
            ("https://storage.example.com", "https://storage.example.com"),
            ("http://127.0.0.1:9000/", "http://127.0.0.1:9000"),
            ("http://[::1]:9000/below", "http://[::1]:9000/below"),
        ] {
            assert_eq!(endpoint(value).unwrap(), url);
        }
        for value in [
            "",
            "host",
            "host:9000",
            "ftp://host",
            "http://",
            "http:///below",
            "http://:9000",
            "http://a b",
            "http://host:",
            "http://host:port",
            "http://host:99999",
            "http://me@host",
            "http://me:secret@host",
            "http://host?x",
            "http://host#x",
            "HTTP://host",
        ] {
            assert_eq!(endpoint(value), Err(InvalidEndpoint), "{value}");
        }
    }
}

//! The options of a remote, as text.

use http::Uri;

/// What an endpoint is.
pub const ENDPOINT: &str = "a URL of a server, as https://storage.example:9000, without user and password";

/// An option of a remote is not one that its backend knows, or its value is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidOption {
    /// There is no option of this name.
    Unknown,
    /// The option takes another value: what it takes.
    Value(&'static str),
}

/// Reads `true` or `false`.
///
/// # Errors
///
/// It is neither.
pub fn boolean(value: &str) -> Result<bool, InvalidOption> {
    value.parse().map_err(|_| InvalidOption::Value("true or false"))
}

/// Reads the URL of a server, without a `/` at its end. A password in it would end up in messages, so it is refused.
///
/// # Errors
///
/// It is none of `http://` or `https://`, or has more than a host, a port and a path.
pub fn endpoint(value: &str) -> Result<String, InvalidOption> {
    let is_endpoint = |url: Uri| {
        let Some(server) = url.authority() else { return false };
        // As it is compared elsewhere: in lower case.
        let has_scheme = value.starts_with("http://") || value.starts_with("https://");
        let is_host = server.as_str() == server.host() || server.port_u16().is_some();
        has_scheme && is_host && !server.host().is_empty() && !server.as_str().contains('@')
    };
    if value.contains(['?', '#']) || !value.parse().is_ok_and(is_endpoint) {
        return Err(InvalidOption::Value(ENDPOINT));
    }
    Ok(value.trim_end_matches('/').to_owned())
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
            assert_eq!(endpoint(value), Err(InvalidOption::Value(ENDPOINT)), "{value}");
        }
    }
}

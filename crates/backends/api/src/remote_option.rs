//! The options of a remote, as text.

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
    let rest = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if host.is_empty() || host.contains('@') || value.contains(['?', '#']) {
        return Err(InvalidOption::Value(ENDPOINT));
    }
    Ok(value.trim_end_matches('/').to_owned())
}

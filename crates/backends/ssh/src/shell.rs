//! Commands in messages.

use std::borrow::Cow;
use std::path::Path;

/// Quotes a word for a shell, if it needs quotes.
pub(crate) fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/@:%+=,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', "'\\''")))
}

/// Quotes a path for a shell.
pub(crate) fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy()).into_owned()
}

/// The command that logs in as larder does. The configuration of OpenSSH may know the host by its alias only.
pub(crate) fn log_in(user: &str, alias: &str, port: u16) -> String {
    let option = if port == 22 { String::new() } else { format!("-p {port} ") };
    format!("ssh {option}{}", quoted(&format!("{user}@{alias}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_has_the_port_and_the_user_and_can_be_pasted() {
        assert_eq!(log_in("me", "box", 22), "ssh me@box");
        assert_eq!(log_in("me", "box", 2222), "ssh -p 2222 me@box");
        assert_eq!(log_in("me", "::1", 22), "ssh me@::1");
        assert_eq!(log_in("DOMAIN\\me", "box", 22), "ssh 'DOMAIN\\me@box'");
        assert_eq!(quoted_path(Path::new("/a b/known_hosts")), "'/a b/known_hosts'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}

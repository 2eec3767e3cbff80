//! The keys of known hosts.
//!
//! The files are read as OpenSSH reads them: plain and hashed names, patterns, negation, `[host]:port`, several keys of a host,
//! and `@revoked`. libssh2's own reader knows neither patterns nor `@revoked`. It does not list the types of a host's keys, which
//! have to be known before the host shows a key.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::small_file;

/// One line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HostLine {
    marker: Option<String>,
    hosts: String,
    key_type: String,
    key: Vec<u8>,
    /// The file, and the number of the line in it, from 1.
    place: (PathBuf, usize),
}

/// The lines of all files.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownHosts {
    lines: Vec<HostLine>,
}

/// What is known about the key that a host shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is a key of the host.
    Known,
    /// No key of the host is known.
    Unknown,
    /// Other keys of the host are known. The first is in this line of this file.
    Changed { file: PathBuf, line: usize },
    /// The key must not be used any more.
    Revoked { file: PathBuf, line: usize },
}

impl KnownHosts {
    /// Reads the files that exist.
    ///
    /// # Errors
    ///
    /// A file exists and cannot be read. It may revoke a key.
    pub(crate) fn read<'a>(
        files: impl IntoIterator<Item = &'a PathBuf>,
    ) -> Result<Self, (PathBuf, io::Error)> {
        let mut lines = Vec::new();
        for file in files {
            match small_file::read(file) {
                Ok(bytes) => lines.extend(parse(&String::from_utf8_lossy(&bytes), file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err((file.clone(), error)),
            }
        }
        Ok(Self { lines })
    }

    /// The types of the keys that a host has.
    pub(crate) fn key_types(&self, host: &str, port: u16) -> Vec<&str> {
        let mut types = Vec::new();
        for line in self.of(&name(host, port)).chain(self.of(host)) {
            if !types.contains(&line.key_type.as_str()) {
                types.push(line.key_type.as_str());
            }
        }
        types
    }

    fn of(&self, name: &str) -> impl Iterator<Item = &HostLine> {
        self.lines.iter().filter(move |line| line.marker.is_none() && names(&line.hosts, name))
    }

    /// Checks a key that a host shows.
    pub(crate) fn check(&self, host: &str, port: u16, key: &[u8]) -> Verdict {
        let full = name(host, port);
        let revoked = self.lines.iter().find(|line| {
            line.marker.as_deref() == Some("@revoked")
                && line.key == key
                && (names(&line.hosts, &full) || names(&line.hosts, host))
        });
        if let Some(HostLine { place: (file, line), .. }) = revoked {
            return Verdict::Revoked { file: file.clone(), line: *line };
        }
        if self.of(&full).any(|line| line.key == key) {
            return Verdict::Known;
        }
        if let Some(HostLine { place: (file, line), .. }) = self.of(&full).next() {
            return Verdict::Changed { file: file.clone(), line: *line };
        }
        // As in OpenSSH, a key that is known without a port is good for every port.
        if self.of(host).any(|line| line.key == key) { Verdict::Known } else { Verdict::Unknown }
    }
}

/// The name of a host in the files.
pub(crate) fn name(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// The line that makes a key known.
pub(crate) fn line(host: &str, port: u16, key: &[u8]) -> String {
    format!("{} {} {}", name(host, port), key_type(key), STANDARD.encode(key))
}

/// The fingerprint of a key, as `ssh-keygen -l` shows it.
pub(crate) fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key)))
}

/// The type of a key, which is the first text in it.
pub(crate) fn key_type(key: &[u8]) -> &str {
    let Some((length, rest)) = key.split_first_chunk::<4>() else { return "unknown" };
    let text = usize::try_from(u32::from_be_bytes(*length)).ok().and_then(|length| rest.get(..length));
    text.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or("unknown")
}

/// Adds a line to a file, unless the file has it. A missing file is created.
pub(crate) fn append(file: &Path, line: &str) -> io::Result<()> {
    // Several sessions connect at once, and all of them meet the new key.
    static ADDING: Mutex<()> = Mutex::new(());
    let _adding = ADDING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent)?;
    }
    // The last line may have no end.
    let ends = match small_file::read(file) {
        Ok(bytes) if bytes.split(|byte| *byte == b'\n').any(|known| known == line.as_bytes()) => {
            return Ok(());
        }
        Ok(bytes) => bytes.last().is_none_or(|byte| *byte == b'\n'),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(error),
    };
    let mut opened = OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
    let text = format!("{}{line}\n", if ends { "" } else { "\n" });
    opened.write_all(text.as_bytes())
}

fn parse<'a>(text: &'a str, file: &'a Path) -> impl Iterator<Item = HostLine> + 'a {
    text.lines().enumerate().filter_map(move |(index, text)| {
        let mut fields = text.split_whitespace().peekable();
        let marker = fields.next_if(|field| field.starts_with('@')).map(str::to_owned);
        let hosts = fields.next().filter(|hosts| !hosts.starts_with('#'))?.to_owned();
        let key_type = fields.next()?.to_owned();
        let key = STANDARD.decode(fields.next()?).ok()?;
        Some(HostLine { marker, hosts, key_type, key, place: (file.to_owned(), index + 1) })
    })
}

/// Whether a name is among the hosts of a line.
fn names(hosts: &str, name: &str) -> bool {
    let name = name.to_lowercase();
    if let Some(hashed) = hosts.strip_prefix("|1|") {
        return is_hash_of(hashed, &name);
    }
    let mut found = false;
    for pattern in hosts.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches(&pattern.to_lowercase(), &name) => return false,
            Some(_) => {}
            None => found |= matches(&pattern.to_lowercase(), &name),
        }
    }
    found
}

fn is_hash_of(hashed: &str, name: &str) -> bool {
    let Some((salt, hash)) = hashed.split_once('|') else { return false };
    let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else { return false };
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&salt) else { return false };
    mac.update(name.as_bytes());
    mac.verify_slice(&hash).is_ok()
}

/// Matches `*` and `?`, in time that is at most the product of the lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // The position of the last `*`, and the end of its match.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, n) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: &str, byte: u8) -> Vec<u8> {
        let length = u32::try_from(kind.len()).unwrap().to_be_bytes();
        [&length[..], kind.as_bytes(), &[byte]].concat()
    }

    fn known(text: &str) -> KnownHosts {
        KnownHosts { lines: parse(text, Path::new("f")).collect() }
    }

    fn entry(hosts: &str, kind: &str, byte: u8) -> String {
        format!("{hosts} {kind} {}\n", STANDARD.encode(key(kind, byte)))
    }

    #[test]
    fn a_key_is_known_unknown_changed_or_revoked() {
        let text =
            entry("box,10.0.0.1", "ssh-ed25519", 1) + "# comment\n\nrubbish\n" + &entry("box", "ssh-rsa", 2);
        let known = known(&text);
        assert_eq!(known.check("box", 22, &key("ssh-ed25519", 1)), Verdict::Known);
        assert_eq!(known.check("BOX", 22, &key("ssh-rsa", 2)), Verdict::Known);
        assert_eq!(known.check("other", 22, &key("ssh-rsa", 2)), Verdict::Unknown);
        let changed = Verdict::Changed { file: "f".into(), line: 1 };
        assert_eq!(known.check("box", 22, &key("ssh-ed25519", 9)), changed);
        assert_eq!(known.key_types("box", 22), ["ssh-ed25519", "ssh-rsa"]);
        assert_eq!(known.key_types("10.0.0.1", 22), ["ssh-ed25519"]);
    }

    #[test]
    fn a_revoked_key_is_refused_although_it_is_known() {
        let text = entry("box", "ssh-rsa", 2) + &entry("@revoked *", "ssh-rsa", 2);
        let revoked = Verdict::Revoked { file: "f".into(), line: 2 };
        assert_eq!(known(&text).check("box", 22, &key("ssh-rsa", 2)), revoked);
        assert_eq!(known(&text).check("box", 2200, &key("ssh-rsa", 2)), revoked);
        // An authority for certificates is no key of a host.
        let text = entry("@cert-authority *", "ssh-rsa", 2);
        assert_eq!(known(&text).check("box", 22, &key("ssh-rsa", 2)), Verdict::Unknown);
    }

    #[test]
    fn a_port_is_part_of_the_name() {
        let text = entry("[box]:2200", "ssh-rsa", 1) + &entry("box", "ssh-rsa", 2);
        assert_eq!(known(&text).check("box", 2200, &key("ssh-rsa", 1)), Verdict::Known);
        assert!(matches!(
            known(&text).check("box", 22, &key("ssh-rsa", 1)),
            Verdict::Changed { line: 2, .. }
        ));
        assert!(matches!(
            known(&text).check("box", 2200, &key("ssh-rsa", 2)),
            Verdict::Changed { line: 1, .. }
        ));
        assert_eq!(known(&text).check("box", 2300, &key("ssh-rsa", 2)), Verdict::Known, "as OpenSSH has it");
        assert_eq!(known(&text).check("box", 2300, &key("ssh-rsa", 1)), Verdict::Unknown);
    }

    #[test]
    fn patterns_and_negation() {
        let text = entry("*.example.org,!bad.example.org,h?st", "ssh-rsa", 1);
        for (host, verdict) in [
            ("a.example.org", Verdict::Known),
            ("bad.example.org", Verdict::Unknown),
            ("host", Verdict::Known),
            ("hst", Verdict::Unknown),
            ("example.org", Verdict::Unknown),
        ] {
            assert_eq!(known(&text).check(host, 22, &key("ssh-rsa", 1)), verdict, "{host}");
        }
        assert!(
            matches("*a*b*", "xxaxxbxx") && !matches("*a*b", "ba") && matches("*", "") && !matches("?", "")
        );
    }

    #[test]
    fn hashed_names() {
        // Made by `ssh-keygen -H` of `[127.0.0.1]:2222`.
        let salt = b"0123456789abcdefghij";
        let mut mac = Hmac::<Sha1>::new_from_slice(salt).unwrap();
        mac.update(b"[127.0.0.1]:2222");
        let hosts = format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(mac.finalize().into_bytes()));
        let text = entry(&hosts, "ssh-rsa", 1);
        assert_eq!(known(&text).check("127.0.0.1", 2222, &key("ssh-rsa", 1)), Verdict::Known);
        assert_eq!(known(&text).check("127.0.0.1", 22, &key("ssh-rsa", 1)), Verdict::Unknown);
        assert_eq!(known("|1|x|y ssh-rsa AAAA\n|1| ssh-rsa AAAA").check("x", 22, b""), Verdict::Unknown);
    }

    #[test]
    fn what_is_added_is_known_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("new/known_hosts");
        let key = key("ssh-ed25519", 7);
        append(&file, "# no end").unwrap();
        fs::write(&file, "# no end").unwrap();
        append(&file, &line("Box", 2222, &key)).unwrap();
        let once = fs::read(&file).unwrap();
        append(&file, &line("Box", 2222, &key)).unwrap();
        assert_eq!(fs::read(&file).unwrap(), once, "another session met the same key");
        let known = KnownHosts::read([&file]).unwrap();
        assert_eq!(known.check("box", 2222, &key), Verdict::Known);
        assert_eq!(key_type(&key), "ssh-ed25519");
        assert_eq!(key_type(b"\xff\xff\xff\xff"), "unknown");
    }
}

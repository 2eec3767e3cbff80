//! All rows of `tests/vectors`, which all implementations share.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;

use larder_hashing::{
    CommandInputs, HashOptions, Scheme, SiteEnvironment, command_hash, command_manifest, content_hash,
    decode_name, encode_name, env_hash, env_manifest, site_hash, site_manifest,
};
use serde::Deserialize;

use crate::support::{Playground, bytes, manifest, under};

/// The expected values of a vector under each scheme. Each is optional.
#[derive(Deserialize)]
struct Expected {
    weasel: Option<String>,
    blake3: Option<String>,
    blake3_manifest: Option<String>,
    sha256: Option<String>,
}

impl Expected {
    fn of(&self, scheme: Scheme) -> Option<&str> {
        match scheme {
            Scheme::Blake3 => self.blake3.as_deref(),
            Scheme::Sha256 => self.sha256.as_deref(),
            Scheme::Weasel => self.weasel.as_deref(),
        }
    }

    /// Calls `check` for each scheme that the vector covers.
    fn each(&self, mut check: impl FnMut(Scheme, &str)) {
        let covered: Vec<_> =
            Scheme::ALL.into_iter().filter_map(|scheme| Some((scheme, self.of(scheme)?))).collect();
        assert!(!covered.is_empty(), "a vector without a hash");
        for (scheme, hash) in covered {
            check(scheme, hash);
        }
    }
}

#[derive(Deserialize)]
struct Entry {
    kind: String,
    path: Option<String>,
    path_b64: Option<String>,
    data: Option<String>,
    data_b64: Option<String>,
    target: Option<String>,
    #[serde(default)]
    exec: bool,
}

impl Entry {
    fn make(&self, playground: &Playground) {
        let path = match (&self.path, &self.path_b64) {
            (Some(path), None) => path.clone().into_bytes(),
            (None, Some(base64)) => decode_base64(base64),
            _ => panic!("an entry has one path"),
        };
        let path = bytes(&path);
        let data = match (&self.data, &self.data_b64) {
            (Some(data), None) => data.clone().into_bytes(),
            (None, Some(base64)) => decode_base64(base64),
            _ => Vec::new(),
        };
        match (self.kind.as_str(), &self.target) {
            ("file", None) => playground.file(path, data),
            ("dir", None) => playground.directory(path),
            ("fifo", None) => playground.fifo(path),
            ("link", Some(target)) => playground.link(path, target),
            ("hard", Some(target)) => {
                fs::hard_link(playground.path(target), playground.path(path)).unwrap();
                playground
            }
            other => panic!("unknown kind of entry {other:?}"),
        };
        if self.exec {
            playground.executable(path);
        }
    }
}

fn decode_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<u32> = text
        .bytes()
        .filter(|byte| *byte != b'=')
        .map(|byte| u32::try_from(DIGITS.iter().position(|digit| *digit == byte).unwrap()).unwrap())
        .collect();
    let byte = |bits: u32| u8::try_from(bits & 0xff).unwrap();
    digits
        .chunks(4)
        .flat_map(|group| {
            let bits = (0..4).fold(0, |bits, i| bits << 6 | group.get(i).copied().unwrap_or(0));
            [byte(bits >> 16), byte(bits >> 8), byte(bits)].into_iter().take(group.len() - 1)
        })
        .collect()
}

#[derive(Deserialize)]
struct ContentRow {
    name: String,
    output: String,
    entries: Vec<Entry>,
    #[serde(flatten)]
    expected: Expected,
}

fn check_content(rows: Vec<ContentRow>) {
    assert!(!rows.is_empty());
    for row in rows {
        let playground = Playground::new();
        for entry in &row.entries {
            entry.make(&playground);
        }
        let output = playground.path(&row.output);
        row.expected.each(|scheme, expected| {
            let hash =
                content_hash(&output, &under(scheme)).unwrap_or_else(|error| panic!("{}: {error}", row.name));
            assert_eq!(hash.as_str(), expected, "{} under {scheme}", row.name);
            let (explained, text) = manifest(&output, &under(scheme));
            assert_eq!(explained, hash, "{}", row.name);
            match scheme {
                Scheme::Blake3 => assert_eq!(text, row.expected.blake3_manifest.clone().unwrap_or_default()),
                Scheme::Sha256 => assert_eq!(text.is_empty(), row.expected.blake3_manifest.is_none()),
                Scheme::Weasel => assert_eq!(text, ""),
            }
        });
    }
}

#[test]
fn contents() {
    check_content(serde_json::from_str(include_str!("../vectors/content.json")).unwrap());
}

#[derive(Deserialize)]
struct Name {
    name: String,
    encoded: String,
}

#[test]
fn names() {
    let names: Vec<Name> = serde_json::from_str(include_str!("../vectors/encode_name.json")).unwrap();
    for Name { name, encoded } in names {
        assert_eq!(encode_name(&name), encoded);
        assert_eq!(decode_name(&encoded), Some(name));
    }
}

#[derive(Deserialize)]
struct CommandRow {
    name: String,
    site: String,
    env: String,
    #[serde(default)]
    cwd: String,
    #[serde(default)]
    keys: BTreeMap<String, String>,
    deps: Vec<String>,
    cmd: Vec<String>,
    spacy: Option<String>,
    #[serde(flatten)]
    expected: Expected,
}

fn check_commands(files: &[Entry], rows: &[CommandRow]) {
    let playground = Playground::new();
    for file in files {
        file.make(&playground);
    }
    assert!(!rows.is_empty());
    for row in rows {
        let mut inputs = CommandInputs::new(&row.cmd).with_cwd(&row.cwd).with_deps(&row.deps);
        inputs.site = (!row.site.is_empty()).then(|| row.site.parse().unwrap());
        inputs.env = (!row.env.is_empty()).then(|| row.env.parse().unwrap());
        inputs.keys.clone_from(&row.keys);
        inputs.spacy_version.clone_from(&row.spacy);
        row.expected.each(|scheme, expected| {
            let mut text = Vec::new();
            let hash = command_manifest(playground.root(), &inputs, &under(scheme), &mut text).unwrap();
            assert_eq!(hash.as_str(), expected, "{} under {scheme}", row.name);
            assert_eq!(command_hash(playground.root(), &inputs, &under(scheme)).unwrap(), hash);
            match scheme {
                Scheme::Blake3 => {
                    assert_eq!(Some(String::from_utf8(text).unwrap()), row.expected.blake3_manifest);
                }
                Scheme::Sha256 => {}
                Scheme::Weasel => assert_eq!(text, b""),
            }
        });
    }
}

#[derive(Deserialize)]
struct Commands {
    files: Vec<Entry>,
    commands: Vec<CommandRow>,
}

#[test]
fn commands() {
    let vectors: Commands = serde_json::from_str(include_str!("../vectors/command.json")).unwrap();
    check_commands(&vectors.files, &vectors.commands);
}

#[test]
fn weasel_has_no_notion_of_keys_and_working_directories() {
    let playground = Playground::new();
    for inputs in [CommandInputs::default().with_key("os", "linux"), CommandInputs::default().with_cwd("sub")]
    {
        let error = command_hash(playground.root(), &inputs, &HashOptions::new(Scheme::Weasel)).unwrap_err();
        assert!(error.to_string().contains("weasel"), "{error}");
    }
}

#[derive(Deserialize)]
struct EnvRow {
    env: BTreeMap<String, String>,
    #[serde(flatten)]
    expected: Expected,
}

fn check_envs(process: &BTreeMap<String, Option<String>>, rows: &[EnvRow]) {
    let lookup = |name: &str| process.get(name).cloned().flatten().map(OsString::from);
    assert!(!rows.is_empty());
    for row in rows {
        row.expected.each(|scheme, expected| {
            let mut text = Vec::new();
            let hash = env_manifest(&row.env, lookup, scheme, &mut text).unwrap();
            assert_eq!(hash.as_str(), expected, "{:?} under {scheme}", row.env);
            assert_eq!(env_hash(&row.env, lookup, scheme), hash);
            match scheme {
                Scheme::Blake3 => {
                    assert_eq!(Some(String::from_utf8(text).unwrap()), row.expected.blake3_manifest);
                }
                Scheme::Sha256 => {}
                Scheme::Weasel => assert_eq!(text, b"", "values are not shown"),
            }
        });
    }
}

#[derive(Deserialize)]
struct Envs {
    process_environment: BTreeMap<String, Option<String>>,
    envs: Vec<EnvRow>,
}

fn envs() -> Envs {
    serde_json::from_str(include_str!("../vectors/env.json")).unwrap()
}

#[test]
fn environments() {
    let vectors = envs();
    check_envs(&vectors.process_environment, &vectors.envs);
}

#[derive(Deserialize)]
struct SiteRow {
    python: String,
    dist_info: Vec<DistInfo>,
    weasel_as_documented: String,
    blake3: String,
    blake3_manifest: String,
    sha256: String,
}

#[derive(Deserialize)]
struct DistInfo {
    dir: String,
    direct_url: Option<String>,
}

#[test]
fn sites() {
    let rows: Vec<SiteRow> = serde_json::from_str(include_str!("../vectors/site.json")).unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        let playground = Playground::new();
        // Use a directory for each, because a distribution may be in several.
        let directories: Vec<_> =
            (0..row.dist_info.len()).map(|index| playground.path(format!("site{index}"))).collect();
        for (directory, found) in directories.iter().zip(&row.dist_info) {
            let info = directory.join(format!("{}.dist-info", found.dir));
            fs::create_dir_all(&info).unwrap();
            fs::create_dir(directory.join(found.dir.split('-').next().unwrap())).unwrap();
            if let Some(direct_url) = &found.direct_url {
                fs::write(info.join("direct_url.json"), direct_url).unwrap();
            }
        }
        let (implementation, version) = row.python.split_once(' ').unwrap();
        let environment = SiteEnvironment::new(implementation, version, directories);
        let expected = Expected {
            weasel: Some(row.weasel_as_documented),
            blake3: Some(row.blake3),
            blake3_manifest: Some(row.blake3_manifest),
            sha256: Some(row.sha256),
        };
        let editable: Vec<String> = row
            .dist_info
            .iter()
            .filter(|found| found.direct_url.is_some())
            .map(|found| found.dir.clone())
            .collect();
        expected.each(|scheme, hash| {
            let mut text = Vec::new();
            let site = site_manifest(&environment, scheme, &mut text).unwrap();
            assert_eq!(site.hash.as_str(), hash, "{} under {scheme}", row.python);
            assert_eq!(site.editable, editable);
            assert_eq!(site_hash(&environment, scheme).unwrap(), site);
            if scheme == Scheme::Blake3 {
                assert_eq!(Some(String::from_utf8(text).unwrap()), expected.blake3_manifest);
            }
        });
    }
}

#[derive(Deserialize)]
struct Weasel {
    content: Vec<ContentRow>,
    command: Vec<CommandRow>,
    env: Vec<EnvRow>,
    files: Vec<Entry>,
}

#[test]
fn more_of_weasels() {
    let vectors: Weasel = serde_json::from_str(include_str!("../vectors/weasel.json")).unwrap();
    check_content(vectors.content);
    check_commands(&vectors.files, &vectors.command);
    check_envs(&envs().process_environment, &vectors.env);
}

//! The grammar of configuration files.
//!
//! The code reads the tables without a derived deserializer, so that each error names the line, the whole key
//! and the expected value.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::error::{Error, Result};
use crate::layer::{FileKind, Layer, MAX_JOBS, stall_timeout};
use crate::origin::{FilePlace, Origin};
use crate::remote::{OptionValue, RemoteDefinition, RemoteOption};
use crate::setting::Setting;

/// The keys at the top of a file. A remote cannot have one of these names, because a setting placed below
/// `[remotes]` would be read as a remote.
const SETTINGS: [&str; 8] = [
    "hash",
    "compression",
    "jobs",
    "stall_timeout",
    "run_lookup_timeout",
    "record_identity",
    "stat_cache",
    "remotes",
];
/// The options of remotes of all kinds. No remote has such a name either.
const OPTIONS: [&str; 11] = [
    "url",
    "endpoint",
    "grpc_endpoint",
    "region",
    "profile",
    "anonymous",
    "force_path_style",
    "storage_class",
    "sse",
    "sse_kms_key_id",
    "request_payer",
];
const KEYS: &str = "known are `hash`, `compression`, `jobs`, `stall_timeout`, `run_lookup_timeout`, `record_identity`, `stat_cache` and `[remotes]`";

pub(crate) fn parse(text: &str, path: &Path, kind: FileKind) -> Result<Layer> {
    let document = ConfigDocument { text, path, kind };
    let table = DeTable::parse(text).map_err(|error| {
        // An error at the end of the text may have no span. It then belongs to the last line.
        let place = document.place(&error.span().unwrap_or(text.len()..text.len()));
        Error::Syntax { place, problem: error.message().replace('\n', ", ") }
    })?;
    document.layer(table.get_ref())
}

struct ConfigDocument<'a> {
    text: &'a str,
    path: &'a Path,
    kind: FileKind,
}

type TomlName<'a> = Spanned<DeString<'a>>;
type TomlValue<'a> = Spanned<DeValue<'a>>;

impl ConfigDocument<'_> {
    fn layer(&self, table: &DeTable<'_>) -> Result<Layer> {
        let mut layer = Layer { file: Some(self.path.to_owned()), ..Layer::default() };
        for (name, value) in table {
            match name.get_ref().as_ref() {
                key @ "hash" => layer.hash = Some(self.text(key, value)?),
                key @ "compression" => layer.compression = Some(self.text(key, value)?),
                "jobs" => layer.jobs = Some(self.jobs(value)?),
                key @ "stall_timeout" => layer.stall_timeout = Some(self.seconds(key, value)?),
                key @ "run_lookup_timeout" => layer.run_lookup_timeout = Some(self.seconds(key, value)?),
                key @ "record_identity" => layer.record_identity = Some(self.boolean(key, value)?),
                key @ "stat_cache" => layer.stat_cache = Some(self.boolean(key, value)?),
                "remotes" => layer.remotes = self.remotes(value)?,
                key => {
                    return Err(Error::UnknownKey {
                        place: self.place(&name.span()),
                        key: key.to_owned(),
                        expected: KEYS,
                    });
                }
            }
        }
        Ok(layer)
    }

    fn jobs(&self, value: &TomlValue<'_>) -> Result<Setting<NonZeroUsize>> {
        let jobs = match value.get_ref() {
            DeValue::Integer(integer) => usize::from_str_radix(integer.as_str(), integer.radix()).ok(),
            _ => None,
        };
        match jobs.filter(|jobs| *jobs <= MAX_JOBS).and_then(NonZeroUsize::new) {
            Some(jobs) => Ok(self.setting(value, jobs)),
            None => Err(self.wrong("jobs", value, &format!("must be a whole number from 1 to {MAX_JOBS}"))),
        }
    }

    fn boolean(&self, key: &str, value: &TomlValue<'_>) -> Result<Setting<bool>> {
        match OptionValue::from_toml(value.get_ref()) {
            Some(OptionValue::Bool(boolean)) => Ok(self.setting(value, boolean)),
            _ => Err(self.wrong(key, value, "must be true or false")),
        }
    }

    fn seconds(&self, key: &str, value: &TomlValue<'_>) -> Result<Setting<std::time::Duration>> {
        let seconds = match OptionValue::from_toml(value.get_ref()) {
            // Numbers above 2^53 lose their last digits, but no timeout is that long.
            #[expect(clippy::cast_precision_loss, reason = "see above")]
            Some(OptionValue::Integer(integer)) => Some(integer as f64),
            Some(OptionValue::Float(float)) => Some(float),
            _ => None,
        };
        match seconds.and_then(stall_timeout) {
            Some(timeout) => Ok(self.setting(value, timeout)),
            None => Err(self.wrong(key, value, "must be a number of seconds above 0")),
        }
    }

    fn remotes(&self, value: &TomlValue<'_>) -> Result<BTreeMap<String, RemoteDefinition>> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.wrong("remotes", value, "must be a table of names with their URLs"));
        };
        table
            .iter()
            .map(|(name, value)| Ok((name.get_ref().to_string(), self.remote(name, value)?)))
            .collect()
    }

    fn remote(&self, name: &TomlName<'_>, value: &TomlValue<'_>) -> Result<RemoteDefinition> {
        let key = format!("remotes.{}", name.get_ref());
        if SETTINGS.contains(&name.get_ref().as_ref()) {
            let problem = "is a setting, not a remote: write it above `[remotes]`";
            return Err(self.wrong(&key, name, problem));
        }
        if OPTIONS.contains(&name.get_ref().as_ref()) && !matches!(value.get_ref(), DeValue::Table(_)) {
            let problem =
                "is an option, not a remote: write it below `[remotes.NAME]`, with a name of your choice";
            return Err(self.wrong(&key, name, problem));
        }
        if name.get_ref().is_empty() || name.get_ref().contains(['/', '\\']) {
            return Err(self.wrong(
                &key,
                name,
                "is no name of a remote: it is not empty, and has no `/` or `\\`",
            ));
        }
        let table = match value.get_ref() {
            DeValue::String(_) => {
                return Ok(RemoteDefinition { target: self.text(&key, value)?, options: Vec::new() });
            }
            DeValue::Table(table) => table,
            _ => {
                return Err(self.wrong(
                    &key,
                    value,
                    "must be a URL or a path in quotes, or a table with `url`",
                ));
            }
        };
        let Some(url) = table.get("url") else {
            return Err(self.wrong(&key, name, "has no `url`"));
        };
        // The parser sorts by name. Errors and messages follow the order of the file.
        let mut options: Vec<(&TomlName<'_>, &TomlValue<'_>)> =
            table.iter().filter(|(name, _)| name.get_ref() != "url").collect();
        options.sort_by_key(|(name, _)| name.span().start);
        let options =
            options.into_iter().map(|(name, value)| self.option(&key, name, value)).collect::<Result<_>>()?;
        Ok(RemoteDefinition { target: self.text(&format!("{key}.url"), url)?, options })
    }

    fn option(&self, table: &str, name: &TomlName<'_>, value: &TomlValue<'_>) -> Result<RemoteOption> {
        if SETTINGS.contains(&name.get_ref().as_ref()) {
            let problem = "is a setting, not an option of a remote: write it above `[remotes]`";
            return Err(self.wrong(&format!("{table}.{}", name.get_ref()), name, problem));
        }
        let name = name.get_ref();
        match OptionValue::from_toml(value.get_ref()) {
            Some(option) => {
                Ok(RemoteOption { name: name.to_string(), value: option, origin: self.origin(value) })
            }
            None => {
                Err(self.wrong(&format!("{table}.{name}"), value, "must be a text, a number, true or false"))
            }
        }
    }

    fn text(&self, key: &str, value: &TomlValue<'_>) -> Result<Setting<String>> {
        match value.get_ref() {
            DeValue::String(text) if !text.is_empty() => Ok(self.setting(value, text.to_string())),
            DeValue::String(_) => Err(self.wrong(key, value, "must not be empty")),
            _ => Err(self.wrong(key, value, "must be a text in quotes")),
        }
    }

    fn setting<T>(&self, value: &TomlValue<'_>, parsed: T) -> Setting<T> {
        Setting { value: parsed, origin: self.origin(value) }
    }

    fn origin(&self, value: &TomlValue<'_>) -> Origin {
        self.kind.origin(self.place(&value.span()))
    }

    fn place(&self, span: &Range<usize>) -> FilePlace {
        let before = self.text.as_bytes().iter().take(span.start);
        FilePlace { path: self.path.to_owned(), line: 1 + before.filter(|byte| **byte == b'\n').count() }
    }

    /// Returns an error that does not contain the value, which may be a misplaced secret.
    fn wrong<T>(&self, key: &str, spanned: &Spanned<T>, problem: &str) -> Error {
        Error::Value { place: self.place(&spanned.span()), key: key.to_owned(), problem: problem.to_owned() }
    }
}

impl OptionValue {
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        match value {
            DeValue::String(text) => Some(Self::Text(text.to_string())),
            DeValue::Boolean(bool) => Some(Self::Bool(*bool)),
            DeValue::Integer(integer) => {
                i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(Self::Integer)
            }
            DeValue::Float(float) => float.as_str().parse().ok().map(Self::Float),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn project(text: &str) -> Result<Layer> {
        parse(text, Path::new("larder.toml"), FileKind::Project)
    }

    fn at_line(line: usize) -> Origin {
        Origin::ProjectFile(FilePlace { path: "larder.toml".into(), line })
    }

    #[test]
    fn every_key_is_read_with_its_line() {
        let layer = project(
            "hash = 'sha256'\ncompression = \"zstd:19\"\n\njobs = 0x10\nstall_timeout = 1.5\n\n[remotes]\nmine = './store'\n",
        )
        .unwrap();
        assert_eq!(layer.hash, Some(Setting { value: "sha256".into(), origin: at_line(1) }));
        assert_eq!(layer.compression, Some(Setting { value: "zstd:19".into(), origin: at_line(2) }));
        assert_eq!(layer.jobs, Some(Setting { value: NonZeroUsize::new(16).unwrap(), origin: at_line(4) }));
        assert_eq!(
            layer.stall_timeout,
            Some(Setting { value: Duration::from_millis(1500), origin: at_line(5) })
        );
        assert_eq!(layer.remotes["mine"].target, Setting { value: "./store".into(), origin: at_line(8) });
    }

    #[test]
    fn the_options_of_a_remote_keep_their_order_and_types() {
        let layer = project(
            "[remotes.team]\nurl = 's3://bucket/p'\nregion = 'eu'\nforce_path_style = true\nport = 9000\nratio = 0.5\n",
        )
        .unwrap();
        let option =
            |name: &str, value, line| RemoteOption { name: name.into(), value, origin: at_line(line) };
        assert_eq!(
            layer.remotes["team"].options,
            [
                option("region", OptionValue::Text("eu".into()), 3),
                option("force_path_style", OptionValue::Bool(true), 4),
                option("port", OptionValue::Integer(9000), 5),
                option("ratio", OptionValue::Float(0.5), 6),
            ]
        );
    }

    #[test]
    fn an_empty_file_says_nothing() {
        assert_eq!(
            project("# nothing\n").unwrap(),
            Layer { file: Some("larder.toml".into()), ..Layer::default() }
        );
    }

    #[test]
    fn errors_are_one_sentence_with_file_line_and_key() {
        let rows = [
            (
                "jobs = 4\nhahs = 'x'\n",
                "larder.toml:2: unknown key `hahs`: known are `hash`, `compression`, `jobs`, `stall_timeout`, `run_lookup_timeout`, `record_identity`, `stat_cache` and `[remotes]`",
            ),
            ("jobs = 0\n", "larder.toml:1: `jobs` must be a whole number from 1 to 1024"),
            ("jobs = 1025\n", "larder.toml:1: `jobs` must be a whole number from 1 to 1024"),
            ("\njobs = '4'\n", "larder.toml:2: `jobs` must be a whole number from 1 to 1024"),
            ("record_identity = 1\n", "larder.toml:1: `record_identity` must be true or false"),
            ("stat_cache = 'off'\n", "larder.toml:1: `stat_cache` must be true or false"),
            (
                "run_lookup_timeout = 0\n",
                "larder.toml:1: `run_lookup_timeout` must be a number of seconds above 0",
            ),
            ("stall_timeout = 0\n", "larder.toml:1: `stall_timeout` must be a number of seconds above 0"),
            ("stall_timeout = -1.5\n", "larder.toml:1: `stall_timeout` must be a number of seconds above 0"),
            ("stall_timeout = nan\n", "larder.toml:1: `stall_timeout` must be a number of seconds above 0"),
            ("stall_timeout = inf\n", "larder.toml:1: `stall_timeout` must be a number of seconds above 0"),
            ("hash = 5\n", "larder.toml:1: `hash` must be a text in quotes"),
            ("remotes = 'x'\n", "larder.toml:1: `remotes` must be a table of names with their URLs"),
            (
                "[remotes]\na = 5\n",
                "larder.toml:2: `remotes.a` must be a URL or a path in quotes, or a table with `url`",
            ),
            ("[remotes]\na = ''\n", "larder.toml:2: `remotes.a` must not be empty"),
            (
                "[remotes]\n'a/b' = 'x'\n",
                "larder.toml:2: `remotes.a/b` is no name of a remote: it is not empty, and has no `/` or `\\`",
            ),
            (
                "[remotes]\na = '/a'\ncompression = 'none'\n",
                "larder.toml:3: `remotes.compression` is a setting, not a remote: write it above `[remotes]`",
            ),
            (
                "[remotes.a]\nurl = '/a'\njobs = 4\n",
                "larder.toml:3: `remotes.a.jobs` is a setting, not an option of a remote: write it above `[remotes]`",
            ),
            (
                "[remotes]\nurl = '../store'\n",
                "larder.toml:2: `remotes.url` is an option, not a remote: write it below `[remotes.NAME]`, with a name of your choice",
            ),
            (
                "[remotes]\na = 's3://b'\nregion = 'eu'\n",
                "larder.toml:3: `remotes.region` is an option, not a remote: write it below `[remotes.NAME]`, with a name of your choice",
            ),
            ("\n[remotes.a]\nregion = 'eu'\n", "larder.toml:2: `remotes.a` has no `url`"),
            (
                "[remotes.a]\nurl = 's3://b'\nx = ['secret']\n",
                "larder.toml:3: `remotes.a.x` must be a text, a number, true or false",
            ),
        ];
        for (text, expected) in rows {
            assert_eq!(project(text).unwrap_err().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_toml_is_shown_with_its_line() {
        for (text, line) in
            [("jobs = 4\nhash = \n", 2), ("[remotes\n", 1), ("a = 1\na = 2\n", 2), ("a = 1\n\nb", 3)]
        {
            let message = project(text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("larder.toml:{line}: not valid TOML: ")), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }
}

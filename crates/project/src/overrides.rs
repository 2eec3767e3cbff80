//! Overrides of a project's variables: arguments such as `--vars.seed 3`, and the variable `WEASEL_CONFIG_OVERRIDES`.

use indexmap::IndexMap;

use crate::error::{Error, Result};
use crate::json::{self, Dialect};
use crate::value::Value;

/// The environment variable with more overrides.
pub const OVERRIDES_VARIABLE: &str = "WEASEL_CONFIG_OVERRIDES";

/// Values that replace those of a project, by path (`vars.seed`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides(IndexMap<String, Value>);

impl Overrides {
    /// Parses arguments (`--vars.seed 3`, `--vars.seed=3`) and the text of [`OVERRIDES_VARIABLE`], which
    /// takes precedence. An argument without a value is `true`. A value that is not JSON is text.
    ///
    /// # Errors
    ///
    /// An argument does not begin with `--`, or has no dot.
    ///
    /// ```
    /// use larder_project::Overrides;
    ///
    /// let overrides = Overrides::parse(["--vars.seed", "3", "--vars.fast"], Some("--vars.seed=4"))?;
    /// assert_eq!(overrides.to_string(), "--vars.seed=4 --vars.fast=true");
    /// # Ok::<(), larder_project::Error>(())
    /// ```
    pub fn parse<'a>(
        arguments: impl IntoIterator<Item = &'a str>,
        environment: Option<&str>,
    ) -> Result<Self> {
        let mut overrides = read(arguments.into_iter().map(ToOwned::to_owned), "the arguments")?;
        let words = split(environment.unwrap_or_default());
        for (path, value) in read(words.into_iter(), OVERRIDES_VARIABLE)? {
            overrides.insert(path, value);
        }
        Ok(Self(overrides))
    }

    /// Returns whether there are no overrides.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(path, value)| (path.as_str(), value))
    }
}

impl std::fmt::Display for Overrides {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (path, value)) in self.iter().enumerate() {
            let separator = if index > 0 { " " } else { "" };
            write!(f, "{separator}--{path}={}", value.to_json())?;
        }
        Ok(())
    }
}

fn read(words: impl Iterator<Item = String>, origin: &'static str) -> Result<IndexMap<String, Value>> {
    let refused = |word: &str, problem: &str| {
        Err(Error::Override { origin, word: word.to_owned(), problem: problem.to_owned() })
    };
    let mut overrides = IndexMap::new();
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        if !word.starts_with("--") {
            return refused(&word, "it begins with `--`");
        }
        // Like weasel, this removes `--` at any position.
        let option = word.replace("--", "");
        if !option.contains('.') {
            return refused(&word, "it names a section and a key, with a dot between them");
        }
        let (path, value) = if let Some((path, value)) = option.split_once('=') {
            (path.replace('-', "_"), value.to_owned())
        } else {
            let value = words.next_if(|next| !next.starts_with("--"));
            (option, value.unwrap_or_else(|| "true".to_owned()))
        };
        match value_of(&value) {
            Ok(value) => overrides.insert(path, value),
            Err(problem) => return refused(&word, &format!("its value {problem}")),
        };
    }
    Ok(overrides)
}

/// Parses a text from an argument or the environment. It is JSON if srsly accepts it, and plain text
/// otherwise.
pub(crate) fn value_of(text: &str) -> Result<Value, &'static str> {
    match json::parse(text, Dialect::Ujson) {
        Ok(value) => Ok(value),
        Err(json::JsonFault::Syntax) => Ok(Value::Text(text.to_owned())),
        Err(json::JsonFault::Refused(problem)) => Err(problem),
    }
}

/// Splits a text into words as a shell does. An unclosed quote extends to the end of the text.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), other) if other == open => quote = None,
            (Some('"'), '\\') => match characters.next() {
                Some(escaped @ ('"' | '\\')) => word.get_or_insert_default().push(escaped),
                Some(other) => word.get_or_insert_default().extend(['\\', other]),
                None => break,
            },
            (None, '\\') => match characters.next() {
                Some(escaped) => word.get_or_insert_default().push(escaped),
                None => break,
            },
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, ' ' | '\t' | '\r' | '\n') => words.extend(word.take()),
            (_, other) => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(arguments: &[&str], environment: &str) -> String {
        match Overrides::parse(arguments.iter().copied(), Some(environment)) {
            Ok(overrides) => overrides.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn both_spellings_and_the_environment_before_arguments() {
        assert_eq!(shown(&["--vars.a", "1", "--vars.b=x=y"], ""), "--vars.a=1 --vars.b=\"x=y\"");
        assert_eq!(shown(&["--vars.a", "--vars.b", "-1"], ""), "--vars.a=true --vars.b=-1");
        assert_eq!(shown(&["--vars.a-b=1", "--vars.a-b", "2"], ""), "--vars.a_b=1 --vars.a-b=2");
        assert_eq!(
            shown(&["--vars.a", "1"], "--vars.a '2 x' --vars.c=\"[1, \\\"y\\\"]\" --vars.d un\\ ended\\"),
            "--vars.a=\"2 x\" --vars.c=[1, \"y\"] --vars.d=\"un ended\""
        );
    }

    #[test]
    fn what_is_no_override_is_refused() {
        for (words, problem) in [(["vars.a", "1"], "begins with"), (["--vars", "1"], "a dot between")] {
            let said = shown(&words, "");
            assert!(said.contains(words[0]) && said.contains(problem), "{said}");
            assert!(shown(&[], &words.join(" ")).contains(OVERRIDES_VARIABLE));
        }
    }
}

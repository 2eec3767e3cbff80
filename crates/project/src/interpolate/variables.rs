//! Replaces variables with their values.

use indexmap::IndexMap;

use super::fault::VariableFault;
use super::sections::Sections;
use crate::json::{self, Dialect};
use crate::value::Value;

/// The text that stands for a whole section until all sections are known.
pub(super) const SECTION: &str = "__SECTION__:";

/// The maximum length of a chain of variables.
const MAX_DEPTH: usize = 10;

/// The maximum size of the text that variables produce, in bytes. Each step of a chain can double it.
const MAX_TEXT: usize = 16 << 20;

/// Interpolates the texts of all sections.
pub(super) struct Interpolation<'a> {
    sections: &'a Sections,
    /// The text produced so far, in bytes.
    made: usize,
    /// The first variable whose value is not valid inside a JSON string.
    pub(super) breaking: Option<String>,
}

/// A piece of a text: literal text, or the value of a variable.
struct Piece {
    text: String,
    variable: Option<String>,
}

impl<'a> Interpolation<'a> {
    pub(super) fn new(sections: &'a Sections) -> Self {
        Self { sections, made: 0, breaking: None }
    }

    /// Returns the text of a key with its variables replaced. If the text is a single variable, the result is
    /// the JSON of its value. Otherwise the JSON of each value is converted to text.
    pub(super) fn get(&mut self, section: &str, key: &str) -> Result<String, VariableFault> {
        let Some(text) = self.sections.get(section).and_then(|keys| keys.get(key)) else {
            return Ok(String::new());
        };
        let mut pieces = Vec::new();
        self.expand(section, key, text, None, 1, &mut pieces)?;
        if pieces.len() == 1 {
            return Ok(pieces.remove(0).text);
        }
        let mut joined = String::new();
        for piece in pieces {
            let text = as_text(piece.text)?;
            if let Some(variable) = piece.variable
                && self.breaking.is_none()
                && json::parse(&format!("\"{text}\""), Dialect::Python).is_err()
            {
                self.breaking = Some(variable);
            }
            joined.push_str(&text);
        }
        Ok(joined)
    }

    fn expand(
        &mut self,
        section: &str,
        key: &str,
        text: &str,
        variable: Option<&str>,
        depth: usize,
        pieces: &mut Vec<Piece>,
    ) -> Result<(), VariableFault> {
        let named = || variable.unwrap_or(key).to_owned();
        if depth > MAX_DEPTH {
            let problem = format!("leads through more than {MAX_DEPTH} variables, or back to itself");
            return Err(VariableFault::variable(named(), problem));
        }
        let own = self.sections.get(section).and_then(|keys| keys.get(key)).map_or(text, String::as_str);
        let mut rest = text;
        while let Some(start) = rest.find('$') {
            if start > 0 {
                self.push(&rest[..start], variable, pieces)?;
            }
            rest = &rest[start..];
            if let Some(behind) = rest.strip_prefix("$$") {
                self.push("$", variable, pieces)?;
                rest = behind;
                continue;
            }
            let name_of = |rest: &'_ str| -> Option<usize> {
                rest.strip_prefix("${")?.find('}').filter(|len| *len > 0)
            };
            let Some(len) = name_of(rest) else {
                let shown: String = rest.chars().take(20).collect();
                return Err(VariableFault::variable(
                    shown,
                    "is no variable: one is written `${section.key}`",
                ));
            };
            let name = &rest[2..2 + len];
            rest = &rest[len + 3..];
            self.expand_variable(section, own, name, variable.unwrap_or(name), depth, pieces)?;
        }
        if !rest.is_empty() {
            self.push(rest, variable, pieces)?;
        }
        Ok(())
    }

    /// Appends the value of one variable. `outermost` is the variable of the original text that led to this
    /// one.
    fn expand_variable(
        &mut self,
        section: &str,
        own: &str,
        name: &str,
        outermost: &str,
        depth: usize,
        pieces: &mut Vec<Piece>,
    ) -> Result<(), VariableFault> {
        let dotted = name.replace(':', ".");
        let missing = || VariableFault::variable(name.to_owned(), "is not defined");
        let sections = self.sections;
        let (of_section, key, value) = match dotted.rsplit_once('.') {
            // A key of the same section. A key that refers to itself means the section of that name.
            None => match sections.get(section).and_then(|keys| keys.get(&dotted)) {
                Some(value) if value.trim() != own.trim() => (section, dotted.as_str(), value.clone()),
                _ if sections.contains_key(&dotted) => (section, dotted.as_str(), section_mark(&dotted)),
                _ => return Err(missing()),
            },
            Some((of_section, key)) => {
                let value = sections.get(of_section).and_then(|keys: &IndexMap<_, _>| keys.get(key));
                match value {
                    Some(value) => (of_section, key, value.clone()),
                    None if sections.contains_key(&dotted) => (of_section, key, section_mark(&dotted)),
                    None => return Err(missing()),
                }
            }
        };
        if value.contains('$') {
            self.expand(of_section, key, &value, Some(outermost), depth + 1, pieces)
        } else {
            self.push(&value, Some(outermost), pieces)
        }
    }

    fn push(
        &mut self,
        text: &str,
        variable: Option<&str>,
        pieces: &mut Vec<Piece>,
    ) -> Result<(), VariableFault> {
        self.made = self.made.saturating_add(text.len() + 1);
        if self.made > MAX_TEXT {
            let name = variable.unwrap_or("the project").to_owned();
            return Err(VariableFault::variable(name, "makes the project too large"));
        }
        pieces.push(Piece { text: text.to_owned(), variable: variable.map(ToOwned::to_owned) });
        Ok(())
    }
}

fn section_mark(name: &str) -> String {
    format!("\"{SECTION}{name}\"")
}

/// Converts a piece for use inside a text. JSON strings lose their quotes. Other JSON is serialized with its
/// quotes escaped.
fn as_text(piece: String) -> Result<String, VariableFault> {
    if piece.contains(SECTION) {
        return Ok(piece);
    }
    match json::parse(&piece, Dialect::Python) {
        Ok(Value::Text(text)) => Ok(text),
        Ok(value) => Ok(value.to_json().replace('"', "\\\"")),
        Err(json::JsonFault::Syntax) => Ok(piece),
        Err(json::JsonFault::Refused(problem)) => Err(VariableFault::other(format!("a value {problem}"))),
    }
}

//! Replaces variables as weasel does. Weasel passes the project through a confection configuration up to
//! three times.
//!
//! Each pass writes sections of keys and JSON texts, reads them again, and replaces variables inside the JSON
//! text. A value may therefore change the type of the text around it, or break its quotes. If weasel cannot
//! use the result, the error names the variable.

mod fault;
mod sections;
mod variables;

use crate::json::{self, Dialect};
use crate::overrides::Overrides;
use crate::value::{Map, Value};
pub(crate) use fault::VariableFault;
use sections::Sections;
use variables::{Interpolation, SECTION};

/// The maximum depth of nested sections, and the maximum number of values that they expand to.
const MAX_SECTIONS: usize = 64;
const MAX_VALUES: usize = 100_000;

/// An interpolated project.
#[derive(Debug)]
pub(crate) struct Interpolated {
    pub(crate) project: Map,
    /// The variable that most likely broke the project, if it is broken.
    pub(crate) breaking: Option<String>,
}

/// Replaces the variables of a project. `environment` looks up the environment variables that the project's
/// `env` names.
pub(crate) fn interpolate(
    mut project: Map,
    overrides: &Overrides,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Interpolated, VariableFault> {
    for name in ["vars", "env"] {
        project.entry(name.to_owned()).or_insert_with(|| Value::Map(Map::new()));
    }
    if let Some(Value::Map(variables)) = project.get_mut("env") {
        for (name, value) in variables {
            let Value::Text(of_process) = &*value else {
                return Err(VariableFault::variable(
                    format!("env.{name}"),
                    "must be the name of a variable of the environment, as a text",
                ));
            };
            *value = crate::overrides::value_of(&environment(of_process).unwrap_or_default())
                .map_err(|problem| VariableFault::variable(format!("env.{name}"), problem))?;
        }
    }
    let copy = |name: &str| (name.to_owned(), project.get(name).cloned().unwrap_or(Value::Null));
    let (vars, env) = (copy("vars"), copy("env"));
    let mut config = Map::from_iter([("project".to_owned(), Value::Map(project)), vars, env]);

    let mut breaking = None;
    let none = Overrides::default();
    if !overrides.is_empty() {
        // Like weasel's `run`, this pass replaces nothing, not even `$$` with `$`.
        config = pass(&config, overrides, &mut breaking)?;
    }
    config = pass(&config, &none, &mut breaking)?;
    config = pass(&config, &none, &mut breaking)?;
    match config.swap_remove("project") {
        Some(Value::Map(project)) => Ok(Interpolated { project, breaking }),
        _ => Err(VariableFault::other("the section `project` is gone")),
    }
}

/// Writes a configuration and reads it again.
fn pass(config: &Map, overrides: &Overrides, breaking: &mut Option<String>) -> Result<Map, VariableFault> {
    let written = sections::serialize(config).map_err(VariableFault::other)?;
    let sections = sections::through_a_file(&written).map_err(VariableFault::other)?;
    sections::check(&sections).map_err(VariableFault::other)?;
    if let Some((path, _)) = overrides
        .iter()
        .find(|(path, _)| path.rsplit_once('.').is_none_or(|(section, _)| !sections.contains_key(section)))
    {
        return Err(VariableFault::variable(
            path.to_owned(),
            "is overridden, and its section does not exist",
        ));
    }
    let mut config = skeleton(&sections);
    let mut interpolation = Interpolation::new(&sections);
    // Outer sections come before inner ones, as in weasel, so that the first fault is the one weasel reports.
    let mut by_depth: Vec<&String> = sections.keys().collect();
    by_depth.sort_by_key(|name| name.matches('.').count());
    for section in by_depth {
        for (key, text) in &sections[section] {
            let text = if overrides.is_empty() { interpolation.get(section, key)? } else { text.clone() };
            let value = interpret(text)?;
            if let Some(map) = section_mut(&mut config, section) {
                map.insert(key.clone(), value);
            }
        }
    }
    if breaking.is_none() {
        *breaking = interpolation.breaking;
    }
    for (path, value) in overrides.iter() {
        if let Some((section, key)) = path.rsplit_once('.')
            && let Some(map) = section_mut(&mut config, section)
        {
            map.insert(key.to_owned(), value.clone());
        }
    }
    Replacement { root: &config, path: Vec::new(), made: 0 }.map(&config)
}

/// Returns the empty nested mappings that the section names describe.
fn skeleton(sections: &Sections) -> Map {
    let mut root = Map::new();
    for name in sections.keys() {
        let mut map = &mut root;
        for part in name.split('.') {
            let entry = map.entry(part.to_owned()).or_insert_with(|| Value::Map(Map::new()));
            let Value::Map(inner) = entry else { break };
            map = inner;
        }
    }
    root
}

fn section_mut<'a>(root: &'a mut Map, section: &str) -> Option<&'a mut Map> {
    section.split('.').try_fold(root, |map, part| match map.get_mut(part)? {
        Value::Map(map) => Some(map),
        _ => None,
    })
}

fn section<'a>(root: &'a Map, path: &str) -> Option<&'a Value> {
    let mut parts = path.split('.');
    let first = root.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.as_map()?.get(part))
}

/// Parses a text if it is JSON. A text that still has a variable stays unchanged.
fn interpret(text: String) -> Result<Value, VariableFault> {
    let value = match json::parse(&text, Dialect::Python) {
        Ok(value) => value,
        Err(json::JsonFault::Refused(problem)) => {
            return Err(VariableFault::other(format!("a value {problem}")));
        }
        Err(json::JsonFault::Syntax) => match text.as_str() {
            "True" => Value::Bool(true),
            "False" => Value::Bool(false),
            "None" => Value::Null,
            _ => return Ok(Value::Text(text)),
        },
    };
    Ok(if matches!(value, Value::Text(_)) && sections::has_variable(&text) {
        Value::Text(text)
    } else {
        value
    })
}

/// Replaces the marks of sections with the sections.
struct Replacement<'a> {
    root: &'a Map,
    /// The keys that lead to the current value, and the names of the sections that it was copied from.
    path: Vec<String>,
    /// The number of values produced so far. Each level of nested sections can double it.
    made: usize,
}

impl Replacement<'_> {
    fn map(&mut self, map: &Map) -> Result<Map, VariableFault> {
        let mut replaced = Map::new();
        for (key, value) in map {
            self.path.push(key.clone());
            let value = match value {
                Value::Map(map) => Value::Map(self.map(map)?),
                Value::List(items) => {
                    Value::List(items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?)
                }
                value => self.value(value)?,
            };
            self.path.pop();
            replaced.insert(key.clone(), value);
        }
        Ok(replaced)
    }

    fn value(&mut self, value: &Value) -> Result<Value, VariableFault> {
        self.made += 1;
        let Some(text) = value.as_text().filter(|text| text.contains(SECTION) && *text != SECTION) else {
            return Ok(value.clone());
        };
        let Some(name) = text.strip_prefix(SECTION) else {
            let name = text.split(SECTION).nth(1).unwrap_or_default();
            let name = name.split('"').next().unwrap_or_default();
            return Err(VariableFault::variable(
                name.to_owned(),
                "is a whole section, which cannot stand inside of a text or list",
            ));
        };
        let place = self.path.join(".");
        // Weasel would loop forever.
        let is_inside = format!("{place}.").starts_with(&format!("{name}."));
        if is_inside || self.path.len() > MAX_SECTIONS || self.made > MAX_VALUES {
            let problem = "is a section that would stand inside of itself, or make the project too large";
            return Err(VariableFault::variable(name.to_owned(), problem));
        }
        match section(self.root, name) {
            Some(Value::Map(map)) => {
                self.path.push(name.to_owned());
                let inner = self.map(map)?;
                self.path.pop();
                Ok(Value::Map(inner))
            }
            Some(value) => Ok(value.clone()),
            None => Err(VariableFault::variable(name.to_owned(), "is not defined")),
        }
    }
}

#[cfg(test)]
mod tests;

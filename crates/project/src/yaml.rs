//! YAML as ruamel reads it for weasel: version 1.2, with a few more forms of numbers, merge keys, and no duplicate keys.

mod scalar;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use crate::value::{Map, Value, float_repr};
pub(crate) use scalar::{Scalar, resolve};

/// The maximum nesting depth. It is deeper than any project needs, and does not overflow the stack.
const MAX_DEPTH: usize = 100;

/// The maximum number of values with each alias expanded. Nested aliases grow exponentially.
const MAX_VALUES: usize = 1_000_000;

/// A value, and its line.
#[derive(Debug)]
pub(crate) struct Node {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) data: NodeData,
    /// The number of values it holds, including itself, with each alias expanded.
    values: usize,
    depth: usize,
}

#[derive(Debug)]
pub(crate) enum NodeData {
    Scalar(Scalar),
    List(Vec<Rc<Node>>),
    Map(Vec<(MapKey, Rc<Node>)>),
}

/// The key of a mapping.
#[derive(Clone, Debug)]
pub(crate) struct MapKey {
    pub(crate) line: usize,
    pub(crate) scalar: Scalar,
}

/// Why the text cannot be used, and its line.
#[derive(Debug, PartialEq)]
pub(crate) struct Problem {
    pub(crate) line: usize,
    pub(crate) text: String,
    /// The path of keys to the value, the innermost first.
    pub(crate) keys: Vec<String>,
}

impl Problem {
    pub(crate) fn new(line: usize, text: impl Into<String>) -> Self {
        Self { line, text: text.into(), keys: Vec::new() }
    }

    fn below(mut self, key: &str) -> Self {
        self.keys.push(key.to_owned());
        self
    }
}

type Result<T, E = Problem> = std::result::Result<T, E>;

/// Reads the only document of a text. Returns `None` if it is empty.
pub(crate) fn parse(text: &str) -> Result<Option<Rc<Node>>> {
    // Python converts line breaks in the same way when it reads a file.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    check_characters(&text)?;
    if let Some(index) = text.lines().position(|line| line.starts_with("%YAML") && !line.contains("1.2")) {
        return Err(Problem::new(index + 1, "larder reads YAML 1.2: remove the `%YAML` line"));
    }
    let mut composer = Composer::default();
    let mut last_line = 1;
    for event in Parser::new_from_str(&text) {
        let (event, span) = event.map_err(|error| Problem::new(error.marker().line(), error.info()))?;
        last_line = span.start.line().max(last_line);
        composer.take(event, span.start.line())?;
    }
    match composer.open.pop() {
        Some(open) => Err(Problem::new(open.line, "a list or mapping has no end")),
        None => Ok(composer.root),
    }
}

/// Rejects characters that ruamel rejects, and line breaks that only ruamel recognizes.
fn check_characters(text: &str) -> Result<()> {
    for (index, line) in text.split('\n').enumerate() {
        for character in line.chars() {
            let refused = match character {
                '\t' | '\u{feff}' => false,
                '\u{85}' | '\u{2028}' | '\u{2029}' => true,
                other => other.is_control() || matches!(other, '\u{fffe}' | '\u{ffff}'),
            };
            if refused {
                let shown = character.escape_unicode();
                return Err(Problem::new(
                    index + 1,
                    format!(
                        "the character {shown} cannot stand in YAML as it is: write it in double quotes, escaped"
                    ),
                ));
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Composer {
    open: Vec<OpenCollection>,
    anchors: HashMap<usize, Rc<Node>>,
    documents: usize,
    root: Option<Rc<Node>>,
}

/// A list or mapping that is still open.
struct OpenCollection {
    line: usize,
    anchor: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Rc<Node>>),
    Map { entries: Vec<(MapKey, Rc<Node>)>, key: Option<MapKey>, merges: Vec<(usize, Rc<Node>)> },
}

impl Composer {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<()> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Problem::new(line, "a second document begins: one is read"));
                }
                Ok(())
            }
            Event::Alias(anchor) => {
                // An anchor is known when its value is complete.
                let node = self.anchors.get(&anchor).cloned();
                let node =
                    node.ok_or_else(|| Problem::new(line, "an alias stands inside of what it names"))?;
                self.add(node, line)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = scalar::construct(&text, style == ScalarStyle::Plain, tag_of(tag.as_deref()))
                    .map_err(|problem| Problem::new(line, problem))?;
                let node = Rc::new(Node { line, data: NodeData::Scalar(scalar), values: 1, depth: 1 });
                self.keep(anchor, &node);
                self.add(node, line)
            }
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_deref(), "seq", line)?;
                self.begin(line, anchor, Inside::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_deref(), "map", line)?;
                self.begin(line, anchor, Inside::Map { entries: Vec::new(), key: None, merges: Vec::new() })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn begin(&mut self, line: usize, anchor: usize, inside: Inside) -> Result<()> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Problem::new(line, format!("values are nested deeper than {MAX_DEPTH} levels")));
        }
        self.open.push(OpenCollection { line, anchor, inside });
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let Some(OpenCollection { line, anchor, inside }) = self.open.pop() else {
            return Err(Problem::new(1, "a list or mapping ends that has not begun"));
        };
        let data = match inside {
            Inside::List(items) => NodeData::List(items),
            Inside::Map { entries, merges, .. } => NodeData::Map(merged(entries, &merges)?),
        };
        let children: Vec<&Rc<Node>> = match &data {
            NodeData::Scalar(_) => Vec::new(),
            NodeData::List(items) => items.iter().collect(),
            NodeData::Map(entries) => entries.iter().map(|(_, value)| value).collect(),
        };
        let values = children.iter().fold(1, |sum: usize, child| sum.saturating_add(child.values));
        let depth = 1 + children.iter().map(|child| child.depth).max().unwrap_or_default();
        if values > MAX_VALUES || depth > MAX_DEPTH {
            return Err(Problem::new(line, "with its aliases written out this is too large, or too deep"));
        }
        let node = Rc::new(Node { line, data, values, depth });
        self.keep(anchor, &node);
        self.add(node, line)
    }

    fn keep(&mut self, anchor: usize, node: &Rc<Node>) {
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(node));
        }
    }

    fn add(&mut self, node: Rc<Node>, line: usize) -> Result<()> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.inside {
            Inside::List(items) => items.push(node),
            Inside::Map { entries, key, merges } => match key.take() {
                Some(MapKey { scalar: Scalar::Merge, .. }) => merges.push((line, node)),
                Some(key) => entries.push((key, node)),
                None => match &node.data {
                    NodeData::Scalar(Scalar::Default) => {
                        *key = Some(MapKey { line, scalar: Scalar::Text("=".to_owned()) });
                    }
                    NodeData::Scalar(scalar) => *key = Some(MapKey { line, scalar: scalar.clone() }),
                    _ => return Err(Problem::new(line, "a key must be a text or another single value")),
                },
            },
        }
        Ok(())
    }
}

/// Merges mappings into the entries of a mapping. Merged entries come first, and the mapping's own entries replace them.
/// Without a merge, no key may occur twice.
fn merged(own: Vec<(MapKey, Rc<Node>)>, merges: &[(usize, Rc<Node>)]) -> Result<Vec<(MapKey, Rc<Node>)>> {
    let mut inherited: Vec<(MapKey, Rc<Node>)> = Vec::new();
    for (line, source) in merges {
        if !inherited.is_empty() {
            return Err(Problem::new(*line, "the key `<<` stands twice"));
        }
        let sources = match &source.data {
            // The first of several merged mappings wins.
            NodeData::List(items) => items.iter().rev().collect(),
            _ => vec![source],
        };
        for source in sources {
            let NodeData::Map(entries) = &source.data else {
                return Err(Problem::new(*line, "`<<` takes a mapping, or a list of mappings"));
            };
            inherited.extend(entries.iter().cloned());
        }
    }
    let is_merging = !inherited.is_empty();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut entries: Vec<(MapKey, Rc<Node>)> = Vec::new();
    for (key, value) in inherited.into_iter().chain(own) {
        let name = key.scalar.identity();
        match places.get(&name) {
            None => {
                places.insert(name, entries.len());
                entries.push((key, value));
            }
            Some(_) if !is_merging => {
                return Err(Problem::new(key.line, format!("the key `{}` stands twice", key.scalar)));
            }
            Some(&place) => entries[place].1 = value,
        }
    }
    Ok(entries)
}

/// Returns the tag of a value, without the prefix of YAML's own tags.
fn tag_of(tag: Option<&Tag>) -> Option<String> {
    let tag = tag?;
    Some(if tag.is_yaml_core_schema() {
        tag.suffix.clone()
    } else if matches!((tag.handle.as_str(), tag.suffix.as_str()), ("", "!") | ("!", "")) {
        "!".to_owned()
    } else {
        format!("{}{}", tag.handle, tag.suffix)
    })
}

fn check_tag(tag: Option<&Tag>, own: &str, line: usize) -> Result<()> {
    match tag_of(tag) {
        Some(tag) if tag != own && tag != "!" => {
            Err(Problem::new(line, format!("the tag `{tag}` has no meaning here")))
        }
        _ => Ok(()),
    }
}

impl Node {
    /// Returns the string, if it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.data {
            NodeData::Scalar(Scalar::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.data, NodeData::Scalar(Scalar::Null))
    }

    /// Returns the value of a key, if this is a mapping that has it.
    pub(crate) fn get(&self, name: &str) -> Option<&Rc<Self>> {
        let NodeData::Map(entries) = &self.data else { return None };
        entries
            .iter()
            .find(|(key, _)| matches!(&key.scalar, Scalar::Text(text) if text == name))
            .map(|(_, value)| value)
    }

    /// Returns its type with an article, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.data {
            NodeData::Scalar(scalar) => scalar.kind(),
            NodeData::List(_) => "a list",
            NodeData::Map(_) => "a mapping",
        }
    }

    /// Returns the value. Inside a list, keys become strings, because Python writes lists as JSON. Elsewhere
    /// a key must be a string.
    pub(crate) fn to_value(&self, is_in_list: bool) -> Result<Value> {
        Ok(match &self.data {
            NodeData::Scalar(scalar) => scalar.to_value().ok_or_else(|| {
                Problem::new(
                    self.line,
                    format!("is {}, which weasel cannot use: put it in quotes", scalar.kind()),
                )
            })?,
            NodeData::List(items) => {
                Value::List(items.iter().map(|item| item.to_value(true)).collect::<Result<_>>()?)
            }
            NodeData::Map(entries) => {
                let mut map = Map::new();
                for (key, value) in entries {
                    let name = match &key.scalar {
                        Scalar::Text(text) => text.clone(),
                        Scalar::Null if is_in_list => "null".to_owned(),
                        Scalar::Bool(value) if is_in_list => value.to_string(),
                        Scalar::Int(digits) if is_in_list => digits.clone(),
                        Scalar::Float(value) if is_in_list => Value::Float(*value).to_json(),
                        other => {
                            let problem =
                                format!("has the key `{other}`, which must be a text: put it in quotes");
                            return Err(Problem::new(key.line, problem));
                        }
                    };
                    let value = value.to_value(is_in_list).map_err(|problem| problem.below(&name))?;
                    map.insert(name, value);
                }
                Value::Map(map)
            }
        })
    }

    /// Calls `visit` for each string in it, with its line and its path of keys.
    pub(crate) fn each_text(&self, path: &mut Vec<String>, visit: &mut dyn FnMut(&str, usize, &[String])) {
        match &self.data {
            NodeData::Scalar(Scalar::Text(text)) => visit(text, self.line, path),
            NodeData::Scalar(_) => {}
            NodeData::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(index.to_string());
                    item.each_text(path, visit);
                    path.pop();
                }
            }
            NodeData::Map(entries) => {
                for (key, value) in entries {
                    path.push(key.scalar.to_string());
                    value.each_text(path, visit);
                    path.pop();
                }
            }
        }
    }
}

/// Returns a name that occurs more than once.
pub(crate) fn repeated<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(text) | Self::Text(text) | Self::Date(text) => f.write_str(text),
            Self::Float(value) => f.write_str(&float_repr(*value)),
            Self::Merge => f.write_str("<<"),
            Self::Default => f.write_str("="),
        }
    }
}

#[cfg(test)]
mod tests;

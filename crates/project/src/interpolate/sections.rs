//! Sections of keys and texts, as in confection's configuration files. Python's `configparser` writes and
//! reads those files. Values that `configparser` does not preserve are not preserved here either.

use indexmap::IndexMap;

use crate::value::{Map, Value};

/// The sections by name. Each section maps keys to texts.
pub(super) type Sections = IndexMap<String, IndexMap<String, String>>;

/// Why Python cannot write or read this project.
pub(super) type UnsupportedText = String;

/// The separators between a key and its text.
const DELIMITERS: [char; 2] = ['=', ':'];

/// Converts nested mappings to sections. Each value becomes JSON, except that a text with a variable stays
/// unchanged.
pub(super) fn serialize(data: &Map) -> Result<Sections, UnsupportedText> {
    let mut sections = Sections::new();
    let mut queue: Vec<(String, &Map)> = vec![(String::new(), data)];
    let mut next = 0;
    while next < queue.len() {
        let (name, map) = queue[next].clone();
        next += 1;
        if next > 1 {
            sections.entry(name.clone()).or_default();
        }
        for (key, value) in map {
            let path = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            match value {
                Value::Map(map) => queue.push((path, map)),
                value => {
                    let text = dump(value);
                    check_dollars(&text, &path)?;
                    sections.entry(name.clone()).or_default().insert(key.clone(), text);
                }
            }
        }
    }
    Ok(sections)
}

fn dump(value: &Value) -> String {
    match value {
        Value::Text(text) if has_variable(text) => text.clone(),
        value => escape_dollars(&value.to_json()),
    }
}

/// Doubles each `$` that does not begin a variable.
fn escape_dollars(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        escaped.push(character);
        if character == '$' && characters.peek() != Some(&'{') {
            escaped.push('$');
        }
    }
    escaped
}

/// Returns whether a text contains a variable of the form `${name}`.
pub(super) fn has_variable(text: &str) -> bool {
    text.match_indices("${").any(|(start, _)| {
        let name = &text[start + 2..];
        let is_in_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | ':');
        let end = name.find(|c| !is_in_name(c));
        end.is_some_and(|end| end > 0 && name[end..].starts_with('}'))
    })
}

/// Rejects a `$` that is not doubled and does not begin a variable.
fn check_dollars(text: &str, path: &str) -> Result<(), UnsupportedText> {
    let mut rest = text.replace("$$", "");
    while let Some(start) = rest.find("${") {
        let Some(len) = rest[start..].find('}').filter(|len| *len > 2) else { break };
        rest.replace_range(start..=start + len, "");
    }
    match rest.find('$') {
        None => Ok(()),
        Some(at) => {
            let shown: String = rest[at..].chars().take(20).collect();
            let place = path.strip_prefix("project.").unwrap_or(path);
            Err(format!(
                "`{shown}` in `{place}` is not closed, or stands beside a variable: weasel takes no `$` there"
            ))
        }
    }
}

/// Writes the sections in the format of a file, and parses the result.
pub(super) fn through_a_file(sections: &Sections) -> Result<Sections, UnsupportedText> {
    let mut text = String::new();
    for (name, keys) in sections {
        text.extend(["[", name, "]\n"]);
        for (key, value) in keys {
            text.extend([key, " = ", &value.replace('\n', "\n\t"), "\n"]);
        }
        text.push('\n');
    }
    read(text.trim())
}

fn read(text: &str) -> Result<Sections, UnsupportedText> {
    let mut sections = Sections::new();
    let mut section: Option<String> = None;
    let mut key: Option<String> = None;
    let mut indent = 0;
    for line in text.split('\n') {
        let trimmed = line.trim();
        let open = section.as_ref().zip(key.as_ref());
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            if let (true, Some((section, key))) = (trimmed.is_empty(), open) {
                sections[section][key].push('\n');
            }
            continue;
        }
        let line_indent = line.chars().take_while(|c| c.is_whitespace()).count();
        if let Some((section, key)) = open
            && line_indent > indent
        {
            let value = &mut sections[section][key];
            value.push('\n');
            value.push_str(trimmed);
            continue;
        }
        indent = line_indent;
        if let Some(name) = header(trimmed) {
            if sections.insert(name.to_owned(), IndexMap::new()).is_some() {
                return Err(format!("the section `{name}` stands twice"));
            }
            section = Some(name.to_owned());
            key = None;
            continue;
        }
        let Some(section) = &section else { return Err(format!("`{trimmed}` stands in no section")) };
        let (name, value) = trimmed
            .split_once(DELIMITERS)
            .map(|(name, value)| (name.trim_end(), value.trim()))
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| format!("`{trimmed}` in `{section}` is not of the form key and value"))?;
        if sections[section].insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(format!("`{name}` stands twice in `{section}`"));
        }
        key = Some(name.to_owned());
    }
    for value in sections.values_mut().flat_map(IndexMap::values_mut) {
        value.truncate(value.trim_end().len());
    }
    Ok(sections)
}

/// Returns the name in a line `[name]`. Any text may follow the last bracket.
fn header(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('[')?;
    rest.rfind(']').filter(|end| *end > 0).map(|end| &rest[..end])
}

/// Rejects sections without a parent section, and keys that have the name of a section.
pub(super) fn check(sections: &Sections) -> Result<(), UnsupportedText> {
    for (name, keys) in sections {
        for (end, _) in name.match_indices('.') {
            if !sections.contains_key(&name[..end]) {
                return Err(format!("`{name}` has a dot in a key, and `{}` is no section", &name[..end]));
            }
        }
        if let Some(key) = keys.keys().find(|key| sections.contains_key(&format!("{name}.{key}"))) {
            return Err(format!("`{name}.{key}` is a value and a section"));
        }
    }
    Ok(())
}

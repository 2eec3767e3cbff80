//! Writes YAML in srsly's layout, so that git shows no difference for the same content. Mappings are indented
//! by two spaces, and lists by four with the dash at two. Lines are folded at column 80. Characters are not
//! escaped.

use crate::value::{Map, Value, float_repr};
use crate::yaml::{Scalar, resolve};

const MAPPING_INDENT: usize = 2;
const LIST_INDENT: usize = 4;
const DASH: &str = "  -";
const WIDTH: usize = 80;

/// The maximum length of a simple key. A longer key gets its own line, which begins with a question mark.
const MAX_KEY: usize = 128;

/// The length that ruamel counts for the tag of a key, although it does not write the tag.
const KEY_TAG: usize = "!!str".len();

/// The characters besides `\n` that ruamel treats as line breaks.
const BREAKS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// Writes a mapping as a document.
pub(crate) fn emit(map: &Map) -> String {
    let mut emitter =
        Emitter { out: String::new(), column: 0, indent: 0, is_after_space: true, is_at_indent: true };
    if map.is_empty() {
        return "{}\n".to_owned();
    }
    emitter.map(map);
    emitter.indent = 0;
    emitter.start_line();
    emitter.out
}

/// The position of a value.
#[derive(Clone, Copy, PartialEq)]
enum In {
    Key,
    Mapping,
    List,
}

struct Emitter {
    out: String,
    column: usize,
    indent: usize,
    is_after_space: bool,
    /// Whether the line has only spaces and indicators.
    is_at_indent: bool,
}

impl Emitter {
    fn write(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn line_break(&mut self, with: char) {
        self.out.push(with);
        self.column = 0;
        self.is_after_space = true;
        self.is_at_indent = true;
    }

    /// Moves to the indentation. Starts a new line if the current one has text or is already longer.
    fn start_line(&mut self) {
        if !self.is_at_indent
            || self.column > self.indent
            || (self.column == self.indent && !self.is_after_space)
        {
            self.line_break('\n');
        }
        if self.column < self.indent {
            self.is_after_space = true;
            self.write(&" ".repeat(self.indent - self.column));
        }
    }

    /// Continues a text in the next line.
    fn fold(&mut self) {
        self.start_line();
        self.is_after_space = false;
        self.is_at_indent = false;
    }

    fn indicator(&mut self, text: &str, needs_space: bool, keeps_indent: bool) {
        if needs_space && !self.is_after_space {
            self.write(" ");
        }
        self.write(text);
        self.is_after_space = false;
        self.is_at_indent &= keeps_indent;
    }

    fn map(&mut self, map: &Map) {
        for (key, value) in map {
            self.start_line();
            let text = Text::new(key);
            if key.chars().count() + KEY_TAG < MAX_KEY && !text.has_breaks {
                self.text(&text, In::Key);
                self.indicator(":", false, false);
            } else {
                self.indicator("?", true, true);
                self.text(&text, In::Mapping);
                self.start_line();
                self.indicator(":", true, true);
            }
            self.value(value, In::Mapping);
        }
    }

    fn value(&mut self, value: &Value, place: In) {
        match value {
            Value::Map(map) if map.is_empty() => self.empty("{}"),
            Value::List(items) if items.is_empty() => self.empty("[]"),
            Value::Map(map) => {
                let outer = self.indent;
                self.indent += Self::step(place);
                self.map(map);
                self.indent = outer;
            }
            Value::List(items) => {
                let outer = self.indent;
                // Directly below a key, only the dashes of a list are indented.
                if place != In::Mapping || self.is_at_indent {
                    self.indent += Self::step(place);
                }
                for item in items {
                    self.start_line();
                    self.indicator(DASH, true, true);
                    self.value(item, In::List);
                }
                self.indent = outer;
            }
            Value::Null => self.text(&Text::plain("null"), place),
            Value::Bool(value) => self.text(&Text::plain(if *value { "true" } else { "false" }), place),
            Value::Int(digits) => self.text(&Text::plain(digits), place),
            Value::Float(value) => self.text(&Text::plain(&float(*value)), place),
            Value::Text(text) => self.text(&Text::new(text), place),
        }
    }

    const fn step(place: In) -> usize {
        match place {
            In::List => LIST_INDENT,
            In::Key | In::Mapping => MAPPING_INDENT,
        }
    }

    fn empty(&mut self, text: &str) {
        self.indicator(text, true, false);
        self.line_break('\n');
    }

    fn text(&mut self, text: &Text<'_>, place: In) {
        let outer = self.indent;
        self.indent += Self::step(place);
        if place == In::List {
            self.start_line();
        }
        let may_fold = place != In::Key;
        if text.is_plain {
            self.plain(text.characters, may_fold);
        } else if text.characters.contains(['\'', '\n'])
            || !text.may_be_single_quoted
            || (place == In::Key && text.has_breaks)
        {
            self.double_quoted(text.characters, may_fold);
        } else {
            self.single_quoted(text.characters, may_fold);
        }
        self.indent = outer;
    }

    fn plain(&mut self, text: &str, may_fold: bool) {
        if !self.is_after_space {
            self.write(" ");
        }
        self.is_after_space = false;
        self.is_at_indent = false;
        for run in runs(text) {
            if run == " " && self.column > WIDTH && may_fold {
                self.fold();
            } else {
                self.write(run);
            }
        }
    }

    fn single_quoted(&mut self, text: &str, may_fold: bool) {
        self.indicator("'", true, false);
        let mut written = 0;
        for run in runs(text) {
            let is_inside = written > 0 && written + run.len() < text.len();
            written += run.len();
            if run.starts_with(BREAKS) {
                run.chars().for_each(|with| self.line_break(with));
                self.start_line();
            } else if run == " " && self.column > WIDTH && may_fold && is_inside {
                self.start_line();
            } else {
                self.write(run);
            }
        }
        self.indicator("'", false, false);
    }

    fn double_quoted(&mut self, text: &str, may_fold: bool) {
        let characters: Vec<char> = text.chars().collect();
        self.indicator("\"", true, false);
        // The unwritten text begins at `start`, which moves past each escaped character.
        let mut start = 0;
        for end in 0..=characters.len() {
            let character = characters.get(end).copied();
            let is_escaped = character.is_none_or(|character| !is_literal(character));
            if is_escaped {
                self.write_range(&characters, start, end);
                start = start.max(end);
                if let Some(character) = character {
                    self.write(&escaped(character));
                    start = end + 1;
                }
            }
            let is_inside = 0 < end && end + 1 < characters.len();
            if is_inside
                && (character == Some(' ') || start >= end)
                && self.column + end > WIDTH + start
                && may_fold
            {
                self.write_range(&characters, start, end);
                self.write("\\");
                start = start.max(end);
                self.fold();
                if characters[start] == ' ' {
                    self.write("\\");
                }
            }
        }
        self.indicator("\"", false, false);
    }

    fn write_range(&mut self, characters: &[char], start: usize, end: usize) {
        if start < end {
            let text: String = characters[start..end].iter().collect();
            self.write(&text);
        }
    }
}

/// A text, and how it may be written.
struct Text<'a> {
    characters: &'a str,
    is_plain: bool,
    may_be_single_quoted: bool,
    has_breaks: bool,
}

impl<'a> Text<'a> {
    /// A value that is not a string, written without quotes.
    fn plain(text: &'a str) -> Self {
        Self { characters: text, is_plain: true, may_be_single_quoted: true, has_breaks: false }
    }

    fn new(text: &'a str) -> Self {
        let is_break = |character: char| character == '\n' || BREAKS.contains(&character);
        let is_space = |character: char| matches!(character, '\0' | ' ' | '\t' | '\r') || is_break(character);
        let has_breaks = text.contains(is_break);
        let has_special = text.chars().any(|character| character != '\n' && !is_printable(character));
        let mut before = ' ';
        let (mut has_break_space, mut has_space_break, mut has_indicator) = (false, false, false);
        let mut characters = text.chars().peekable();
        let mut is_first = true;
        while let Some(character) = characters.next() {
            let is_followed_by_space = characters.peek().is_none_or(|next| is_space(*next));
            has_break_space |= !is_first && character == ' ' && is_break(before);
            has_space_break |= !is_first && is_break(character) && before == ' ';
            has_indicator |= match character {
                ':' => is_followed_by_space,
                '#' => is_space(before),
                '?' | '-' => is_first && is_followed_by_space,
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => {
                    is_first
                }
                _ => false,
            };
            before = character;
            is_first = false;
        }
        let has_outer_space = [text.chars().next(), text.chars().next_back()]
            .into_iter()
            .flatten()
            .any(|character| character == ' ' || is_break(character));
        let has_marker = text.starts_with("---") || text.starts_with("...");
        let is_read_as_text = matches!(resolve(text), Some(Scalar::Text(_)));
        Self {
            characters: text,
            is_plain: is_read_as_text
                && !(has_breaks || has_special || has_indicator || has_outer_space || has_marker),
            may_be_single_quoted: !(has_special || has_break_space || has_space_break),
            has_breaks,
        }
    }
}

fn is_printable(character: char) -> bool {
    matches!(character, ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
        && character != '\u{feff}'
}

/// Returns whether the character needs no escape in double quotes.
fn is_literal(character: char) -> bool {
    matches!(character, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && !matches!(character, '"' | '\\' | '\u{2028}' | '\u{2029}' | '\u{feff}')
}

fn escaped(character: char) -> String {
    let short = match character {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' | '\\' => character,
        '\u{85}' => 'N',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        other => {
            let code = u32::from(other);
            return match code {
                0..=0xff => format!("\\x{code:02X}"),
                0x100..=0xffff => format!("\\u{code:04X}"),
                _ => format!("\\U{code:08X}"),
            };
        }
    };
    format!("\\{short}")
}

fn float(value: f64) -> String {
    if value.is_nan() {
        ".nan".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { ".inf" } else { "-.inf" }.to_owned()
    } else {
        float_repr(value)
    }
}

/// Splits a text into runs of spaces, of line breaks, and of everything else.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    let kind = |character: char| match character {
        ' ' => 0,
        '\n' => 1,
        other if BREAKS.contains(&other) => 1,
        _ => 2,
    };
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = kind(rest.chars().next()?);
        let end = rest.find(|character| kind(character) != first).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(end);
        rest = behind;
        Some(run)
    })
}

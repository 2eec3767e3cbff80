//! Values as Python reads them from YAML or JSON, and how it writes them.

use std::fmt::Write as _;

use indexmap::IndexMap;

/// A mapping that keeps its order.
pub(crate) type Map = IndexMap<String, Value>;

/// A value of a project file. Keys of mappings are strings: Python converts other keys of YAML when it writes JSON.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// A whole number of any size, in decimal, without leading zeros.
    Int(String),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Map(Map),
}

impl Value {
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Returns the result of Python's `json.dumps`.
    pub(crate) fn to_json(&self) -> String {
        let mut json = String::new();
        self.write_json(&mut json);
        json
    }

    fn write_json(&self, json: &mut String) {
        match self {
            Self::Null => json.push_str("null"),
            Self::Bool(value) => json.push_str(if *value { "true" } else { "false" }),
            Self::Int(digits) => json.push_str(digits),
            Self::Float(value) => json.push_str(&float_json(*value)),
            Self::Text(text) => write_json_text(json, text),
            Self::List(items) => {
                json.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        json.push_str(", ");
                    }
                    item.write_json(json);
                }
                json.push(']');
            }
            Self::Map(map) => {
                json.push('{');
                for (index, (key, value)) in map.iter().enumerate() {
                    if index > 0 {
                        json.push_str(", ");
                    }
                    write_json_text(json, key);
                    json.push_str(": ");
                    value.write_json(json);
                }
                json.push('}');
            }
        }
    }
}

/// Writes a quoted string with all non-ASCII characters escaped.
fn write_json_text(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            // DEL is ASCII, so Python does not escape it.
            ' '..='\u{7f}' => json.push(character),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    // Writing to a string does not fail.
                    let _ = write!(json, "\\u{unit:04x}");
                }
            }
        }
    }
    json.push('"');
}

fn float_json(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        float_repr(value)
    }
}

/// Returns Python's `repr` of a finite float. It has the shortest digits that read back as the same number.
/// It uses scientific notation if the exponent is below -4 or above 15.
pub(crate) fn float_repr(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let Ok(exponent) = exponent.parse::<i32>() else { return scientific };
    if (-4..16).contains(&exponent) {
        // Without an exponent, both languages write the same digits. Python adds `.0` to a whole number.
        let plain = value.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_does() {
        let rows = [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.25, "0.25"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (123_456_789.123_456_79, "123456789.12345679"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.234e100, "1.234e+100"),
            (-5e-324, "-5e-324"),
        ];
        for (value, text) in rows {
            assert_eq!(float_repr(value), text);
        }
    }

    #[test]
    fn texts_are_escaped_as_python_does() {
        let text = Value::Text("ü😀\"\\\n\u{1}\u{7f}/".to_owned());
        assert_eq!(text.to_json(), "\"\\u00fc\\ud83d\\ude00\\\"\\\\\\n\\u0001\u{7f}/\"");
    }
}

//! Scalars of YAML, by the rules of ruamel's resolver for YAML 1.2. It accepts more numbers than YAML.

use std::fmt::Write as _;

use crate::value::Value;

/// A single value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    /// In decimal, without leading zeros.
    Int(String),
    Float(f64),
    Text(String),
    /// The text as written.
    Date(String),
    /// The key `<<`.
    Merge,
    /// `=`, which is a text as a key and invalid as a value.
    Default,
}

impl Scalar {
    /// Returns the value, or `None` if weasel cannot use it.
    pub(super) fn to_value(&self) -> Option<Value> {
        Some(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(digits) => Value::Int(digits.clone()),
            Self::Float(value) => Value::Float(*value),
            Self::Text(text) => Value::Text(text.clone()),
            Self::Date(_) | Self::Merge | Self::Default => return None,
        })
    }

    /// Returns a string that is equal for keys that are equal in Python.
    pub(super) fn identity(&self) -> String {
        match self {
            Self::Text(text) => format!("t{text}"),
            Self::Bool(value) => format!("n{}", u8::from(*value)),
            Self::Float(value) if value.fract() == 0.0 => format!("n{value:.0}"),
            other => format!("n{other}"),
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "empty",
            Self::Bool(_) => "true or false",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::Date(_) => "a date",
            Self::Merge | Self::Default => "a sign of YAML",
        }
    }
}

/// Converts the text of a scalar to a value. `is_plain` means that it has no quotes.
pub(super) fn construct(text: &str, is_plain: bool, tag: Option<String>) -> Result<Scalar, String> {
    let wrong = |what: &str| Err(format!("`{text}` is not {what}"));
    let Some(tag) = tag else {
        if !is_plain {
            return Ok(Scalar::Text(text.to_owned()));
        }
        return resolve(text)
            .map_or_else(|| wrong("a number, though it looks like one: put it in quotes"), Ok);
    };
    match tag.as_str() {
        "str" | "!" => Ok(Scalar::Text(text.to_owned())),
        "null" => Ok(Scalar::Null),
        "bool" => match text.to_lowercase().as_str() {
            "true" | "yes" | "y" | "on" => Ok(Scalar::Bool(true)),
            "false" | "no" | "n" | "off" => Ok(Scalar::Bool(false)),
            _ => wrong("true or false"),
        },
        "int" => int(text).map_or_else(|| wrong("a whole number"), |digits| Ok(Scalar::Int(digits))),
        "float" => float(text).map_or_else(|| wrong("a number"), |value| Ok(Scalar::Float(value))),
        "timestamp" => Ok(Scalar::Date(text.to_owned())),
        other => Err(format!("the tag `{other}` has no meaning here")),
    }
}

/// Resolves an unquoted text. Returns `None` if it looks like a number but is not one, such as `0b_`.
pub(crate) fn resolve(text: &str) -> Option<Scalar> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "true" | "True" | "TRUE" => Scalar::Bool(true),
        "false" | "False" | "FALSE" => Scalar::Bool(false),
        "<<" => Scalar::Merge,
        "=" => Scalar::Default,
        _ if is_float(text) => Scalar::Float(float(text)?),
        _ if is_int(text) => Scalar::Int(int(text)?),
        _ if is_date(text) => Scalar::Date(text.to_owned()),
        _ => Scalar::Text(text.to_owned()),
    })
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['-', '+']).unwrap_or(text)
}

/// Splits off the leading bytes of this kind.
fn split_run(text: &str, is_in: impl Fn(u8) -> bool) -> (&str, &str) {
    text.split_at(text.bytes().take_while(|byte| is_in(*byte)).count())
}

const fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

const fn is_digit_or_underscore(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'_'
}

/// Returns whether the text is an exponent or empty.
fn is_exponent(text: &str, needs_sign: bool) -> bool {
    let Some(rest) = text.strip_prefix(['e', 'E']) else { return text.is_empty() };
    let digits = unsigned(rest);
    (!needs_sign || digits.len() < rest.len()) && !digits.is_empty() && digits.bytes().all(is_digit)
}

fn is_float(text: &str) -> bool {
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let number = unsigned(text);
    if matches!(number, ".inf" | ".Inf" | ".INF") {
        return true;
    }
    if let Some(rest) = number.strip_prefix('.') {
        let (decimals, exponent) = split_run(rest, is_digit_or_underscore);
        return !decimals.is_empty() && is_exponent(exponent, true);
    }
    if !number.starts_with(|first: char| first.is_ascii_digit()) {
        return false;
    }
    let (_, rest) = split_run(number, is_digit_or_underscore);
    match rest.strip_prefix('.') {
        Some(rest) => is_exponent(split_run(rest, is_digit_or_underscore).1, false),
        None => !rest.is_empty() && is_exponent(rest, false),
    }
}

fn is_int(text: &str) -> bool {
    // A text that begins with an underscore is not a number, except after a sign.
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '+')) {
        return false;
    }
    let number = unsigned(text);
    let has_only = |digits: &str, is_in: fn(u8) -> bool| {
        !digits.is_empty() && digits.bytes().all(|byte| byte == b'_' || is_in(byte))
    };
    let behind = |prefix: &str, is_in: fn(u8) -> bool| {
        number.strip_prefix(prefix).is_some_and(|digits| has_only(digits, is_in))
    };
    has_only(number, is_digit)
        || behind("0b", |byte| matches!(byte, b'0' | b'1'))
        || behind("0o", |byte| matches!(byte, b'0'..=b'7'))
        || behind("0x", |byte| byte.is_ascii_hexdigit())
}

fn is_date(text: &str) -> bool {
    fn number(text: &str, least: usize, most: usize) -> Option<&str> {
        let len = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
        (len >= least).then(|| &text[len..])
    }
    let day_only = || {
        let rest = number(text, 4, 4)?.strip_prefix('-')?;
        let rest = number(rest, 2, 2)?.strip_prefix('-')?;
        number(rest, 2, 2)?.is_empty().then_some(())
    };
    let with_time = || {
        let rest = number(text, 4, 4)?.strip_prefix('-')?;
        let rest = number(rest, 1, 2)?.strip_prefix('-')?;
        let rest = number(rest, 1, 2)?;
        let rest = match rest.strip_prefix(['T', 't']) {
            Some(rest) => rest,
            None => Some(rest.trim_start_matches([' ', '\t'])).filter(|time| time.len() < rest.len())?,
        };
        let rest = number(rest, 1, 2)?.strip_prefix(':')?;
        let rest = number(rest, 2, 2)?.strip_prefix(':')?;
        let rest = number(rest, 2, 2)?;
        let rest = match rest.strip_prefix('.') {
            Some(rest) => rest.trim_start_matches(|digit: char| digit.is_ascii_digit()),
            None => rest,
        };
        if rest.is_empty() {
            return Some(());
        }
        let zone = rest.trim_start_matches([' ', '\t']);
        if zone == "Z" {
            return Some(());
        }
        let rest = number(zone.strip_prefix(['-', '+'])?, 1, 2)?;
        let is_end =
            rest.is_empty() || rest.strip_prefix(':').and_then(|rest| number(rest, 2, 2)) == Some("");
        is_end.then_some(())
    };
    day_only().or_else(with_time).is_some()
}

/// The maximum number of digits. Python refuses to read longer numbers.
const MAX_DIGITS: usize = 4_300;

fn int(text: &str) -> Option<String> {
    let text = text.replace('_', "");
    let is_negative = text.starts_with('-');
    let number = unsigned(&text);
    let decimal = match number.get(..2) {
        Some("0b") => to_decimal(&number[2..], 2)?,
        Some("0o") => to_decimal(&number[2..], 8)?,
        Some("0x") => to_decimal(&number[2..], 16)?,
        _ => {
            if number.is_empty() || number.len() > MAX_DIGITS || !number.bytes().all(is_digit) {
                return None;
            }
            let digits = number.trim_start_matches('0');
            if digits.is_empty() { "0" } else { digits }.to_owned()
        }
    };
    Some(if is_negative && decimal != "0" { format!("-{decimal}") } else { decimal })
}

/// Returns the decimal digits of a number in another base.
fn to_decimal(digits: &str, base: u32) -> Option<String> {
    const LIMB: u64 = 1_000_000_000;
    if digits.is_empty() || digits.len() > MAX_DIGITS {
        return None;
    }
    // Each limb holds nine decimal digits. The least significant limb comes first.
    let mut limbs: Vec<u64> = vec![0];
    for digit in digits.chars() {
        let mut carry = u64::from(digit.to_digit(base)?);
        for limb in &mut limbs {
            let value = *limb * u64::from(base) + carry;
            *limb = value % LIMB;
            carry = value / LIMB;
        }
        if carry > 0 {
            limbs.push(carry);
        }
    }
    let mut all = String::new();
    for limb in limbs.iter().rev() {
        // Writing to a string does not fail.
        let _ = write!(all, "{limb:09}");
    }
    let digits = all.trim_start_matches('0');
    Some(if digits.is_empty() { "0" } else { digits }.to_owned())
}

fn float(text: &str) -> Option<f64> {
    let text = text.replace('_', "").to_lowercase();
    let number = unsigned(&text);
    let value = match number {
        ".inf" => f64::INFINITY,
        ".nan" => f64::NAN,
        // Rust would read `inf` and `infinity` as well.
        _ if number.starts_with(|first: char| first.is_ascii_digit() || first == '.') => {
            number.parse().ok()?
        }
        _ => return None,
    };
    Some(if text.starts_with('-') { -value } else { value })
}

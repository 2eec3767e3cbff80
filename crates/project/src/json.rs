//! Parses JSON as two Python packages do. `json` reads the values of a configuration. The `ujson` in srsly
//! reads environment variables and overrides.

use crate::value::{Map, Value};

/// The maximum nesting depth. It is deeper than any project needs, and does not overflow the stack.
const MAX_DEPTH: usize = 128;

/// The package whose rules apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `json.loads`: strict, with `NaN` and infinities, and whole numbers of any size.
    Python,
    /// `srsly.json_loads`: lenient about incomplete numbers, and less precise in fractions.
    Ujson,
}

/// Why a text cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonFault {
    /// It is not JSON. The callers of both packages take it for plain text.
    Syntax,
    /// It is JSON that a project cannot hold: half of a surrogate pair, or nested too deep.
    Refused(&'static str),
}

pub(crate) fn parse(text: &str, dialect: Dialect) -> Result<Value, JsonFault> {
    // `ujson` would read this as 0, but srsly makes an exception.
    if dialect == Dialect::Ujson && text == "-" {
        return Err(JsonFault::Syntax);
    }
    let mut parser = Parser { rest: text, dialect };
    let value = parser.value(0)?;
    parser.skip_space();
    if parser.rest.is_empty() { Ok(value) } else { Err(JsonFault::Syntax) }
}

struct Parser<'a> {
    rest: &'a str,
    dialect: Dialect,
}

impl Parser<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), JsonFault> {
        if self.take(token) { Ok(()) } else { Err(JsonFault::Syntax) }
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonFault> {
        if depth > MAX_DEPTH {
            return Err(JsonFault::Refused("is nested too deep"));
        }
        self.skip_space();
        match self.rest.as_bytes().first() {
            Some(b'"') => self.text().map(Value::Text),
            Some(b'[') => self.list(depth),
            Some(b'{') => self.map(depth),
            Some(b'n') => self.expect("null").map(|()| Value::Null),
            Some(b't') => self.expect("true").map(|()| Value::Bool(true)),
            Some(b'f') => self.expect("false").map(|()| Value::Bool(false)),
            Some(b'-' | b'0'..=b'9') if self.dialect == Dialect::Ujson => self.lenient_number(),
            Some(_) if self.dialect == Dialect::Python => self.number(),
            _ => Err(JsonFault::Syntax),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, JsonFault> {
        self.expect("[")?;
        let mut items = Vec::new();
        self.skip_space();
        if self.take("]") {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_space();
            if self.take("]") {
                return Ok(Value::List(items));
            }
            self.expect(",")?;
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, JsonFault> {
        self.expect("{")?;
        let mut map = Map::new();
        self.skip_space();
        if self.take("}") {
            return Ok(Value::Map(map));
        }
        loop {
            self.skip_space();
            let key = self.text()?;
            self.skip_space();
            self.expect(":")?;
            let value = self.value(depth + 1)?;
            map.insert(key, value);
            self.skip_space();
            if self.take("}") {
                return Ok(Value::Map(map));
            }
            self.expect(",")?;
        }
    }

    fn text(&mut self) -> Result<String, JsonFault> {
        self.expect("\"")?;
        let mut text = String::new();
        loop {
            let mut characters = self.rest.chars();
            let character = characters.next().ok_or(JsonFault::Syntax)?;
            self.rest = characters.as_str();
            match character {
                '"' => return Ok(text),
                '\\' => text.push(self.escaped()?),
                '\0'..='\u{1f}' if self.dialect == Dialect::Python => return Err(JsonFault::Syntax),
                other => text.push(other),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, JsonFault> {
        const HALF: JsonFault = JsonFault::Refused("has half of a surrogate pair, which is no character");
        let mut characters = self.rest.chars();
        let escape = characters.next().ok_or(JsonFault::Syntax)?;
        self.rest = characters.as_str();
        Ok(match escape {
            '"' | '\\' | '/' => escape,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let high = self.unit()?;
                if !(0xd800..0xe000).contains(&high) {
                    return char::from_u32(high).ok_or(HALF);
                }
                if high >= 0xdc00 || !self.take("\\u") {
                    return Err(HALF);
                }
                let low = self.unit()?;
                if !(0xdc00..0xe000).contains(&low) {
                    return Err(HALF);
                }
                char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)).ok_or(HALF)?
            }
            _ => return Err(JsonFault::Syntax),
        })
    }

    fn unit(&mut self) -> Result<u32, JsonFault> {
        let digits = self.rest.get(..4).ok_or(JsonFault::Syntax)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(JsonFault::Syntax);
        }
        self.rest = &self.rest[4..];
        u32::from_str_radix(digits, 16).map_err(|_| JsonFault::Syntax)
    }

    fn digits(&mut self) -> &str {
        let rest = self.rest;
        let len = rest.bytes().take_while(u8::is_ascii_digit).count();
        self.rest = &rest[len..];
        &rest[..len]
    }

    /// Parses a number as Python's `json` does.
    fn number(&mut self) -> Result<Value, JsonFault> {
        for (name, value) in
            [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)]
        {
            if self.take(name) {
                return Ok(Value::Float(value));
            }
        }
        let start = self.rest;
        self.take("-");
        if !self.take("0") && self.digits().is_empty() {
            return Err(JsonFault::Syntax);
        }
        let whole = start.len() - self.rest.len();
        // An incomplete fraction or exponent is not part of the number.
        let after_whole = self.rest;
        if !self.take(".") || self.digits().is_empty() {
            self.rest = after_whole;
        }
        let after_fraction = self.rest;
        let has_exponent = self.rest.starts_with(['e', 'E']);
        if has_exponent {
            self.rest = &self.rest[1..];
            self.rest = self.rest.strip_prefix(['+', '-']).unwrap_or(self.rest);
        }
        if !has_exponent || self.digits().is_empty() {
            self.rest = after_fraction;
        }
        let text = &start[..start.len() - self.rest.len()];
        if text.len() > whole {
            return text.parse().map(Value::Float).map_err(|_| JsonFault::Syntax);
        }
        Ok(Value::Int(if text == "-0" { "0" } else { text }.to_owned()))
    }

    /// Parses a number as `ujson` does. Digits are optional everywhere, and whole numbers have 64 bits. Only
    /// the first 15 digits of a fraction count. They are summed in floating point.
    fn lenient_number(&mut self) -> Result<Value, JsonFault> {
        const TENTHS: [f64; 16] = [
            1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14,
            1e-15,
        ];
        let is_negative = self.take("-");
        let mut whole: u64 = 0;
        for digit in self.digits().bytes() {
            let before = whole;
            whole = whole.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            let is_too_big = if is_negative { whole > 1 << 63 } else { before > whole };
            if is_too_big {
                return Err(JsonFault::Syntax);
            }
        }
        let has_fraction = self.take(".");
        let (mut fraction, mut decimals) = (0.0, 0);
        if has_fraction {
            for digit in self.digits().bytes() {
                if decimals + 1 < TENTHS.len() {
                    fraction = fraction * 10.0 + f64::from(digit - b'0');
                    decimals += 1;
                }
            }
        }
        let has_exponent = self.rest.starts_with(['e', 'E']);
        if !has_fraction && !has_exponent {
            let sign = if is_negative && whole > 0 { "-" } else { "" };
            return Ok(Value::Int(format!("{sign}{whole}")));
        }
        #[expect(clippy::cast_precision_loss, reason = "it is what `ujson` computes")]
        let mut value = whole as f64 + fraction * TENTHS[decimals];
        if is_negative {
            value = -value;
        }
        if has_exponent {
            self.rest = &self.rest[1..];
            let sign = if self.take("-") { -1.0 } else { 1.0 };
            if sign > 0.0 {
                self.take("+");
            }
            let exponent =
                self.digits().bytes().fold(0.0, |value, digit| value * 10.0 + f64::from(digit - b'0'));
            value *= 10_f64.powf(exponent * sign);
        }
        Ok(Value::Float(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, dialect: Dialect) -> Result<String, JsonFault> {
        parse(text, dialect).map(|value| value.to_json())
    }

    #[test]
    fn ujson_reads_what_nobody_else_does() {
        let rows = [
            ("01", "1"),
            ("-0", "0"),
            ("-0.0", "-0.0"),
            ("- ", "0"),
            ("1.", "1.0"),
            ("1e", "1.0"),
            ("1e-", "1.0"),
            ("1E5", "100000.0"),
            ("5e-5", "5e-05"),
            ("007.5", "7.5"),
            (" 3\n", "3"),
            ("[-]", "[0]"),
            ("\"a\nb\"", "\"a\\nb\""),
            ("18446744073709551615", "18446744073709551615"),
            ("0.1234567890123456789", "0.12345678901234501"),
            ("1e23", "1.0000000000000001e+23"),
            ("1e400", "Infinity"),
            ("{\"b\":1,\"a\":2,\"b\":3}", "{\"b\": 3, \"a\": 2}"),
        ];
        for (text, json) in rows {
            assert_eq!(read(text, Dialect::Ujson).as_deref(), Ok(json), "{text}");
        }
        let texts = [
            "",
            "-",
            "+1",
            ".5",
            "--1",
            "1 2",
            "True",
            "NaN",
            "nan",
            "-Infinity",
            "'a'",
            "1_000",
            "[1,]",
            "18446744073709551616",
            "-9223372036854775809",
            "\"\\x\"",
            "\u{b}3",
            "1-2",
            "[1]]",
        ];
        for text in texts {
            assert_eq!(read(text, Dialect::Ujson), Err(JsonFault::Syntax), "{text}");
        }
    }

    #[test]
    fn python_reads_numbers_that_json_does_not_have() {
        for (text, json) in [("NaN", "NaN"), ("-Infinity", "-Infinity"), ("-0", "0"), ("1e5", "100000.0")] {
            assert_eq!(read(text, Dialect::Python).as_deref(), Ok(json));
        }
        for text in ["01", "1.", "1e", "-", "+1", "\"a\nb\"", "nul", "[1 2]", "é"] {
            assert_eq!(read(text, Dialect::Python), Err(JsonFault::Syntax), "{text}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for text in ["\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\""] {
            assert!(matches!(read(text, Dialect::Python), Err(JsonFault::Refused(_))), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(read(&deep, Dialect::Ujson), Err(JsonFault::Refused(_))));
    }
}

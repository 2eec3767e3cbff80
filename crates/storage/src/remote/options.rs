//! Options of remotes. Those of a configuration file have types, and those of a URL are text.

use std::collections::{BTreeMap, btree_map};
use std::fmt::{self, Display};
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use serde::de::value::MapAccessDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::remote::error::InvalidRemote;

/// The options of a remote, by name. Its backend checks them when the remote is opened.
pub type RemoteOptions = BTreeMap<String, OptionScalar>;

/// The value of an option in a configuration file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum OptionScalar {
    /// A text.
    Text(String),
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
}

/// Options in the query of a URL. All of them are text.
pub(crate) type QueryOptions = BTreeMap<String, String>;

/// Reads `name=value&name=value`.
pub(crate) fn read_query(query: &str) -> Result<QueryOptions, &'static str> {
    let mut options = QueryOptions::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or("its options are written ?name=value&name=value")?;
        let value = percent_decode_str(value).decode_utf8().map_err(|_| "an option of it is not UTF-8")?;
        if value.chars().any(char::is_control) {
            return Err("an option of it has control characters");
        }
        if options.insert(name.to_owned(), value.into_owned()).is_some() {
            return Err("an option of it is given twice");
        }
    }
    Ok(options)
}

/// All options of one remote.
#[derive(Debug)]
pub(crate) struct GivenOptions {
    remote: String,
    values: BTreeMap<String, GivenValue>,
}

impl GivenOptions {
    /// Joins the options of both sources.
    pub(crate) fn new(
        remote: String,
        query: &QueryOptions,
        configured: &RemoteOptions,
    ) -> Result<Self, InvalidRemote> {
        let query = query.iter().map(|(name, value)| (name.clone(), GivenValue::Query(value.clone())));
        let mut options = Self { remote, values: query.collect() };
        for (name, value) in configured {
            if options.values.insert(name.clone(), GivenValue::Typed(value.clone())).is_some() {
                return Err(options.invalid(name, "is in its URL and beside it: keep one of them"));
            }
        }
        Ok(options)
    }

    /// Reads the options into the type of a backend.
    #[cfg_attr(
        not(any(feature = "s3", feature = "gcs", test)),
        expect(dead_code, reason = "the others have no options")
    )]
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, InvalidRemote> {
        let options = NamedOptions { rest: self.values.iter(), value: None };
        T::deserialize(MapAccessDeserializer::new(options)).map_err(|error| match error {
            OptionError::Unknown { option, known } => {
                let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
                self.unknown(&option, format!("known are {}", known.join(", ")))
            }
            OptionError::Value { option, takes } => self.invalid(&option, &format!("takes {takes}")),
        })
    }

    /// Fails if there is any option. `known` tells the user that the backend has none.
    #[cfg_attr(
        not(any(feature = "local", feature = "ssh")),
        expect(dead_code, reason = "the others have options")
    )]
    pub(crate) fn refuse_all(&self, known: &str) -> Result<(), InvalidRemote> {
        match self.values.keys().next() {
            Some(option) => Err(self.unknown(option, known.to_owned())),
            None => Ok(()),
        }
    }

    pub(crate) fn invalid(&self, option: &str, problem: &str) -> InvalidRemote {
        let (remote, option, problem) = (self.remote.clone(), option.to_owned(), problem.to_owned());
        InvalidRemote::Option { remote, option, problem }
    }

    fn unknown(&self, option: &str, known: String) -> InvalidRemote {
        InvalidRemote::UnknownOption { remote: self.remote.clone(), option: option.to_owned(), known }
    }
}

#[derive(Clone, Debug)]
enum GivenValue {
    Typed(OptionScalar),
    /// Text that is converted to the type of the option.
    Query(String),
}

/// Options for serde. Its errors name the option, even those of a field's own `deserialize_with`.
struct NamedOptions<'a> {
    rest: btree_map::Iter<'a, String, GivenValue>,
    value: Option<(&'a str, GivenValue)>,
}

impl<'de> MapAccess<'de> for NamedOptions<'_> {
    type Error = OptionError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, OptionError> {
        let Some((name, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some((name, value.clone()));
        seed.deserialize(name.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, OptionError> {
        let Some((name, value)) = self.value.take() else {
            return Err(OptionError::custom("a name before its value"));
        };
        seed.deserialize(value).map_err(|error| match error {
            OptionError::Value { takes, .. } => OptionError::Value { option: name.to_owned(), takes },
            error @ OptionError::Unknown { .. } => error,
        })
    }
}

impl GivenValue {
    /// Reads the text of a query as `T`. A typed value stays unchanged.
    fn parsed<T: FromStr>(
        self,
        typed: impl FnOnce(T) -> OptionScalar,
        takes: &str,
    ) -> Result<Self, OptionError> {
        let Self::Query(text) = &self else { return Ok(self) };
        text.parse().map(|value| Self::Typed(typed(value))).map_err(|_| OptionError::custom(takes))
    }
}

impl<'de> Deserializer<'de> for GivenValue {
    type Error = OptionError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionError> {
        match self {
            Self::Query(text) | Self::Typed(OptionScalar::Text(text)) => visitor.visit_string(text),
            Self::Typed(OptionScalar::Boolean(value)) => visitor.visit_bool(value),
            Self::Typed(OptionScalar::Integer(value)) => visitor.visit_i64(value),
            Self::Typed(OptionScalar::Float(value)) => visitor.visit_f64(value),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionError> {
        self.parsed(OptionScalar::Boolean, "true or false")?.deserialize_any(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionError> {
        self.parsed(OptionScalar::Integer, "a whole number")?.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, OptionError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, OptionError> {
        let (Self::Query(text) | Self::Typed(OptionScalar::Text(text))) = self else {
            return Err(OptionError::custom("a text"));
        };
        text.into_deserializer().deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// An option that cannot be read. Its name is empty until [`NamedOptions`] fills it in.
#[derive(Debug)]
enum OptionError {
    Unknown { option: String, known: &'static [&'static str] },
    Value { option: String, takes: String },
}

impl serde::de::Error for OptionError {
    fn custom<T: Display>(takes: T) -> Self {
        Self::Value { option: String::new(), takes: takes.to_string() }
    }

    fn invalid_type(_: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        // The value may be a misplaced secret.
        match expected.to_string().as_str() {
            "a boolean" => Self::custom("true or false"),
            "a string" => Self::custom("a text"),
            other => Self::custom(other),
        }
    }

    fn invalid_value(unexpected: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(expected.join(", "))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::Unknown { option: field.to_owned(), known: expected }
    }
}

impl std::error::Error for OptionError {}

impl Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { option, .. } => write!(f, "unknown option `{option}`"),
            Self::Value { option, takes } => write!(f, "the option `{option}` takes {takes}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct ExampleOptions {
        region: Option<String>,
        anonymous: bool,
        parts: Option<u64>,
        mode: Option<Mode>,
        #[serde(deserialize_with = "not_empty")]
        profile: Option<String>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Fast,
        Safe,
    }

    fn not_empty<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
        let text = String::deserialize(value)?;
        if text.is_empty() { Err(D::Error::custom("a text that is not empty")) } else { Ok(Some(text)) }
    }

    fn read(query: &str, configured: &[(&str, OptionScalar)]) -> Result<ExampleOptions, String> {
        let configured = configured.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let given = GivenOptions::new("s3://b".into(), &read_query(query).unwrap(), &configured);
        given.and_then(|given| given.read()).map_err(|error| error.to_string())
    }

    #[test]
    fn both_sources_give_the_same_types() {
        let expected = ExampleOptions {
            region: Some("5".into()),
            anonymous: true,
            parts: Some(7),
            mode: Some(Mode::Safe),
            profile: None,
        };
        assert_eq!(read("region=5&anonymous=true&parts=7&mode=safe", &[]).as_ref(), Ok(&expected));
        let typed = [
            ("region", OptionScalar::Text("5".into())),
            ("anonymous", OptionScalar::Boolean(true)),
            ("parts", OptionScalar::Integer(7)),
            ("mode", OptionScalar::Text("safe".into())),
        ];
        assert_eq!(read("", &typed).as_ref(), Ok(&expected));
        assert_eq!(read("region=5&anonymous=true", &typed[2..]).as_ref(), Ok(&expected));
    }

    #[test]
    fn errors_name_the_option_and_never_its_value() {
        let typed = |name, value| read("", &[(name, value)]).unwrap_err();
        let text = |name| typed(name, OptionScalar::Text("hunter2".into()));
        let takes =
            |name: &str, takes: &str| format!("the option `{name}` of the remote s3://b takes {takes}");
        assert_eq!(read("anonymous=hunter2", &[]).unwrap_err(), takes("anonymous", "true or false"));
        assert_eq!(text("anonymous"), takes("anonymous", "true or false"));
        assert_eq!(typed("region", OptionScalar::Integer(5)), takes("region", "a text"));
        assert_eq!(text("mode"), takes("mode", "fast, safe"));
        assert_eq!(read("profile=", &[]).unwrap_err(), takes("profile", "a text that is not empty"));
        let empty = OptionScalar::Text(String::new());
        assert_eq!(typed("profile", empty), takes("profile", "a text that is not empty"));
        assert_eq!(read("parts=-1", &[]).unwrap_err(), takes("parts", "u64"));
        assert_eq!(
            text("secret"),
            "the remote s3://b has no option `secret`: known are `region`, `anonymous`, `parts`, `mode`, `profile`"
        );
        assert_eq!(
            read("region=a", &[("region", OptionScalar::Text("b".into()))]).unwrap_err(),
            "the option `region` of the remote s3://b is in its URL and beside it: keep one of them"
        );
    }
}

//! A value with its origin.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::origin::Origin;

/// A value and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// The origin.
    pub origin: Origin,
}

impl<T> Setting<T> {
    /// Creates a value that comes from the flag `name`.
    pub fn flag(name: &'static str, value: T) -> Self {
        Self { value, origin: Origin::Flag(name) }
    }

    /// Creates a value that comes from the environment variable `name`.
    pub fn environment(name: &'static str, value: T) -> Self {
        Self { value, origin: Origin::Environment(name) }
    }
}

impl Setting<String> {
    /// Reads the text as a `T`.
    ///
    /// # Errors
    ///
    /// The text is not a `T`. The error names the origin.
    pub fn parse<T>(&self) -> Result<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.value.parse().map_err(|error: T::Err| Error::Setting {
            origin: self.origin.clone(),
            problem: error.to_string(),
        })
    }
}

//! The rules that larder's backends share whose objects are files below one directory.
//!
//! An object is a regular file, and its key is its path below the directory, literally. Everything here is about names and
//! modes; it makes no system call and sends no request.

pub mod advice;
pub mod layout;
pub mod modes;
pub mod naming;
pub mod temporary_name;

/// The README is tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

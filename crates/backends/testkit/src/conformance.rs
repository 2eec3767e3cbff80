//! The promises of a backend.

//! What larder-hashing promises, on real files.

mod changes;
mod refusals;
mod support;
mod trees;
mod vectors;

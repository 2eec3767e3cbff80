//! What larder-project promises, by the vectors that all implementations share and on real files.

mod interpolation;
mod refusals;

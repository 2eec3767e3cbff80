//! Backends for tests and the conformance suite that every larder backend runs.

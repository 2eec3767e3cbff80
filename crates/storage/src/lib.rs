//! Push, pull and find outputs of pipeline steps in a remote storage that a team shares.

//! When the program prints what only people need: colors and progress.

use clap::ValueEnum;

/// When to print for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    // On a terminal. (A doc comment would stretch every help text.)
    #[default]
    Auto,
    Always,
    Never,
}

//! The commands of a workspace, whose `larder.lock` pins outputs.

pub(super) mod pin;
mod pinned;
pub(super) mod pull;
pub(super) mod push;
mod remotes;
pub(super) mod status;
pub(super) mod unpin;
mod versions;

pub(super) use pin::{check as check_pins, pin_outputs};

//! Networks and servers that go wrong where a test says so, in front of a real server.
//!
//! - [`TcpProxy`]: cuts, resets and stalls connections at a byte; makes a link long and narrow.
//! - [`HttpProxy`]: answers in a server's place, loses, cuts and corrupts answers; logs the requests.
//!
//! Each runs on a thread of its own, so that it works from any test and goes on while the test blocks, and ends with
//! all its connections when it is dropped. Faults and rules give a [`Fired`], which a test asks whether they happened.

pub(crate) mod closing;
mod fired;
mod http;
mod tcp;
pub(crate) mod worker;

pub use fired::Fired;
pub use http::{HttpAction, HttpProxy, HttpRequest, HttpRule, Reply};
pub use tcp::{Direction, LinkFault, LinkShape, TcpProxy};

//! Proxies that inject faults between a client and a real server.
//!
//! - [`TcpProxy`]: cuts, resets and stalls connections at a byte offset; limits the speed of a link.
//! - [`HttpProxy`]: answers instead of a server; loses, cuts and corrupts answers; logs the requests.
//!
//! Each proxy has a thread of its own, so that it works in any test, even one that blocks. On drop it closes all its
//! connections. Each fault and rule returns a [`Fired`], with which a test checks that it happened.

pub(crate) mod closing;
mod fired;
mod http;
mod tcp;
pub(crate) mod worker;

pub use fired::Fired;
pub use http::{HttpAction, HttpProxy, HttpRequest, HttpRule, Reply};
pub use tcp::{Direction, LinkFault, LinkShape, TcpProxy};

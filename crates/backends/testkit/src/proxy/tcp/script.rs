//! What goes wrong with a connection, and at which byte.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::proxy::fired::Fired;
use crate::proxy::tcp::Direction;

/// Something that goes wrong with one connection, unless it is told otherwise.
///
/// `after` is how many bytes pass: the fault happens when the next one is there to be forwarded, and a connection that
/// ends with exactly so many is not hit.
#[derive(Clone, Debug)]
pub struct LinkFault {
    what: What,
    in_total: bool,
    times: usize,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Refuse,
    At(Direction, u64, Ending),
}

/// How a connection goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Cut,
    Reset,
    Stall,
}

impl LinkFault {
    fn new(what: What) -> Self {
        Self { what, in_total: false, times: 1 }
    }

    /// Both ends see an orderly end of stream behind so many bytes; what they still send is thrown away.
    pub fn cut_after(direction: Direction, bytes: u64) -> Self {
        Self::new(What::At(direction, bytes, Ending::Cut))
    }

    /// Both ends see a reset behind so many bytes, or before: what still waits in the system's buffers is lost with it.
    pub fn reset_after(direction: Direction, bytes: u64) -> Self {
        Self::new(What::At(direction, bytes, Ending::Reset))
    }

    /// Nothing passes behind so many bytes, neither way, not even the end of the connection: neither end hears of the
    /// other until the proxy is dropped or [severed](super::TcpProxy::sever).
    pub fn stall_after(direction: Direction, bytes: u64) -> Self {
        Self::new(What::At(direction, bytes, Ending::Stall))
    }

    /// A new connection is accepted and closed at once. The server does not hear of it.
    pub fn refuse() -> Self {
        Self::new(What::Refuse)
    }

    /// Counts the bytes of all connections together, from the moment that the fault is injected, where otherwise each
    /// connection counts its own from its start. Behind its byte the fault hits the next connections that want to
    /// forward anything in its direction: with [`always`](Self::always), the link is dead from there on.
    #[must_use]
    pub fn in_total(mut self) -> Self {
        self.in_total = true;
        self
    }

    /// Hits so many connections.
    #[must_use]
    pub fn times(mut self, connections: usize) -> Self {
        self.times = connections;
        self
    }

    /// Hits every connection.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    fn used(&mut self) {
        self.times -= usize::from(self.times != usize::MAX);
    }
}

#[derive(Debug, Default)]
pub(super) struct LinkScript(Mutex<Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    fault: LinkFault,
    /// How many bytes have passed in the fault's direction since it was injected.
    seen: u64,
    fired: Fired,
}

/// A fault that has come to its byte.
#[derive(Debug)]
pub(super) struct Hit {
    pub(super) ending: Ending,
    /// For whoever makes it happen.
    pub(super) fired: Fired,
}

impl LinkScript {
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, fault: LinkFault) -> Fired {
        let fired = Fired::new();
        self.entries().push(Entry { fault, seen: 0, fired: fired.clone() });
        fired
    }

    pub(super) fn clear(&self) {
        self.entries().clear();
    }

    /// Whether the connection that was just accepted is to be closed.
    pub(super) fn refuses(&self) -> Option<Fired> {
        let mut entries = self.entries();
        let refuses = |entry: &&mut Entry| matches!(entry.fault.what, What::Refuse) && entry.fault.times > 0;
        let entry = entries.iter_mut().find(refuses)?;
        entry.fault.used();
        Some(entry.fired.clone())
    }

    /// How many of the next `len` bytes of a connection pass, `offset` bytes from its start, and what happens then.
    pub(super) fn admit(&self, direction: Direction, offset: u64, len: usize) -> (usize, Option<Hit>) {
        let mut entries = self.entries();
        let mut first = None;
        for (index, entry) in entries.iter().enumerate() {
            let Some(position) = entry.position(direction, offset) else { continue };
            let Ok(position) = usize::try_from(position) else { continue };
            if position < len && first.is_none_or(|(_, earliest)| position < earliest) {
                first = Some((index, position));
            }
        }
        let passed = first.map_or(len, |(_, position)| position);
        for entry in entries.iter_mut() {
            if matches!(entry.fault.what, What::At(of, ..) if of == direction) {
                entry.seen += passed as u64;
            }
        }
        let hit = first.and_then(|(index, _)| entries[index].hit());
        (passed, hit)
    }
}

impl Entry {
    /// How many bytes behind `offset` the fault happens, if it may hit the connection at all.
    fn position(&self, direction: Direction, offset: u64) -> Option<u64> {
        match self.fault.what {
            What::At(of, after, _) if of == direction && self.fault.times > 0 => {
                if self.fault.in_total {
                    Some(after.saturating_sub(self.seen))
                } else {
                    after.checked_sub(offset)
                }
            }
            _ => None,
        }
    }

    fn hit(&mut self) -> Option<Hit> {
        let What::At(_, _, ending) = self.fault.what else { return None };
        self.fault.used();
        Some(Hit { ending, fired: self.fired.clone() })
    }
}

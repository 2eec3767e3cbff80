//! Faults of connections, and the byte offsets at which they happen.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::proxy::fired::Fired;
use crate::proxy::tcp::Direction;

/// A fault that happens to one connection, unless configured otherwise.
///
/// The number of bytes says how many pass. The fault happens when the next byte is ready, so it does not happen to a
/// connection that ends with exactly this number.
#[derive(Clone, Debug)]
pub struct LinkFault {
    what: LinkFaultKind,
    in_total: bool,
    times: usize,
}

#[derive(Clone, Copy, Debug)]
enum LinkFaultKind {
    Refuse,
    At(Direction, u64, ConnectionEnd),
}

/// The way in which a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionEnd {
    Cut,
    Reset,
    Stall,
}

impl LinkFault {
    fn new(what: LinkFaultKind) -> Self {
        Self { what, in_total: false, times: 1 }
    }

    /// Both sides see an orderly end of stream after this number of bytes. Bytes that they still send are discarded.
    pub fn cut_after(direction: Direction, bytes: u64) -> Self {
        Self::new(LinkFaultKind::At(direction, bytes, ConnectionEnd::Cut))
    }

    /// Both sides see a reset after this number of bytes, or earlier, because bytes in the system's buffers are lost.
    pub fn reset_after(direction: Direction, bytes: u64) -> Self {
        Self::new(LinkFaultKind::At(direction, bytes, ConnectionEnd::Reset))
    }

    /// After this number of bytes nothing passes in either direction, not even the end of the connection. It stays so until
    /// the proxy is dropped or [severed](super::TcpProxy::sever).
    pub fn stall_after(direction: Direction, bytes: u64) -> Self {
        Self::new(LinkFaultKind::At(direction, bytes, ConnectionEnd::Stall))
    }

    /// A new connection is accepted and closed at once. The server does not see it.
    pub fn refuse() -> Self {
        Self::new(LinkFaultKind::Refuse)
    }

    /// Counts the bytes of all connections together, from the moment that the fault is injected. By default each connection
    /// counts its own bytes. After the offset, the fault happens to the next connections that forward a byte in its
    /// direction. With [`always`](Self::always), the link is dead from then on.
    #[must_use]
    pub fn in_total(mut self) -> Self {
        self.in_total = true;
        self
    }

    /// Happens to this number of connections.
    #[must_use]
    pub fn times(mut self, connections: usize) -> Self {
        self.times = connections;
        self
    }

    /// Happens to every connection.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    fn used(&mut self) {
        self.times -= usize::from(self.times != usize::MAX);
    }
}

#[derive(Debug, Default)]
pub(super) struct LinkScript(Mutex<Vec<ScriptEntry>>);

#[derive(Debug)]
struct ScriptEntry {
    fault: LinkFault,
    /// The number of bytes that have passed in the fault's direction since it was injected.
    seen: u64,
    fired: Fired,
}

/// A fault that has reached its offset.
#[derive(Debug)]
pub(super) struct Hit {
    pub(super) ending: ConnectionEnd,
    /// The count to increase when it happens.
    pub(super) fired: Fired,
}

impl LinkScript {
    fn entries(&self) -> MutexGuard<'_, Vec<ScriptEntry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, fault: LinkFault) -> Fired {
        let fired = Fired::new();
        self.entries().push(ScriptEntry { fault, seen: 0, fired: fired.clone() });
        fired
    }

    pub(super) fn clear(&self) {
        self.entries().clear();
    }

    /// Whether to close the connection that was just accepted.
    pub(super) fn refuses(&self) -> Option<Fired> {
        let mut entries = self.entries();
        let refuses = |entry: &&mut ScriptEntry| {
            matches!(entry.fault.what, LinkFaultKind::Refuse) && entry.fault.times > 0
        };
        let entry = entries.iter_mut().find(refuses)?;
        entry.fault.used();
        Some(entry.fired.clone())
    }

    /// Returns how many of the next `len` bytes of a connection pass, `offset` bytes from its start, and the fault after them.
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
            if matches!(entry.fault.what, LinkFaultKind::At(of, ..) if of == direction) {
                entry.seen += passed as u64;
            }
        }
        let hit = first.and_then(|(index, _)| entries[index].hit());
        (passed, hit)
    }
}

impl ScriptEntry {
    /// Returns the number of bytes from `offset` to the fault, if it can happen to this connection.
    fn position(&self, direction: Direction, offset: u64) -> Option<u64> {
        match self.fault.what {
            LinkFaultKind::At(of, after, _) if of == direction && self.fault.times > 0 => {
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
        let LinkFaultKind::At(_, _, ending) = self.fault.what else { return None };
        self.fault.used();
        Some(Hit { ending, fired: self.fired.clone() })
    }
}

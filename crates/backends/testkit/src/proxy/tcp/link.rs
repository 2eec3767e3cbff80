//! How long and how wide a link is.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::proxy::tcp::Direction;

/// How much a link holds before its narrowest place, as time. The runtime's timers have a grain of a millisecond and wake
/// late on a busy machine: with less the link would run dry while its reader sleeps.
const BUFFER: Duration = Duration::from_millis(20);
/// What is read at once at most.
const CHUNK: u64 = 128 * 1024;
/// What is on its way where no bandwidth bounds it.
const UNBOUNDED_WINDOW: u64 = 64 << 20;

/// How long a link is and how many bytes a second it carries. The default is neither long nor narrow.
///
/// A shaped link is a pipe: as many bytes are on their way as bandwidth and delay make, and what a client sends over
/// the bandwidth waits. A connection costs its first round trip too. There is no slow start and no loss.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkShape {
    delay: Duration,
    up: Option<u64>,
    down: Option<u64>,
}

impl LinkShape {
    /// How long a byte takes there and an answer back; each way takes half.
    #[must_use]
    pub fn round_trip(mut self, time: Duration) -> Self {
        self.delay = time / 2;
        self
    }

    /// How many bytes a second go each way, over all connections.
    #[must_use]
    pub fn bandwidth(self, bytes_per_second: u64) -> Self {
        self.one_way(Direction::Up, bytes_per_second).one_way(Direction::Down, bytes_per_second)
    }

    /// How many bytes a second go one way, over all connections.
    #[must_use]
    pub fn one_way(mut self, direction: Direction, bytes_per_second: u64) -> Self {
        let rate = Some(bytes_per_second.max(1));
        match direction {
            Direction::Up => self.up = rate,
            Direction::Down => self.down = rate,
        }
        self
    }
}

/// Both ways of a link.
#[derive(Debug, Default)]
pub(super) struct Links {
    up: Link,
    down: Link,
}

impl Links {
    pub(super) fn get(&self, direction: Direction) -> &Link {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    pub(super) fn shape(&self, shape: LinkShape) {
        self.up.set(shape.delay, shape.up);
        self.down.set(shape.delay, shape.down);
    }
}

/// One way of a link, which all connections share.
#[derive(Debug, Default)]
pub(super) struct Link(Mutex<LinkState>);

#[derive(Debug, Default)]
struct LinkState {
    delay: Duration,
    /// Bytes a second.
    rate: Option<u64>,
    /// When the last byte that entered will have passed the narrowest place.
    free: Option<Instant>,
}

impl Link {
    fn state(&self) -> MutexGuard<'_, LinkState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, delay: Duration, rate: Option<u64>) {
        let mut state = self.state();
        *state = LinkState { delay, rate, free: state.free.filter(|_| rate.is_some()) };
    }

    pub(super) fn delay(&self) -> Duration {
        self.state().delay
    }

    /// How much to read at once: where the link is slow, little, so that it arrives evenly.
    pub(super) fn chunk(&self) -> usize {
        let chunk = self.state().rate.map_or(CHUNK, |rate| (rate / 500).clamp(1460, CHUNK));
        usize::try_from(chunk).unwrap_or(usize::MAX)
    }

    /// How many bytes of one connection may be on their way.
    pub(super) fn window(&self) -> u64 {
        let state = self.state();
        match state.rate {
            // Twice the buffer: bytes leave the link late by the grain of a timer.
            Some(rate) => 2 * CHUNK + bytes_in(state.delay + 2 * BUFFER, rate),
            None if state.delay.is_zero() => 2 * CHUNK,
            None => UNBOUNDED_WINDOW,
        }
    }

    /// Until when nothing more may enter.
    pub(super) fn full_until(&self) -> Option<Instant> {
        let room = self.state().free?.checked_sub(BUFFER)?;
        (room > Instant::now()).then_some(room)
    }

    /// Lets bytes enter: when they come out.
    pub(super) fn enter(&self, bytes: usize) -> Instant {
        let mut state = self.state();
        let now = Instant::now();
        let passed = match state.rate {
            Some(rate) => {
                let passed = state.free.map_or(now, |free| free.max(now)) + time_of(bytes as u64, rate);
                state.free = Some(passed);
                passed
            }
            None => now,
        };
        passed + state.delay
    }
}

fn bytes_in(time: Duration, rate: u64) -> u64 {
    let bytes = time.as_nanos() * u128::from(rate) / 1_000_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX / 2)
}

fn time_of(bytes: u64, rate: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

//! The delay and the bandwidth of a link.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::proxy::tcp::Direction;

/// The size of the link's buffer, as the time to send it. The runtime's timers have a resolution of a millisecond, and fire
/// late on a busy machine. With a smaller buffer the link would run dry while its reader sleeps.
const BUFFER: Duration = Duration::from_millis(20);
/// The maximum size of a read, in bytes.
const CHUNK: u64 = 128 * 1024;
/// The maximum number of bytes in flight if the bandwidth is unlimited.
const UNBOUNDED_WINDOW: u64 = 64 << 20;

/// The delay and the bandwidth of a link. The default has no delay and no limit.
///
/// A shaped link holds as many bytes in flight as bandwidth times delay. Bytes beyond the bandwidth wait. A new
/// connection costs one round trip. There is no slow start and no loss.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkShape {
    delay: Duration,
    up: Option<u64>,
    down: Option<u64>,
}

impl LinkShape {
    /// Sets the round-trip time. Each direction takes half of it.
    #[must_use]
    pub fn round_trip(mut self, time: Duration) -> Self {
        self.delay = time / 2;
        self
    }

    /// Sets the bandwidth of each direction in bytes per second, shared by all connections.
    #[must_use]
    pub fn bandwidth(self, bytes_per_second: u64) -> Self {
        self.one_way(Direction::Up, bytes_per_second).one_way(Direction::Down, bytes_per_second)
    }

    /// Sets the bandwidth of one direction in bytes per second, shared by all connections.
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

/// Both directions of a link.
#[derive(Debug, Default)]
pub(super) struct Links {
    up: LinkWay,
    down: LinkWay,
}

impl Links {
    pub(super) fn get(&self, direction: Direction) -> &LinkWay {
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

/// One direction of a link, shared by all connections.
#[derive(Debug, Default)]
pub(super) struct LinkWay(Mutex<LinkState>);

#[derive(Debug, Default)]
struct LinkState {
    delay: Duration,
    /// Bytes per second.
    rate: Option<u64>,
    /// The time at which the last byte in the buffer is sent.
    free: Option<Instant>,
}

impl LinkWay {
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

    /// The size of a read. It is small for a slow link, so that bytes arrive evenly.
    pub(super) fn chunk(&self) -> usize {
        let chunk = self.state().rate.map_or(CHUNK, |rate| (rate / 500).clamp(1460, CHUNK));
        usize::try_from(chunk).unwrap_or(usize::MAX)
    }

    /// The maximum number of bytes of one connection in flight.
    pub(super) fn window(&self) -> u64 {
        let state = self.state();
        match state.rate {
            // Twice the buffer, because bytes leave the link late by the resolution of a timer.
            Some(rate) => 2 * CHUNK + bytes_in(state.delay + 2 * BUFFER, rate),
            None if state.delay.is_zero() => 2 * CHUNK,
            None => UNBOUNDED_WINDOW,
        }
    }

    /// The time until which no more bytes may enter, if the buffer is full.
    pub(super) fn full_until(&self) -> Option<Instant> {
        let room = self.state().free?.checked_sub(BUFFER)?;
        (room > Instant::now()).then_some(room)
    }

    /// Lets bytes enter, and returns the time at which they come out.
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

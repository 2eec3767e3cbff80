//! The progress and speed of a task.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time constant of the smoothed speed. A slow line transfers a few frames in about this time.
const SMOOTHING: Duration = Duration::from_secs(5);

/// Samples that are closer together are merged, because they would only measure the noise of buffers.
const MIN_SAMPLE: Duration = Duration::from_millis(150);

/// The minimum duration of a task with a speed, and of a rest with an estimate. Shorter values would only
/// flicker.
const MIN_SHOWN: Duration = Duration::from_secs(1);

/// The progress of one task. Any thread may advance it. Callers pass in the current time.
#[derive(Debug)]
pub(super) struct Meter {
    /// The number of bytes at the end, if it is known.
    pub(super) total: Option<u64>,
    begun: Instant,
    done: AtomicU64,
    speed: Mutex<Speed>,
}

impl Meter {
    pub(super) fn new(total: Option<u64>, now: Instant) -> Self {
        Self { total, begun: now, done: AtomicU64::new(0), speed: Mutex::new(Speed::new(now)) }
    }

    pub(super) fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Returns the smoothed speed in bytes per second, if the task runs for a second or more.
    pub(super) fn speed(&self, now: Instant) -> Option<f64> {
        let speed = self.speed.lock().unwrap_or_else(PoisonError::into_inner).sample(self.done(), now);
        speed.filter(|_| now.saturating_duration_since(self.begun) >= MIN_SHOWN)
    }

    /// Returns the remaining time at this speed, if it is a second or more.
    pub(super) fn remaining(&self, speed: f64) -> Option<Duration> {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let rest = self.total?.saturating_sub(self.done()) as f64;
        Duration::try_from_secs_f64(rest / speed).ok().filter(|rest| *rest >= MIN_SHOWN)
    }
}

/// An exponentially weighted average over time. The weights are normalized, because it starts without a
/// history.
#[derive(Debug)]
struct Speed {
    last: Instant,
    done: u64,
    average: f64,
    weight: f64,
}

impl Speed {
    const fn new(now: Instant) -> Self {
        Self { last: now, done: 0, average: 0.0, weight: 0.0 }
    }

    fn sample(&mut self, done: u64, now: Instant) -> Option<f64> {
        let elapsed = now.saturating_duration_since(self.last);
        if elapsed >= MIN_SAMPLE {
            let decay = (-elapsed.as_secs_f64() / SMOOTHING.as_secs_f64()).exp();
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let current = done.saturating_sub(self.done) as f64 / elapsed.as_secs_f64();
            self.average = self.average * decay + current * (1.0 - decay);
            self.weight = self.weight * decay + (1.0 - decay);
            self.last = now;
            self.done = done;
        }
        (self.weight > 0.0).then(|| self.average / self.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_speed_is_smooth_where_bytes_come_in_bursts() {
        let start = Instant::now();
        let meter = Meter::new(Some(1_000 * MIB), start);
        assert_eq!(meter.speed(start), None, "nothing is known yet");
        let mut speeds = Vec::new();
        // A frame of 8 MiB arrives every two seconds, and is sampled five times a second.
        for tick in 1..=300 {
            if tick % 10 == 0 {
                meter.advance(8 * MIB);
            }
            speeds.extend(meter.speed(start + Duration::from_millis(200) * tick));
        }
        assert_eq!(speeds.len(), 300 - 4, "there is none in the first second");
        let settled = &speeds[150..];
        let mib = 1_048_576.0;
        assert!(settled.iter().all(|speed| (2.5 * mib..5.5 * mib).contains(speed)), "{settled:?}");
        let rest = meter.remaining(4.0 * mib).unwrap();
        assert_eq!(rest, Duration::from_secs((1_000 - 240) / 4));
    }

    #[test]
    fn a_rest_below_a_second_has_no_estimate() {
        let meter = Meter::new(Some(100), Instant::now());
        meter.advance(95);
        assert_eq!(meter.remaining(10.0), None);
        assert_eq!(meter.remaining(5.0), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_speed_falls_where_nothing_comes() {
        let start = Instant::now();
        let meter = Meter::new(None, start);
        meter.advance(100 * MIB);
        let at = |seconds| meter.speed(start + Duration::from_secs(seconds)).unwrap();
        let (first, later) = (at(1), at(30));
        assert!(first > 10.0 * later, "{first} {later}");
        assert_eq!(meter.remaining(later), None, "no total, no estimate");
        assert_eq!(Meter::new(Some(5), start).remaining(0.0), None);
    }
}

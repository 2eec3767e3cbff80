//! A session of libssh2 whose calls do not block. The waiting is done here, and it ends.
//!
//! libssh2's own timeout starts again with each of the many steps of a call, and nothing could interrupt it.

use std::cell::Cell;
use std::os::fd::{AsFd as _, AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use larder_backend::ErrorKind;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{BlockDirections, Session};

use crate::error::{Trouble, is_again};
use crate::stream::Stream;

/// How often a wait checks whether it is cancelled.
const LOOK: Duration = Duration::from_millis(100);

/// The share of the stream that libssh2 holds.
struct SessionSocket(Arc<Stream>);

impl AsRawFd for SessionSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// A server that answers keepalives, but not a request about its files, gets this many times the limit of a silent one: ten times
/// the stall timeout. A disk that has much to write delays every call, sometimes for minutes.
const BUSY: u32 = 30;

/// The kind of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// A step of the protocol, which takes no time.
    Protocol,
    /// A request about the server's files. They are only busy while the server answers keepalives.
    Files,
}

/// A wait for an answer.
struct AnswerWait {
    wait: Wait,
    begun: Instant,
    /// When anything came from the server last.
    heard: Instant,
}

/// A session and its stream.
pub(crate) struct SessionWire {
    pub(crate) session: Session,
    stream: Arc<Stream>,
    /// How long one call may take.
    pub(crate) limit: Duration,
    /// Set when nobody wants the answer any more.
    pub(crate) cancel: Option<Arc<AtomicBool>>,
    /// When a call was answered last.
    answered: Cell<Instant>,
}

impl SessionWire {
    pub(crate) fn new(stream: Arc<Stream>, limit: Duration) -> Result<Self, Trouble> {
        let mut session = Session::new()?;
        session.set_tcp_stream(SessionSocket(Arc::clone(&stream)));
        session.set_blocking(false);
        // Only destructors block.
        session.set_timeout(1000);
        Ok(Self { session, stream, limit, cancel: None, answered: Cell::new(Instant::now()) })
    }

    /// Ends everything that the session does, at once.
    pub(crate) fn cut(&self) {
        self.stream.shut_down();
    }

    /// Whether the other end is gone. libssh2 does not always tell that from a refusal.
    pub(crate) fn is_dead(&self) -> bool {
        use rustix::net::{RecvFlags, recv};
        let mut byte = [0_u8; 1];
        match recv(&*self.stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((count, _)) => count == 0,
            Err(error) => !matches!(error, rustix::io::Errno::AGAIN | rustix::io::Errno::INTR),
        }
    }

    /// How long no call has been answered.
    pub(crate) fn silence(&self) -> Duration {
        self.answered.get().elapsed()
    }

    /// Repeats a call until it is answered.
    pub(crate) fn drive<T>(
        &self,
        wait: Wait,
        mut call: impl FnMut() -> Result<T, ssh2::Error>,
    ) -> Result<T, Trouble> {
        let begun = Instant::now();
        let mut waiting = AnswerWait { wait, begun, heard: begun };
        loop {
            match call() {
                Ok(value) => {
                    self.answered.set(Instant::now());
                    return Ok(value);
                }
                Err(error) if is_again(&error) => self.wait(&mut waiting)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn wait(&self, waiting: &mut AnswerWait) -> Result<(), Trouble> {
        if self.cancel.as_ref().is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
            return Err(Trouble::cancelled());
        }
        let left = self.limit.saturating_sub(waiting.heard.elapsed());
        if left.is_zero() {
            return Err(Trouble::silent("the server", self.limit));
        }
        if waiting.begun.elapsed() >= self.limit * BUSY {
            return Err(Trouble::hanging(self.limit * BUSY));
        }
        let flags = match self.session.block_directions() {
            BlockDirections::Outbound => PollFlags::OUT,
            BlockDirections::Both => PollFlags::IN | PollFlags::OUT,
            BlockDirections::None | BlockDirections::Inbound => PollFlags::IN,
        };
        if waiting.wait == Wait::Files && flags == PollFlags::IN {
            // It sends something only when the interval has passed. The request itself is already sent.
            let _ = self.session.keepalive_send();
        }
        let pause = left.min(LOOK);
        let pause = Timespec { tv_sec: 0, tv_nsec: i64::from(pause.subsec_nanos()) };
        let mut fds = [PollFd::new(&self.stream, flags)];
        match poll(&mut fds, Some(&pause)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(()),
            Ok(_) => {
                if waiting.wait == Wait::Files {
                    waiting.heard = Instant::now();
                }
                Ok(())
            }
            Err(error) => {
                Err(Trouble::new(ErrorKind::Unavailable).with_source(std::io::Error::from(error)).broken())
            }
        }
    }
}

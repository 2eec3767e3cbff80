//! A session of libssh2 whose calls do not block: the waiting is done here, so that it ends.
//!
//! libssh2's own timeout counts each of the many steps of a call anew, and nothing could interrupt it.

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

/// How often a wait looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// What libssh2 holds of the stream.
struct Shared(Arc<Stream>);

impl AsRawFd for Shared {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// A server that is there, but whose files do not answer, is waited for so many times as long as one that is silent: ten
/// times the stall timeout. A disk that has much to write makes every call that touches it wait, at times for minutes.
const BUSY: u32 = 30;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// A step of the protocol, which takes no time.
    Protocol,
    /// The server's files. As long as the server shows that it is there, they are only busy.
    Files,
}

/// Since when something is waited for.
struct Waiting {
    wait: Wait,
    begun: Instant,
    /// When the server was last heard of.
    heard: Instant,
}

/// A session and what it talks through.
pub(crate) struct Wire {
    pub(crate) session: Session,
    stream: Arc<Stream>,
    /// How long one call may take.
    pub(crate) limit: Duration,
    /// Set where nobody wants the answer any more.
    pub(crate) cancel: Option<Arc<AtomicBool>>,
    /// When a call was answered last.
    answered: Cell<Instant>,
}

impl Wire {
    pub(crate) fn new(stream: Arc<Stream>, limit: Duration) -> Result<Self, Trouble> {
        let mut session = Session::new()?;
        session.set_tcp_stream(Shared(Arc::clone(&stream)));
        session.set_blocking(false);
        // Only destructors block, and they are the last resort.
        session.set_timeout(1000);
        Ok(Self { session, stream, limit, cancel: None, answered: Cell::new(Instant::now()) })
    }

    /// Ends everything that this session does, at once.
    pub(crate) fn cut(&self) {
        self.stream.shut_down();
    }

    /// Whether the other end is gone: libssh2 does not always tell that from a refusal.
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

    /// Calls until there is an answer.
    pub(crate) fn drive<T>(
        &self,
        wait: Wait,
        mut call: impl FnMut() -> Result<T, ssh2::Error>,
    ) -> Result<T, Trouble> {
        let begun = Instant::now();
        let mut waiting = Waiting { wait, begun, heard: begun };
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

    fn wait(&self, waiting: &mut Waiting) -> Result<(), Trouble> {
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
            // Sends something only where it is time for it. The request itself is out: nothing gets mixed up.
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

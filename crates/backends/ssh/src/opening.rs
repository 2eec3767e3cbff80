//! Opens connections, on threads that can be abandoned.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use larder_backend::ErrorKind;

use crate::auth::LogIn;
use crate::connection::SftpConnection;
use crate::error::Trouble;
use crate::opening_watch::{Blocker, OpeningWatch, Overdue};
use crate::openssh::HostSettings;

/// How often the thread is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How an attempt to open a connection ended.
enum OpeningOutcome {
    Ended(Result<SftpConnection, Trouble>),
    Abandoned(Overdue),
}

/// Opens a connection. An agent that does not answer is asked once, and not again.
pub(crate) fn open(settings: &Arc<HostSettings>, log_in: &Arc<LogIn>) -> Result<SftpConnection, Trouble> {
    loop {
        match open_once(settings, log_in)? {
            OpeningOutcome::Ended(opened) => return opened,
            OpeningOutcome::Abandoned(Overdue { blocker: Blocker::Agent, limit }) => {
                log_in.silent_agent.get_or_init(|| limit);
            }
            OpeningOutcome::Abandoned(Overdue { blocker: Blocker::NameLookup, limit }) => {
                let hint =
                    format!("the name of {} is not looked up in time: check the network", settings.host);
                return Err(Trouble::silent("the name server", limit).with_hint(hint));
            }
        }
    }
}

fn open_once(settings: &Arc<HostSettings>, log_in: &Arc<LogIn>) -> Result<OpeningOutcome, Trouble> {
    let watch = Arc::new(OpeningWatch::default());
    let (sender, receiver) = mpsc::channel();
    let thread = {
        let (settings, log_in, watch) = (Arc::clone(settings), Arc::clone(log_in), Arc::clone(&watch));
        thread::Builder::new().name("larder-ssh-open".to_owned()).spawn(move || {
            // Nobody may be waiting any more.
            let _ = sender.send(SftpConnection::open(&settings, &log_in, &watch));
        })
    };
    thread.map_err(|error| Trouble::new(ErrorKind::Other).with_source(error))?;
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok(opened) => return Ok(OpeningOutcome::Ended(opened)),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Trouble::new(ErrorKind::Other)
                    .with_source("the thread that opened the connection ended early"));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if log_in.cancel.as_ref().is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
            watch.abandon();
            return Err(Trouble::cancelled());
        }
        if let Some(overdue) = watch.abandon_if_overdue() {
            return Ok(OpeningOutcome::Abandoned(overdue));
        }
    }
}

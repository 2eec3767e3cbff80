//! A connection to the server, and the calls of SFTP.

use std::cell::Cell;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use larder_backend::ErrorKind;
use ssh2::{DisconnectCode, File, FileStat, OpenFlags, OpenType, Sftp};

use crate::auth::{self, LogIn};
use crate::error::{Trouble, from_io, is_end_of_directory};
use crate::known_hosts::KnownHosts;
use crate::opening_watch::OpeningWatch;
use crate::openssh::HostSettings;
use crate::reach::{check_host, connect, prefer_known_types};
use crate::wire::{SessionWire, Wait};

/// The longest time for ending a session in order.
const GOODBYE: Duration = Duration::from_secs(1);

/// The number of bytes that are on their way to the server at once. They are more than its window of 2 MiB, and whole packets of
/// libssh2, which copies all of them.
const WRITE_AHEAD: usize = 78 * 30_000;

/// The number of bytes that one call of libssh2 reads. It requests four times as many from the server.
const READ: u64 = 1024 * 1024;

/// A connection that is logged in, with SFTP.
pub(crate) struct SftpConnection {
    sftp: Option<Sftp>,
    pub(crate) wire: SessionWire,
    proxy: Option<crate::proxy::Running>,
    /// The shortest time in which a request was answered.
    quickest: Cell<Duration>,
}

impl SftpConnection {
    /// Connects, checks the host, logs in and begins SFTP.
    pub(crate) fn open(
        settings: &HostSettings,
        log_in: &LogIn,
        watch: &OpeningWatch,
    ) -> Result<Self, Trouble> {
        let limit = settings.connect_timeout.map_or(log_in.limit, |timeout| timeout.min(log_in.limit));
        let (stream, proxy) = connect(settings, limit, watch)?;
        watch.uses(&stream);
        let mut wire = SessionWire::new(stream, limit)?;
        wire.cancel.clone_from(&log_in.cancel);
        let opened = Self::begin(&mut wire, settings, log_in, watch);
        match opened {
            Ok(sftp) => {
                wire.limit = log_in.limit;
                // Keepalives must come several times within the limit, even if the configuration of OpenSSH has a longer
                // interval. libssh2 counts whole seconds, and takes two at least. With a shorter limit, a busy server
                // counts as silent.
                let often = log_in.limit / 3;
                let interval = settings.alive_interval.map_or(often, |interval| interval.min(often));
                wire.session.set_keepalive(true, u32::try_from(interval.as_secs()).unwrap_or(60).max(1));
                Ok(Self { sftp: Some(sftp), wire, proxy, quickest: Cell::new(Duration::MAX) })
            }
            Err(mut trouble) => {
                wire.cut();
                if let Some(proxy) = proxy {
                    let said = proxy.said();
                    if !said.is_empty() {
                        let source = format!("the program of ProxyJump or ProxyCommand says: {said}");
                        trouble = trouble.with_source(source);
                    } else if trouble.kind == ErrorKind::Timeout {
                        trouble =
                            trouble.with_hint("the program of ProxyJump or ProxyCommand passes nothing on");
                    }
                }
                Err(trouble)
            }
        }
    }

    fn begin(
        wire: &mut SessionWire,
        settings: &HostSettings,
        log_in: &LogIn,
        watch: &OpeningWatch,
    ) -> Result<Sftp, Trouble> {
        let known = KnownHosts::read(settings.known_hosts.iter().chain(&settings.global_known_hosts))
            .map_err(|(file, error)| {
                Trouble::new(ErrorKind::InvalidInput)
                    .with_hint(format!("the known hosts in {} cannot be read", file.display()))
                    .with_source(error)
            })?;
        prefer_known_types(wire, &known, settings);
        // The wrapper wants a mutable session for this call.
        let mut session = wire.session.clone();
        wire.drive(Wait::Protocol, || session.handshake())?;
        check_host(wire, &known, settings)?;
        auth::log_in(wire, settings, log_in, watch)?;
        wire.drive(Wait::Protocol, || wire.session.sftp()).map_err(|trouble| {
            if wire.is_dead() || matches!(trouble.kind, ErrorKind::Timeout | ErrorKind::Cancelled) {
                return trouble;
            }
            let hint = "the server lets you in, but has no SFTP: it needs a line `Subsystem sftp internal-sftp` in \
                        its sshd_config";
            Trouble::new(ErrorKind::Unsupported).with_hint(hint).hopeless()
        })
    }

    /// The round trip of the link: the shortest time in which a request was answered. A login says nothing about it, because
    /// the server computes for longer.
    pub(crate) fn round_trip(&self) -> Duration {
        self.quickest.get()
    }

    fn sftp(&self) -> Result<&Sftp, Trouble> {
        self.sftp.as_ref().ok_or_else(|| Trouble::new(ErrorKind::Unavailable).broken())
    }

    /// Makes one call of SFTP.
    fn call<T>(&self, mut call: impl FnMut(&Sftp) -> Result<T, ssh2::Error>) -> Result<T, Trouble> {
        let sftp = self.sftp()?;
        let begun = Instant::now();
        let answer = self.wire.drive(Wait::Files, || call(sftp));
        self.quickest.set(self.quickest.get().min(begun.elapsed()));
        answer
    }

    /// Gets the attributes of a file, and follows links.
    pub(crate) fn stat(&self, path: &str) -> Result<FileStat, Trouble> {
        self.call(|sftp| sftp.stat(Path::new(path)))
    }

    /// Gets the attributes of a file, and does not follow a link at its name.
    pub(crate) fn lstat(&self, path: &str) -> Result<FileStat, Trouble> {
        self.call(|sftp| sftp.lstat(Path::new(path)))
    }

    pub(crate) fn make_directory(&self, path: &str, mode: u32) -> Result<(), Trouble> {
        let mode = i32::try_from(mode).unwrap_or(0o755);
        self.call(|sftp| sftp.mkdir(Path::new(path), mode))
    }

    pub(crate) fn remove_directory(&self, path: &str) -> Result<(), Trouble> {
        self.call(|sftp| sftp.rmdir(Path::new(path)))
    }

    pub(crate) fn remove(&self, path: &str) -> Result<(), Trouble> {
        self.call(|sftp| sftp.unlink(Path::new(path)))
    }

    /// Renames, and fails if the new name exists: version 3 of SFTP has no flags, and OpenSSH links and unlinks.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), Trouble> {
        let flags = ssh2::RenameFlags::ATOMIC | ssh2::RenameFlags::NATIVE;
        self.call(|sftp| sftp.rename(Path::new(from), Path::new(to), Some(flags)))
    }

    pub(crate) fn set_mode(&self, path: &str, mode: u32) -> Result<(), Trouble> {
        self.call(|sftp| sftp.setstat(Path::new(path), FileStat { perm: Some(mode), ..nothing() }))
    }

    pub(crate) fn set_modified(&self, path: &str, seconds: u64) -> Result<(), Trouble> {
        let stat = FileStat { atime: Some(seconds), mtime: Some(seconds), ..nothing() };
        self.call(|sftp| sftp.setstat(Path::new(path), copy(&stat)))
    }

    /// Opens a file, calls `act`, and closes the file. A failure to close it is an error.
    pub(crate) fn with_file<T>(
        &self,
        path: &str,
        flags: OpenFlags,
        mode: u32,
        act: impl FnOnce(&mut Open<'_>) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let mode = i32::try_from(mode).unwrap_or(0o600);
        let file = self.call(|sftp| sftp.open_mode(Path::new(path), flags, mode, OpenType::File))?;
        let mut open = Open { file, wire: &self.wire };
        let acted = act(&mut open);
        let Open { mut file, wire } = open;
        match acted {
            Err(trouble) if trouble.is_broken => {
                // Its destructor would wait for an answer.
                wire.cut();
                Err(trouble)
            }
            acted => {
                let closed = wire.drive(Wait::Files, || file.close());
                if closed.as_ref().is_err_and(|trouble| trouble.is_broken) {
                    wire.cut();
                }
                let value = acted?;
                closed.map(|()| value)
            }
        }
    }

    /// Reads a directory, until `entry` fails.
    pub(crate) fn read_directory(
        &self,
        path: &str,
        mut entry: impl FnMut(&str, &FileStat) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let mut directory = self.call(|sftp| sftp.opendir(Path::new(path)))?;
        let read = loop {
            let next = self.wire.drive(Wait::Files, || match directory.readdir() {
                Err(error) if is_end_of_directory(&error) => Ok(None),
                other => other.map(Some),
            });
            match next {
                Ok(Some((name, stat))) => match name.to_str() {
                    // Other names cannot be part of a key.
                    Some(name) if !matches!(name, "." | "..") => {
                        if let Err(trouble) = entry(name, &stat) {
                            break Err(trouble);
                        }
                    }
                    _ => {}
                },
                Ok(None) => break Ok(()),
                Err(trouble) => break Err(trouble),
            }
        };
        if read.as_ref().is_err_and(|trouble| trouble.is_broken) {
            self.wire.cut();
            return read;
        }
        self.wire.drive(Wait::Files, || directory.close())?;
        read
    }

    /// Ends the session in order, if that does not take long.
    pub(crate) fn close(mut self) {
        self.wire.limit = GOODBYE;
        self.wire.cancel = None;
        if let Some(mut sftp) = self.sftp.take() {
            let _ = self.wire.drive(Wait::Protocol, || sftp.shutdown());
            let wire = &self.wire;
            let _ = wire.drive(Wait::Protocol, || {
                wire.session.disconnect(Some(DisconnectCode::ByApplication), "done", None)
            });
        }
        self.wire.cut();
        drop(self.proxy.take());
    }

    /// Ends the connection at once.
    pub(crate) fn cut(self) {
        self.wire.cut();
    }
}

impl Drop for SftpConnection {
    fn drop(&mut self) {
        // Without this, destructors of libssh2 would wait for answers.
        self.wire.cut();
    }
}

/// An open file.
pub(crate) struct Open<'a> {
    file: File,
    wire: &'a SessionWire,
}

impl Open<'_> {
    pub(crate) fn stat(&mut self) -> Result<FileStat, Trouble> {
        self.wire.drive(Wait::Files, || self.file.stat())
    }

    pub(crate) fn set_mode(&mut self, mode: u32) -> Result<(), Trouble> {
        self.wire.drive(Wait::Files, || self.file.setstat(FileStat { perm: Some(mode), ..nothing() }))
    }

    /// Flushes to the disk, if the server can.
    pub(crate) fn sync(&mut self) -> Result<(), Trouble> {
        match self.wire.drive(Wait::Files, || self.file.fsync()) {
            Err(trouble) if trouble.is_unsupported() => Ok(()),
            synced => synced,
        }
    }

    /// Writes at a position. Calls `progressed` for each piece that the server has confirmed.
    pub(crate) fn write(
        &mut self,
        position: u64,
        bytes: &[u8],
        mut progressed: impl FnMut(),
    ) -> Result<(), Trouble> {
        self.seek(position)?;
        let mut written = 0;
        while written < bytes.len() {
            // libssh2 wants unconfirmed bytes again, with more behind them. So the link is never idle.
            let given = &bytes[written..bytes.len().min(written + WRITE_AHEAD)];
            let written_now =
                self.wire.drive(Wait::Files, || self.file.write(given).map_err(|error| from_io(&error)));
            match written_now {
                Ok(count) => written += count,
                Err(trouble) => return Err(self.explain(trouble)),
            }
            progressed();
        }
        Ok(())
    }

    /// Reads up to `length` bytes from a position. They are fewer only at the end of the file.
    pub(crate) fn read(&mut self, position: u64, length: usize) -> Result<Vec<u8>, Trouble> {
        self.seek(position)?;
        let mut bytes = vec![0; length];
        let mut read = 0;
        while read < length {
            let left = length - read;
            // libssh2 requests four times as many bytes as it is asked for. Near the end it would throw them away.
            let ahead = if left > 128 * 1024 { left.div_ceil(4) } else { left };
            let end = read + ahead.min(usize::try_from(READ).unwrap_or(ahead));
            let target = &mut bytes[read..end];
            let count =
                self.wire.drive(Wait::Files, || self.file.read(target).map_err(|error| from_io(&error)))?;
            if count == 0 {
                bytes.truncate(read);
                break;
            }
            read += count;
        }
        Ok(bytes)
    }

    fn seek(&mut self, position: u64) -> Result<(), Trouble> {
        self.file.seek(SeekFrom::Start(position)).map(drop).map_err(|error| from_io(&error).into())
    }

    /// Finds out whether a full disk is the reason of a failure. SFTP has no status for it.
    fn explain(&mut self, trouble: Trouble) -> Trouble {
        if !trouble.is_failure() {
            return trouble;
        }
        match self.wire.drive(Wait::Files, || self.file.statvfs()) {
            // The rest of the disk may be smaller than a block for each request.
            Ok(space) if space.f_bavail.saturating_mul(space.f_frsize.max(1)) < WRITE_AHEAD as u64 => {
                trouble.into_no_space()
            }
            _ => trouble,
        }
    }
}

/// Returns attributes of which none is set.
fn nothing() -> FileStat {
    FileStat { size: None, uid: None, gid: None, perm: None, atime: None, mtime: None }
}

fn copy(stat: &FileStat) -> FileStat {
    FileStat { ..*stat }
}

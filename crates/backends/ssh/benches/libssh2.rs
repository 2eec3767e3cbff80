//! Measures how fast libssh2 alone transfers a file over SFTP, used as in this crate: several sessions with parts of the
//! file, in calls of the same size. Nothing is hashed, verified, flushed or published, and received bytes are discarded.
//! `cargo xtask bench --backend ssh` starts it beside larder, scp and sftp.

#![expect(clippy::print_stderr, reason = "a program")]

use std::error::Error;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;

use ssh2::{File, OpenFlags, OpenType, Session};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "\
usage: libssh2 get|put USER HOST:PORT PRIVATE_KEY REMOTE_FILE LOCAL_FILE
       get reads REMOTE_FILE and keeps nothing; put writes LOCAL_FILE to it. Host keys are not checked.";

/// The number of sessions that larder opens to a near host.
const SESSIONS: usize = 2;
/// The size of a part, and the sizes of calls to libssh2, in bytes.
const PART: usize = 130 * 30_000;
const WRITE: usize = 78 * 30_000;
const READ: usize = 1 << 20;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [way, user, address, key, remote, local] = &args[..] else {
        eprintln!("{USAGE}");
        return Ok(());
    };
    let connect = || connect(address, user, Path::new(key));
    let remote = Path::new(remote);
    match way.as_str() {
        "get" => {
            let size = connect()?.sftp()?.stat(remote)?.size.unwrap_or_default();
            in_parts(size, || Ok(connect()?.sftp()?.open(remote)?), read)
        }
        "put" => {
            let size = fs::metadata(local)?.len();
            connect()?.sftp()?.create(remote)?;
            let open = || {
                let file = connect()?.sftp()?.open_mode(remote, OpenFlags::WRITE, 0o600, OpenType::File)?;
                Ok((file, fs::File::open(local)?))
            };
            in_parts(size, open, write)
        }
        _ => Err(USAGE.into()),
    }
}

fn connect(address: &str, user: &str, key: &Path) -> Result<Session> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut session = Session::new()?;
    session.set_tcp_stream(stream);
    session.handshake()?;
    session.userauth_pubkey_file(user, None, key, None)?;
    Ok(session)
}

/// Transfers all parts on several threads. Each opens the file itself.
fn in_parts<F>(
    size: u64,
    open: impl Fn() -> Result<F> + Sync,
    act: impl Fn(&mut F, u64, &mut [u8]) -> Result<()> + Sync,
) -> Result<()> {
    thread::scope(|scope| {
        let start = |session: usize| {
            let (open, act) = (&open, &act);
            scope.spawn(move || {
                let mut file = open()?;
                let mut buffer = vec![0; PART];
                for position in (0..size).step_by(PART).skip(session).step_by(SESSIONS) {
                    let left = usize::try_from(size - position)?;
                    act(&mut file, position, &mut buffer[..left.min(PART)])?;
                }
                Ok(())
            })
        };
        let sessions: Vec<_> = (0..SESSIONS).map(start).collect();
        sessions.into_iter().try_for_each(|session| session.join().map_err(|_| "a session panicked")?)
    })
}

fn read(file: &mut File, position: u64, part: &mut [u8]) -> Result<()> {
    file.seek(SeekFrom::Start(position))?;
    let mut read = 0;
    while read < part.len() {
        let left = part.len() - read;
        // libssh2 asks the server for four times as much.
        let ahead = if left > 128 << 10 { left.div_ceil(4).min(READ) } else { left };
        match file.read(&mut part[read..read + ahead])? {
            0 => return Err("the file is shorter than it was".into()),
            count => read += count,
        }
    }
    Ok(())
}

fn write((remote, local): &mut (File, fs::File), position: u64, part: &mut [u8]) -> Result<()> {
    local.read_exact_at(part, position)?;
    remote.seek(SeekFrom::Start(position))?;
    let mut written = 0;
    while written < part.len() {
        let end = part.len().min(written + WRITE);
        written += remote.write(&part[written..end])?;
    }
    Ok(())
}

//! A slow link to a server: `larder-link ADDRESS [--rtt-ms N] [--mbit N]` prints the address that it listens on, and forwards
//! connections to ADDRESS until its standard input closes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, error};

use larder_testkit::proxy::{LinkShape, TcpProxy};

const USAGE: &str = "usage: larder-link ADDRESS [--rtt-ms N] [--mbit N]";

type Result<T> = std::result::Result<T, Box<dyn error::Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "larder-link: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let (target, shape) = parse(env::args().skip(1))?;
    let proxy = TcpProxy::start(target)?;
    proxy.shape(shape);
    writeln!(io::stdout(), "{}", proxy.address())?;
    io::stdout().flush()?;
    // Wait for the end of standard input: the parent has closed it or has exited.
    let mut said = [0; 256];
    while io::stdin().read(&mut said)? > 0 {}
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<(SocketAddr, LinkShape)> {
    let (mut target, mut shape) = (None, LinkShape::default());
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<u64> {
            let value = arguments.next().ok_or_else(|| format!("{argument} needs a number; {USAGE}"))?;
            value.parse().map_err(|_| format!("{argument} {value}: not a number; {USAGE}").into())
        };
        match argument.as_str() {
            "--rtt-ms" => shape = shape.round_trip(Duration::from_millis(number()?)),
            "--mbit" => shape = shape.bandwidth(number()?.saturating_mul(1_000_000 / 8)),
            address if target.is_none() && !address.starts_with('-') => target = Some(resolve(address)?),
            other => return Err(format!("unknown argument {other}; {USAGE}").into()),
        }
    }
    Ok((target.ok_or(USAGE)?, shape))
}

fn resolve(address: &str) -> Result<SocketAddr> {
    let mut found = address
        .to_socket_addrs()
        .map_err(|error| format!("failed to resolve {address}: {error}; give HOST:PORT"))?;
    Ok(found.next().ok_or_else(|| format!("{address} has no address; give HOST:PORT"))?)
}

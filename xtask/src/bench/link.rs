//! A slow link to a server on this machine.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::{Result, cargo, process};

/// A proxy that delays and throttles. Drop stops it. It also stops with this process.
pub(crate) struct ShapedLink {
    proxy: Child,
    /// The address of the proxy.
    pub(crate) address: String,
}

impl ShapedLink {
    /// Builds the testkit's proxy and starts it in front of `target`.
    pub(crate) fn start(target: &str, rtt_ms: u32, mbit: u32) -> Result<Self> {
        let program = cargo::build_program("larder-testkit", "larder-link")?;
        let mut command = Command::new(program);
        command.args([target, "--rtt-ms", &rtt_ms.to_string(), "--mbit", &mbit.to_string()]);
        Self::spawn(command)
    }

    /// Starts the proxy. It prints its address as the first line, and runs until its standard input closes.
    fn spawn(mut command: Command) -> Result<Self> {
        let shown = process::shown(&command);
        eprintln!("+ {shown}");
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let proxy = spawned.map_err(|error| format!("failed to start `{shown}`: {error}"))?;
        // Create the guard now, so that an error below stops the proxy.
        let mut link = Self { proxy, address: String::new() };
        let stdout = link.proxy.stdout.take().ok_or("the proxy has no standard output")?;
        BufReader::new(stdout).read_line(&mut link.address)?;
        link.address.truncate(link.address.trim_end().len());
        if link.address.is_empty() {
            return Err(format!("`{shown}` printed no address").into());
        }
        Ok(link)
    }
}

impl Drop for ShapedLink {
    fn drop(&mut self) {
        // `wait` closes its standard input, which stops it.
        let _ = self.proxy.wait();
    }
}

/// Returns `HOST:PORT` of `http://HOST:PORT`.
pub(crate) fn address_of(endpoint: &str) -> Result<&str> {
    let address = endpoint.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    Ok(address.ok_or_else(|| format!("the server's endpoint {endpoint} is not http://HOST:PORT"))?)
}

/// Returns the time in seconds that a link needs for this many bytes.
pub(crate) fn seconds(mib: u32, mbit: u32) -> f64 {
    f64::from(mib) * f64::from(1 << 20) * 8.0 / (f64::from(mbit) * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_link_says_its_address_and_ends_with_its_owner() {
        let link = ShapedLink::spawn(shell("echo 127.0.0.1:1; cat >/dev/null")).unwrap();
        assert_eq!(link.address, "127.0.0.1:1");
        // This would hang if the input stayed open.
        drop(link);
        let error = ShapedLink::spawn(shell("exit 1")).err().unwrap().to_string();
        assert!(error.ends_with("printed no address"), "{error}");
    }

    #[test]
    fn a_link_of_a_gigabit_takes_eight_seconds_and_a_half_for_a_gibibyte() {
        assert!((seconds(1024, 1000) - 8.589_934_592).abs() < 1e-9);
    }

    #[test]
    fn addresses_are_taken_out_of_endpoints() {
        assert_eq!(address_of("http://127.0.0.1:9000").unwrap(), "127.0.0.1:9000");
        assert!(address_of("https://127.0.0.1:9000").is_err());
    }
}
